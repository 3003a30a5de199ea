#!/usr/bin/env python3
"""Time a change of a SafeTensors file's metadata: `artifact metadata set` beside the Python package.

The package can only read all tensors and write the file anew. Every contestant changes the same file in
turn; it is in the page cache and on stable storage before each run. `artifact` is timed as a whole process,
with its syncs; the package from the open to the end of `save_file`, without its import and without a sync.

    python Benchmarks/metadata_edit.py --artifact .build/release/artifact --size 1GiB --dir . --dir /dev/shm

Needs numpy and safetensors.
"""

import argparse
import datetime
import hashlib
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

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "GB": 10**9, "MB": 10**6}


def make(path, size):
    count = 16
    random = np.random.default_rng(1)
    block = random.integers(0, 255, size // count, dtype=np.uint8).view(np.float16)
    # Bytes that are cheap to make and differ.
    save_file({f"layer.{i}.weight": np.roll(block, i) for i in range(count)}, path, metadata={"format": "pt"})


def settle(path):
    """The file on stable storage and in the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    while os.read(fd, 1 << 24):
        pass
    os.close(fd)


def digest(path):
    with safe_open(path, "np") as file:
        hashes = {key: hashlib.sha256(file.get_tensor(key).tobytes()).hexdigest() for key in sorted(file.keys())}
        return hashes, file.metadata()


def reference(path, value):
    start = time.perf_counter()
    with safe_open(path, "np") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        metadata = file.metadata()
    save_file(tensors, path, metadata={**metadata, "note": value})
    return time.perf_counter() - start, "rewrite"


def ours(artifact, path, value):
    start = time.perf_counter()
    output = subprocess.check_output([artifact, "metadata", "set", path, "note=" + value, "--json"])
    return time.perf_counter() - start, json.loads(output)["method"]


def bench(artifact, directory, size, runs):
    rows = {"package": [], "artifact, room in the padding": [], "artifact, header grows": []}
    methods = {}
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        path = os.path.join(scratch, "m.safetensors")
        make(path, size)
        before, _ = digest(path)
        for run in range(runs):
            # The package pads to eight bytes, so the first change after it must grow.
            for name, change, value in [
                ("package", reference, f"{run}"),
                ("artifact, header grows", lambda p, v: ours(artifact, p, v), "x" * 10_000 + str(run)),
                ("artifact, room in the padding", lambda p, v: ours(artifact, p, v), f"y{run}"),
            ]:
                settle(path)
                seconds, method = change(path, value)
                rows[name].append(seconds)
                methods[name] = method
                after, metadata = digest(path)
                if after != before or metadata != {"format": "pt", "note": value}:
                    sys.exit(f"{name}: the file is not what it should be")
    base = statistics.median(rows["package"])
    result = []
    for name, times in rows.items():
        median = statistics.median(times)
        result.append({"name": name, "method": methods[name], "median_s": median, "runs_s": times,
                       "times_faster": base / median})
        print(f"{directory:12} {name:32} {methods[name]:8} {median * 1000:9.1f} ms  {base / median:7.1f} x")
    return result


def file_system(path):
    return subprocess.check_output(["stat", "-f", "-c", "%T", path], text=True).strip()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--artifact", default=".build/release/artifact")
parser.add_argument("--size", default="1GiB")
parser.add_argument("--dir", action="append")
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--save", action="store_true", help="write Benchmarks/results/metadata-DATE.json")
arguments = parser.parse_args()
artifact = shutil.which(arguments.artifact) or sys.exit(f"no {arguments.artifact}: make build")
unit = next((u for u in UNITS if arguments.size.endswith(u)), None) or sys.exit("--size takes 1GiB or 500MB")
size = int(float(arguments.size.removesuffix(unit)) * UNITS[unit])
results = {}
for directory in arguments.dir or ["."]:
    name = file_system(directory)
    results[name] = bench(artifact, directory, size // 32 * 32, arguments.runs)
if arguments.save:
    date = datetime.date.today().isoformat()
    target = Path(__file__).resolve().parent / "results" / f"metadata-{date}.json"
    target.write_text(json.dumps({
        "date": date, "size_bytes": size, "machine": {"processors": os.cpu_count(), "cpu": platform.machine(),
        "kernel": platform.release()}, "versions": {"python": platform.python_version(),
        "safetensors": version("safetensors"), "numpy": version("numpy")}, "file_systems": results,
    }, indent=1) + "\n")
    print(f"wrote {target}")
