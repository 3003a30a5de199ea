#!/usr/bin/env python3
"""Compare `artifact export` with torch.load + safetensors on one checkpoint in memory.

Every contestant reads the same torch.save file from a memory file system and writes there.
Runs are interleaved; the table shows medians. `cp` and two SHA-256 programs are there for
scale: they show what copying or hashing the same bytes costs on this machine.

Usage: python export_vs_torch.py --artifact .build/release/artifact --size 2GB --dir /dev/shm
"""

import argparse
import datetime
import filecmp
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

# This process stays small on purpose (no torch): a child's peak memory as the kernel reports
# it is never less than that of the process which started it.
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

TORCH_CHILD = """
import sys, time
import torch
from safetensors.torch import save_file
source, target, mmap = sys.argv[1], sys.argv[2], sys.argv[3] == "mmap"
start = time.perf_counter()
state_dict = torch.load(source, mmap=mmap, weights_only=True, map_location="cpu")
save_file(state_dict, target, metadata={"format": "pt"})
print(time.perf_counter() - start)
"""


def measure(command):
    """Run a command; wall seconds, CPU seconds and peak memory of it."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), errors.seek(0)
        said, complaint = output.read().decode(), errors.read().decode()
    if child.returncode != 0:
        sys.exit(f"{command[0]} failed with {child.returncode}: {complaint[-500:]}")
    result = {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
    }
    if command[:2] == [sys.executable, "-c"]:
        result["without_start_s"] = float(said)
    return result


def contestants(artifact, source, work):
    """Name -> (command, the file it writes or None)."""
    torch_out, cp_out = work / "torch.safetensors", work / "copy"
    one_file = ["--max-shard-size", "1000GB", "--quiet"]
    python = [sys.executable, "-c", TORCH_CHILD, source, torch_out]
    export = [artifact, "export", source, "-o", work / "out", *one_file]
    sharded = export + ["--max-shard-size", "1GB"]
    return {
        "artifact export": (export, work / "out"),
        "  --digests files,tensors": ([*export, "--digests", "files,tensors"], work / "out"),
        "  the same, 1 GB shards": ([*sharded, "--digests", "files,tensors"], work / "out"),
        "  the same, --jobs 1": ([*export, "--digests", "files,tensors", "--jobs", "1"], work / "out"),
        "  --digests none": ([*export, "--digests", "none"], work / "out"),
        "  --dtype bf16": ([*export, "--dtype", "bf16"], work / "out"),
        "torch.load(mmap) + safetensors": ([*python, "mmap"], torch_out),
        "torch.load + safetensors": ([*python, "read"], torch_out),
        "cp": (["cp", source, cp_out], cp_out),
        "sha256sum": (["sha256sum", source], None),
        "openssl dgst -sha256": (["openssl", "dgst", "-sha256", source], None),
    }


def remove(path):
    """Delete a file or folder, if there is one."""
    if path and path.is_dir():
        shutil.rmtree(path)
    elif path:
        path.unlink(missing_ok=True)


def same_result(entries, work):
    """Whether artifact and torch write the same file; both outputs are removed again."""
    for name in ("artifact export", "torch.load(mmap) + safetensors"):
        measure(list(map(str, entries[name][0])))
    ours, theirs = work / "out" / "model.safetensors", work / "torch.safetensors"
    same = filecmp.cmp(ours, theirs, shallow=False)
    remove(work / "out"), remove(theirs)
    return same


def memory_rates(size=1 << 30):
    """Bytes a second of a copy in memory and of one SHA-256, on one core, the best of three."""
    import hashlib

    import numpy

    source, target = numpy.ones(size, numpy.uint8), numpy.zeros(size, numpy.uint8)

    def best(work):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return size / min(times)

    return {
        "memcpy": best(lambda: numpy.copyto(target, source)),
        "sha256": best(lambda: hashlib.sha256(source).digest()),
    }


def machine():
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in cpuinfo if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": platform.release(),
        "load_average_before": os.getloadavg()[0],
    }


def versions(artifact):
    """Versions of the contestants."""
    told = subprocess.run([artifact, "--version"], capture_output=True, text=True)
    names = ("torch", "safetensors", "numpy")
    return {
        "artifact": told.stdout.strip() if told.returncode == 0 else "?",
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def table(summary):
    """The medians as lines of text; ratios are against artifact."""
    base = summary["artifact export"]
    yield f"{'':32}{'wall s':>9}{'ratio':>8}{'CPU s':>9}{'ratio':>8}{'peak MB':>10}{'ratio':>8}"
    for name, row in summary.items():
        cells = "".join(
            f"{row[key]:{width}.{digits}f}{row[key] / max(base[key], 1e-9):8.2f}"
            for key, width, digits in (("wall_s", 9, 3), ("cpu_s", 9, 3), ("peak_mb", 10, 0))
        )
        start = row.get("without_start_s")
        yield f"{name:32}{cells}" + (f"   ({start:.3f} s without start-up)" if start else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifact", required=True, type=Path, help="a release build")
    parser.add_argument("--size", default="4GB")
    parser.add_argument("--dtype", default="f32", choices=["f32", "f16", "bf16"])
    parser.add_argument("--tensors", default="201")
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"), help="a memory file system")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-save", action="store_true", help="write no results file")
    options = parser.parse_args()
    artifact = str(options.artifact.resolve())

    options.dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="artifact-benchmark-", dir=options.dir))
    try:
        source = work / "checkpoint.pt"
        made = [sys.executable, str(HERE / "make_checkpoint.py"), "--out", str(source)]
        made += ["--size", options.size, "--dtype", options.dtype, "--tensors", options.tensors]
        subprocess.run(made, check=True)
        report = {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(artifact),
            "checkpoint": {
                "bytes": source.stat().st_size,
                "dtype": options.dtype,
                "tensors": int(options.tensors),
            },
            "peak_mb_floor": measure(["true"])["peak_mb"],
        }
        entries = contestants(artifact, source, work)
        report["same_file_as_torch"] = same_result(entries, work)
        runs = {name: [] for name in entries}
        for _ in range(options.runs):
            for name, (command, output) in entries.items():
                runs[name].append(measure(list(map(str, command))))
                remove(output)
    finally:
        shutil.rmtree(work)

    rates = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); "
         "import json, export_vs_torch as b; print(json.dumps(b.memory_rates()))"],
        capture_output=True, check=True, text=True)
    report["bytes_per_second"] = rates = json.loads(rates.stdout)
    report["runs"] = runs
    report["median"] = summary = {
        name: {key: statistics.median(run[key] for run in rows) for key in rows[0]}
        for name, rows in runs.items()
    }
    print("\n".join(table(summary)))
    print(f"same file as torch: {report['same_file_as_torch']}")
    size, cores = report["checkpoint"]["bytes"], report["machine"]["cores"]
    ceiling = min(rates["memcpy"], cores * rates["sha256"])
    print(f"memcpy {rates['memcpy'] / 1e9:.2f} GB/s, SHA-256 {rates['sha256'] / 1e9:.2f} GB/s a core (hashlib); "
          f"of min(memcpy, {cores} x SHA-256):")
    for name, row in summary.items():
        if name != "cp" and not name.startswith("sha") and "openssl" not in name:
            print(f"{name:32}{size / row['wall_s'] / 1e9:9.2f} GB/s{size / row['wall_s'] / ceiling:8.0%}"
                  f"{row['wall_s'] / summary['cp']['wall_s']:8.2f} x cp")
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"export-{report['date'][:10]}.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"written: {path.relative_to(HERE.parent)}")
    sys.exit(0 if report["same_file_as_torch"] else 1)


if __name__ == "__main__":
    main()
