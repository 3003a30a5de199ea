#!/usr/bin/env python3
"""Let torch, safetensors, transformers, PEFT and huggingface_hub judge what `artifact` writes.

Prints one PASS or FAIL line per check and ends with "N passed, N failed"; the exit status is 1
if any check failed. To add a check, write a function that takes the Artifact and asserts, and
put @check("what it checks") above it; a returned text is printed as a remark.

Usage: python interop.py --artifact .build/release/artifact [--only WORD] [--work FOLDER]
"""

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    TRANSFORMERS_VERBOSITY="error",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
)
warnings.filterwarnings("ignore")

import huggingface_hub
import numpy
import torch
import transformers
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from cases import CASES, DTYPES

transformers.utils.logging.disable_progress_bar()

SAMPLES = Path(__file__).resolve().parents[2] / "SampleModels"
LLAMA, LORA = SAMPLES / "tiny-llama", SAMPLES / "tiny-llama-lora"
REFERENCE = json.loads((SAMPLES / "reference-digests.json").read_text())["models"]
TIED_NAME = "lm_head.weight"  # the name that transformers drops from a tied Llama
INDEX = "model.safetensors.index.json"
SMALL_SHARDS = ("--max-shard-size", "100KB")
CAST_TARGETS = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}

CHECKS = []


def check(title):
    """Register the function below as a check."""

    def register(function):
        CHECKS.append((title, function))
        return function

    return register


class Artifact:
    """The command under test, with a folder to work in and the exports already made."""

    def __init__(self, binary, work):
        self.binary, self.work = Path(binary).resolve(), Path(work).resolve()
        self.exports = {}

    def run(self, *arguments):
        """Run the command in the work folder; text of both streams is in `output`."""
        command = [self.binary, *map(str, arguments)]
        done = subprocess.run(command, cwd=self.work, capture_output=True, text=True, timeout=120)
        done.output = done.stdout + done.stderr
        return done

    def ok(self, *arguments):
        """Run the command and insist on success."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"`{' '.join(map(str, arguments))}` gave {describe(done)}"
        return done

    def export(self, source, *options):
        """Export once per source and options; returns the folder."""
        key = (str(source), options)
        if key not in self.exports:
            folder = self.fresh("export")
            self.ok("export", source, "-o", folder, *options)
            self.exports[key] = folder
        return self.exports[key]

    def fresh(self, name):
        """A path in the work folder that does not exist yet."""
        number = len(list(self.work.iterdir()))
        return self.work / f"{name}-{number:03}"

    def inspect(self, path, *options):
        """The JSON that `artifact inspect` prints."""
        return json.loads(self.ok("inspect", path, "--json", *options).stdout)


def describe(done):
    """Exit status and the last lines of what a command said."""
    said = " | ".join(done.output.strip().splitlines()[-3:])
    return f"exit status {done.returncode}: {said}"


# Reading


def read_header(path):
    """Header and start of the data of a SafeTensors file, by the letter of the format."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def read_file(path):
    """Name -> (dtype, shape, bytes) of one file; the safetensors library must agree."""
    header, start = read_header(path)
    header.pop("__metadata__", None)
    data = path.read_bytes()[start:]
    tensors = {}
    with safe_open(path, "pt") as opened:
        assert set(opened.keys()) == set(header), f"{path.name}: names differ from safetensors'"
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            assert tensor_bytes(opened.get_tensor(name)) == data[first:last], f"{name}: bytes"
            tensors[name] = (entry["dtype"], entry["shape"], data[first:last])
    return tensors


