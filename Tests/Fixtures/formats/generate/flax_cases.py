"""Writes the Flax fixtures and what flax.serialization itself reads from them.

    python flax_cases.py DIRECTORY        (needs flax, msgpack and ml_dtypes)

Makes DIRECTORY/flax/*.msgpack and DIRECTORY/expected-flax.json. `m.msgpack` is kept as it is where it is there.
"""

import hashlib
import json
import os
import struct
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import flax.serialization as fs
import ml_dtypes
import msgpack
import numpy as np

NAMES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64", "bfloat16": "BF16",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}


def flat(tree, prefix=""):
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return {prefix[:-1]: tree}
    return {name: leaf for key, value in items for name, leaf in flat(value, f"{prefix}{key}.").items()}


def described(array):
    array = np.asarray(array)
    data = np.ascontiguousarray(array).tobytes()
    return {"dtype": NAMES[array.dtype.name], "shape": list(array.shape), "nbytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest()}


def tensors(tree, skip=()):
    return {name: described(leaf) for name, leaf in flat(tree).items()
            if isinstance(leaf, (np.ndarray, np.generic)) and not name.startswith(skip)}


def array(shape, dtype, data):
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, data), use_bin_type=True))


def main(directory):
    folder = os.path.join(directory, "flax")
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(5)
    expected = {}

    def add(name, data, skip=(), **more):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
        expected["flax/" + name] = {"tensors": tensors(fs.msgpack_restore(data), skip), **more}

    def bad(name, data, error, kind="malformed"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
        expected["flax/" + name] = {"error": error, "class": kind}

    first = os.path.join(folder, "m.msgpack")
    if os.path.exists(first):
        add("m.msgpack", open(first, "rb").read(), values={"step": 5})
    f32 = lambda *shape: random.standard_normal(shape).astype(np.float32)

    params = {"Dense_0": {"kernel": f32(3, 4), "bias": f32(4)}, "BatchNorm_0": {"scale": f32(4)}}
    state = {"step": np.int32(17), "params": params, "batch_stats": {"BatchNorm_0": {"mean": f32(4)}},
             "opt_state": {"0": {"count": np.array(17, np.int32), "mu": params, "nu": params}, "1": {}},
             "ema_params": params, "rng": np.array([1, 2], np.uint32), "lr": 0.5}
    add("train_state.msgpack", fs.msgpack_serialize(state), ("opt_state", "ema_params", "rng", "step"),
        values={"step": 17, "lr": 0.5}, skipped=["ema_params", "opt_state", "rng"])
    add("nested_state.msgpack", fs.msgpack_serialize({"state": {"params": params, "opt_state": {"mu": params}},
                                                      "epoch": np.array(3)}),
        ("state.opt_state", "epoch"), values={"epoch": 3}, skipped=["state.opt_state"])
    add("lists.msgpack", fs.msgpack_serialize({"layers": [{"w": f32(2)}, [{"w": f32(3)}, f32(1)]], "none": None}))
    wide = {name: random.standard_normal(6).astype(np.float32).astype(name) if name != "bool" else
            np.array([True, False, True]) for name in NAMES if "int" not in name and name not in ("complex64", "float8_e8m0fnu")}
    wide.update({name: np.arange(5).astype(name) for name in NAMES if "int" in name})
    wide["complex64"] = np.array([1 + 2j, -3j], np.complex64)
    wide["float8_e8m0fnu"] = np.frombuffer(bytes([1, 127, 200]), ml_dtypes.float8_e8m0fnu)
    wide["scalar"] = np.float32(1.5)
    wide["zero"] = np.zeros((0, 3), np.float16)
    wide["rank0"] = np.array(2.5, ml_dtypes.bfloat16)
    add("dtypes.msgpack", fs.msgpack_serialize(wide | {"text": "hé", "complex": 1 + 2j, "big": 2**63, "flag": True}),
        values={"text": "hé", "complex": [1.0, 2.0], "big": 2**63, "flag": True})
    limit, fs.MAX_CHUNK_SIZE = fs.MAX_CHUNK_SIZE, 64
    add("chunked.msgpack", fs.msgpack_serialize({"params": {"big": f32(7, 9), "small": f32(2), "b": wide["bfloat16"]}}))
    fs.MAX_CHUNK_SIZE = limit
    add("integer_keys.msgpack", fs.msgpack_serialize({"params": {0: f32(2), 1: {"w": f32(1)}}}))

    good = fs.msgpack_serialize({"params": params})
    bad("truncated.msgpack", good[:-3], "truncated")
    bad("trailing.msgpack", good + b"\0", "trailing-bytes")
    bad("list.msgpack", msgpack.packb([1, 2]), "not-flax")
    bad("duplicate.msgpack", b"\x82\xa1a\x01\xa1a\x02", "duplicate-key")
    bad("same_name.msgpack", fs.msgpack_serialize({"a.b": f32(1), "a": {"b": f32(1)}}), "duplicate-tensor")
    bad("key.msgpack", b"\x81\xc0\x01", "key-type")
    bad("deep.msgpack", b"\x81\xa1a" * 5000 + b"\x01", "nesting-limit")
    bad("claims.msgpack", b"\x81\xa1a\xdf\xff\xff\xff\xff\xa1b\x01", "truncated")
    bad("size.msgpack", msgpack.packb({"a": array((2, 3), "float32", b"\0" * 20)}), "array-size")
    bad("overflow.msgpack", msgpack.packb({"a": array((2**32, 2**32, 2**32), "float32", b"")}), "array-size")
    bad("negative.msgpack", msgpack.packb({"a": array((-1,), "float32", b"")}), "array-head")
    bad("slack.msgpack", b"\x81\xa1a\xc7\x12\x01\x93\x91\x01\xa7float32\xc4\x04\0\0\0\0\0", "array-size")
    bad("int4.msgpack", fs.msgpack_serialize({"a": np.array([1, 2], ml_dtypes.int4)}), "dtype", "unsupported")
    bad("object.msgpack", msgpack.packb({"a": array((1,), "object", b"\0" * 8)}), "dtype", "unsupported")
    bad("extension.msgpack", msgpack.packb({"a": msgpack.ExtType(9, b"x")}), "msgpack-extension", "unsupported")
    bad("chunks.msgpack", msgpack.packb({"a": {"__msgpack_chunked_array__": True, "shape": {"0": 3},
                                               "chunks": {"0": array((2,), "float32", b"\0" * 8)}}}), "chunked-array")
    with open(os.path.join(directory, "expected-flax.json"), "w") as file:
        json.dump(expected, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
