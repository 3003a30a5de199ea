"""Checkpoints made on the fly with torch.save, and the tensors an export of each must hold."""

import os
from collections import OrderedDict
from dataclasses import dataclass, field

import torch
from torch import nn

# The dtypes that both torch.save and SafeTensors know, with the spelling of the latter.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float4_e2m1fn_x2: "F4",
}


@dataclass
class Case:
    """An object to save and the tensors to expect; `expected` None means: must be refused."""

    saved: object
    expected: dict | None
    options: tuple = ()
    save: dict = field(default_factory=dict)
    mentions: str = ""


CASES = {}


def case(function):
    """Register a function that returns a Case, under its own name."""
    CASES[function.__name__] = function
    return function


def same(tensors, **more):
    """The common case: what is saved is what is expected."""
    return Case(tensors, tensors, **more)


def of_dtype(dtype, shape=(2, 8)):
    """A tensor with every byte value in turn, so that no bit is left out."""
    width = torch.empty(0, dtype=dtype).element_size()
    count = width * torch.Size(shape).numel()
    data = (torch.arange(count) * 37 % 256).to(torch.uint8)
    if dtype == torch.bool:
        data %= 2
    return data.view(dtype).reshape(shape)


@case
def every_dtype():
    return same({f"t.{name}": of_dtype(dtype) for dtype, name in DTYPES.items()})


@case
def every_dtype_from_an_offset():
    """Storage offsets count elements for old dtypes and for new ones."""
    return same({f"t.{name}": of_dtype(dtype, (6, 8))[3:5] for dtype, name in DTYPES.items()})


@case
def views():
    base = torch.arange(720, dtype=torch.float32)
    block = base.reshape(2, 3, 4, 30)
    return same(
        {
            "whole": base,
            "rows": base.reshape(24, 30)[3:7],
            "columns": base.reshape(24, 30)[:, 4:9],
            "transposed": base.reshape(24, 30).t(),
            "permuted": block.permute(3, 1, 0, 2),
            "stepped": base[5::7],
            "expanded": base[10:14].reshape(4, 1).expand(4, 5),
            "broadcast": base[7].expand(3, 3),
            "diagonal": base[:625].reshape(25, 25).diagonal(),
            "windows": base.unfold(0, 10, 5),
            "element": base[99],
            "nothing": base[9:9],
        }
    )


@case
def views_of_narrow_dtypes():
    wide = of_dtype(torch.bfloat16, (12, 10))
    byte = of_dtype(torch.uint8, (12, 10))
    quad = of_dtype(torch.complex64, (12, 10))
    return same(
        {"bf16.t": wide.t(), "u8.t": byte.t(), "c64.t": quad.t(), "bf16.step": wide[::3, 1::2]}
    )


@case
def scalars_and_empties():
    return same(
        {
            "scalar.f32": torch.tensor(3.5),
            "scalar.i64": torch.tensor(-7),
            "scalar.bool": torch.tensor(True),
            "empty.0": torch.empty(0),
            "empty.0x3": torch.empty(0, 3, dtype=torch.bfloat16),
            "empty.3x0x2": torch.empty(3, 0, 2, dtype=torch.int16),
            "one": torch.ones(1, 1, 1),
        }
    )


@case
def parameters():
    return same(
        {
            "parameter": nn.Parameter(torch.randn(3, 4)),
            "frozen": nn.Parameter(torch.randn(4), requires_grad=False),
            "buffer": nn.Buffer(torch.randn(5)),
            "needs.grad": torch.randn(2, 2, requires_grad=True),
        }
    )


@case
def module_state_dict():
    """A real state_dict carries _metadata and integer scalars."""
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Embedding(7, 3), nn.LSTM(3, 2))
    return same(model.state_dict())


@case
def tensor_with_attributes():
    """Python attributes on a tensor change the way it is pickled."""
    weight = torch.randn(3, 3)
    weight.tensor_model_parallel = True
    return same({"weight": weight, "bias": torch.randn(3)})


