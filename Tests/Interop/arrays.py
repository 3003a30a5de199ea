#!/usr/bin/env python3
"""Let numpy, onnx, mlx and h5py (and keras where it is there) judge what `artifact` reads in their files.

The files are made anew by `Tests/Fixtures/formats/generate/arrays.py` from another seed each time, every kind and
dtype of them; `artifact inspect --digests` must name the same tensors, dtypes, shapes and bytes, or the same error.

Usage: python arrays.py --artifact .build/release/artifact [--seed NUMBER] [--work FOLDER]
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

GENERATOR = Path(__file__).resolve().parents[1] / "Fixtures/formats/generate/arrays.py"


def inspect(artifact, path, options):
    command = [artifact, "inspect", "--json", "--digests", path]
    if "void_as" in options:
        command += ["--void-as", options["void_as"].lower()]
    if options.get("skip_unsupported"):
        command.append("--skip-unsupported")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def fault(case, code, report, errors):
    """What is wrong with a result, or nothing."""
    if "readError" in case:
        return None if code != 0 and case["readError"] in errors else f"exit {code}: {errors}"
    if "error" in case:
        found = (report.get("error") or {}).get("code")
        wanted = 3 if case.get("class") == "unsupported" else 1
        return None if (found, code) == (case["error"], wanted) else f"exit {code}, {found}, not {case['error']}"
    if code != 0:
        return f"exit {code}: {errors}"
    found = {t["name"]: (t["dtype"], t["shape"], t["sha256"]) for t in report["tensors"]}
    wanted = {n: (t["dtype"], t["shape"], t["sha256"]) for n, t in case["tensors"].items()}
    return None if found == wanted else f"{found} is not {wanted}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="artifact-arrays-"))
    print(f"seed {options.seed}, files in {work}")
    subprocess.run([sys.executable, GENERATOR, "--root", work, "--seed", str(options.seed)], check=True)
    cases = json.loads((work / "expected-arrays.json").read_text())
    failed = 0
    for name, case in sorted(cases.items()):
        wrong = fault(case, *inspect(options.artifact.resolve(), work / name, case.get("options", {})))
        if wrong:
            failed += 1
            print(f"FAIL {name}: {wrong}")
    kinds = {name.split("/")[0] for name in cases}
    print(f"{len(cases) - failed} passed, {failed} failed ({', '.join(sorted(kinds))})")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
