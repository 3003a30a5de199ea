#!/usr/bin/env python3
"""Let PyTorch and DeepSpeed judge what `artifact` makes of distributed checkpoints.

Saves checkpoints with torch.distributed.checkpoint and DeepSpeed on a few processes, exports each with
`artifact`, and compares every tensor with what `dcp_to_torch_save` and `zero_to_fp32` make of it. Prints one
PASS, FAIL or SKIP line per checkpoint and ends with the counts; the exit status is 1 if any failed.

Usage: python distributed.py --artifact .build/release/artifact [--only dcp|deepspeed] [--work FOLDER]
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Fixtures/formats/generate"))
# For the processes that generators start.
os.environ["PYTHONWARNINGS"] = "ignore"
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]


def tensors(folder):
    """What the SafeTensors files of a directory hold."""
    result = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            content = data[start + first : start + last]
            result[name] = {
                "dtype": entry["dtype"], "shape": entry["shape"], "nbytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
    return result


def export(artifact, source, *options):
    """The tensors of an export, or its exit status and what it said."""
    with tempfile.TemporaryDirectory() as work:
        command = [artifact, "export", source, "-o", f"{work}/out", "--untie", "--quiet", *options]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        return tensors(f"{work}/out") if done.returncode == 0 else (done.returncode, done.stderr.strip())


def difference(found, wanted):
    """In a few words; nothing where there is none."""
    if isinstance(found, tuple):
        return f"exit status {found[0]}: {found[1]}"
    names = sorted(set(found) ^ set(wanted)) + [n for n in wanted if n in found and found[n] != wanted[n]]
    return f"differs in {', '.join(names[:5])}" if names else None


class Tally:
    def __init__(self):
        self.counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def add(self, title, problem=None, kind=None):
        kind = kind or ("FAIL" if problem else "PASS")
        self.counts[kind] += 1
        print(f"{kind} {title}" + (f": {problem}" if problem else ""), flush=True)


def check_dcp(artifact, work, tally):
    import distributed_checkpoints

    with contextlib.redirect_stderr(open(os.devnull, "w")):
        cases, edited = distributed_checkpoints.generate(work)
    for name, case in cases.items():
        tally.add(name, difference(export(artifact, f"{work}/{name}"), case["tensors"]))
    metadata = Path(work, "dcp/grid/.metadata")
    for name, case in edited.items():
        metadata.write_bytes(Path(work, f"dcp/edited/{name}.metadata").read_bytes())
        found = export(artifact, metadata.parent)
        if case["error"] is None:
            tally.add(f"metadata {name}", difference(found, cases["dcp/grid"]["tensors"]))
            continue
        status = 3 if case["class"] == "unsupported" else 1
        is_right = isinstance(found, tuple) and found[0] == status and f"[{case['error']}]" in found[1]
        tally.add(f"metadata {name}", None if is_right else f"wanted {case['error']}, got {found}")


def check_deepspeed(artifact, work, tally):
    if importlib.util.find_spec("deepspeed") is None:
        return tally.add("deepspeed", "the package is not installed", "SKIP")
    import zero

    for name, case in zero.generate(work).items():
        tally.add(name, difference(export(artifact, f"{work}/{name}"), case["tensors"]))
        found = export(artifact, f"{work}/{name}", "--precision", "model")
        if "model" in case:
            tally.add(f"{name} --precision model", difference(found, case["model"]))
        else:
            is_right = isinstance(found, tuple) and found[0] == 3
            tally.add(f"{name} --precision model", None if is_right else "is not refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--only", choices=["dcp", "deepspeed"])
    parser.add_argument("--work", type=Path, help="keep the checkpoints in this folder")
    options = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as temporary:
        work = str(options.work or temporary)
        for name, check in {"dcp": check_dcp, "deepspeed": check_deepspeed}.items():
            if options.only in (None, name):
                check(options.artifact.resolve(), work, tally)
    print(f"{tally.counts['PASS']} passed, {tally.counts['FAIL']} failed, {tally.counts['SKIP']} skipped")
    sys.exit(1 if tally.counts["FAIL"] else 0)


if __name__ == "__main__":
    main()
