#!/usr/bin/env python3
"""Make the fixtures of arrays (npy, npz, onnx, mlx, hdf5) and what they hold, with the libraries that own them.

Each part is made only where its library can be imported, so that several environments can make them in turn;
`expected-arrays.json` keeps what the other parts said.

Usage: python arrays.py [--root FOLDER] [--seed NUMBER]
"""

import argparse
import hashlib
import io
import json
import shutil
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
cases = {}

NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32",
    "int32": "I32", "uint64": "U64", "int64": "I64", "float16": "F16", "float32": "F32", "float64": "F64",
    "complex64": "C64", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip


def entry(array, dtype=None, data=None):
    array = np.asarray(array)
    data = data if data is not None else np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    return {
        "dtype": dtype or NAMES[array.dtype.name], "nbytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(), "shape": list(array.shape),
    }  # fmt: skip


def case(path, tensors=None, **rest):
    """Note what a fixture holds: arrays, or entries made by `entry`."""
    made = dict(rest)
    if tensors is not None:
        made["tensors"] = {k: v if isinstance(v, dict) else entry(v) for k, v in tensors.items()}
    cases[path] = made


def place(path, data=None):
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if data is not None:
        target.write_bytes(data)
    return target


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npy_file(header, data=b"", version=(1, 0), length=None):
    text = header if isinstance(header, bytes) else header.encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes(version) + (struct.pack("<H", size) if version[0] == 1 else struct.pack("<I", size)) + text + data


rng = np.random.default_rng()


def sample(dtype, shape):
    """Any bit patterns but those of NaN, which some conversions would change."""
    dtype = np.dtype(dtype)
    if dtype == bool:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if dtype.name == "float8_e8m0fnu":
        return rng.integers(0, 255, shape).astype(np.uint8).view(dtype)
    return rng.standard_normal(shape).astype(dtype)


def make_npy():
    folder = "npy/made"
    shutil.rmtree(ROOT / folder, ignore_errors=True)

    def good(name, data, array, **rest):
        place(f"{folder}/{name}.npy", data)
        case(f"{folder}/{name}.npy", {name: array}, **rest)

    def bad(name, data, error, kind="malformed", **rest):
        place(f"{folder}/{name}.npy", data)
        case(f"{folder}/{name}.npy", error=error, **{"class": kind}, **rest)

    for dtype in ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]:
        array = sample(dtype, (2, 3, 4))
        good(f"le_{dtype}", saved(array), array)
        if np.dtype(dtype).itemsize > 1:
            big = array.astype(np.dtype(dtype).newbyteorder(">"))
            good(f"be_{dtype}", saved(np.asfortranarray(big)), array)
    array = np.asfortranarray(sample("f4", (3, 5, 7)))
    good("fortran_3d", saved(array), array)
    good("scalar", saved(np.float32(1.5)), np.float32(1.5))
    good("empty", saved(np.zeros((0, 3), "i8")), np.zeros((0, 3), "i8"))
    array = sample(ml_dtypes.bfloat16, (3, 2))
    good("bf16", saved(array), array, options={"void_as": "BF16"})
    array = sample(ml_dtypes.float8_e4m3fn, (3, 2))
    good("f8", saved(array), array, options={"void_as": "F8_E4M3"})
    bad("bf16_unsaid", saved(sample(ml_dtypes.bfloat16, (3, 2))), "void-dtype", "unsupported")
    array = sample(ml_dtypes.float8_e5m2, (3, 2))
    good("f8_f1", saved(array), array, options={"void_as": "F8_E5M2"})
    bad("f8_unsaid", saved(sample(ml_dtypes.float8_e5m2, 4)), "void-dtype", "unsupported")
    bad("f8_as_bf16", saved(sample(ml_dtypes.float8_e5m2, 4)), "void-dtype", "unsupported", options={"void_as": "BF16"})
    array = sample("f4", (2, 2))
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
    for version in ((2, 0), (3, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version=version)
        good(f"version{version[0]}", buffer.getvalue(), array)
    good("python2", npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 2L), }", array.tobytes()), array)
    good("reordered", npy_file('{"shape":(2,2),"fortran_order":False,"descr":"<f4"}', array.tobytes()), array)
    good("trailing", saved(array) + b"more", array, warn=["trailing-bytes"])
    good("two_arrays", saved(array) + saved(array), array, warn=["trailing-bytes"])
    bad("version4", npy_file(text, array.tobytes(), (4, 0)), "npy-version", "unsupported")
    bad("short", saved(array)[:-1], "truncated")
    bad("short_header", saved(array)[:40], "truncated")
    bad("magic_only", b"\x93NUMPY", "truncated")
    bad("huge_header", npy_file(text, b"", (2, 0), 0xFFFFFFFF), "npy-header")
    bad("expression", npy_file(text.replace("(2, 2)", "(2*2,)"), array.tobytes()), "npy-header")
    bad("call", npy_file(text.replace("'<f4'", "__import__('os')"), array.tobytes()), "npy-header")
    bad("negative", npy_file(text.replace("(2, 2)", "(-2, -2)"), array.tobytes()), "npy-header")
    bad("missing_key", npy_file("{'descr': '<f4', 'shape': (2, 2)}", array.tobytes()), "npy-header")
    bad("extra_key", npy_file(text.replace("}", "'x': 1}"), array.tobytes()), "npy-header")
    bad("twice", npy_file(text.replace("'fortran_order'", "'descr'"), array.tobytes()), "npy-header")
    bad("list_shape", npy_file(text.replace("(2, 2)", "[2, 2]"), array.tobytes()), "npy-header")
    bad("bool_shape", npy_file(text.replace("(2, 2)", "(True, 2)"), array.tobytes()), "npy-header")
    bad("deep", npy_file("(" * 60000, b"", (2, 0)), "npy-header")
    bad("overflow", npy_file(text.replace("(2, 2)", "(4294967296, 4294967296, 2)"), b""), "size-overflow")
    bad("claims_much", npy_file(text.replace("(2, 2)", "(1000000000000,)"), b"1234"), "truncated")
    bad("c16", saved(np.zeros(2, "c16")), "npy-dtype", "unsupported")
    bad("longdouble", saved(np.zeros(2, "g")), "npy-dtype", "unsupported")
    bad("structured", saved(np.zeros(2, [("a", "f4"), ("b", "i4")])), "structured-dtype", "unsupported")
    bad("bytes", saved(np.array([b"ab"])), "string-dtype", "unsupported")
    bad("text", saved(np.array(["ab"])), "string-dtype", "unsupported")
    bad("date", saved(np.zeros(2, "M8[s]")), "datetime-dtype", "unsupported")
    bad("object", saved(np.array([{}], object), allow_pickle=True), "object-dtype", "unsafe")


