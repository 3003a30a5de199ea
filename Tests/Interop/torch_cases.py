#!/usr/bin/env python3
"""Lets torch write checkpoints of every kind and compares what `artifact` finds in them with what torch has.

Prints one line for each file that differs, then "N files, M tensors compared, F failed"; the exit status is 1 if any
differs. Libraries that are not installed (transformers, accelerate, lightning) are passed over and named.

Usage: python torch_cases.py --artifact .build/release/artifact [--work FOLDER] [--only WORD]
"""

import argparse
import collections
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy
import torch
from torch import nn

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint64: "U64", torch.uint32: "U32",
    torch.uint16: "U16", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ", torch.float8_e8m0fnu: "F8_E8M0", torch.float4_e2m1fn_x2: "F4",
}
PLAIN = list(NAMES)
CONTAINERS = [("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})]


def raw(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def describe(tensor):
    shape = list(tensor.shape)
    if tensor.dtype == torch.float4_e2m1fn_x2:
        shape[-1] *= 2
    return NAMES[tensor.dtype], shape, hashlib.sha256(raw(tensor)).hexdigest()


def sample(dtype, shape=(3, 4)):
    count = int(numpy.prod(shape))
    if dtype == torch.float4_e2m1fn_x2:
        return torch.randint(0, 256, shape, dtype=torch.uint8).view(dtype)
    if dtype in (torch.float8_e8m0fnu,):
        return torch.randint(0, 255, shape, dtype=torch.uint8).view(dtype)
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    if dtype.is_complex:
        return torch.randn(shape, dtype=torch.complex64).to(dtype)
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    return torch.randint(0, 100, (count,)).to(dtype).reshape(shape)


class Runner:
    def __init__(self, arguments):
        self.artifact, self.folder, self.only = arguments.artifact, arguments.work, arguments.only
        self.files = self.tensors = self.failed = 0

    def path(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def inspect(self, path, *options):
        result = subprocess.run([self.artifact, "inspect", "--json", "--digests", *options, path], capture_output=True)
        return json.loads(result.stdout), result.returncode

    def wants(self, name):
        return self.only in name

    def fail(self, name, what):
        self.failed += 1
        print(f"FAIL {name}: {what}")

    def expect(self, name, tensors, *options, values=None):
        """Compares the file of this name, which was written, with the tensors that it must have."""
        self.files += 1
        report, status = self.inspect(self.path(name), *options)
        if report["verdict"] != "accept" or status != 0:
            return self.fail(name, report["error"])
        found = {t["name"]: (t["dtype"], t["shape"], t["sha256"]) for t in report["tensors"]}
        wanted = {key: describe(value) for key, value in tensors.items()}
        self.tensors += len(wanted)
        for key in sorted(found.keys() | wanted.keys()):
            if found.get(key) != wanted.get(key):
                self.fail(name, f"{key}: found {found.get(key)}, torch has {wanted.get(key)}")
        for key, value in (values or {}).items():
            if report["values"].get(key) != value:
                self.fail(name, f"value {key}: found {report['values'].get(key)!r}, wanted {value!r}")
        return report

    def refuse(self, name, code, *options):
        self.files += 1
        report, _ = self.inspect(self.path(name), *options)
        found = (report["error"] or {}).get("code")
        if found != code:
            self.fail(name, f"refused with {found}, wanted {code}")


def dtypes(run):
    """Every dtype in every protocol and container, as it is, transposed, sliced, repeated and alone."""
    for dtype in PLAIN:
        whole = sample(dtype, (4, 6))
        state = {"w": whole, "t": whole.t(), "s": whole[1:3], "c": whole[:, 2:4] if dtype.itemsize else whole,
                 "e": whole[:1].expand(3, 6), "n": whole[:0], "p": nn.Parameter(whole, requires_grad=False)}
        if dtype != torch.float4_e2m1fn_x2:
            state["0d"] = whole[0, 0]
        for protocol in (2, 3, 4, 5):
            for container, options in CONTAINERS:
                name = f"dtypes/{str(dtype)[6:]}_p{protocol}_{container}.pt"
                if run.wants(name):
                    torch.save(state, run.path(name), pickle_protocol=protocol, **options)
                    run.expect(name, state)


def flags(run):
    c = torch.randn(3, 4, dtype=torch.complex64)
    half = c.to(torch.complex32)
    state = {"conj": c.conj(), "adjoint": c.mH, "imag": torch.randn(3, 4, dtype=torch.complex64).conj().imag, "half": half, "half_conj": half.conj()}
    wide = {**state, "half": half.to(torch.complex64), "half_conj": half.conj().resolve_conj().to(torch.complex64)}
    for protocol in (2, 4):
        for container, options in CONTAINERS:
            name = f"flags/p{protocol}_{container}.pt"
            if run.wants(name):
                torch.save(state, run.path(name), pickle_protocol=protocol, **options)
                run.expect(name, wide)


def quantised(run):
    torch.backends.quantized.engine = torch.backends.quantized.supported_engines[-1]
    for dtype in (torch.qint8, torch.quint8, torch.qint32):
        state = {}
        for number in range(20):
            w = torch.randn(8, 3, 5) * 10 ** (number % 5 - 2)
            zero = int(torch.randint(0, 20, ()))
            state[f"t{number}"] = torch.quantize_per_tensor(w, float(torch.rand(())) * 0.1 + 1e-3, zero, dtype)
            axis = number % 3
            count = w.shape[axis]
            state[f"c{number}"] = torch.quantize_per_channel(
                w, torch.rand(count, dtype=torch.float64) * 0.1 + 1e-4, torch.randint(0, 9, (count,)), axis, dtype)
            state[f"v{number}"] = state[f"t{number}"].permute(2, 0, 1)
        save_both(run, f"quantised/{str(dtype)[6:]}", state, {k: v.dequantize() for k, v in state.items()})
    state = {}
    for number in range(10):
        w = torch.rand(6, 5 + number)
        scales, zeros = torch.rand(6) * 0.1 + 0.01, torch.rand(6) * 7
        state[f"q4.{number}"] = torch.quantize_per_channel(w, scales, zeros, 0, torch.quint4x2)
        state[f"q8.{number}"] = torch.quantize_per_channel(w, scales, zeros, 0, torch.quint8)
        state[f"q2.{number}"] = torch.quantize_per_channel(w[:, :4], scales, zeros.clamp(0, 3), 0, torch.quint2x4)
    wanted = {}
    for key, value in list(state.items()):
        try:
            wanted[key] = value.dequantize()
        except RuntimeError:
            del state[key]
    save_both(run, "quantised/float_qparams", state, wanted)


def save_both(run, base, state, wanted, *options):
    for container, save_options in CONTAINERS:
        name = f"{base}_{container}.pt"
        if run.wants(name):
            torch.save(state, run.path(name), **save_options)
            run.expect(name, wanted, *options)


def sparse(run):
    state = {}
    for number in range(12):
        dense = torch.randn(6, 8, 4)[:, :, number % 4] * (torch.rand(6, 8) < 0.1 * number)
        dense = dense.to([torch.float32, torch.float64, torch.bfloat16, torch.float16][number % 4])
        state[f"coo{number}"] = dense.to_sparse()
        state[f"csr{number}"] = dense.to_sparse_csr()
        state[f"csc{number}"] = dense.to_sparse_csc()
        state[f"bsr{number}"] = dense.to_sparse_bsr((3, 2))
        state[f"bsc{number}"] = dense.to_sparse_bsc((2, 4))
        indices = torch.randint(0, 3, (2, 9))
        values = sample([torch.float32, torch.int64, torch.bfloat16, torch.complex64][number % 4], (9, 2))
        state[f"sum{number}"] = torch.sparse_coo_tensor(indices, values, (3, 3, 2))
    save_both(run, "sparse/all", state, {k: v.to_dense() for k, v in state.items()})


def dtensors(run):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29777", RANK="0", WORLD_SIZE="1")
    dist.init_process_group("gloo")
    try:
        full = torch.randn(4, 6)
        mesh, grid = init_device_mesh("cpu", (1,)), init_device_mesh("cpu", (1, 1))
        state = {
            "r": distribute_tensor(full, mesh, [Replicate()]), "s0": distribute_tensor(full, mesh, [Shard(0)]),
            "s1": distribute_tensor(full, mesh, [Shard(1)]), "g": distribute_tensor(full, grid, [Shard(0), Replicate()]),
            "p": nn.Parameter(distribute_tensor(full.bfloat16(), mesh, [Shard(0)])), "plain": full.t(),
        }
        wanted = {k: getattr(v.detach(), "full_tensor", lambda: v)() for k, v in state.items() if k != "plain"}
        for protocol in (2, 4):
            name = f"dtensor/p{protocol}.pt"
            if run.wants(name):
                torch.save(state, run.path(name), pickle_protocol=protocol)
                run.expect(name, {**wanted, "plain": full.t()})
    finally:
        dist.destroy_process_group()


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("mask", torch.arange(width) < 2)

    def forward(self, x):
        return self.norm(self.first(x)) * self.mask


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList([Block(4), Block(4)])
        self.model = nn.Sequential(collections.OrderedDict(a=nn.Linear(4, 4), b=nn.Linear(4, 7, bias=False)))
        self.model.b.weight = self.embed.weight
        self.register_buffer("cache", torch.zeros(3), persistent=False)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.model(x)


def modules(run):
    """Whole modules, state dicts with metadata, TorchScript archives whose code is deflated."""
    net = Net().eval()
    state = dict(net.state_dict())
    for protocol in (2, 4):
        for container, options in CONTAINERS:
            for what, value, flag in (("state", net.state_dict(), ()), ("whole", net, ("--allow-opaque",))):
                name = f"modules/{what}_p{protocol}_{container}.pt"
                if run.wants(name):
                    torch.save(value, run.path(name), pickle_protocol=protocol, **options)
                    run.expect(name, state, *flag)
                    if flag:
                        run.refuse(name, "refused-global")
    for how, script in (("script", torch.jit.script(net)), ("trace", torch.jit.trace(net, torch.zeros(2, dtype=torch.int64)))):
        name = f"modules/torch{how}.pt"
        if run.wants(name):
            torch.jit.save(script, run.path(name))
            # TorchScript knows no buffers that are left out.
            report = run.expect(name, {**state, "cache": net.cache}) if how == "script" else None
            with zipfile.ZipFile(run.path(name)) as archive:
                kinds = {info.compress_type for info in archive.infolist() if "/code/" in info.filename}
                if zipfile.ZIP_DEFLATED not in kinds:
                    run.fail(name, "its code is not deflated")
            if how == "trace":
                found, _ = run.inspect(run.path(name))
                missing = [k for k, v in state.items() if k not in {t["name"] for t in found.get("tensors", [])}]
                run.files += 1
                if missing:
                    run.fail(name, f"lacks {missing}, {found.get('error')}")


def archives(run):
    """Archives that other tools packed again, archives without checksums, files within NeMo's."""
    state = {f"w{n}": sample(dtype, (17, 9)) for n, dtype in enumerate(PLAIN) if dtype != torch.float4_e2m1fn_x2}
    plain = run.path("archives/plain.pt")
    torch.save(state, plain)
    run.expect("archives/plain.pt", state)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(run.path("archives/deflated.pt"), "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    run.expect("archives/deflated.pt", state)
    torch.serialization.set_crc32_options(False)
    torch.save(state, run.path("archives/nocrc.pt"))
    torch.serialization.set_crc32_options(True)
    run.expect("archives/nocrc.pt", state)
    for mode in ("w", "w:gz"):
        for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            name = f"archives/{mode.replace(':', '_')}_{kind}.nemo"
            with tarfile.open(run.path(name), mode, format=kind) as archive:
                config = tarfile.TarInfo("./model_config.yaml")
                config.size = 2
                archive.addfile(config, io.BytesIO(b"a\n"))
                archive.add(plain, "./model_weights.ckpt")
            run.expect(name, state)


def arrays(run):
    state, wanted = {}, {}
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8"):
        value = (numpy.random.randn(4, 3) * 10).astype(kind) if kind != "c8" else numpy.random.randn(4, 3).astype("c8")
        name = kind.replace("?", "b1")
        state[name], state[name + ".f"] = value, numpy.asfortranarray(value)
        wanted[name] = wanted[name + ".f"] = torch.from_numpy(value)
        if value.dtype.itemsize > 1:
            state[name + ".be"] = value.astype(value.dtype.newbyteorder(">"))
            wanted[name + ".be"] = torch.from_numpy(value)
    for protocol in (2, 3, 4):
        name = f"arrays/p{protocol}.pt"
        torch.save({"t": torch.ones(1), **state}, run.path(name), pickle_protocol=protocol)
        run.expect(name, {"t": torch.ones(1), **wanted})


def trainers(run):
    """What transformers, accelerate and lightning leave behind."""
    skipped = []
    try:
        import transformers

        for number, more in enumerate([{}, {"bf16": True, "optim": "adafactor", "lr_scheduler_type": "cosine"},
                                       {"eval_strategy": "steps", "eval_steps": 5, "report_to": "none", "seed": 7}]):
            options = transformers.TrainingArguments("out", use_cpu=True, **{"report_to": "none", **more})
            name = f"trainers/training_args_{number}.bin"
            torch.save(options, run.path(name))
            run.expect(name, {}, values={"output_dir": "out", "seed": more.get("seed", 42), "optim": str(options.optim.value),
                                          "lr_scheduler_type": options.lr_scheduler_type.value, "bf16": options.bf16})
        options = transformers.Seq2SeqTrainingArguments("out", use_cpu=True, report_to="none")
        torch.save(options, run.path("trainers/seq2seq.bin"))
        run.expect("trainers/seq2seq.bin", {}, values={"predict_with_generate": False})
    except ImportError:
        skipped.append("transformers")
    try:
        import lightning

        class Plain(lightning.LightningModule):
            def __init__(self, width=3, name="x"):
                super().__init__()
                self.save_hyperparameters()
                self.layer = nn.Linear(width, 1)

            def training_step(self, batch, index):
                return self.layer(batch[0]).sum()

            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters())
                return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

        trainer = lightning.Trainer(max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                    enable_model_summary=False, accelerator="cpu")
        module = Plain()
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 3)))
        trainer.fit(module, data)
        trainer.save_checkpoint(run.path("trainers/lightning.ckpt"))
        run.expect("trainers/lightning.ckpt", dict(module.state_dict()),
                   values={"global_step": 2, "hyper_parameters": {"width": 3, "name": "x"}})
    except ImportError:
        skipped.append("lightning")
    optimizer = torch.optim.AdamW(nn.Linear(2, 2).parameters())
    torch.save({"python": __import__("random").getstate(), "numpy": numpy.random.get_state(), "cpu": torch.random.get_rng_state()},
               run.path("trainers/rng_state.pth"))
    run.expect("trainers/rng_state.pth", {"cpu": torch.random.get_rng_state(),
                                          "numpy.1": torch.from_numpy(numpy.random.get_state()[1].astype("u4"))})
    return skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--work")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    numpy.random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        arguments.work = arguments.work or folder
        run = Runner(arguments)
        missing = []
        for part in (dtypes, flags, quantised, sparse, dtensors, modules, archives, arrays, trainers):
            missing += part(run) or []
    if missing:
        print(f"passed over, as they are not installed: {', '.join(missing)}")
    print(f"{run.files} files, {run.tensors} tensors compared, {run.failed} failed")
    sys.exit(1 if run.failed else 0)


if __name__ == "__main__":
    main()
