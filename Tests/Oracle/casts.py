"""casts.py DIRECTORY: are the conversions in DIRECTORY those of NumPy and ml_dtypes?

FROM.in holds elements of the dtype FROM, and FROM-TO-RULE.out what became of them; RULE, special or saturate, is for
numbers that are too large. Equal bit for bit, but for NaN, where any NaN will do. Integers out of range become the
nearest end of the target's.
"""

import sys
from pathlib import Path

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
        whole = np.rint(values.astype(np.float64))
        # As a float the upper end may be one more than the largest integer, hence >=.
        inside = (whole > limits.min) & (whole < float(limits.max))
        result = np.where(inside, whole, 0).astype(target)
        result[whole <= limits.min] = limits.min
        result[whole >= float(limits.max)] = limits.max
        return result
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


def compare_integers(result, expected, shown):
    wrong = np.flatnonzero(result != expected)
    if wrong.size:
        i = wrong[0]
        sys.exit(f"{wrong.size} differ, first {shown[i]!r}: {result[i]}, expected {expected[i]}")


def elements(path, name):
    data = np.fromfile(path, np.uint8)
    if name == "BOOL":
        return data != 0
    return unpack(data, WIDTHS[name]).view(DTYPES[name]) if name in WIDTHS else data.view(DTYPES[name])


def clamped(values, target):
    limits = np.iinfo(target)
    given = np.iinfo(values.dtype)
    return values.clip(max(limits.min, given.min), min(limits.max, given.max)).astype(target)


def expected(values, source, name, rule):
    target = DTYPES[name]
    if source == "BOOL":
        values = values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.integer):
        if name == "BOOL":
            return values != 0
        if np.issubdtype(target, np.integer):
            return clamped(values, target)
        values = values.astype(np.float64 if name == "F64" else np.float32)
    elif source != "F64":
        values = values.astype(np.float32)
    return encoded(values, name, target, rule)


def main():
    directory = Path(sys.argv[1])
    count = 0
    with np.errstate(all="ignore"):
        for path in sorted(directory.glob("*.out")):
            source, target, rule = path.stem.split("-")
            values = elements(directory / f"{source}.in", source)
            result = elements(path, target)
            wanted = expected(values, source, target, rule)
            print(path.stem, file=sys.stderr)
            if target == "BOOL" or np.issubdtype(DTYPES[target], np.integer):
                compare_integers(result, wanted, values)
            else:
                compare(result.astype(np.float64), wanted.astype(np.float64), values)
            count += 1
    print(count)


if __name__ == "__main__":
    main()
