"""expressions.py CASES: are the tensors in CASES what NumPy and ml_dtypes make of the operations beside them?

A line of CASES is JSON: the tree of operations, and the dtype, the shape and the bytes (in hexadecimal) of the
result. They must be equal bit for bit, but for NaN, where any NaN will do.
"""

import json
import sys

import ml_dtypes
import numpy as np

DTYPES = {
    "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F32": np.float32, "F64": np.float64,
    "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F6_E2M3": ml_dtypes.float6_e2m3fn, "F6_E3M2": ml_dtypes.float6_e3m2fn, "F4": ml_dtypes.float4_e2m1fn,
}
WIDTHS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def stored(name, shape, text):
    data = np.frombuffer(bytes.fromhex(text), np.uint8)
    if name in WIDTHS:
        bits = np.unpackbits(data, bitorder="little").reshape(-1, WIDTHS[name])
        data = (bits << np.arange(WIDTHS[name])).sum(axis=1).astype(np.uint8)
    return data.view(DTYPES[name]).reshape(shape)


def cast(array, name):
    """Through float32, unless the target is wider."""
    if name == "F64":
        return array.astype(np.float64)
    return array.astype(np.float32).astype(DTYPES[name])


def update(node):
    b = evaluate(node["b"]).astype(np.float32)
    a = evaluate(node["a"]).astype(np.float32)
    base = evaluate(node["of"]).astype(np.float32)
    total = np.zeros(base.shape, np.float32)
    # Fused: a longdouble holds the product of two floats and takes a sum far more exactly than it is rounded to.
    wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
    for k in range(a.shape[0]):
        total = (total + wide_b[:, k : k + 1] * wide_a[k : k + 1, :]).astype(np.float32)
    scale = np.array([node["scale"]], np.uint32).view(np.float32)[0]
    return cast(base + scale * total, node["dtype"])


def dequantised(node):
    values = evaluate(node["of"]).astype(np.float32)
    scales = evaluate(node["scales"]).astype(np.float32)
    for axis, block in enumerate(node["block"]):
        scales = np.repeat(scales, block, axis=axis)
    return cast(values * scales[tuple(slice(0, d) for d in values.shape)], node["dtype"])


def evaluate(node):
    match node["op"]:
        case "leaf":
            return stored(node["dtype"], node["shape"], node["hex"])
        case "slice":
            return evaluate(node["of"])[tuple(slice(a, b) for a, b in zip(node["from"], node["to"]))]
        case "permute":
            return evaluate(node["of"]).transpose(node["order"])
        case "reshape":
            return evaluate(node["of"]).reshape(node["shape"])
        case "concatenate":
            return np.concatenate([evaluate(part) for part in node["of"]], axis=node["axis"])
        case "cast":
            return cast(evaluate(node["of"]), node["dtype"])
        case "update":
            return update(node)
        case "dequantise":
            return dequantised(node)


lines = open(sys.argv[1]).read().splitlines()
np.seterr(all="ignore")
for line in lines:
    case = json.loads(line)
    expected = np.asarray(evaluate(case["tree"]))
    result = stored(case["dtype"], case["shape"], case["hex"])
    wide_result, wide_expected = result.astype(np.float64), expected.astype(np.float64)
    same = (wide_result == wide_expected) & (np.signbit(wide_result) == np.signbit(wide_expected))
    same |= np.isnan(wide_result) & np.isnan(wide_expected)
    same = np.asarray(same)
    if result.shape != expected.shape or result.dtype != expected.dtype or not same.all():
        where = np.argwhere(~same)[:3].tolist()
        sys.exit(f"{where}: {wide_result.ravel()[~same.ravel()][:3]}, expected {wide_expected.ravel()[~same.ravel()][:3]}\n{line}")
print(len(lines), "expressions")