def read_folder(folder):
    """Name -> (dtype, shape, bytes) of all SafeTensors files of a folder."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        found = read_file(path)
        assert not tensors.keys() & found.keys(), f"{path.name} repeats a tensor"
        tensors.update(found)
    return tensors


def tensor_bytes(tensor):
    """The contiguous little-endian bytes of a tensor."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def spelled(tensor):
    """What SafeTensors must hold for a tensor: (dtype, shape, bytes)."""
    shape = list(tensor.shape)
    if tensor.dtype == torch.float4_e2m1fn_x2:
        shape[-1] *= 2  # torch counts pairs, SafeTensors counts numbers
    return DTYPES[tensor.dtype], shape, tensor_bytes(tensor)


def identity(tensor):
    """Equal for two tensors that show the same elements of the same storage."""
    return (
        tensor.untyped_storage().data_ptr(),
        tensor.storage_offset(),
        tensor.shape,
        tensor.stride(),
        tensor.dtype,
        tensor.is_conj(),
        tensor.is_neg(),
    )


def assert_holds(found, expected):
    """`found` holds every expected tensor; of names tied to each other, one is enough."""
    extra = found.keys() - expected.keys()
    assert not extra, f"unexpected tensors {sorted(extra)[:5]}"
    present = {identity(expected[name]) for name in found}
    for name, tensor in expected.items():
        if name not in found:
            tied = tensor.numel() > 0 and identity(tensor) in present
            assert tied, f"{name} is missing"
            continue
        (dtype, shape, data), (want_dtype, want_shape, want) = found[name], spelled(tensor)
        assert (dtype, shape) == (want_dtype, want_shape), f"{name}: {dtype} {shape}"
        assert data == want, f"{name}: bytes differ"


def assert_digests(found, tensors, digests, dtype=None):
    """`found` equals the reference digests; the tied name may be absent."""
    missing = tensors.keys() - found.keys()
    assert missing <= {TIED_NAME}, f"missing {sorted(missing)}"
    assert found.keys() <= tensors.keys(), f"unexpected {sorted(found.keys() - tensors.keys())}"
    for name, (found_dtype, shape, data) in found.items():
        entry = tensors[name]
        assert found_dtype == (dtype or entry["dtype"]), f"{name}: {found_dtype}"
        assert shape == entry["shape"], f"{name}: {shape}"
        assert hashlib.sha256(data).hexdigest() == digests[name], f"{name}: bytes differ"
    return f"{len(found)} tensors"


def state_dict():
    """tiny-llama as torch reads it from the shards of the trainer, in the order of the files."""
    tensors = {}
    for path in sorted(LLAMA.glob("pytorch_model-*.bin")):
        tensors.update(torch.load(path, weights_only=True))
    return tensors


def untied():
    """tiny-llama without the name that an export drops."""
    return {name: tensor for name, tensor in state_dict().items() if name != TIED_NAME}


def assert_generates(model, tokenizer, name):
    """The model continues the prompts of the reference, token by token."""
    for item in REFERENCE[name]["generation"]:
        ids = tokenizer(item["prompt"], add_special_tokens=False)["input_ids"]
        inputs = torch.tensor([[tokenizer.bos_token_id, *ids]])
        mask = torch.ones_like(inputs)
        output = model.generate(inputs, attention_mask=mask, do_sample=False, max_new_tokens=40)
        new = output[0, inputs.shape[1] :].tolist()
        assert new == item["token_ids"], f"{item['prompt']!r} -> {tokenizer.decode(new)!r}"
    return f"{len(REFERENCE[name]['generation'])} prompts"


# The sample model


@check("tiny-llama: every tensor equals torch's digest")
def sample_digests(artifact):
    tensors = REFERENCE["tiny-llama"]["tensors"]
    digests = {name: entry["sha256"] for name, entry in tensors.items()}
    return assert_digests(read_folder(artifact.export(LLAMA)), tensors, digests)


@check("tiny-llama: one file, byte for byte what huggingface_hub writes")
def sample_single_file(artifact):
    ours = artifact.export(LLAMA) / "model.safetensors"
    for _ in range(40):  # safetensors writes several metadata keys in a random order
        folder = artifact.fresh("hub")
        folder.mkdir()
        huggingface_hub.save_torch_state_dict(
            state_dict(), folder, shared_tensors_to_discard=[TIED_NAME]
        )
        theirs = folder / "model.safetensors"
        if theirs.read_bytes() == ours.read_bytes():
            return
    assert_same_file(ours, theirs)