@case
def tied():
    table = torch.randn(9, 4)
    names = {"embed.weight": table, "norm.weight": torch.ones(4), "head.weight": table}
    return same(OrderedDict(names))


@case
def overlapping_slices():
    slab = torch.randn(100)
    return same({"a": slab[:50], "b": slab[25:75], "c": slab[50:], "d": slab[:50].reshape(5, 10)})


@case
def conjugate_and_negative():
    """Lazy conjugation and negation are flags in the file, not values."""
    number = torch.view_as_complex(torch.randn(4, 3, 2))
    imaginary = number.clone().conj().imag  # real and complex may not share a storage
    return same({"plain": number, "conj": number.conj(), "adjoint": number.mH, "neg": imaginary})


@case
def training_checkpoint():
    model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    state = model.state_dict()
    saved = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.25}
    return Case(saved, state)


@case
def lightning_checkpoint():
    state = nn.Linear(3, 2).state_dict()
    saved = {
        "epoch": 1,
        "global_step": 2**33,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
        "hyper_parameters": {"lr": 1e-3, "name": None, "flags": (True, False), "raw": b"\x00\xff"},
    }
    return Case(saved, state)


@case
def root_by_name():
    first, second = nn.Linear(2, 2).state_dict(), nn.Linear(3, 3).state_dict()
    saved = {"generator": first, "discriminator": second}
    return Case(saved, second, options=("--root", "discriminator"))


@case
def several_models():
    """No key says which one is meant, so all tensors are kept under their full names."""
    saved = {"generator": nn.Linear(2, 2).state_dict(), "discriminator": nn.Linear(3, 3).state_dict()}
    return Case(saved, {f"{model}.{name}": t for model, state in saved.items() for name, t in state.items()})


@case
def ambiguous_root():
    saved = {"net": nn.Linear(2, 2).state_dict(), "model": nn.Linear(3, 3).state_dict()}
    return Case(saved, None, mentions="--root")


@case
def unusual_names():
    names = ["a/b.weight", "größe", "重み", "emoji 🙂", 'quote"and\\slash', "tab\there", "x" * 400]
    names += ["e\u0301", "\u00e9"]  # equal to the eye, different as bytes
    return same({name: torch.full((2,), float(i)) for i, name in enumerate(names)})


@case
def many_tensors():
    """More tensors than one SETITEMS batch and one byte of memo index can hold."""
    return same({f"layers.{i}.weight": torch.full((3,), float(i)) for i in range(2500)})


@case
def pickle_protocol_4():
    return same(nn.Linear(5, 3).state_dict(), save={"pickle_protocol": 4})


@case
def pickle_protocol_5():
    return same({"w": torch.randn(4), "b": of_dtype(torch.uint16)}, save={"pickle_protocol": 5})


@case
def before_zip():
    """The format of torch before 1.6."""
    base = torch.randn(6, 4)
    tensors = {"w": base, "t": base.t(), "h": of_dtype(torch.bfloat16), "n": torch.tensor(5)}
    return same(tensors, save={"_use_new_zipfile_serialization": False})


@case
def complex128():
    return Case({"wide": torch.ones(2, dtype=torch.complex128)}, None, mentions="wide")


@case
def sparse():
    """What SafeTensors has no layout for is written dense."""
    return Case({"thin": torch.eye(3).to_sparse()}, {"thin": torch.eye(3)})


@case
def meta_tensor():
    return Case({"ghost": torch.empty(3, device="meta")}, None)


@case
def no_tensors():
    return Case({"epoch": 3, "name": "nothing here"}, None)


class Hostile:
    """Runs a command when a real unpickler reads it."""

    marker = "pickle-was-executed"

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@case
def hostile_pickle():
    return Case({"weight": torch.ones(2), "hook": Hostile()}, None, mentions="system")
