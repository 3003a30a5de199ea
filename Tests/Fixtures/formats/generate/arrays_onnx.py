"""The ONNX part of arrays.py."""

import json
import shutil
import struct

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOATS = {
    TensorProto.FLOAT: "f4", TensorProto.DOUBLE: "f8", TensorProto.FLOAT16: "f2", TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2, TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    TensorProto.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu, TensorProto.COMPLEX64: "c8",
}  # fmt: skip
INTS = {
    TensorProto.UINT8: "u1", TensorProto.INT8: "i1", TensorProto.UINT16: "u2", TensorProto.INT16: "i2",
    TensorProto.INT32: "i4", TensorProto.INT64: "i8", TensorProto.BOOL: "bool", TensorProto.UINT32: "u4",
    TensorProto.UINT64: "u8",
}  # fmt: skip


def model(initializers, nodes=(), sparse=(), functions=()):
    graph = helper.make_graph(list(nodes), "graph", [], [], list(initializers), sparse_initializer=list(sparse))
    made = helper.make_model(graph, producer_name="fixtures", ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    made.functions.extend(functions)
    helper.set_model_props(made, {"author": "nobody", "task": "test"})
    return made


def tensor(name, kind, shape, **fields):
    made = TensorProto(name=name, data_type=kind, dims=shape)
    for field, value in fields.items():
        if isinstance(value, bytes):
            setattr(made, field, value)
        else:
            getattr(made, field).extend(value)
    return made


def external(name, kind, shape, **entries):
    made = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        made.external_data.add(key=key, value=str(value))
    return made


def typed(kind, array):
    """The tensor with its numbers in the field of its type, and the same as NumPy reads it back."""
    bits = np.ascontiguousarray(array)
    if kind == TensorProto.FLOAT:
        fields = {"float_data": bits.ravel().tolist()}
    elif kind == TensorProto.COMPLEX64:
        fields = {"float_data": bits.view("f4").ravel().tolist()}
    elif kind == TensorProto.DOUBLE:
        fields = {"double_data": bits.ravel().tolist()}
    elif kind == TensorProto.INT64:
        fields = {"int64_data": bits.ravel().tolist()}
    elif kind in (TensorProto.UINT32, TensorProto.UINT64):
        fields = {"uint64_data": bits.ravel().tolist()}
    elif kind in FLOATS:
        fields = {"int32_data": bits.view(f"u{bits.dtype.itemsize}").ravel().tolist()}
    else:
        fields = {"int32_data": bits.ravel().astype("i4").tolist()}
    return tensor("t", kind, array.shape, **fields)


def make(g):
    root, case, place, sample, entry = g["ROOT"], g["case"], g["place"], g["sample"], g["entry"]
    folder = "onnx/made"
    shutil.rmtree(root / folder, ignore_errors=True)

    def save(name, made, beside=None):
        data = made if isinstance(made, bytes) else made.SerializeToString(deterministic=True)
        if beside is None:
            place(f"{folder}/{name}.onnx", data)
            return f"{folder}/{name}.onnx"
        place(f"{folder}/{name}/model.onnx", data)
        for file, contents in beside.items():
            place(f"{folder}/{name}/{file}", contents)
        return f"{folder}/{name}"

    def good(name, made, tensors, beside=None, **rest):
        case(save(name, made, beside), tensors, **rest)

    def bad(name, made, error, kind="malformed", beside=None, **rest):
        case(save(name, made, beside), error=error, **{"class": kind}, **rest)

    raw, fields, arrays, again = [], [], {}, {}
    for kind, dtype in {**FLOATS, **INTS}.items():
        name = TensorProto.DataType.Name(kind).lower()
        arrays[name] = sample(dtype, (3, 5))
        raw.append(tensor(name, kind, (3, 5), raw_data=arrays[name].tobytes()))
        fields.append(typed(kind, arrays[name]))
        fields[-1].name = name
        if kind != TensorProto.FLOAT8E8M0:
            assert numpy_helper.to_array(fields[-1]).tobytes() == arrays[name].tobytes(), name
    good("raw", model(raw), arrays)
    good("typed", model(fields), arrays)
    good("no_extension", model(raw[:1]), {"float": arrays["float"]})
    (root / folder / "no_extension.onnx").rename(root / folder / "no_extension")
    g["cases"][f"{folder}/no_extension"] = g["cases"].pop(f"{folder}/no_extension.onnx")

    narrow, widened = [], {}
    for kind, dtype, name in ((TensorProto.UINT4, "u1", "uint4"), (TensorProto.INT4, "i1", "int4")):
        for count in (6, 7):
            values = sample(dtype, count) >> 4 if dtype == "i1" else sample(dtype, count) & 15
            made = helper.make_tensor(f"{name}_{count}", kind, [count], values.astype(int).tolist())
            assert (numpy_helper.to_array(made).astype(int) == values).all()
            narrow.append(made)
            widened[made.name] = values.astype(dtype)
            nibbles = np.append(values.astype("u1") & 15, [0] * (count % 2)).astype("u1")
            raw_data = (nibbles[0::2] | nibbles[1::2] << 4).tobytes()
            narrow.append(tensor(f"{name}_{count}_raw", kind, [count], raw_data=raw_data))
            assert (numpy_helper.to_array(narrow[-1]).astype(int) == values).all()
            widened[narrow[-1].name] = values.astype(dtype)
    good("int4", model(narrow), widened, warn=["widened", "widened"])
    for kind, name in ((25, "UINT2"), (26, "INT2")):
        values = [0, 1, 2, 3, 1] if kind == 25 else [0, 1, -2, -1, 1]
        data = bytes([sum((v & 3) << 2 * i for i, v in enumerate(values[:4])), values[4] & 3])
        made = tensor("t", kind, [5], raw_data=data)
        if hasattr(TensorProto, name):
            assert numpy_helper.to_array(made).astype(int).tolist() == values
        good(name.lower(), model([made]), {"t": np.array(values, "u1" if kind == 25 else "i1")}, warn=["widened"])
    nibbles = np.arange(16, dtype="u1")
    data = (nibbles[0::2] | nibbles[1::2] << 4).tobytes()
    good("float4", model([tensor("t", TensorProto.FLOAT4E2M1, [2, 8], raw_data=data)]), {"t": entry(np.zeros((2, 8)), "F4", data)})
    bad("float4_odd", model([tensor("t", TensorProto.FLOAT4E2M1, [3], raw_data=b"\1\2")]), "onnx-type", "unsupported")
    good("empty", model([tensor("t", TensorProto.FLOAT, [0, 3]), tensor("s", TensorProto.FLOAT, [], float_data=[2.5])]),
         {"t": np.zeros((0, 3), "f4"), "s": np.float32(2.5)})  # fmt: skip

    # The same message as older writers may put it: numbers in fields of their own, dimensions packed.
    unpacked = b"\x0a\x02\x02\x02\x10\x01" + b"".join(b"\x25" + struct.pack("<f", v) for v in (1, 2, 3, 4)) + b"\x42\x01t"
    varints = b"\x08\x03\x10\x07" + b"".join(b"\x38" + v for v in (b"\x01", b"\xff" * 9 + b"\x01", b"\x80\x01")) + b"\x42\x01v"
    graph = b"".join(b"\x2a" + bytes([len(t)]) + t for t in (unpacked, varints))
    good("unpacked", b"\x08\x08\x3a" + bytes([len(graph)]) + graph,
         {"t": np.array([[1, 2], [3, 4]], "f4"), "v": np.array([1, -1, 128], "i8")})  # fmt: skip
    long_ints = sample("i8", (9000,)) >> 20
    good("varints", model([typed(TensorProto.INT64, long_ints)]), {"t": long_ints})

    # What else holds tensors.
    weight = tensor("w", TensorProto.FLOAT, [2], float_data=[1, 2])
    inner = helper.make_graph([], "inner", [], [], [tensor("inner_w", TensorProto.FLOAT, [1], float_data=[1])])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor("cv", TensorProto.FLOAT, [1], float_data=[3])),
        helper.make_node("Constant", [], ["i"], value_int=3),
        helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner),
        helper.make_node("Add", ["w", "c"], ["y"]),
    ]
    function = helper.make_function("d", "f", [], ["o"], [helper.make_node("Constant", [], ["fc"], value=weight)], [helper.make_opsetid("", 21)])
    good("graphs", model([weight], nodes, functions=[function]), {"w": np.array([1, 2], "f4")},
         skipped=["c", "inner_w", "inner_w", "fc"])  # fmt: skip
    text = tensor("text", TensorProto.STRING, [2], string_data=[b"a", b"b"])
    good("strings", model([weight, text]), {"w": np.array([1, 2], "f4")}, skipped=["text"])
    wide = tensor("z", TensorProto.COMPLEX128, [1], double_data=[1, 2])
    bad("complex128", model([weight, wide]), "onnx-type", "unsupported")
    good("complex128_left", model([weight, wide]), {"w": np.array([1, 2], "f4")}, skipped=["z"], options={"skip_unsupported": True})
    sparse = onnx.SparseTensorProto(values=tensor("sp", TensorProto.FLOAT, [1], float_data=[1]), indices=tensor("", TensorProto.INT64, [1], int64_data=[3]), dims=[9])
    bad("sparse", model([weight], sparse=[sparse]), "sparse-tensor", "unsupported")
    good("sparse_left", model([weight], sparse=[sparse]), {"w": np.array([1, 2], "f4")}, skipped=["sp"], options={"skip_unsupported": True})

    bad("duplicate", model([weight, weight]), "duplicate-name")
    bad("nameless", model([tensor("", TensorProto.FLOAT, [1], float_data=[1])]), "name-missing")
    bad("raw_short", model([tensor("t", TensorProto.FLOAT, [3], raw_data=b"12345678")]), "size-mismatch")
    bad("raw_long", model([tensor("t", TensorProto.FLOAT, [1], raw_data=b"12345678")]), "size-mismatch")
    bad("field_short", model([tensor("t", TensorProto.INT32, [3], int32_data=[1, 2])]), "size-mismatch")
    bad("field_none", model([tensor("t", TensorProto.INT32, [3])]), "size-mismatch")
    bad("field_wrong", model([tensor("t", TensorProto.INT32, [1], float_data=[1])]), "onnx-field")
    bad("both", model([tensor("t", TensorProto.FLOAT, [1], float_data=[1], raw_data=b"1234")]), "ambiguous-data")
    bad("negative", model([tensor("t", TensorProto.FLOAT, [-1], float_data=[1])]), "bad-shape")
    bad("overflow", model([tensor("t", TensorProto.FLOAT, [2**40, 2**40], float_data=[1])]), "size-overflow")
    bad("no_type", model([tensor("t", 99, [1], raw_data=b"1")]), "onnx-type")
    bad("no_graph", b"\x08\x08", "not-onnx")
    bad("truncated", model(raw).SerializeToString()[:-100], "truncated")

    # Bytes in files beside the model.
    w, v = sample("f4", (8, 4)), sample("f2", (5,))
    both = w.tobytes() + bytes(32) + v.tobytes()
    w_at = external("w", TensorProto.FLOAT, [8, 4], location="weights.bin", offset=0, length=128)
    v_at = external("v", TensorProto.FLOAT16, [5], location="weights.bin", offset=160, length=10)
    good("beside", model([w_at, v_at]), {"w": w, "v": v}, {"weights.bin": both}, files=["model.onnx", "weights.bin"], left=[])
    good("no_length", model([external("w", TensorProto.FLOAT, [8, 4], location="w")]), {"w": w}, {"w": w.tobytes()})
    good("overlapping", model([w_at, external("u", TensorProto.FLOAT, [4], location="weights.bin", offset=16, length=16)]),
         {"w": w, "u": w[1]}, {"weights.bin": both})  # fmt: skip
    good("subfolder", model([external("w", TensorProto.FLOAT, [8, 4], location="data/w.bin")]), {"w": w}, {"data/w.bin": w.tobytes()})
    good("checksum", model([external("w", TensorProto.FLOAT, [8, 4], location="w", checksum="0" * 40)]), {"w": w}, {"w": w.tobytes()}, warn=["checksum-unchecked"])
    emptied = external("w", TensorProto.FLOAT, [8, 4], location="w")
    emptied.raw_data = b""
    good("emptied", model([emptied]), {"w": w}, {"w": w.tobytes()})
    for name, location in (("up", "../raw.onnx"), ("absolute", "/etc/passwd"), ("inside_up", "a/../../raw.onnx")):
        bad(f"escape_{name}", model([external("w", TensorProto.FLOAT, [8, 4], location=location)]), "path-escape", "unsafe", beside={})
    bad("missing", model([external("w", TensorProto.FLOAT, [8, 4], location="gone.bin")]), "file-missing", beside={})
    bad("beyond", model([external("w", TensorProto.FLOAT, [8, 4], location="w", offset=1)]), "external-range", beside={"w": w.tobytes()})
    bad("far_beyond", model([external("w", TensorProto.FLOAT, [8, 4], location="w", offset=2**64 - 1)]), "external-range", beside={"w": w.tobytes()})
    bad("wrong_length", model([external("w", TensorProto.FLOAT, [8, 4], location="w", length=100)]), "size-mismatch", beside={"w": w.tobytes()})
    bad("no_location", model([external("w", TensorProto.FLOAT, [8, 4], offset=1)]), "external-data", beside={})
    bad("bad_number", model([external("w", TensorProto.FLOAT, [8, 4], location="w", offset="-4")]), "external-data", beside={"w": w.tobytes()})
