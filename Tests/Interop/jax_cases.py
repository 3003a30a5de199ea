#!/usr/bin/env python3
"""Let Flax and Orbax judge what `artifact` reads from their checkpoints.

Writes checkpoints with flax.serialization and orbax.checkpoint on four simulated devices, exports each with the command
and compares every tensor with what the library restores. Ends with "N passed, N failed"; the exit status is 1 if any
check failed.

Usage: python jax_cases.py --artifact .build/release/artifact [--megabytes 64] [--work FOLDER]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import flax.serialization
import jax
import jax.numpy as jnp
import ml_dtypes  # noqa: F401  (gives NumPy its dtypes)
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors.numpy import load_file

MESH = Mesh(np.array(jax.devices()).reshape(2, 2), ("x", "y"))


def put(array, *spec):
    return jax.device_put(array, NamedSharding(MESH, PartitionSpec(*spec)))


def flat(tree, prefix=""):
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return {prefix[:-1]: tree}
    return {name: leaf for key, value in items for name, leaf in flat(value, f"{prefix}{key}.").items()}


def params(megabytes):
    random = np.random.default_rng(1)
    width = 512
    rows = megabytes * (1 << 20) // 2 // width // 2
    f32 = lambda *shape: random.standard_normal(shape, dtype=np.float32)
    wide = jnp.asarray(f32(rows, width)).astype(jnp.bfloat16)
    layers = jnp.asarray(f32(3, rows // 6 + 1, width)).astype(jnp.bfloat16)
    return {
        "embed": put(wide[: rows // 4 * 4], "x", "y"), "columns": put(wide[: rows // 2], None, "y"),
        "layers": put(layers[:, : rows // 6 // 2 * 2], None, "x", "y"),
        "norm": {"scale": jnp.ones(width)}, "blocks": [{"w": f32(17, 5)}, {"w": f32(5, 17).astype(np.float16)}],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--work")
    options = parser.parse_args()
    work = os.path.abspath(options.work or tempfile.mkdtemp(prefix="artifact-jax-"))
    failures = passes = 0

    def check(name, path, expected):
        nonlocal failures, passes
        out = os.path.join(work, name + "-out")
        shutil.rmtree(out, ignore_errors=True)
        start = time.time()
        run = subprocess.run([options.artifact, "export", path, "--output", out], capture_output=True, text=True)
        seconds = time.time() - start
        problem = None
        if run.returncode != 0:
            problem = run.stderr.strip()
        else:
            found = {}
            for file in os.listdir(out):
                if file.endswith(".safetensors"):
                    found.update(load_file(os.path.join(out, file)))
            want = {key: np.asarray(leaf) for key, leaf in flat(expected).items()}
            if set(found) != set(want):
                problem = f"names differ: {sorted(set(found) ^ set(want))[:5]}"
            for key in set(found) & set(want):
                a, b = found[key], want[key]
                if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                    problem = f"{key} differs"
        failures += problem is not None
        passes += problem is None
        print("PASS" if problem is None else "FAIL", name, f"({seconds:.2f} s)" if problem is None else problem)

    tree = params(options.megabytes)
    state = {"params": tree, "opt_state": [{"mu": {"scale": jnp.ones(3)}}], "step": jnp.int32(3)}
    host = jax.tree.map(np.asarray, tree)
    for name, data in {
        "flax-params": flax.serialization.to_bytes({"params": host}),
        "flax-state": flax.serialization.to_bytes({**state, "params": host}),
    }.items():
        path = os.path.join(work, name + ".msgpack")
        open(path, "wb").write(data)
        restored = flax.serialization.msgpack_restore(data)
        check(name, path, {"params": restored["params"]})
    limit, flax.serialization.MAX_CHUNK_SIZE = flax.serialization.MAX_CHUNK_SIZE, 1 << 16
    path = os.path.join(work, "flax-chunked.msgpack")
    open(path, "wb").write(flax.serialization.to_bytes({"params": host}))
    flax.serialization.MAX_CHUNK_SIZE = limit
    check("flax-chunked", path, {"params": flax.serialization.msgpack_restore(open(path, "rb").read())["params"]})
    for ocdbt in (True, False):
        for zarr3 in (True, False):
            name = f"orbax-{'ocdbt' if ocdbt else 'plain'}-{'zarr3' if zarr3 else 'zarr2'}"
            path = os.path.join(work, name)
            shutil.rmtree(path, ignore_errors=True)
            checkpointer = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3))
            checkpointer.save(path, state)
            checkpointer.close()
            restored = ocp.PyTreeCheckpointHandler().restore(epath.Path(path))
            check(name, path, {"params": restored["params"]})
    with ocp.CheckpointManager(os.path.join(work, "manager")) as manager:
        manager.save(1, args=ocp.args.StandardSave(state))
        manager.wait_until_finished()
    check("orbax-manager", os.path.join(work, "manager"), {"params": tree})
    if not options.work:
        shutil.rmtree(work)
    print(f"{passes} passed, {failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
