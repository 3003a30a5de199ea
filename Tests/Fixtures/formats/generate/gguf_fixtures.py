#!/usr/bin/env python3
"""Make the GGUF files of Tests/Fixtures/formats/gguf and expected-gguf.json, with gguf's own package as the judge.

Usage: python gguf_fixtures.py CASES, the folder with the cases quants_a.gguf and tiny_llama_f32.gguf and with
their expected.json. Needs what Tests/Interop/gguf_cases.py needs.
"""

import hashlib
import json
import shutil
import struct
import sys
from pathlib import Path

import numpy

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "Interop"))

import gguf
from gguf_cases import LLAMA, PLAIN, SCALES, Type, add_byte_pairs, decoded, permuted, random_blocks, write

OUT = HERE.parent / "gguf"
EXPECTED = {}


def entry(dtype, values):
    data = numpy.ascontiguousarray(values).tobytes()
    return {
        "dtype": dtype, "shape": list(values.shape), "nbytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip


def types():
    random = numpy.random.default_rng(11)
    writer = gguf.GGUFWriter(OUT / "types.gguf", "none")
    writer.add_custom_alignment(64)
    tensors = {}
    for name, dtype in PLAIN.items():
        values = (random.standard_normal((2, 3)) * 50).astype(dtype)
        writer.add_tensor(f"plain.{name}", values)
        tensors[f"plain.{name}"] = entry(name, values)
    bits = (random.standard_normal((2, 3)).astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)
    writer.add_tensor("plain.BF16", bits.view(numpy.uint8), raw_dtype=Type.BF16)
    tensors["plain.BF16"] = entry("BF16", bits)
    for name in SCALES:
        blocks = random_blocks(name, 3, 1, random)
        writer.add_tensor(f"block.{name}", blocks, raw_dtype=Type[name])
        tensors[f"block.{name}"] = entry("F32", decoded(name, blocks))
    write(writer)
    EXPECTED["gguf/types.gguf"] = {"tensors": tensors, "warnings": ["gguf-architecture"]}


def llama(path, prefix="", split=0):
    """A Llama of one layer with the tokenizer of the sample model, quantised to Q4_0."""
    random = numpy.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=split)
    for add, value in [
        ("context_length", 128), ("embedding_length", 32), ("block_count", 1), ("feed_forward_length", 64),
        ("head_count", 4), ("head_count_kv", 2), ("layer_norm_rms_eps", 1e-5), ("rope_freq_base", 10000.0),
        ("rope_dimension_count", 8), ("vocab_size", 512), ("bos_token_id", 1), ("eos_token_id", 2), ("pad_token_id", 0),
        ("chat_template", (LLAMA / "chat_template.jinja").read_text()),
    ]:  # fmt: skip
        getattr(writer, f"add_{add}")(value)
    add_byte_pairs(writer, LLAMA, "gpt-2")
    layer = "model.layers.0."
    tensors = {}
    for own, name, shape, heads in [
        ("token_embd", "model.embed_tokens", (512, 32), 0), ("output_norm", "model.norm", (32,), 0),
        ("blk.0.attn_q", f"{layer}self_attn.q_proj", (32, 32), 4), ("blk.0.attn_k", f"{layer}self_attn.k_proj", (16, 32), 2),
        ("blk.0.attn_v", f"{layer}self_attn.v_proj", (16, 32), 0), ("blk.0.attn_output", f"{layer}self_attn.o_proj", (32, 32), 0),
        ("blk.0.attn_norm", f"{layer}input_layernorm", (32,), 0), ("blk.0.ffn_norm", f"{layer}post_attention_layernorm", (32,), 0),
        ("blk.0.ffn_gate", f"{layer}mlp.gate_proj", (64, 32), 0), ("blk.0.ffn_up", f"{layer}mlp.up_proj", (64, 32), 0),
        ("blk.0.ffn_down", f"{layer}mlp.down_proj", (32, 64), 0),
    ]:  # fmt: skip
        values = random.standard_normal(shape).astype(numpy.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{own}.weight", values)
        else:
            data = gguf.quants.quantize(permuted(values, heads) if heads else values, Type.Q4_0)
            writer.add_tensor(f"{own}.weight", data, raw_dtype=Type.Q4_0)
            values = gguf.quants.dequantize(gguf.quants.quantize(values, Type.Q4_0), Type.Q4_0)
        tensors[f"{name}.weight"] = entry("F32", values)
    write(writer)
    return tensors


# MARK: Files put together by hand


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


ARCHITECTURE = pair("general.architecture", 8, text("none"))


def tensor(name, shape=(2,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}qIQ", len(shape), *shape, kind, offset)


def file(name, pairs=(ARCHITECTURE,), tensors=(), data=b"", counts=None, version=3, code=None, kind="malformed"):
    counts = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)
    (OUT / f"{name}.gguf").write_bytes(head + bytes(-len(head) % 32) + data)
    if code:
        EXPECTED[f"gguf/{name}.gguf"] = {"error": code, "class": kind}


def refused():
    eight, far = bytes(8), 1 << 62
    u32 = struct.Struct("<I").pack
    file("version1", version=1, code="gguf-version", kind="unsupported")
    file("version4", version=4, code="gguf-version", kind="unsupported")
    file("big_endian", version=3 << 24, code="gguf-big-endian", kind="unsupported")
    file("tensor_count", counts=(far, 1), code="truncated")
    file("key_count", counts=(0, far), code="truncated")
    file("key_twice", [ARCHITECTURE] * 2, code="duplicate-key")
    file("key_empty", [pair("", 4, u32(1))], code="gguf-key")
    file("value_type", [pair("a", 13, eight)], code="gguf-value-type")
    file("nested_array", [pair("a", 9, struct.pack("<IQ", 9, 0))], code="gguf-nested-array", kind="unsupported")
    file("string_length", [pair("a", 8, struct.pack("<Q", far))], code="truncated")
    file("array_length", [pair("a", 9, struct.pack("<IQ", 5, far))], code="truncated")
    file("strings_length", [pair("a", 9, struct.pack("<IQ", 8, far))], code="truncated")
    file("alignment", [pair("general.alignment", 4, u32(48))], code="gguf-alignment")
    file("alignment_type", [pair("general.alignment", 10, struct.pack("<Q", 32))], code="gguf-alignment")
    two = tensor("a") + tensor("b", offset=32)
    file("gap", tensors=[tensor("a"), tensor("b", offset=64)], data=bytes(96), code="gguf-offset")
    file("overlap", tensors=[tensor("a"), tensor("b", offset=0)], data=bytes(96), code="gguf-offset")
    file("tensor_twice", tensors=[tensor("a"), tensor("a", offset=32)], data=bytes(64), code="duplicate-tensor")
    file("data_short", tensors=[two], counts=(2, 1), data=bytes(36), code="truncated")
    file("long_name", tensors=[tensor("n" * 64)], data=bytes(32), code="gguf-name")
    file("name_bytes", tensors=[tensor(b"\xff")], data=bytes(32), code="gguf-name")
    file("rank", tensors=[tensor("a", (1,) * 5)], data=bytes(32), code="gguf-shape")
    file("negative", tensors=[tensor("a", (-1, 0))], data=bytes(32), code="gguf-shape")
    file("large", tensors=[tensor("a", (1 << 40, 1 << 40))], data=bytes(32), code="gguf-shape")
    file("half_block", tensors=[tensor("a", (48, 1), 2)], data=bytes(64), code="gguf-shape")
    file("unknown_type", tensors=[tensor("a", kind=99)], data=bytes(32), code="gguf-tensor-type", kind="unsupported")
    file("lattice", tensors=[tensor("a"), tensor("b", (256, 1), 16, 32)], data=bytes(128), code="gguf-tensor-type",
         kind="unsupported")  # fmt: skip
    split = [pair("split.no", 2, b"\0\0"), pair("split.count", 2, b"\2\0")]
    file("alone", split, code="gguf-split")
    file("lost-00001-of-00002", split, code="file-missing")
    whole = (OUT / "tiny_llama_f32.gguf").read_bytes()
    (OUT / "header_short.gguf").write_bytes(whole[:1000])
    EXPECTED["gguf/header_short.gguf"] = {"error": "truncated", "class": "malformed"}


def main():
    cases = Path(sys.argv[1])
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    known = json.loads((cases / "expected.json").read_text())
    for name, warnings in [("quants_a", ["config-incomplete", "gguf-architecture"]), ("tiny_llama_f32", [])]:
        shutil.copyfile(cases / f"gguf/{name}.gguf", OUT / f"{name}.gguf")
        EXPECTED[f"gguf/{name}.gguf"] = {"tensors": known[f"gguf/{name}.gguf"]["tensors"], "warnings": warnings}
    types()
    EXPECTED["gguf/llama_q4_0.gguf"] = {"tensors": llama(OUT / "llama_q4_0.gguf"), "warnings": []}
    (OUT / "split").mkdir()
    tensors = llama(OUT / "split" / "llama.gguf", split=4)
    # The package leaves the keys of the model to the first file, and names files as llama.cpp does.
    for path in ["", *sorted(path.name for path in (OUT / "split").iterdir())]:
        EXPECTED[f"gguf/split/{path}".rstrip("/")] = {"tensors": tensors, "warnings": []}
    second = (OUT / "llama_q4_0.gguf").read_bytes()
    (OUT / "version2.gguf").write_bytes(second[:4] + struct.pack("<I", 2) + second[8:])
    EXPECTED["gguf/version2.gguf"] = {"tensors": tensors, "warnings": []}
    refused()
    (HERE.parent / "expected-gguf.json").write_text(json.dumps(EXPECTED, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