@check("tiny-llama without the tie: one file, byte for byte what safetensors writes")
def untied_single_file(artifact):
    expected = artifact.fresh("safetensors")
    save_file(untied(), expected, metadata={"format": "pt"})
    assert_same_file(artifact.export(untied_source(artifact)) / "model.safetensors", expected)


def untied_source(artifact):
    """tiny-llama as one pytorch_model.bin without the output head, as many trainers leave it."""
    source = artifact.work / "untied"
    if not source.exists():
        shutil.copytree(LLAMA, source, ignore=shutil.ignore_patterns("pytorch_model*"))
        torch.save(untied(), source / "pytorch_model.bin")
    return source


@check("tiny-llama: transformers generates the reference tokens")
def sample_generates(artifact):
    folder = artifact.export(LLAMA)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return assert_generates(model, AutoTokenizer.from_pretrained(folder), "tiny-llama")


@check("tiny-llama: configuration and tokenizer come along unchanged")
def sample_side_files(artifact):
    folder = artifact.export(LLAMA)
    names = ["config.json", "generation_config.json", "tokenizer.json"]
    for name in [*names, "tokenizer_config.json", "chat_template.jinja"]:
        assert_same_file(folder / name, LLAMA / name)
    stale = [path.name for path in folder.glob("pytorch_model*")]
    assert not stale, f"the old weights came along: {stale}"


@check("tiny-llama: inspect --digests agrees with torch, before and after")
def sample_inspect(artifact):
    tensors = REFERENCE["tiny-llama"]["tensors"]
    for path in (LLAMA, artifact.export(LLAMA)):
        told = artifact.inspect(path, "--digests")
        for entry in told["tensors"]:
            want = tensors[entry["name"]]
            got = {key: entry[key] for key in want}
            assert got == want, f"{path.name}: {got} is not {want}"
        names = {entry["name"] for entry in told["tensors"]}
        assert tensors.keys() - names <= {TIED_NAME}, f"{path.name}: tensors missing"
    tied = [sorted(group) for group in artifact.inspect(LLAMA)["tied"]]
    assert tied == [sorted(group) for group in REFERENCE["tiny-llama"]["tied"]], f"tied {tied}"


@check("tiny-llama: the manifest lists every file and tensor with its digest")
def sample_manifest(artifact):
    for folder in (artifact.export(LLAMA), artifact.export(LLAMA, *SMALL_SHARDS)):
        manifest = json.loads((folder / "artifact-manifest.json").read_text())
        files = {entry["path"]: entry for entry in manifest["files"]}
        on_disk = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        assert files.keys() == on_disk - {"artifact-manifest.json"}, f"{sorted(files)}"
        for path, entry in files.items():
            data = (folder / path).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            assert (entry["size"], entry["sha256"]) == (len(data), digest), path
        tensors = {entry["name"]: entry for entry in manifest["tensors"]}
        for path in folder.glob("*.safetensors"):
            for name, (dtype, shape, data) in read_file(path).items():
                want = (path.name, dtype, shape, hashlib.sha256(data).hexdigest())
                assert tuple(tensors[name][k] for k in ("file", "dtype", "shape", "sha256")) == want, name


# Shards


@check("sharded: every tensor equals torch's digest")
def sharded_digests(artifact):
    folder = artifact.export(LLAMA, *SMALL_SHARDS)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2, "not sharded"
    tensors = REFERENCE["tiny-llama"]["tensors"]
    digests = {name: entry["sha256"] for name, entry in tensors.items()}
    return assert_digests(read_folder(folder), tensors, digests)


