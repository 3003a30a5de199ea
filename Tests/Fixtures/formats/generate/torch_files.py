#!/usr/bin/env python3
"""Writes the PyTorch and NeMo fixtures of this folder and what PyTorch itself says is in them.

Usage: python torch_files.py OUTPUT    (with torch >= 2.6 and numpy)
"""
import collections, hashlib, io, json, os, pickle, random, struct, sys, tarfile, zipfile
import numpy
import torch
from torch import nn

OUT = sys.argv[1]
EXPECTED = {}
NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
         torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
         torch.bool: "BOOL", torch.complex64: "C64", torch.uint16: "U16", torch.uint32: "U32"}


def describe(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "nbytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest()}


def expect(name, tensors=None, **more):
    entry = dict(more)
    if tensors is not None:
        entry["tensors"] = {key: describe(value) for key, value in tensors.items()}
    EXPECTED[name] = entry
    os.makedirs(os.path.dirname(f"{OUT}/{name}"), exist_ok=True)
    return f"{OUT}/{name}"


def rezip(path, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)


torch.manual_seed(0)
numpy.random.seed(0)

# --- quantised
w = torch.randn(6, 5)
state = {}
for dtype in (torch.qint8, torch.quint8, torch.qint32):
    name = str(dtype)[6:]
    state[name] = torch.quantize_per_tensor(w, 0.0371, 3, dtype)
    state[name + ".t"] = state[name].t()
    for axis in (0, 1):
        count = w.shape[axis]
        scales = torch.rand(count, dtype=torch.float64) * 0.05 + 0.01
        zeros = torch.randint(-5 if dtype != torch.quint8 else 0, 9, (count,))
        state[f"{name}.c{axis}"] = torch.quantize_per_channel(w, scales, zeros, axis, dtype)
state["big"] = torch._make_per_tensor_quantized_tensor(
    torch.tensor([2**31 - 1, -2**31, 16777217, -16777219], dtype=torch.int32), 1e-9, 1)
state["float_qparams"] = torch.quantize_per_channel(w, torch.rand(6) * 0.01 + 0.01, torch.rand(6) * 7, 0, torch.quint8)
torch.save(state, expect("pt/quantized_all.pt", {k: v.dequantize() for k, v in state.items()}))
w4 = torch.rand(4, 7)
state = {"e": torch.quantize_per_channel(w4, torch.rand(4) * 0.05 + 0.05, torch.rand(4) * 3, 0, torch.quint4x2)}
torch.save(state, expect("pt/quantized_4bit.pt", {k: v.dequantize() for k, v in state.items()}))

# --- sparse
state = {}
dense = torch.randn(6, 8) * (torch.rand(6, 8) < 0.3)
state["coo"] = dense.to_sparse()
state["coo.mixed"] = torch.sparse_coo_tensor(torch.tensor([[4, 1, 4]]), torch.randn(3, 2, 3), (5, 2, 3))
state["coo.scalar"] = torch.sparse_coo_tensor(torch.zeros(0, 2, dtype=torch.int64), torch.tensor([1.5, 2.0]), ())
for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.complex64):
    values = (torch.randn(6) * 5).to(dtype) if dtype != torch.uint8 else torch.arange(6, dtype=torch.uint8)
    state["coo." + str(dtype)[6:]] = torch.sparse_coo_tensor(torch.tensor([[0, 2, 2, 1, 2, 0], [1, 3, 3, 0, 3, 1]]), values, (3, 4))
state["coo.empty"] = torch.sparse_coo_tensor(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), (3, 4))
state["csr"] = dense.to_sparse_csr()
state["csc"] = dense.to_sparse_csc()
state["bsr"] = dense.to_sparse_bsr((2, 4))
state["bsc"] = dense.to_sparse_bsc((3, 2))
state["csr.i32"] = torch.sparse_csr_tensor(state["csr"].crow_indices().int(), state["csr"].col_indices().int(), state["csr"].values(), (6, 8))
state["csr.neg"] = torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([1]), torch.tensor([-0.0]), (1, 3))
torch.save(state, expect("pt/sparse_all.pt", {k: v.to_dense() for k, v in state.items()}))

