"""Writes more/*.pt and more.json with PyTorch 2.13: the cases that the first fixtures lack.

Digests are of the bytes that PyTorch itself gives for each tensor, contiguous and little-endian.
"""
import collections, hashlib, io, json, os, pickle, struct, zipfile
import torch

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "more")
os.makedirs(out, exist_ok=True)
NAMES = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
         "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
         "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float4_e2m1fn_x2": "F4",
         "uint16": "U16"}
cases = {}


def raw(t):
    t = t.detach().contiguous().clone()
    return bytes(t.untyped_storage())


def describe(t):
    name = NAMES[str(t.dtype).split(".")[1]]
    shape = list(t.shape)
    if name == "F4":
        shape[-1] *= 2
    data = raw(t)
    return {"dtype": name, "shape": shape, "nbytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def good(file, value, tensors, save=torch.save, **more):
    path = os.path.join(out, file)
    save(value, path)
    cases["more/" + file] = {"tensors": {k: describe(v) for k, v in tensors.items()}, **more}


def bad(file, value, code, save=torch.save, **more):
    save(value, os.path.join(out, file))
    cases["more/" + file] = {"error": code, **more}


def rezip(file, source, method=zipfile.ZIP_STORED, change=lambda name, data: data):
    with zipfile.ZipFile(os.path.join(out, source)) as z, zipfile.ZipFile(os.path.join(out, file), "w", method) as w:
        for info in z.infolist():
            entry = zipfile.ZipInfo(info.filename)
            entry.compress_type = method
            w.writestr(entry, change(info.filename, z.read(info)))


torch.manual_seed(7)
a = torch.randn(3, 5)
b = torch.arange(24, dtype=torch.int16).reshape(2, 3, 4)
f4 = torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2)
u16 = torch.arange(6, dtype=torch.int16).reshape(2, 3).view(torch.uint16)
c = torch.randn(4, 3, dtype=torch.complex64)

good("dtypes_more.pt", {"f4": f4, "c64": c, "c64_t": c.t(), "e5m2fnuz": a.to(torch.float8_e5m2fnuz),
                        "e4m3fnuz": a.to(torch.float8_e4m3fnuz), "u16_t": u16.t()},
     {"f4": f4, "c64": c, "c64_t": c.t(), "e5m2fnuz": a.to(torch.float8_e5m2fnuz),
      "e4m3fnuz": a.to(torch.float8_e4m3fnuz), "u16_t": u16.t()})

parameter = torch.nn.Parameter(a.clone())
attributed = torch.nn.Parameter(a.clone() + 1)
attributed.note = "x"
attributed.extra = torch.ones(2)
typed = torch.ones(3)
typed.note = 1
good("parameters.pt", {"p": parameter, "q": attributed, "t": typed},
     {"p": parameter, "q": attributed, "t": typed}, skippedTensors=1)

views = {"perm": b.permute(2, 0, 1), "step": b[:, ::2, 1:], "expand": torch.tensor([1.0, 2.0])[:, None].expand(2, 9),
         "flip": a.flip(0), "diag": torch.arange(16.0).reshape(4, 4).diagonal(), "unfold": torch.arange(10.0).unfold(0, 4, 2),
         "one": a[1, 2], "empty": a[:0], "emptyHuge": torch.empty(0, 2**40)}
good("views_more.pt", views, views)

good("containers.pt", {"list": [a, {"x": b}], "tuple": (a[0], None, 3), 7: {"deep": {-1: b[0]}}, "name": "text",
                       "od": collections.OrderedDict([("u.v", a)])},
     {"list.0": a, "list.1.x": b, "tuple.0": a[0], "7.deep.-1": b[0], "od.u.v": a},
     tied=[["list.0", "od.u.v"]])
good("tensor_alone.pt", a, {"tensor": a})
good("trainer.pt", {"epoch": 3, "best_acc1": torch.tensor(0.5), "rng_state": torch.get_rng_state(),
                    "model": {"w": a, "b": b}, "ema": {"w": a + 1}, "lr_scheduler": {"step": 1},
                    "optimizer": {"state": {0: {"exp_avg": a, "exp_avg_sq": a}}, "param_groups": []}},
     {"w": a, "b": b}, subtree="model", skippedTensors=5)
good("parts.pt", {"encoder": {"w": a}, "decoder": {"w": b}, "optimizer": {"state": {0: a + 1}}},
     {"encoder.w": a, "decoder.w": b}, skippedTensors=1)
