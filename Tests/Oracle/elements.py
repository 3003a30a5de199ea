"""elements.py decode|special|saturate DTYPE VALUES BYTES: do BYTES and VALUES belong together, as NumPy and ml_dtypes have it?

decode: VALUES (float32 or float64, told by the file name) are what BYTES mean. special, saturate: BYTES are what
VALUES become, with that rule for numbers that are too large. Equal bit for bit, but for NaN, where any NaN will do.
"""

import sys

import ml_dtypes
import numpy as np

DTYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32,
    "I32": np.int32, "U64": np.uint64, "I64": np.int64, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "F32": np.float32, "F64": np.float64, "C64": np.float32, "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F6_E2M3": ml_dtypes.float6_e2m3fn, "F6_E3M2": ml_dtypes.float6_e3m2fn, "F4": ml_dtypes.float4_e2m1fn,
}
WIDTHS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def unpack(data, width):
    """One byte an element, from a stream of bits that begins with the lowest of the first byte."""
    bits = np.unpackbits(data, bitorder="little").reshape(-1, width)
    return (bits << np.arange(width)).sum(axis=1).astype(np.uint8)


def compare(result, expected, shown):
    nan = np.isnan(expected)
    if not np.array_equal(nan, np.isnan(result)):
        sys.exit("NaN in other places: %r, result %r" % (shown[nan != np.isnan(result)][:4], result[nan != np.isnan(result)][:4]))
    wrong = np.flatnonzero(((result != expected) | (np.signbit(result) != np.signbit(expected))) & ~nan)
    if wrong.size:
        i = wrong[0]
        sys.exit(f"{wrong.size} of {result.size} differ, first {shown[i]!r}: {result[i]!r}, expected {expected[i]!r}")


def encoded(values, name, target, rule):
    """What values should become, as float64 (integers as they are)."""
    if np.issubdtype(target, np.bool_):
        return values != 0
    if np.issubdtype(target, np.integer):
        limits = np.iinfo(target)
        whole = np.nan_to_num(np.rint(values.astype(np.float64)), nan=0.0, posinf=np.inf, neginf=-np.inf)
        return np.array([int(min(max(v, -1e30), 1e30)) for v in whole], object).clip(limits.min, limits.max)
    if values.dtype == np.float64 and name != "F64":
        values = values.astype(np.float32)
    result = values.astype(target).astype(np.float64)
    if name in WIDTHS:
        # ml_dtypes makes NaN a zero with the other sign; ours keeps it.
        return np.where(np.isnan(values), np.copysign(0.0, values), result)
    if rule == "saturate":
        largest = np.float64(ml_dtypes.finfo(target).max)
        lost = ~np.isfinite(result) & ~np.isnan(values)
        result = np.where(lost, np.copysign(largest, values), result)
        if name == "F8_E8M0":
            result = np.where(values == 0, 2.0**-127, np.where(values < 0, np.nan, result))
    if name == "F8_E8M0":
        # ml_dtypes rounds all subnormals above 2^-127 up; ours goes to the nearest.
        result = np.where((values > 2.0**-127) & (values < 1.5 * 2.0**-127), 2.0**-127, result)
    return result


mode, name, values_path, bytes_path = sys.argv[1:]
values = np.fromfile(values_path, np.float64 if values_path.endswith("64") else np.float32)
data = np.fromfile(bytes_path, np.uint8)
target = DTYPES[name]
if name in WIDTHS:
    data = unpack(data, WIDTHS[name])
with np.errstate(all="ignore"):
    if mode == "decode":
        elements = (data != 0) if name == "BOOL" else data.view(target)
        compare(values, elements.astype(values.dtype), data if name in WIDTHS else elements)
    else:
        expected = encoded(values, name, target, mode)
        if np.issubdtype(target, np.integer) or name == "BOOL":
            wrong = np.flatnonzero(data.view(target).astype(object) != expected.astype(object))
            if wrong.size:
                i = wrong[0]
                sys.exit(f"{wrong.size} differ, first {values[i]!r}: {data.view(target)[i]}, expected {expected[i]}")
        else:
            compare(data.view(target).astype(np.float64), expected, values)
