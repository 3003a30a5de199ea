#!/usr/bin/env python3
"""differential.py PROGRAM ROOT --count N --seed S --results FILE: judges mutated files with the safetensors wheel and
compares with what PROGRAM (Fuzz/Sources/differential) says of them in reference mode.

Files are made in batches of 10,000, each from its own seed (S, S+1, …), so that a batch can be made again alone.
A file on which the two disagree is kept in Fuzz/failures and makes the run fail."""

import argparse
import collections
import json
import os
import pathlib
import platform
import struct
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import repeat

BATCH = 10_000
VARIANTS = [
    ("HeaderTooSmall", "header too small"), ("HeaderTooLarge", "header too large"),
    ("InvalidHeaderLength", "invalid header length"), ("InvalidHeaderDeserialization", "invalid JSON in header"),
    ("InvalidHeader", "invalid UTF-8 in header"), ("InvalidOffset", "invalid offset"),
    ("ValidationOverflow", "overflow"), ("MetadataIncompleteBuffer", "incomplete metadata"),
    ("TensorInvalidInfo", "invalid shape, data type, or offset"), ("MisalignedSlice", "subbytes"),
]


def records(stream):
    while True:
        fields = []
        for _ in range(2):
            head = stream.read(4)
            if len(head) < 4:
                return
            fields.append(stream.read(struct.unpack("<I", head)[0]))
        yield fields


def reference(data):
    """The variant and, where the file is accepted, its tensors by name: dtype, shape and bytes."""
    from safetensors import deserialize
    try:
        tensors = deserialize(data)
    except Exception as error:
        text = str(error)
        return next((name for name, part in VARIANTS if part in text), text[:60]), None
    return "OK", {name.encode(): (t["dtype"], t["shape"], bytes(t["data"])) for name, t in tensors}


def ours(text, data):
    strict, variant, rest = text.split(b"\t", 2)
    tensors = {}
    if variant == b"OK":
        parts = rest.split(b"\xff")[:-1]
        for name, line in zip(parts[::2], parts[1::2]):
            dtype, shape = line.decode().split(" ", 1)
            shape, place = shape.rsplit("]", 1)
            start, count = map(int, place.split())
            tensors[name] = (dtype, json.loads(shape + "]"), data[start:start + count])
    return strict.decode(), variant.decode(), tensors


def batch(program, root, seed, count):
    counts, failures = collections.Counter(), []
    process = subprocess.Popen([program, root, str(seed), str(count)], stdout=subprocess.PIPE)
    for data, text in records(process.stdout):
        theirs, expected = reference(data)
        strict, variant, tensors = ours(text, data)
        counts["inputs"] += 1
        counts[theirs] += 1
        counts["strict accepts"] += strict == "OK"
        if (theirs == "OK") != (variant == "OK"):
            failures.append((data, f"reference {theirs}, we {variant}"))
        elif theirs == "OK" and tensors != expected:
            failures.append((data, "the same verdict but other tensors"))
        elif strict == "OK" and theirs != "OK":
            failures.append((data, f"strict mode accepts what the reference refuses as {theirs}"))
        counts["other variant"] += theirs != variant
    if process.wait() != 0:
        failures.append((b"", f"seed {seed}: the program ended with {process.returncode}"))
    if counts["inputs"] != count:
        failures.append((b"", f"seed {seed}: {counts['inputs']} of {count} inputs came"))
    return counts, failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("root")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + -(-options.count // BATCH))
    total, failures, started = collections.Counter(), [], time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        sizes = [min(BATCH, options.count - BATCH * i) for i in range(len(seeds))]
        work = pool.map(batch, repeat(options.program), repeat(options.root), seeds, sizes)
        for seed, (counts, found) in zip(seeds, work):
            total += counts
            failures += [(seed, data, why) for data, why in found]
    folder = pathlib.Path(options.root, "Fuzz/failures")
    for number, (seed, data, why) in enumerate(failures):
        folder.mkdir(exist_ok=True)
        (folder / f"differential-{seed}-{number}.safetensors").write_bytes(data)
        print(f"seed {seed}: {why}: {data[:200]!r}")
    report = {
        "inputs": total.pop("inputs"), "disagreements": len(failures), "seeds": [seeds[0], seeds[-1]],
        "inputs_per_seed": BATCH, "safetensors": version("safetensors"), "machine": platform.machine(),
        "seconds": round(time.monotonic() - started, 1), "verdicts": dict(total.most_common()),
    }
    print(json.dumps(report, indent=2))
    if options.results:
        pathlib.Path(options.results).write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