good("ema_only.pt", {"ema": {"w": a}, "step": 1}, {"w": a}, subtree="ema")
good("numpy_scalar.pt", {"model": {"w": a}, "best": __import__("numpy").float64(3.5)}, {"w": a}, subtree="model")

rezip("deflated.pt", "views_more.pt", zipfile.ZIP_DEFLATED)
cases["more/deflated.pt"] = cases["more/views_more.pt"]
rezip("deflated_pickle.pt", "trainer.pt")
with zipfile.ZipFile(os.path.join(out, "trainer.pt")) as z, zipfile.ZipFile(os.path.join(out, "deflated_pickle.pt"), "w") as w:
    for info in z.infolist():
        w.writestr(zipfile.ZipInfo(info.filename), z.read(info),
                   zipfile.ZIP_DEFLATED if info.filename.endswith("data.pkl") else zipfile.ZIP_STORED)
cases["more/deflated_pickle.pt"] = cases["more/trainer.pt"]


def swapped(name, data):
    if name.endswith("/byteorder"):
        return b"big"
    if "/data/" in name:
        return b"".join(data[i:i + 4][::-1] for i in range(0, len(data), 4))
    return data


torch.save({"w": a, "t": a.t(), "c": c}, os.path.join(out, "little.pt"))
rezip("big_endian.pt", "little.pt", change=swapped)
back = torch.load(os.path.join(out, "big_endian.pt"))
assert torch.equal(back["w"], a) and torch.equal(back["t"], a.t()) and torch.equal(back["c"], c)
cases["more/big_endian.pt"] = {"tensors": {k: describe(v) for k, v in back.items()}}
os.remove(os.path.join(out, "little.pt"))


def legacy(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)


good("legacy_more.pt", {"state_dict": {"w": a, "t": b.permute(2, 0, 1), "c": c, "f8": a.to(torch.float8_e5m2fnuz)}, "epoch": 1},
     {"w": a, "t": b.permute(2, 0, 1), "c": c, "f8": a.to(torch.float8_e5m2fnuz)}, save=legacy, subtree="state_dict")

bad("complex128.pt", {"w": c.to(torch.complex128)}, "dtype-unsupported", **{"class": "unsupported"})
good("conj.pt", {"w": c.conj(), "t": c.mH}, {"w": c.conj().resolve_conj(), "t": c.mH.resolve_conj()})
good("neg.pt", {"w": c.conj().imag}, {"w": c.conj().imag.resolve_neg()})
q = torch.quantize_per_tensor(a, 0.1, 0, torch.qint8)
good("quantized.pt", {"w": q}, {"w": q.dequantize()})
good("sparse.pt", {"w": a.to_sparse()}, {"w": a})
bad("meta.pt", {"w": torch.empty(2, device="meta")}, "meta-unsupported", **{"class": "unsupported"})
bad("nested.pt", {"w": torch.nested.nested_tensor([a, a])}, "nested-unsupported", **{"class": "unsupported"})
bad("duplicate_name.pt", {"a": {"b": a}, "a.b": b}, "duplicate-name", **{"class": "malformed"})
bad("ambiguous.pt", {"model": {"w": a}, "net": {"w": b}}, "ambiguous-root", **{"class": "malformed"})
bad("module.pt", torch.nn.Linear(2, 2), "refused-global", **{"class": "unsafe"})
shared = a
for _ in range(60):
    shared = [shared, shared]
bad("dag.pt", {"w": shared}, "tensor-limit", **{"class": "malformed"})
loop = {"w": a}
loop["s"] = loop
bad("loop.pt", loop, "nesting-limit", **{"class": "malformed"})
bad("many_expands.pt", {str(i): torch.zeros(1 + i // 10)[:1].expand(100_000_000 + i) for i in range(20)}, "output-limit", **{"class": "malformed"})

# A pickle of protocol 0 as Python 2 wrote it, around the same persistent ids.
text = b"(dp0\nS'w'\np1\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nVcpu\nI15\ntQI0\n(L3L\nI5\nt(I5\nI1\ntI00\nccollections\nOrderedDict\n(tRtRsS'lr'\nF0.5\nsg1\nI01\ns."
text = text.replace(b"sg1\nI01\ns.", b"s.")
with zipfile.ZipFile(os.path.join(out, "protocol0.pt"), "w") as w:
    w.writestr("archive/data.pkl", text)
    w.writestr("archive/data/0", raw(a))
    w.writestr("archive/version", "3\n")
cases["more/protocol0.pt"] = {"tensors": {"w": describe(a)}}

with open(os.path.join(here, "more.json"), "w") as f:
    json.dump(cases, f, indent=1, sort_keys=True)
    f.write("\n")
