"""Makes two checkpoints that differ in every way, and says in which, by NumPy alone.

    python differences.py DIRECTORY      writes DIRECTORY/a.safetensors, b.safetensors and expected.json
"""

import json
import os
import sys

import ml_dtypes  # noqa: F401  (gives NumPy its dtypes)
import numpy as np
from safetensors.numpy import save_file

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16",
          "uint8", "bool"]


def numbers(array):
    if array.dtype == np.complex64:
        array = array.view(np.float32)
    if array.dtype.name in ("bfloat16", "float16"):
        array = array.astype(np.float32)
    return array.astype(np.longdouble).ravel()


def statistics(a, b):
    with np.errstate(all="ignore"):
        x, y = numbers(a), numbers(b)
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        distance = np.where(same, 0, np.abs(x - y))
        usable = np.isfinite(distance)
        distance = distance[usable]
        finite = x[np.isfinite(x)]
        length = float(np.sqrt((finite * finite).sum()))
        return {
            "count": x.size, "differing": int((~same).sum()), "incomparable": int((~usable).sum()),
            "max_abs": float(distance.max(initial=0)), "mean_abs": float(distance.mean()) if distance.size else 0.0,
            "relative": float(np.sqrt((distance * distance).sum())) / length if length else None if distance.any() else 0.0,
            "nan_first": int(np.isnan(x).sum()), "nan_second": int(np.isnan(y).sum()),
            "inf_first": int(np.isinf(x).sum()), "inf_second": int(np.isinf(y).sum()),
        }


def main(directory):
    random = np.random.default_rng(7)
    a, b, expected = {}, {}, {}

    def add(name, first, second):
        a[name], b[name] = first, second
        if first.shape != second.shape:
            expected[name] = ("shape", None)
        elif first.dtype != second.dtype:
            expected[name] = ("dtype", statistics(first, second))
        elif first.tobytes() != second.tobytes():
            expected[name] = ("values", statistics(first, second))

    for dtype in DTYPES:
        plain = (random.standard_normal((37, 19)) * 50)
        first = np.abs(plain).astype(dtype) if dtype.startswith("u") else plain.astype(dtype)
        second = first.copy()
        flat = second.reshape(-1)
        for index in random.choice(flat.size, 50, replace=False):
            flat[index] = not flat[index] if dtype == "bool" else flat[index] + np.array(3).astype(dtype)
        add(f"layers.{DTYPES.index(dtype)}.{dtype}", first, second)
        add(f"same.{dtype}", first, first.copy())
    f32 = random.standard_normal((20, 33)).astype(np.float32)
    add("cast.bf16", f32, f32.astype(ml_dtypes.bfloat16))
    add("cast.f16", f32.astype(np.float16), f32)
    add("cast.exact", f32.astype(np.float16), f32.astype(np.float16).astype(np.float32))
    add("shape", f32, f32.T.copy())
    add("complex", f32.reshape(-1).view(np.complex64), (f32 * 2).reshape(-1).view(np.complex64))
    odd = f32.copy()
    odd[0, :6] = [np.nan, np.inf, -np.inf, np.inf, np.nan, 1]
    other = f32.copy()
    other[0, :6] = [np.nan, np.inf, np.inf, 2, 3, np.nan]
    add("odd", odd, other)
    add("zero.sign", np.zeros(5, np.float32), -np.zeros(5, np.float32))
    add("zero.from", np.zeros(5, np.float32), np.ones(5, np.float32))
    add("zero.size", np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    add("large.words", np.array([2**60, 2**60 + 1, 5]), np.array([2**60, 2**60 + 2, 5]))
    big = random.standard_normal((1500, 1700)).astype(np.float32)
    late = big.copy()
    late[-1, -1] += 1
    add("large.last", big, late)
    a["first"], b["second"] = f32, f32
    expected["first"], expected["second"] = ("only-in-first", None), ("only-in-second", None)
    save_file(a, os.path.join(directory, "a.safetensors"))
    save_file(b, os.path.join(directory, "b.safetensors"))
    result = {
        "tensors": {name: {"change": change, "values": values} for name, (change, values) in expected.items()},
        "same": len(set(a) & set(b) - set(expected)),
    }
    json.dump(result, open(os.path.join(directory, "expected.json"), "w"))


main(sys.argv[1])
