#!/usr/bin/env python3
"""Times conversions between dtypes beside memcpy, torch, and NumPy with ml_dtypes, on one core.

A rate is the bytes that are read and written in a second, and so for memcpy, which reads half of the bytes and writes
as many: a conversion at 100 % takes as long as memcpy with the same traffic. Each pair is measured with buffers in
memory (256 MiB, input and output together) and in the L2 cache (512 KiB). All sides take turns, the least time counts.
Ours is measured at each level of the processor's instructions as well; the best is what users get.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import ml_dtypes
import numpy as np
import torch

HERE = Path(__file__).resolve().parent
SIZES = {"memory": 256 << 20, "cache": 512 << 10}
F8 = ["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]
# The share of memcpy's rate, in memory, that the first pairs are to reach.
PAIRS = {("F32", "BF16"): 80, ("BF16", "F32"): 80, ("F32", "F16"): 50, ("F16", "F32"): 50} | {("F32", to): 50 for to in F8}
PAIRS |= dict.fromkeys([(f, t) for f in ("BF16", "F16") for t in F8] + [(f, t) for f in F8 for t in ("F32", "BF16", "F16")] + [
    ("F16", "BF16"), ("BF16", "F16"), ("F64", "F32"), ("F64", "BF16"), ("F32", "F64"), ("F4", "F32"), ("F4", "BF16"),
    ("F8_E8M0", "F32"), ("I64", "I32"), ("I32", "F32"), ("U8", "F32"), ("F32", "U8")])
NUMPY = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "U8": np.uint8, "I32": np.int32,
    "I64": np.int64, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}
TORCH = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "U8": torch.uint8,
    "I32": torch.int32, "I64": torch.int64, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "F8_E8M0": torch.float8_e8m0fnu,
}


def least(body, byte_count, turns):
    repeats = max(1, (4 << 20) // byte_count)
    best = float("inf")
    for _ in range(turns):
        start = time.perf_counter()
        for _ in range(repeats):
            body()
        best = min(best, (time.perf_counter() - start) / repeats)
    return best


def peers(source, target, byte_count, turns):
    """Seconds of NumPy and torch for one conversion with `byte_count` bytes of traffic, into memory that is there."""
    if source not in NUMPY or target not in NUMPY:
        return {}
    count = byte_count // (np.dtype(NUMPY[source]).itemsize + np.dtype(NUMPY[target]).itemsize)
    values = (np.random.default_rng(1).standard_normal(count, np.float32) / 8).astype(NUMPY[source])
    result = np.zeros(count, NUMPY[target])
    found = {"numpy": least(lambda: np.copyto(result, values, casting="unsafe"), byte_count, turns)}
    tensor = torch.from_numpy(values.view(np.uint8)).view(TORCH[source])
    made = torch.zeros(count, dtype=TORCH[target])
    found["torch"] = least(lambda: made.copy_(tensor), byte_count, turns)
    return found


def ours(swift, source, target, byte_count, runs):
    done = subprocess.run([swift, source, target, str(byte_count), str(runs)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{source} to {target}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def measure(swift, source, target, size, turns):
    seconds = {}
    for _ in range(turns):
        found = ours(swift, source, target, size, 5)
        for name, value in (found["seconds"] | peers(source, target, size, 2)).items():
            seconds[name] = min(seconds.get(name, value), value)
    rates = {name: round(found["bytes"] / value / 1e9, 2) for name, value in seconds.items()}
    best = rates[found["best"]]
    return {"percent_of_memcpy": round(100 * best / rates["memcpy"], 1), "best": found["best"], "gb_per_s": rates}


def machine():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"processor": names[0] if names else platform.machine(), "processors": os.cpu_count(),
            "system": platform.platform(), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swift", required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", help="FROM-TO")
    parser.add_argument("--results", default=str(HERE / "results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    cases = {}
    print(f"{'':22} {'memory':>24} {'':16} {'cache':>24}")
    print(f"{'pair':22}" + 2 * f" {'GB/s':>6} {'memcpy':>7} {'NumPy':>6} {'torch':>6} {'goal':>5}  ")
    for (source, target), goal in PAIRS.items():
        name = f"{source}-{target}"
        if options.only and options.only != name:
            continue
        cases[name] = {place: measure(options.swift, source, target, size, options.turns) for place, size in SIZES.items()}
        line = f"{name:22}"
        for place, found in cases[name].items():
            rates = found["gb_per_s"]
            goal_shown = f"{goal}%" if goal and place == "memory" else ""
            line += (f" {rates[found['best']]:6.1f} {found['percent_of_memcpy']:6.0f}% {rates.get('numpy', '-'):>6} "
                     f"{rates.get('torch', '-'):>6} {goal_shown:>5}  ")
        print(line, flush=True)
    if options.only is None:
        report = {"date": datetime.date.today().isoformat(), "machine": machine(), "bytes": SIZES,
                  "versions": {n: version(n) for n in ("numpy", "ml_dtypes", "torch")}
                  | {"python": platform.python_version()},
                  "goals_percent_in_memory": {f"{s}-{t}": goal for (s, t), goal in PAIRS.items() if goal}, "cases": cases}
        Path(options.results).mkdir(exist_ok=True)
        place = Path(options.results) / f"kernels-{report['date']}.json"
        place.write_text(json.dumps(report, indent=2) + "\n")
        print(f"wrote {place}")


if __name__ == "__main__":
    main()