@check("sharded: split as huggingface_hub splits the same keys")
def sharded_split(artifact):
    folder = artifact.export(LLAMA, *SMALL_SHARDS)
    index = json.loads((folder / INDEX).read_text())
    for order, tensors in (("source", untied()), ("name", dict(sorted(untied().items())))):
        split = huggingface_hub.split_torch_state_dict_into_shards(tensors, max_shard_size="100KB")
        if index["weight_map"] == split.tensor_to_filename:
            break
    else:
        raise AssertionError(f"another split: {index['weight_map']}")
    assert index["metadata"]["total_size"] == split.metadata["total_size"], "another total_size"
    for path in folder.glob("*.safetensors"):
        assert set(read_file(path)) == set(split.filename_to_tensors[path.name]), path.name
    return f"in {order} order"


@check("sharded: shards are byte for byte those of transformers, the index adds the tie")
def sharded_like_transformers(artifact):
    ours = artifact.export(LLAMA, *SMALL_SHARDS)
    theirs, remark = saved_by_transformers(artifact, ours)
    for path in theirs.glob("*.safetensors"):
        assert_same_file(ours / path.name, path)
    text = (ours / INDEX).read_text()
    index = json.loads(text)
    assert text == transformers_json(index), "the index is laid out otherwise"
    index["metadata"].pop(TIED_NAME, None)
    assert transformers_json(index) == (theirs / INDEX).read_text(), f"index {index['metadata']}"
    return remark


@check("sharded without a tie: all files are byte for byte those of transformers")
def untied_like_transformers(artifact):
    ours = artifact.export(untied_source(artifact), *SMALL_SHARDS)
    theirs, remark = saved_by_transformers(artifact, ours)
    for path in [*theirs.glob("*.safetensors"), theirs / INDEX]:
        assert_same_file(ours / path.name, path)
    return remark


@check("sharded: transformers generates the reference tokens")
def sharded_generates(artifact):
    folder = artifact.export(LLAMA, *SMALL_SHARDS)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return assert_generates(model, AutoTokenizer.from_pretrained(folder), "tiny-llama")