# --- complex32, numpy, devices
c32 = torch.randn(3, 4, dtype=torch.complex64).to(torch.complex32)
torch.save({"c": c32, "ct": c32.t(), "conj": c32.conj()},
           expect("pt/complex32.pt", {"c": c32.to(torch.complex64), "ct": c32.t().to(torch.complex64),
                                      "conj": c32.conj().to(torch.complex64)}))
arrays = {"f4": numpy.random.randn(3, 4).astype("f4"), "be": numpy.arange(6, dtype=">f8").reshape(2, 3),
          "fortran": numpy.asfortranarray(numpy.arange(24, dtype="i2").reshape(2, 3, 4)), "bool": numpy.array([True, False]),
          "scalar0d": numpy.array(7, dtype="i8"), "c8": numpy.array([1 + 2j], dtype="c8"), "empty": numpy.zeros((0, 3), "u1")}
for protocol in (2, 4):
    torch.save({"t": torch.ones(2), **arrays, "text": numpy.array(["a"]), "objects": numpy.array([None, 1], dtype=object)},
               expect(f"pt/arrays_p{protocol}.pt", {"t": torch.ones(2), **{k: torch.from_numpy(numpy.ascontiguousarray(
                   v.astype(v.dtype.newbyteorder("="), order="C"))).reshape(v.shape) for k, v in arrays.items()}}), pickle_protocol=protocol)


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


torch.save({"a": Call(torch._utils._rebuild_device_tensor_from_numpy, numpy.arange(4, dtype="f4"), torch.bfloat16, "xla:0", False),
            "b": Call(torch._utils._rebuild_device_tensor_from_cpu_tensor, torch.arange(3.0), torch.float32, "xla:0", False)},
           expect("pt/devices.pt", {"a": torch.arange(4.0).bfloat16(), "b": torch.arange(3.0)}))

# --- archives
state = {"a": torch.randn(64, 64), "z": torch.zeros(1000), "h": torch.randn(33).half(), "e": torch.zeros(0, 3)}
path = expect("pt/deflated_storages.pt", state)
torch.save(state, path)
rezip(path)
for protocol in (2, 3, 4, 5):
    state = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4).bfloat16(), "t": torch.arange(6.0).reshape(2, 3).t()}
    torch.save(state, expect(f"pt/legacy_p{protocol}.bin", state), _use_new_zipfile_serialization=False, pickle_protocol=protocol)


