"""diff.py COMMAND DIRECTORY: does `artifact diff` measure what NumPy measures?

Writes pairs of tensors of every dtype, and of two dtypes, as SafeTensors and NumPy archives, and compares the report.
"""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

command, folder = sys.argv[1], Path(sys.argv[2])
rng = np.random.default_rng(7)
DTYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def numbers(dtype, count=70_003):
    if dtype == "bool":
        return rng.integers(0, 2, count).astype(bool)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, count).astype(dtype)
    return rng.standard_normal(count).astype(dtype)


def changed(array):
    made = array.copy()
    places = rng.choice(array.size, 1000, replace=False)
    made[places] = numbers(array.dtype.str[1:] if array.dtype != bool else "bool", 1000)
    return made


left, right = {}, {}
for dtype in DTYPES:
    left[f"a.{dtype}"] = numbers(dtype)
    right[f"a.{dtype}"] = changed(left[f"a.{dtype}"])
for one, other in (("f4", "f2"), ("f8", "f4"), ("i4", "f8"), ("u1", "i2"), ("f2", "i8")):
    left[f"b.{one}.{other}"] = numbers(one)
    right[f"b.{one}.{other}"] = left[f"b.{one}.{other}"].astype(other)
left["same"] = right["same"] = numbers("f4")
odd = numbers("f4", 100)
odd[:4] = [np.nan, np.inf, -np.inf, np.nan]
left["odd"], right["odd"] = odd, np.roll(odd, 1)
save_file(left, folder / "a.safetensors")
np.savez(folder / "b.npz", **right)

done = subprocess.run([command, "diff", "--json", folder / "a.safetensors", folder / "b.npz"], capture_output=True, text=True)
if done.returncode != 1:
    sys.exit(f"exit {done.returncode}: {done.stderr}")
report = json.loads(done.stdout)
wanted = {name for name in left if name != "same"}
found = {tensor["name"]: tensor for tensor in report["changed"]}
if set(found) != wanted or report["same_count"] != 1:
    sys.exit(f"other tensors: {set(found) ^ wanted}")
for name in sorted(wanted):
    a, b, values = left[name].astype("f8"), right[name].astype("f8"), found[name]["values"]
    with np.errstate(all="ignore"):
        distance = np.abs(a - b)
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        distance[equal] = 0
        known = distance[~np.isnan(distance)]
        relative = np.linalg.norm(distance[np.isfinite(distance)]) / np.linalg.norm(a[np.isfinite(a)])
        each = np.where(equal, 0, distance / np.maximum(np.abs(a), np.abs(b)))
    expected = {
        "count": a.size, "differing": int((~equal).sum()), "max_abs": known.max(), "mean_abs": known.sum() / a.size,
        "rms": np.sqrt((known**2).sum() / a.size), "max_relative": np.nanmax(each), "relative": relative,
        "nan": [int(np.isnan(a).sum()), int(np.isnan(b).sum())], "infinite": [int(np.isinf(a).sum()), int(np.isinf(b).sum())],
    }  # fmt: skip
    for key, value in expected.items():
        if name == "odd" and key in ("max_abs", "mean_abs", "rms", "relative", "max_relative"):
            ok = values[key] is None
        elif isinstance(value, list):
            ok = values[key] == value
        else:
            ok = np.isclose(values[key], value, rtol=1e-12)
        if not ok:
            sys.exit(f"{name}: {key} is {values[key]}, not {value}")
