#!/usr/bin/env python3
"""Compare `artifact` with PyTorch's and DeepSpeed's own converters on distributed checkpoints.

Writes a torch.distributed.checkpoint of two ranks (BF16) and a ZeRO-3 checkpoint of two ranks (F32 master
weights), then times inspection and conversion of both: wall seconds, CPU seconds and peak memory of each
process, runs interleaved, medians in the table. What comes out is compared tensor by tensor at the end.

Usage: python distributed_bench.py --artifact .build/release/artifact --size 4GB --dir /dev/shm
Needs torch, safetensors and, for ZeRO, deepspeed. Takes two and a half times the size in --dir.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# This process stays small on purpose (no torch): a child's peak memory as the kernel reports it is never less
# than that of the process which started it.
HERE = Path(__file__).resolve().parent

# Shapes of a language model with as many layers as fit the size.
MODEL = """
def shapes(size, width):
    hidden, middle, vocabulary = 2048, 5632, 32000
    layer = {
        "self_attn.q_proj.weight": (hidden, hidden), "self_attn.k_proj.weight": (hidden // 4, hidden),
        "self_attn.v_proj.weight": (hidden // 4, hidden), "self_attn.o_proj.weight": (hidden, hidden),
        "mlp.gate_proj.weight": (middle, hidden), "mlp.up_proj.weight": (middle, hidden),
        "mlp.down_proj.weight": (hidden, middle), "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    rows = min(vocabulary, max(64, size // 8 // (width * hidden)))
    result = {"model.embed_tokens.weight": (rows, hidden), "lm_head.weight": (rows, hidden)}
    count = lambda s: s[0] * (s[1] if len(s) > 1 else 1) * width
    total, number = sum(map(count, result.values())), 0
    while total < size:
        for name, shape in layer.items():
            result[f"model.layers.{number}.{name}"] = shape
            total += count(shape)
        number += 1
    return result
"""

MAKE_DCP = (
    MODEL
    + """
import os, sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp, torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

def work(rank, world, folder, size):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29677", RANK=str(rank), WORLD_SIZE=str(world))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    generator = torch.Generator().manual_seed(rank)
    state = {}
    for name, shape in shapes(size, 2).items():
        rows = -(-shape[0] // world)
        own = min(shape[0], rank * rows + rows) - min(shape[0], rank * rows)
        bits = torch.randint(-(1 << 63), (1 << 63) - 1, ((own * (shape[1] if len(shape) > 1 else 1) + 3) // 4,), generator=generator)
        local = bits.view(torch.bfloat16)[: own * (shape[1] if len(shape) > 1 else 1)].clone().view(own, *shape[1:])
        whole = torch.empty(shape, device="meta")
        state[name] = DTensor.from_local(local, mesh, [Shard(0)], shape=whole.shape, stride=whole.stride())
    dcp.save({"model": state}, checkpoint_id=folder)
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(work, (2, sys.argv[1], int(sys.argv[2])), 2)
"""
)

MAKE_ZERO = (
    MODEL
    + """
import math, os, sys, torch
from collections import OrderedDict
from deepspeed.runtime.zero.config import ZeroStageEnum
folder, size, moments, world = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", 2
os.makedirs(folder + "/global_step1")
open(folder + "/latest", "w").write("global_step1")
names = OrderedDict((n, torch.Size(s)) for n, s in shapes(size, 4).items())
elements = sum(-(-math.prod(s) // world) for s in names.values())
for rank in range(world):
    generator = torch.Generator().manual_seed(rank)
    flat = torch.randn(elements, generator=generator)
    state = {"optimizer_state_dict": {
        "zero_stage": ZeroStageEnum(3), "partition_count": world, "fp32_flat_groups": [flat],
        "optimizer_state_dict": {"state": {0: {"exp_avg": flat, "exp_avg_sq": flat.clone()} if moments else {}}}},
        "ds_version": "0.19.8"}
    torch.save(state, f"{folder}/global_step1/bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    model = {
        "module": OrderedDict((n, torch.empty(0, dtype=torch.bfloat16)) for n in names), "buffer_names": [],
        "param_shapes": [names], "frozen_param_shapes": None, "frozen_param_fragments": None, "shared_params": {},
        "ds_version": "0.19.8"}
    torch.save(model, f"{folder}/global_step1/zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
"""
)

CONVERT_DCP = """
import sys
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
dcp_to_torch_save(sys.argv[1], sys.argv[2] + ".pt")
"""

CONVERT_ZERO = """
import os, sys
os.environ["DS_ACCELERATOR"] = "cpu"
from deepspeed.utils.zero_to_fp32 import convert_zero_checkpoint_to_fp32_state_dict
convert_zero_checkpoint_to_fp32_state_dict(sys.argv[1], sys.argv[2], max_shard_size="1000GB", safe_serialization=True)
"""

COMPARE = """
import glob, os, sys, torch
from safetensors import safe_open
ours, theirs = sys.argv[1:]
if os.path.exists(theirs + ".pt"):
    wanted = torch.load(theirs + ".pt", mmap=True, weights_only=True)["model"]
    get, names = wanted.__getitem__, set(wanted)
else:
    file = safe_open(glob.glob(theirs + "/*.safetensors")[0], "pt")
    get, names = file.get_tensor, set(file.keys())
found = {}
for path in glob.glob(ours + "/*.safetensors"):
    file = safe_open(path, "pt")
    found |= {name: file for name in file.keys()}
assert set(found) == names, set(found) ^ names
for name in names:
    a, b = found[name].get_tensor(name), get(name)
    assert a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.contiguous().view(torch.uint8)), name
print(len(names))
"""


def measure(command):
    """Run a command; wall seconds, CPU seconds and peak memory of it."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            sys.exit(f"{command[:3]} failed with {child.returncode}: {output.read().decode()[-800:]}")
    return {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def python(code, *arguments):
    # A file and not -c: processes that are spawned read the program again.
    path = Path(tempfile.gettempdir()) / f"distributed-bench-{os.getpid()}.py"
    path.write_text(code)
    return [sys.executable, path, *arguments]


def run(command):
    """Run a command for its output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[:2]} failed: {done.stderr[-800:]}")
    return done.stdout.strip()


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
    Path(str(path) + ".pt").unlink(missing_ok=True)


def compare(artifact, source, work, converter, name, runs):
    """Time all contestants on one checkpoint; returns what each took."""
    ours, theirs = work / "ours", work / "theirs"
    export = [artifact, "export", source, "-o", ours, "--quiet", "--max-shard-size", "1000GB"]
    contestants = {
        "artifact inspect": ([artifact, "inspect", source], None),
        "artifact export": (export, ours),
        "artifact export --digests none": ([*export, "--digests", "none"], ours),
        name: (converter, theirs),
    }
    times = {key: [] for key in contestants}
    for _ in range(runs):
        for key, (command, out) in contestants.items():
            if out:
                remove(out)
            made = python(command, source, out) if isinstance(command, str) else command
            times[key].append(measure(made))
    count = run(python(COMPARE, ours, theirs))
    remove(ours), remove(theirs)
    medians = {
        key: {field: statistics.median(t[field] for t in taken) for field in taken[0]} for key, taken in times.items()
    }
    return {"tensors_equal": int(count), "results": medians}


def show(title, outcome, size):
    print(f"\n{title}: {size / 1e9:.2f} GB, {outcome['tensors_equal']} tensors, all equal\n")
    print(f"| {'':32} | wall s | CPU s | peak MB |\n|{'-' * 34}|-------:|------:|--------:|")
    for key, row in outcome["results"].items():
        print(f"| {key:32} | {row['wall_s']:6.2f} | {row['cpu_s']:5.2f} | {row['peak_mb']:7.0f} |")


def parse_size(text):
    for unit, factor in {"GB": 10**9, "MB": 10**6}.items():
        if text.upper().endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--size", type=parse_size, default=parse_size("4GB"))
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["dcp", "zero"])
    parser.add_argument("--moments", action="store_true", help="let the ZeRO files hold Adam's moments too: three times the size")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    artifact = options.artifact.resolve()
    work = Path(tempfile.mkdtemp(prefix="artifact-bench-", dir=options.dir))
    figures = {}
    try:
        if options.only != "zero":
            source = work / "dcp"
            run(python(MAKE_DCP, source, options.size))
            size = sum(f.stat().st_size for f in source.rglob("*") if f.is_file())
            figures["dcp"] = compare(artifact, source, work, CONVERT_DCP, "dcp_to_torch_save", options.runs)
            show("torch.distributed.checkpoint of 2 ranks", figures["dcp"], size)
            remove(source)
        if options.only != "dcp":
            source = work / "zero"
            run(python(MAKE_ZERO, source, options.size, int(options.moments)))
            size = sum(f.stat().st_size for f in source.rglob("*") if f.is_file())
            figures["zero3"] = compare(artifact, source, work, CONVERT_ZERO, "zero_to_fp32", options.runs)
            show("DeepSpeed ZeRO-3 of 2 ranks", figures["zero3"], size)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        (Path(tempfile.gettempdir()) / f"distributed-bench-{os.getpid()}.py").unlink(missing_ok=True)
    if options.output:
        versions = {}
        for package in ("torch", "deepspeed", "safetensors"):
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                pass
        about = {
            "date": datetime.date.today().isoformat(), "size": options.size, "runs": options.runs,
            "moments": options.moments, "machine": platform.machine(), "processors": os.cpu_count(),
            "python": platform.python_version(), "versions": versions,
        }
        options.output.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
