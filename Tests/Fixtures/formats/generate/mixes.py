"""mixes.py FILE: which type llama.cpp gives each tensor of some small models, for each of its mixes, as digests.

A digest is that of the lines "NAME TYPE", sorted, of the tensors with two dimensions. Needs gguf and llama-cpp-python.
"""

import ctypes
import hashlib
import json
import os
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np

quiet = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(quiet, None)

MIXES = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q5_k_s": 16, "q5_1": 9, "q5_0": 8,
         "q4_k_m": 15, "q4_k_s": 14, "q4_1": 3, "q4_0": 2}
MODELS = [
    {"layers": 9, "hidden": 256, "ffn": 512, "heads": 4, "kv_heads": 2, "experts": 0, "tied": False},
    {"layers": 32, "hidden": 256, "ffn": 256, "heads": 4, "kv_heads": 4, "experts": 0, "tied": True},
    {"layers": 80, "hidden": 256, "ffn": 256, "heads": 4, "kv_heads": 1, "experts": 0, "tied": False},
    {"layers": 3, "hidden": 288, "ffn": 352, "heads": 4, "kv_heads": 4, "experts": 0, "tied": True},
    {"layers": 5, "hidden": 256, "ffn": 256, "heads": 4, "kv_heads": 2, "experts": 8, "tied": False},
]


def shapes(model):
    hidden, ffn = model["hidden"], model["ffn"]
    keys = hidden // model["heads"] * model["kv_heads"]
    yield "token_embd.weight", (64, hidden)
    if not model["tied"]:
        yield "output.weight", (64, hidden)
    yield "output_norm.weight", (hidden,)
    for layer in range(model["layers"]):
        blk = "blk.%d." % layer
        yield blk + "attn_norm.weight", (hidden,)
        yield blk + "ffn_norm.weight", (hidden,)
        yield blk + "attn_q.weight", (hidden, hidden)
        yield blk + "attn_k.weight", (keys, hidden)
        yield blk + "attn_v.weight", (keys, hidden)
        yield blk + "attn_output.weight", (hidden, hidden)
        experts = model["experts"]
        end, lead = ("_exps.weight", (experts,)) if experts else (".weight", ())
        if experts:
            yield blk + "ffn_gate_inp.weight", (experts, hidden)
        yield blk + "ffn_gate" + end, lead + (ffn, hidden)
        yield blk + "ffn_up" + end, lead + (ffn, hidden)
        yield blk + "ffn_down" + end, lead + (hidden, ffn)


def write(model, path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(model["layers"])
    writer.add_context_length(64)
    writer.add_embedding_length(model["hidden"])
    writer.add_feed_forward_length(model["ffn"])
    writer.add_head_count(model["heads"])
    writer.add_head_count_kv(model["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(64)
    if model["experts"]:
        writer.add_expert_count(model["experts"])
        writer.add_expert_used_count(2)
    writer.add_string("tokenizer.ggml.model", "no_vocab")
    for name, shape in shapes(model):
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(path):
    result = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "f32.gguf"), os.path.join(folder, "out.gguf")
        for model in MODELS:
            write(model, source)
            digests = {}
            for name, number in MIXES.items():
                parameters = llama_cpp.llama_model_quantize_default_params()
                parameters.ftype, parameters.nthread = number, 1
                code = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
                if code:
                    continue
                lines = sorted("%s %s\n" % (tensor.name, tensor.tensor_type.name)
                               for tensor in gguf.GGUFReader(target).tensors if len(tensor.shape) > 1)
                digests[name] = hashlib.sha256("".join(lines).encode()).hexdigest()
            result.append(dict(model, digests=digests))
    with open(path, "w") as stream:
        json.dump(result, stream, indent=2)
        stream.write("\n")


main(sys.argv[1])