def npz(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def make_npz():
    folder = "npy/npz"
    shutil.rmtree(ROOT / folder, ignore_errors=True)
    arrays = {
        "w": sample("f4", (4, 6)), "W": sample("f2", (4,)), "layer/0/kernel": np.asfortranarray(sample("f4", (3, 5))),
        "be": sample("i8", (7,)).astype(">i8"), "empty": np.zeros((0,), "f4"), "scalar": np.float64(2.5),
        "é": sample("u1", (5,)),
    }  # fmt: skip
    for name, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
        path = place(f"{folder}/{name}.npz")
        save(path, **arrays)
        case(f"{folder}/{name}.npz", arrays)
    place(f"{folder}/position.npz")
    np.savez(ROOT / folder / "position.npz", arrays["w"], arrays["W"])
    case(f"{folder}/position.npz", {"arr_0": arrays["w"], "arr_1": arrays["W"]})
    large = np.zeros((300, 1000), "f4")
    large[::7] = np.arange(1000)
    np.savez_compressed(ROOT / folder / "large.npz", large=large, other=large[:50] + 1)
    case(f"{folder}/large.npz", {"large": large, "other": large[:50] + 1})

    w = saved(arrays["w"])
    place(f"{folder}/extras.npz", npz([("w.npy", w), ("notes.txt", b"hello"), ("folder/", b"")]))
    case(f"{folder}/extras.npz", {"w": arrays["w"]}, skipped=["notes.txt"])
    place(f"{folder}/no_extension", npz([("w.npy", w)]))
    case(f"{folder}/no_extension", {"w": arrays["w"]})
    place(f"{folder}/not_an_array.npz", npz([("w.npy", b"not an array")]))
    case(f"{folder}/not_an_array.npz", error="not-npy", **{"class": "malformed"})
    place(f"{folder}/duplicate.npz", npz([("w.npy", w), ("v.npy", w)]).replace(b"v.npy", b"w.npy"))
    case(f"{folder}/duplicate.npz", error="duplicate-entry", **{"class": "malformed"})
    objects = npz([("w.npy", w), ("o.npy", saved(np.array([{}], object), allow_pickle=True)), ("t.npy", saved(np.array("text")))])
    place(f"{folder}/objects.npz", objects)
    case(f"{folder}/objects.npz", error="object-dtype", **{"class": "unsafe"})
    place(f"{folder}/objects_left.npz", objects)
    case(f"{folder}/objects_left.npz", {"w": arrays["w"]}, skipped=["o.npy", "t.npy"], options={"skip_unsupported": True})
    place(f"{folder}/short_member.npz", npz([("w.npy", w[:-4])]))
    case(f"{folder}/short_member.npz", error="truncated", **{"class": "malformed"})
    wrong = bytearray(npz([("w.npy", w)], zipfile.ZIP_DEFLATED))
    for mark, place_ in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        wrong[wrong.find(mark) + place_] ^= 1
    place(f"{folder}/wrong_crc.npz", bytes(wrong))
    case(f"{folder}/wrong_crc.npz", error="damaged-stream", **{"class": "malformed"})
    wrong = bytearray(npz([("w.npy", saved(large))], zipfile.ZIP_DEFLATED))
    for mark, place_ in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        wrong[wrong.find(mark) + place_] ^= 1
    place(f"{folder}/wrong_crc_large.npz", bytes(wrong))
    case(f"{folder}/wrong_crc_large.npz", {"w": large}, readError="CRC-32")
    bomb = bytearray(npz([("w.npy", w)], zipfile.ZIP_DEFLATED))
    for mark, place_ in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = bomb.find(mark) + place_
        bomb[start : start + 4] = b"\0\0\0\x40"
    place(f"{folder}/claims_much.npz", bytes(bomb))
    case(f"{folder}/claims_much.npz", error="inflation-limit", **{"class": "malformed"})


def main():
    global rng, ROOT
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ROOT = options.root
    expected = ROOT / "expected-arrays.json"
    if expected.exists():
        cases.update(json.loads(expected.read_text()))
    for number, part in enumerate((make_npy, make_npz, make_onnx, make_mlx, make_hdf5)):
        rng = np.random.default_rng(options.seed + number)
        try:
            part()
        except ImportError as error:
            print(f"{part.__name__}: left as it was ({error})")
    expected.write_text(json.dumps(cases, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    print(f"{len(cases)} cases")


def make_onnx():
    from arrays_onnx import make

    make(globals())


def make_mlx():
    from arrays_mlx import make

    make(globals())


def make_hdf5():
    from arrays_hdf5 import make

    make(globals())


if __name__ == "__main__":
    main()