class Nested:
    """A storage as pickle.dumps writes it, an archive in an archive."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        data = io.BytesIO()
        torch.save(self.tensor.storage(), data, _use_new_zipfile_serialization=False)
        storage = Call(torch.storage._load_from_bytes, data.getvalue())
        return (torch._utils._rebuild_tensor_v2, (storage, 1, (2, 2), (2, 1), False, collections.OrderedDict()))


torch.save({"n": Nested(torch.arange(5.0)), "w": torch.ones(1)},
           expect("pt/nested_storage.pt", {"n": torch.arange(1.0, 5.0).reshape(2, 2), "w": torch.ones(1)}))


# --- the oldest files: a tar archive
def tar_checkpoint(path, state, add=()):
    storages, tensors, keys = io.BytesIO(), io.BytesIO(), {}
    dump = lambda value, out: pickle.dump(value, out, protocol=2)
    items = list(state.items())
    unique = {}
    for _, tensor in items:
        unique.setdefault(tensor.untyped_storage().data_ptr(), tensor)
    dump(len(unique), storages)
    numbers = {}
    for number, (pointer, tensor) in enumerate(unique.items()):
        numbers[pointer] = number
        kind = getattr(torch, {torch.float32: "FloatStorage", torch.int64: "LongStorage", torch.float16: "HalfStorage"}[tensor.dtype])
        dump((number, "cpu", kind), storages)
        raw = bytes(tensor.untyped_storage())
        storages.write(struct.pack("<q", len(raw) // tensor.element_size()) + raw)
    dump([], storages)
    dump(len(items), tensors)
    for number, (name, tensor) in enumerate(items):
        kind = getattr(torch, {torch.float32: "FloatTensor", torch.int64: "LongTensor", torch.float16: "HalfTensor"}[tensor.dtype])
        keys[name] = number + 100
        dump((number + 100, numbers[tensor.untyped_storage().data_ptr()], kind), tensors)
        tensors.write(struct.pack("<i4x", tensor.dim()) + struct.pack(f"<{2 * tensor.dim() + 1}q", *tensor.shape, *tensor.stride(), tensor.storage_offset()))

    class Reference(int):
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return int(value) if isinstance(value, Reference) else None

    body = io.BytesIO()
    Pickler(body, protocol=2).dump(collections.OrderedDict((name, Reference(key)) for name, key in keys.items()))
    info = io.BytesIO()
    dump({"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, info)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (("sys_info", info), ("pickle", body), ("tensors", tensors), ("storages", storages), *add):
            member = tarfile.TarInfo(name)
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))


base = torch.arange(12.0).reshape(3, 4)
state = {"w": base, "t": base.t(), "part": base[1:, :2], "ids": torch.arange(3), "h": torch.ones(2).half()}
path = expect("pt/oldest.pth", state)
tar_checkpoint(path, state)
loaded = torch.load(path, weights_only=False)
assert all(torch.equal(loaded[k], v) for k, v in state.items())


# --- whole modules
class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Linear(3, 2)
        self.layers = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2)])
        self.register_buffer("kept", torch.arange(3))
        self.register_buffer("dropped", torch.arange(4), persistent=False)
        self.scale = nn.Parameter(torch.ones(1))
        self.note = torch.zeros(2)


module = Unknown()
for name, options in (("pt/whole_module.pt", {}), ("pt/whole_module_legacy.pt", {"_use_new_zipfile_serialization": False}),
                      ("pt/whole_module_p4.pt", {"pickle_protocol": 4})):
    torch.save(module, expect(name, dict(module.state_dict()), opaque=True, error="refused-global", skipped_tensors=2), **options)
torch.save({"model": module, "epoch": 3}, expect("pt/module_inside.pt", dict(module.state_dict()), opaque=True,
                                                   error="refused-global", subtree="model", skipped_tensors=2))

# --- trainers
import datetime, pathlib, argparse
settings = {"lr": 0.1, "path": pathlib.PurePosixPath("/a/b"), "time": datetime.timedelta(1), "args": argparse.Namespace(x=1, name="é"),
            "np": numpy.float64(0.5), "np_i": numpy.int32(3), "names": {"a"}, "dtype": torch.bfloat16, "size": torch.Size([1, 2])}
checkpoint = {"epoch": 2, "global_step": 77, "pytorch-lightning_version": "2.6.6", "state_dict": {"model.w": torch.ones(2, 3)},
              "loops": {"fit_loop": {"x": 1}}, "callbacks": {"c": {"best": torch.tensor(1.0)}}, "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2, 3)}}}],
              "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": settings}
torch.save(checkpoint, expect("pt/lightning.ckpt", checkpoint["state_dict"], subtree="state_dict", skipped_tensors=2, values={
    "epoch": 2, "global_step": 77, "pytorch-lightning_version": "2.6.6", "hparams_name": "kwargs",
    "hyper_parameters": {"lr": 0.1, "path": "/a/b", "time": {"class": "datetime.timedelta", "arguments": [1, 0, 0]}, "args": {"x": 1, "name": "é"}, "np": 0.5, "np_i": 3,
                         "names": ["a"], "dtype": "torch.bfloat16", "size": [1, 2]}}))
rng = {"python": random.getstate(), "numpy": numpy.random.get_state(), "cpu": torch.arange(8, dtype=torch.uint8)}
torch.save(rng, expect("pt/rng_state.pth", {"cpu": rng["cpu"], "numpy.1": torch.from_numpy(rng["numpy"][1].astype("u4"))}))

# --- DTensor
import torch.distributed as dist
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29791", RANK="0", WORLD_SIZE="1")
dist.init_process_group("gloo")
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
mesh = init_device_mesh("cpu", (1,))
full = torch.randn(4, 3)
state = {"r": distribute_tensor(full, mesh, [Replicate()]), "s": distribute_tensor(full, mesh, [Shard(1)])}
torch.save(state, expect("pt/dtensor.pt", {"r": full, "s": full}))
module = nn.Linear(2, 2)
state["p"] = nn.Parameter(distribute_tensor(full, mesh, [Shard(0)]))
torch.save(state, expect("pt/dtensor_parameter.pt", {"r": full, "s": full, "p": full}))
part = DTensor.from_local(full, mesh, [Shard(0)], run_check=False, shape=torch.Size((8, 3)), stride=(3, 1))
torch.save({"w": part, "v": torch.ones(2)}, expect("bad/dtensor_part.pt", error="partial-shard", **{"class": "unsupported", "names": ["Shard(dim=0)"]}))
dist.destroy_process_group()

# --- refusals by name
torch.save({"z": torch.zeros(2, dtype=torch.complex128), "w": torch.ones(2)},
           expect("bad/complex128.pt", error="dtype-unsupported", **{"class": "unsupported"}))
torch.save({"n": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])}, expect("bad/nested_tensor.pt", error="nested-unsupported", **{"class": "unsupported"}))
huge = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (2**21, 2**21))
torch.save({"s": huge}, expect("bad/sparse_huge.pt", error="output-limit", **{"class": "malformed"}))

# --- NeMo
weights = io.BytesIO()
state = {"encoder.w": torch.randn(3, 3), "b": torch.arange(3)}
torch.save(state, weights)


def nemo(path, mode, names=("./model_config.yaml", "./model_weights.ckpt", "./abc_tokenizer.model", "./notes.bin"), format=tarfile.GNU_FORMAT):
    with tarfile.open(path, mode, format=format) as archive:
        for name, data in zip(names, (b"target: x\n", weights.getvalue(), b"tokens", b"?")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


more = {"embedded": ["model_config.yaml", "abc_tokenizer.model"]}
nemo(expect("nemo/plain.nemo", state, **more), "w")
nemo(expect("nemo/gzip.nemo", state, **more), "w:gz")
nemo(expect("nemo/pax.nemo", state, **more), "w", ("model_config.yaml", "model_weights.ckpt", "abc_tokenizer.model", "x" * 150 + ".bin"), tarfile.PAX_FORMAT)
nemo(expect("nemo/gnu_long.nemo", state, **more), "w", ("./model_config.yaml", "./model_weights.ckpt", "./abc_tokenizer.model", "./" + "y" * 150 + ".bin"))
nemo(expect("bad/nemo_distributed.nemo", error="refused-opcode", **{"class": "unsafe"}), "w", ("./model_config.yaml", "./model_weights/.metadata", "./t.model", "./z"))
nemo(expect("mal/escape.nemo", error="path-escape", **{"class": "unsafe"}), "w", ("./model_config.yaml", "../../model_weights.ckpt", "./t.model", "./z"))
nemo(expect("mal/duplicate.nemo", error="duplicate-entry", **{"class": "malformed"}), "w", ("./model_config.yaml", "./model_weights.ckpt", "Model_Weights.ckpt", "./z"))

# Distributed weights: those of dcp/sharded2, whose tensors expected.json lists.
with tarfile.open(f"{OUT}/nemo/distributed.nemo", "w", format=tarfile.USTAR_FORMAT) as archive:
    parts = [(f"./model_weights/{n}", open(f"{OUT}/dcp/sharded2/{n}", "rb").read()) for n in (".metadata", "__0_0.distcp", "__1_0.distcp")]
    for name, data in [("./model_config.yaml", b"hidden_size: 6\n"), *parts, ("./tokenizer.model", b"not really")]:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
EXPECTED["nemo/distributed.nemo"] = {
    "embedded": ["model_config.yaml", "tokenizer.model"],
    "tensors": json.load(open(f"{OUT}/expected.json"))["dcp/sharded2"]["tensors"],
}

json.dump(EXPECTED, open(f"{OUT}/expected-torch-made.json", "w"), indent=1, sort_keys=True)
print(len(EXPECTED), sum(os.path.getsize(f"{OUT}/{n}") for n in EXPECTED))
