#!/usr/bin/env python3
"""safetensors_bench.py --swift PROGRAM [--size 1GB] [--runs N] [--only CASE,…]: our library beside the safetensors wheel.

Each case runs in a process of its own on either side, in turn, on files in memory (/dev/shm) that are removed
afterwards. Prints medians of wall and CPU time and peak memory with their ratios (reference / ours: above 1 we are
better) and writes them to results/safetensors-DATE.json with the machine and the versions."""

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent


# --- Inputs -----------------------------------------------------------------------------------------------------

def save(path, header, data=b""):
    header = header.encode() if isinstance(header, str) else header
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header + data)


def many(count):
    """A file of `count` small tensors, named as those of a model are."""
    def make(path, _):
        entry = '"model.layers.%d.self_attn.q_proj.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[%d,%d]}'
        entries = ",".join(entry % (i, 8 * i, 8 * i + 8) for i in range(count))
        save(path, '{"__metadata__":{"format":"pt"},%s}' % entries, bytes(8 * count))
    return make


def few(path, size):
    """A file of 64 F32 matrices."""
    import numpy
    from safetensors.numpy import save_file
    rows = max(1, size // 64 // 4096)
    block = numpy.random.default_rng(1).random((rows, 1024), dtype=numpy.float32)
    save_file({f"model.layers.{i}.weight": block for i in range(64)}, path)


def one(path, size):
    import numpy
    from safetensors.numpy import save_file
    save_file({"weight": numpy.random.default_rng(1).random(size // 4, dtype=numpy.float32)}, path)


FULL = 99_000_000


def hostile(text):
    return lambda path, _: save(path, text())


def filled(before, piece, after):
    return lambda: before + piece * ((FULL - len(before) - len(after)) // len(piece)) + after


ENTRY = '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":['
HOSTILE = {
    "hostile-numbers": filled(ENTRY, "1,", "1]}}"),
    "hostile-shape": filled('{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[0,', "1,", "1]}}"),
    "hostile-arrays": filled(ENTRY, "[],", "[]]}}"),
    "hostile-metadata": lambda: '{"__metadata__":{%s}}' % ",".join(
        '"%x":""' % i for i in range(8_200_000)),
    "hostile-tensors": lambda: "{%s}" % ",".join(
        '"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(1_700_000)),
}

# name: (the case of safetensors-bench and of REFERENCE below, what makes its file, runs)
CASES = {
    "open-300": ("open", many(300), 21), "open-10k": ("open", many(10_000), 11),
    "open-100k": ("open", many(100_000), 9), "open-700k": ("open", many(700_000), 9),
    "validate-10k": ("validate", many(10_000), 11),
    "read-one": ("read-one", few, 7), "read-all": ("read-all", few, 5), "view-all": ("view-all", few, 5),
    "write": ("write", few, 5), "cast": ("cast", one, 5), "slice": ("slice", few, 5),
    "metadata": ("metadata", few, 5),
    **{name: ("verdict", hostile(text), 1) for name, text in HOSTILE.items()},
}


# --- The reference ----------------------------------------------------------------------------------------------

def reference_open(path, _):
    from safetensors import safe_open
    with safe_open(path, framework="np"):
        pass


def reference_validate(path, clock):
    from safetensors import deserialize
    data = Path(path).read_bytes()
    with clock:
        deserialize(data)


def reference_read_one(path, _):
    from safetensors import safe_open
    with safe_open(path, framework="np") as file:
        names = file.keys()
        file.get_tensor(names[len(names) // 2])


def reference_read_all(path, _):
    from safetensors.numpy import load_file
    load_file(path)


def reference_write(path, clock):
    from safetensors.numpy import load_file, save_file
    tensors = load_file(path)
    with clock:
        save_file(tensors, path + ".out", metadata={"format": "pt"})


def reference_slice(path, _):
    from safetensors import safe_open
    with safe_open(path, framework="np") as file:
        for name in file.keys():
            file.get_slice(name)[::2, :512]


def reference_metadata(path, _):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
    with safe_open(path, framework="np") as file:
        metadata = dict(file.metadata() or {})
    save_file(load_file(path), path, metadata={**metadata, "note": str(time.time_ns())})


def reference_cast(path, clock):
    import ml_dtypes
    from safetensors.numpy import load_file
    weight = load_file(path)["weight"]
    with clock:
        weight.astype(ml_dtypes.bfloat16)


REFERENCE = {
    "open": reference_open, "verdict": reference_open, "validate": reference_validate,
    "read-one": reference_read_one, "read-all": reference_read_all, "view-all": reference_read_all,
    "write": reference_write, "cast": reference_cast, "slice": reference_slice,
    "metadata": reference_metadata,
}


class Clock:
    wall = cpu = None

    def __enter__(self):
        self.start = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]


def run_reference(case, path, runs):
    import numpy
    import safetensors.numpy
    walls, cpus = [], []
    for _ in range(runs):
        inner, outer = Clock(), Clock()
        with outer:
            try:
                REFERENCE[case](path, inner)
            except safetensors.SafetensorError:
                pass
        measured = inner if inner.wall is not None else outer
        walls.append(measured.wall)
        cpus.append(measured.cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"wall_s": walls, "cpu_s": cpus, "peak_mb": peak}))


# --- Side by side -----------------------------------------------------------------------------------------------

def measure(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def side_by_side(swift, case, path, runs):
    """Medians of both sides, which take turns so that neither has the quieter machine."""
    sides = {
        "ours": [swift, case, path], "reference": [sys.executable, __file__, "--reference", case, path],
    }
    turns = 3 if runs > 1 else 1
    results = {side: {"wall_s": [], "cpu_s": [], "peak_mb": []} for side in sides}
    for _ in range(turns):
        for side, command in sides.items():
            found = measure(command + [str(-(-runs // turns))])
            for key in ("wall_s", "cpu_s"):
                results[side][key] += found[key]
            results[side]["peak_mb"].append(found["peak_mb"])
    return {side: {key: statistics.median(values) for key, values in found.items()} for side, found in results.items()}


def bytes_of(text):
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if text.upper().endswith(unit):
            return int(float(text[:-2]) * factor)
    return int(text)


def shown(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def machine():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"processor": names[0] if names else platform.machine(), "processors": os.cpu_count(),
            "system": platform.platform(), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swift")
    parser.add_argument("--size", default="1GB", type=bytes_of)
    parser.add_argument("--runs", type=int, help="runs a case; each has its own number without")
    parser.add_argument("--only")
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--results", default=str(HERE / "results"))
    parser.add_argument("--reference", nargs=3)
    options = parser.parse_args()
    if options.reference:
        return run_reference(options.reference[0], options.reference[1], int(options.reference[2]))
    wanted = options.only.split(",") if options.only else list(CASES)
    rows = {}
    print(f"{'case':18} {'ours':>10} {'reference':>10} {'faster':>7} {'CPU':>7} {'peak MB':>8} {'reference':>9}")
    folder = tempfile.mkdtemp(prefix="safetensors-bench-", dir=options.dir)
    try:
        for name in wanted:
            case, make, runs = CASES[name]
            path = os.path.join(folder, name + ".safetensors")
            # In a process of its own, so that this one stays small: its peak memory would be the children's floor.
            pid = os.fork()
            if pid == 0:
                make(path, options.size)
                os._exit(0)
            if os.waitpid(pid, 0)[1] != 0:
                sys.exit(f"{name}: the input could not be made")
            found = side_by_side(options.swift, case, path, options.runs or runs)
            for file in os.listdir(folder):
                os.remove(os.path.join(folder, file))
            ours, theirs = found["ours"], found["reference"]
            found["faster"] = round(theirs["wall_s"] / ours["wall_s"], 2)
            found["less_cpu"] = round(theirs["cpu_s"] / ours["cpu_s"], 2)
            rows[name] = found
            print(f"{name:18} {shown(ours['wall_s']):>10} {shown(theirs['wall_s']):>10} {found['faster']:>6}x "
                  f"{found['less_cpu']:>6}x {ours['peak_mb']:>8.0f} {theirs['peak_mb']:>9.0f}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.only is None:
        report = {"date": datetime.date.today().isoformat(), "machine": machine(), "size": options.size,
                  "versions": {n: version(n) for n in ("safetensors", "numpy", "ml_dtypes")}
                  | {"python": platform.python_version()}, "cases": rows}
        Path(options.results).mkdir(exist_ok=True)
        place = Path(options.results) / f"safetensors-{report['date']}.json"
        place.write_text(json.dumps(report, indent=2) + "\n")
        print(f"wrote {place}")


if __name__ == "__main__":
    main()