@check("huggingface_hub reads the metadata and loads the weights of both layouts")
def hub_loads(artifact):
    tensors = REFERENCE["tiny-llama"]["tensors"]
    for folder in (artifact.export(LLAMA), artifact.export(LLAMA, *SMALL_SHARDS)):
        metadata = huggingface_hub.get_local_safetensors_metadata(folder)
        count = sum(e["nbytes"] // 4 for name, e in tensors.items() if name != TIED_NAME)
        assert sum(metadata.parameter_count.values()) == count, metadata.parameter_count
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        result = huggingface_hub.load_torch_model(model, folder)
        assert set(result.missing_keys) <= {TIED_NAME}, result.missing_keys
        assert not result.unexpected_keys, result.unexpected_keys
        assert_generates(model, AutoTokenizer.from_pretrained(folder), "tiny-llama")


def transformers_json(value):
    """JSON as transformers writes an index."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def saved_by_transformers(artifact, ours):
    """tiny-llama as transformers itself saves it in small shards, split like `ours`.

    transformers sorts the names before it splits, or keeps their order: either will do.
    """
    weight_map = json.loads((ours / INDEX).read_text())["weight_map"]
    for original in (False, True):
        folder = artifact.fresh("transformers")
        model = AutoModelForCausalLM.from_pretrained(LLAMA)
        model.save_pretrained(folder, max_shard_size="100KB", save_original_format=original)
        if json.loads((folder / INDEX).read_text())["weight_map"] == weight_map:
            count = len(list(folder.glob("*.safetensors")))
            assert count == len(list(ours.glob("*.safetensors"))), "more files than transformers"
            return folder, f"{count} shards, save_original_format={original}"
    raise AssertionError(f"split otherwise than transformers: {weight_map}")


def assert_same_file(ours, theirs):
    """Two files hold the same bytes."""
    a, b = ours.read_bytes(), theirs.read_bytes()
    if a == b:
        return
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    begin = max(0, at - 20)
    raise AssertionError(
        f"{ours.name}: differs at byte {at} of {len(a)} and {len(b)}: "
        f"{a[begin : at + 20]!r} is not {b[begin : at + 20]!r}"
    )


# Casts


def cast_check(target):
    @check(f"tiny-llama --dtype {target}: every tensor equals torch's cast")
    def sample_cast(artifact):
        name = DTYPES[CAST_TARGETS[target]]
        folder = artifact.export(LLAMA, "--dtype", target)
        model = REFERENCE["tiny-llama"]
        return assert_digests(read_folder(folder), model["tensors"], model["cast"][name], name)

    @check(f"tiny-llama --dtype {target}: transformers loads it in that dtype and generates")
    def sample_cast_loads(artifact):
        folder = artifact.export(LLAMA, "--dtype", target)
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert model.dtype == CAST_TARGETS[target], f"loaded as {model.dtype}"
        return assert_generates(model, AutoTokenizer.from_pretrained(folder), "tiny-llama")


for _target in ("bf16", "f16"):
    cast_check(_target)


def special_values():
    """Tensors with every kind of number whose rounding can go wrong.

    float32: all 65,536 upper halves (so every sign, exponent, NaN and infinity) with lower
    halves at, just below and just above the ties of bfloat16 and float16. float64: the same
    and their neighbours. float16 and bfloat16: all values. Integers must stay what they are.
    """
    lower = [0, 1, 0xFFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    upper = numpy.arange(65536, dtype=numpy.uint32) << 16
    single = (upper[:, None] | numpy.array(lower, dtype=numpy.uint32)).view(numpy.float32)
    with numpy.errstate(all="ignore"):
        double = single[:, [0, 3, 9]].astype(numpy.float64).ravel()
        ups, downs = numpy.nextafter(double, numpy.inf), numpy.nextafter(double, -numpy.inf)
    half = torch.from_numpy(numpy.arange(65536, dtype=numpy.uint16).view(numpy.int16))
    bfloat = half.clone()  # one storage cannot be saved as two types
    return {
        "float32": torch.from_numpy(single),
        "float32.t": torch.from_numpy(single[:4096]).t(),
        "float64": torch.from_numpy(numpy.stack([double, ups, downs])),
        "float16": half.view(torch.float16),
        "bfloat16": bfloat.view(torch.bfloat16),
        "int64": torch.tensor([-(2**63), -1, 0, 1, 2**63 - 1]),
        "uint8": torch.arange(256).to(torch.uint8),
        "bool": torch.tensor([True, False]),
    }


def special_check(target):
    @check(f"special values --dtype {target}: equal to torch bit for bit")
    def special_cast(artifact):
        source = artifact.work / "special.pt"
        values = special_values()
        if not source.exists():
            torch.save(values, source)
        found = read_folder(artifact.export(source, "--dtype", target))
        assert found.keys() == values.keys(), f"names {sorted(found)}"
        nans = same_nans = 0
        for name, value in values.items():
            if value.is_floating_point():
                value = value.to(CAST_TARGETS[target])
            dtype, shape, data = spelled(value)
            assert found[name][:2] == (dtype, shape), f"{name}: {found[name][:2]}"
            got = torch.frombuffer(bytearray(found[name][2]), dtype=value.dtype).reshape(shape)
            nan = value.isnan()
            assert torch.equal(got.isnan(), nan), f"{name}: NaN in other places"
            bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
            if value.dtype == torch.bool:
                bits = torch.bool
            equal = got.view(bits) == value.contiguous().view(bits)
            wrong = (~equal & ~nan).nonzero()
            if len(wrong):
                where = tuple(wrong[0].tolist())
                raise AssertionError(
                    f"{name}: {len(wrong)} values differ, first at {where}: "
                    f"{got[where].item()!r} is not {value[where].item()!r}"
                )
            nans, same_nans = nans + int(nan.sum()), same_nans + int((equal & nan).sum())
        return f"NaN payloads equal torch's in {same_nans} of {nans} NaNs"


for _target in CAST_TARGETS:
    special_check(_target)


# What torch.save can write


def battery_check(name, build):
    @check(f"torch.save: {name.replace('_', ' ')}")
    def battery(artifact):
        torch.manual_seed(1)
        made = build()
        source = artifact.work / f"{name}.pt"
        torch.save(made.saved, source, **made.save)
        if made.expected is not None:
            assert_holds(read_folder(artifact.export(source, *made.options)), made.expected)
            return
        refuse(artifact, source, made.mentions)


def refuse(artifact, source, mentions=""):
    """The export must fail in order, say why, leave no output and run nothing."""
    folder = artifact.fresh("refused")
    done = artifact.run("export", source, "-o", folder)
    assert done.returncode in (1, 2, 3), f"not refused: {describe(done)}"
    assert mentions in done.stderr, f"{mentions!r} is not named: {describe(done)}"
    assert not list(folder.glob("*.safetensors")), "left weights behind"
    assert not (artifact.work / "pickle-was-executed").exists(), "EXECUTED THE PICKLE"


for _name, _build in CASES.items():
    battery_check(_name, _build)


@check("torch.save: without checksums in the archive")
def without_checksums(artifact):
    torch.serialization.set_crc32_options(False)
    try:
        source = artifact.work / "nocrc.pt"
        torch.save(untied(), source)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_holds(read_folder(artifact.export(source)), untied())


@check("torch.save: a flipped bit in a storage is refused, which torch.load accepts")
def flipped_storage(artifact):
    source = artifact.work / "flipped.pt"
    weight = torch.arange(1000, dtype=torch.float32)
    torch.save({"weight": weight}, source)
    data = bytearray(source.read_bytes())
    data[data.index(tensor_bytes(weight)) + 2001] ^= 4
    source.write_bytes(data)
    assert not torch.equal(torch.load(source, weights_only=True)["weight"], weight)
    refuse(artifact, source)


@check("torch.save: training_args.bin holds no tensors and is refused")
def training_arguments(artifact):
    refuse(artifact, LLAMA / "training_args.bin")


@check("safetensors source: comes out byte for byte")
def safetensors_source(artifact):
    source = artifact.work / "model.safetensors"
    save_file(untied(), source, metadata={"format": "pt"})
    assert_same_file(artifact.export(source) / "model.safetensors", source)


# The adapter


@check("tiny-llama-lora: every tensor equals torch's digest")
def lora_digests(artifact):
    tensors = REFERENCE["tiny-llama-lora"]["tensors"]
    digests = {name: entry["sha256"] for name, entry in tensors.items()}
    return assert_digests(read_folder(artifact.export(LORA)), tensors, digests)


@check("tiny-llama-lora: PEFT loads it on the exported base and generates the reference tokens")
def lora_generates(artifact):
    base, lora = artifact.export(LLAMA), artifact.export(LORA)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), lora)
    return assert_generates(model, AutoTokenizer.from_pretrained(lora), "tiny-llama-lora")


@check("tiny-llama-lora as adapter_model.bin: becomes byte for byte what PEFT writes")
def lora_from_bin(artifact):
    source = artifact.work / "lora-bin"
    shutil.copytree(LORA, source)
    (source / "adapter_model.safetensors").unlink()
    tensors = safetensors_tensors(LORA / "adapter_model.safetensors")
    torch.save(tensors, source / "adapter_model.bin")
    folder = artifact.export(source)
    assert_same_file(folder / "adapter_model.safetensors", LORA / "adapter_model.safetensors")
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(artifact.export(LLAMA)), folder)


def safetensors_tensors(path):
    """The tensors of one file, by the safetensors library."""
    with safe_open(path, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}


# Repeatability and verification


@check("the same export twice, and with one job, gives the same bytes")
def repeatable(artifact):
    first = artifact.export(LLAMA, *SMALL_SHARDS)
    for extra in ((), ("--jobs", "1"), ("--jobs", "7")):
        again = artifact.fresh("again")
        artifact.ok("export", LLAMA, "-o", again, *SMALL_SHARDS, *extra)
        for path in [*first.glob("*.safetensors"), *first.glob("*.index.json")]:
            assert_same_file(again / path.name, path)


@check("verify accepts every export of this run")
def verify_all(artifact):
    artifact.export(LLAMA), artifact.export(LORA)
    for folder in artifact.exports.values():
        artifact.ok("verify", folder)
    return f"{len(artifact.exports)} exports"


def damage(artifact, folder, change, *mentions):
    """Copy an export, change it, and expect `verify` to fail and to name the culprits."""
    copy = artifact.fresh("damaged")
    shutil.copytree(folder, copy)
    change(copy)
    done = artifact.run("verify", copy)
    assert done.returncode == 1, describe(done)
    for word in mentions:
        assert word in done.output, f"{word} is not named: {describe(done)}"


@check("verify finds one flipped bit and names file and tensor, in one file and in shards")
def flipped_bit(artifact):
    name = "model.layers.1.mlp.up_proj.weight"
    for folder in (artifact.export(LLAMA), artifact.export(LLAMA, *SMALL_SHARDS)):
        file = next(p for p in folder.glob("*.safetensors") if name in read_header(p)[0])
        header, start = read_header(file)
        first, last = header[name]["data_offsets"]
        for place in (first, (first + last) // 2, last - 1):

            def flip(copy):
                data = bytearray((copy / file.name).read_bytes())
                data[start + place] ^= 0x10
                (copy / file.name).write_bytes(data)

            damage(artifact, folder, flip, file.name, name)


@check("verify finds a changed side file, a truncated and a missing shard, and names them")
def other_damage(artifact):
    folder = artifact.export(LLAMA, *SMALL_SHARDS)
    shard = sorted(folder.glob("model-*.safetensors"))[1].name

    def change_config(copy):
        text = (copy / "config.json").read_text()
        (copy / "config.json").write_text(text.replace('"silu"', '"relu"'))

    def truncate(copy):
        os.truncate(copy / shard, (copy / shard).stat().st_size - 1)

    damage(artifact, folder, change_config, "config.json")
    damage(artifact, folder, truncate, shard)
    damage(artifact, folder, lambda copy: (copy / shard).unlink(), shard)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifact", required=True, help="the binary under test")
    parser.add_argument("--work", type=Path, help="folder to work in, kept (default: temporary)")
    parser.add_argument("--only", default="", help="run the checks whose title holds this text")
    parser.add_argument("--trace", action="store_true", help="print tracebacks of failures")
    options = parser.parse_args()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        if any(options.work.iterdir()):
            parser.error(f"{options.work} is not empty")
    with tempfile.TemporaryDirectory() as temporary:
        failed = run_checks(Artifact(options.artifact, options.work or temporary), options)
    sys.exit(1 if failed else 0)


def run_checks(artifact, options):
    """Run the chosen checks and print their results; returns how many failed."""
    chosen = [(title, function) for title, function in CHECKS if options.only in title]
    if not chosen:
        sys.exit(f"no check has {options.only!r} in its title")
    failed = 0
    for title, function in chosen:
        try:
            remark = function(artifact)
            print(f"PASS {title}" + (f" ({remark})" if remark else ""), flush=True)
        except Exception as error:
            failed += 1
            reason = str(error) if isinstance(error, AssertionError) else repr(error)
            print(f"FAIL {title}: {reason}", flush=True)
            if options.trace:
                traceback.print_exc()
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    main()
