"""Writes the Orbax fixtures and what Orbax (or TensorStore) itself restores from them.

    python orbax_cases.py DIRECTORY       (needs jax, orbax-checkpoint, tensorstore and ml_dtypes)

Makes DIRECTORY/orbax/* and DIRECTORY/expected-orbax.json. `zarr` is kept as it is where it is there.
"""

import hashlib
import json
import os
import shutil
import struct
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_cases import described, tensors


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def save(path, tree, **options):
    shutil.rmtree(path, ignore_errors=True)
    checkpointer = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options))
    checkpointer.save(path, tree)
    checkpointer.close()


def restored(path):
    tree = ocp.PyTreeCheckpointHandler().restore(epath.Path(path))
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, (np.ndarray, jax.Array)) else leaf, tree)


def main(directory):
    base = os.path.abspath(os.path.join(directory, "orbax"))
    os.makedirs(base, exist_ok=True)
    for name in os.listdir(base):
        if name != "zarr":
            shutil.rmtree(os.path.join(base, name))
    expected = {}
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("x", "y"))

    def put(array, *spec):
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))

    def add(name, skip=(), inner="", **more):
        tree = restored(os.path.join(base, name, inner))
        expected["orbax/" + name] = {"tensors": tensors(tree, skip), **more}

    def bad(name, error, kind="malformed"):
        expected["orbax/" + name] = {"error": error, "class": kind}

    def copy(source, name):
        shutil.copytree(os.path.join(base, source), os.path.join(base, name))
        return os.path.join(base, name)

    if os.path.exists(os.path.join(base, "zarr")):
        add("zarr", values={"step": 5})
    random = np.random.default_rng(3)
    f32 = lambda *shape: random.standard_normal(shape).astype(np.float32)
    small = {"params": {"dense": {"kernel": jnp.asarray(f32(2, 3)), "bias": jnp.array([1, 2], jnp.bfloat16)}}, "step": 5}
    wide = {
        "params": {
            "a": put(jnp.asarray(f32(6, 8)), "x", "y"), "b": put(jnp.asarray(f32(12, 4)).astype(jnp.bfloat16), "x"),
            "cube": put(jnp.asarray(f32(4, 3, 6)), None, None, "y"), "odd": put(jnp.asarray(f32(5, 4)), None, "x"),
            "list": [jnp.arange(3, dtype=jnp.int32), (jnp.ones((2,), jnp.float16), jnp.zeros((4, 4)))],
            "scalar": jnp.float32(2.5), "flags": jnp.array([True, False, True]),
            "f8": jnp.array([1, 2, 3], jnp.float8_e4m3fn), "e5": jnp.array([1, 2, 3], jnp.float8_e5m2),
            "c": jnp.array([1 + 2j], jnp.complex64), "u16": jnp.array([1, 2], jnp.uint16), "i8": np.array([-1, 2], np.int8),
            "i64": np.array([-1, 2**40]), "f64": np.array([0.1, 2.0]),
        },
        "batch_stats": {"mean": f32(3)}, "ema_params": {"a": f32(6, 8)},
        "opt_state": [{"mu": {"a": jnp.ones((6, 8))}, "count": 3}, None], "step": jnp.int32(7), "lr": 0.25, "name": "hello",
    }
    values = {"step": 7, "lr": 0.25, "name": "hello"}
    skip = ("opt_state", "ema_params", "step")
    save(os.path.join(base, "ocdbt"), small)
    add("ocdbt", values={"step": 5})
    for name, options in {"wide_ocdbt": {}, "wide_zarr": {"use_ocdbt": False}, "wide_zarr3": {"use_zarr3": True},
                          "plain_zarr3": {"use_zarr3": True, "use_ocdbt": False}}.items():
        tree = small if name == "plain_zarr3" else wide
        save(os.path.join(base, name), tree, **options)
        if tree is small:
            add(name, values={"step": 5})
        else:
            add(name, skip, values=values, skipped=["ema_params", "opt_state"])

    # Steps of a CheckpointManager, with several items and with one.
    manager = ocp.CheckpointManager(os.path.join(base, "steps"))
    for step in (3, 10):
        manager.save(step, args=ocp.args.StandardSave(small))
    manager.wait_until_finished()
    manager.close()
    bad("steps", "ambiguous-weights")
    add("steps/3", inner="default", values={"step": 5})
    manager = ocp.CheckpointManager(os.path.join(base, "items"))
    manager.save(3, args=ocp.args.Composite(
        params=ocp.args.StandardSave(small["params"]), opt_state=ocp.args.StandardSave({"mu": small["params"]}),
        meta=ocp.args.JsonSave({"a": 1})))
    manager.wait_until_finished()
    manager.close()
    add("items", inner="3/params", values={"meta": {"a": 1}}, skipped=["opt_state/"])
    add("items/3/opt_state", inner="")

    # OCDBT with many versions, interior nodes and values inside and outside of nodes, as TensorStore alone writes it.
    path = os.path.join(base, "tall")
    spec = {"driver": "ocdbt", "base": "file://" + path + "/",
            "config": {"max_decoded_node_bytes": 400, "max_inline_value_bytes": 24, "version_tree_arity_log2": 1}}
    tall = {}
    for number in range(24):
        name = f"params.layer_{number:02d}.w"
        array = f32(3, 5)
        store = ts.open({"driver": "zarr", "kvstore": {**spec, "path": name + "/"}, "create": True,
                         "metadata": {"shape": [3, 5], "chunks": [2, 2], "dtype": "<f4", "compressor": None}}).result()
        store.write(array).result()
        tall[name] = described(array)
    expected["orbax/tall"] = {"tensors": tall}

    # Arrays without any metadata of Orbax's, with everything that zarr 2 and 3 can be.
    path = os.path.join(base, "forms")
    forms = {}

    def write(name, driver, metadata, array):
        store = ts.open({"driver": driver, "kvstore": {"driver": "file", "path": os.path.join(path, name) + "/"},
                         "create": True, "metadata": metadata}).result()
        store.write(array).result()
        forms[name] = described(array)

    grid = f32(7, 5)
    for name, more in {"gzip": {"compressor": {"id": "gzip", "level": 1}}, "zlib": {"compressor": {"id": "zlib", "level": 1}},
                       "big": {"dtype": ">f4"}, "columns": {"order": "F"}, "slash": {"dimension_separator": "/"},
                       "raw": {"compressor": None}}.items():
        metadata = {"shape": [7, 5], "chunks": [3, 2], "dtype": "<f4", "compressor": {"id": "zstd", "level": 3}, **more}
        write("w." + name, "zarr", metadata, grid)
    write("w.complex", "zarr", {"shape": [3], "chunks": [2], "dtype": ">c8", "compressor": None}, np.array([1 + 2j, 3 - 1j, 0.5], np.complex64))
    write("w.filled", "zarr", {"shape": [6], "chunks": [2], "dtype": "<i2", "fill_value": 7, "compressor": None},
          np.array([7, 7, 1, 2, 7, 7], np.int16))
    write("w.nan", "zarr", {"shape": [2, 3], "chunks": [1, 3], "dtype": "bfloat16", "fill_value": "NaN", "compressor": None},
          np.array([[np.nan] * 3, [1, 2, 3]], ml_dtypes.bfloat16))
    three = {"shape": [7, 5], "data_type": "float32",
             "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4]}}}
    big = {"name": "bytes", "configuration": {"endian": "big"}}
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    gzip = {"name": "gzip", "configuration": {"level": 1}}
    write("v.gzip", "zarr3", {**three, "codecs": [big, gzip]}, grid)
    write("v.sum", "zarr3", {**three, "codecs": [little, {"name": "crc32c"}]}, grid)
    write("v.keys", "zarr3", {**three, "chunk_key_encoding": {"name": "v2"}}, grid)
    for place in ("start", "end"):
        shard = {"name": "sharding_indexed", "configuration": {
            "chunk_shape": [2, 4], "codecs": [little, gzip], "index_location": place,
            "index_codecs": [little, {"name": "crc32c"}]}}
        write("v.shard_" + place, "zarr3", {**three, "codecs": [shard], "fill_value": 2.0},
              np.where(np.arange(7)[:, None] < 2, np.float32(2), grid))
    expected["orbax/forms"] = {"tensors": forms}

    # Refused.
    path = copy("ocdbt", "bad_crc")
    manifest = bytearray(open(path + "/manifest.ocdbt", "rb").read())
    manifest[40] ^= 1
    open(path + "/manifest.ocdbt", "wb").write(manifest)
    bad("bad_crc", "crc-mismatch")
    path = copy("ocdbt", "bad_node")
    data = next(os.scandir(path + "/d")).path
    node = bytearray(open(data, "rb").read())
    node[-10] ^= 1
    open(data, "wb").write(node)
    bad("bad_node", "crc-mismatch")
    shutil.rmtree(copy("ocdbt", "bad_missing") + "/d")
    bad("bad_missing", "file-missing")
    os.remove(copy("ocdbt", "bad_unmerged") + "/manifest.ocdbt")
    bad("bad_unmerged", "orbax-unfinished")
    bad(os.path.basename(copy("plain_zarr3", "x.orbax-checkpoint-tmp-1")), "orbax-unfinished")
    shutil.rmtree(copy("plain_zarr3", "bad_array") + "/params.dense.bias")
    bad("bad_array", "array-missing")
    path = os.path.join(base, "bad_blosc", "w")
    ts.open({"driver": "zarr", "kvstore": {"driver": "file", "path": path + "/"}, "create": True, "metadata": {
        "shape": [2], "chunks": [2], "dtype": "<f4", "compressor": {"id": "blosc"}}}).result().write([1, 2]).result()
    bad("bad_blosc", "zarr-codec", "unsupported")
    path = os.path.join(base, "bad_int4", "w")
    ts.open({"driver": "zarr", "kvstore": {"driver": "file", "path": path + "/"}, "create": True, "metadata": {
        "shape": [2], "chunks": [2], "dtype": "int4", "compressor": None}}).result().write(np.array([1, 2], ml_dtypes.int4)).result()
    bad("bad_int4", "dtype", "unsupported")
    path = copy("bad_int4", "bad_size") + "/w/.zarray"
    open(path, "w").write(json.dumps({"zarr_format": 2, "shape": [1 << 62, 1 << 62], "chunks": [1, 1], "dtype": "<f4",
                                      "compressor": None, "fill_value": 0, "filters": None, "order": "C"}))
    bad("bad_size", "zarr-metadata")
    path = copy("bad_int4", "bad_many") + "/w/.zarray"
    open(path, "w").write(json.dumps({"zarr_format": 2, "shape": [1 << 40], "chunks": [1], "dtype": "<f4",
                                      "compressor": None, "fill_value": 0, "filters": None, "order": "C"}))
    bad("bad_many", "item-limit")

    # A table of files that leads out of the directory.
    path = os.path.join(base, "bad_escape")
    os.makedirs(path)
    name = b"../ocdbt/d/x"
    body = bytes(16) + bytes([0, 0, 100, 4, 0]) + bytes([1, len(name), 0]) + name
    body += bytes([1, 1, 0, 0, 0, 30, 1, 1, 1]) + bytes(8) + bytes([0])
    head = struct.pack(">I", 0x0CDB3A2A) + struct.pack("<Q", 14 + len(body) + 4) + bytes([0, 0])
    open(path + "/manifest.ocdbt", "wb").write(head + body + struct.pack("<I", crc32c(head + body)))
    bad("bad_escape", "path-escape", "unsafe")

    for folder, directories, names in os.walk(base):
        for name in names:
            if name == "commit_success.txt":
                # It has the path of the machine in it.
                open(os.path.join(folder, name), "w").write("Checkpoint commit was successful\n")
    with open(os.path.join(directory, "expected-orbax.json"), "w") as file:
        json.dump(expected, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
