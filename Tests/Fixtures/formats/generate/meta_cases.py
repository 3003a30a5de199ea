"""Writes meta/, torchtune/ and expected-meta.json: tiny models in Meta's and torchtune's files, with what transformers
calls their tensors. Needs torch."""

import hashlib
import json
import shutil
from pathlib import Path

import torch

root = Path(__file__).resolve().parents[1]
expected = {}
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def entry(tensors, **more):
    return {"tensors": {
        name: {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "nbytes": t.numel() * t.element_size(),
               "sha256": hashlib.sha256(t.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()}
        for name, t in sorted(tensors.items())}, **more}


def llama(dim=8, layers=2, heads=4, kv=2, size=4, hidden=12, vocab=6, dtype=torch.bfloat16, tied=False):
    """Random weights under the names of transformers."""
    torch.manual_seed(dim * vocab)
    shapes = {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,)}
    if not tied:
        shapes["lm_head.weight"] = (vocab, dim)
    for n in range(layers):
        at = f"model.layers.{n}."
        shapes |= {
            at + "input_layernorm.weight": (dim,), at + "post_attention_layernorm.weight": (dim,),
            at + "self_attn.q_proj.weight": (heads * size, dim), at + "self_attn.k_proj.weight": (kv * size, dim),
            at + "self_attn.v_proj.weight": (kv * size, dim), at + "self_attn.o_proj.weight": (dim, heads * size),
            at + "mlp.gate_proj.weight": (hidden, dim), at + "mlp.up_proj.weight": (hidden, dim),
            at + "mlp.down_proj.weight": (dim, hidden)}
    return {name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}


def pairs(w, heads):
    """The inverse of transformers' permute(): rotary pairs side by side."""
    return w.view(heads, 2, w.shape[0] // heads // 2, w.shape[1]).transpose(1, 2).reshape(w.shape)


META = {"embed_tokens": "tok_embeddings", "lm_head": "output", "q_proj": "wq", "k_proj": "wk", "v_proj": "wv",
        "o_proj": "wo", "gate_proj": "w1", "down_proj": "w2", "up_proj": "w3", "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm", "self_attn": "attention", "mlp": "feed_forward"}


def meta(tensors, heads, kv):
    out = {}
    for name, w in tensors.items():
        if "q_proj" in name or "k_proj" in name:
            w = pairs(w, heads if "q_proj" in name else kv)
        out[".".join(META.get(part, part) for part in name.removeprefix("model.").split("."))] = w
    return out


def save(folder, tensors, params, parts=1, embedding=0, extra=()):
    folder = root / "meta" / folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    axes = {"tok_embeddings": embedding, "output": 0, "wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "wo": 1, "w2": 1}
    for part in range(parts):
        own = dict(extra)
        for name, w in tensors.items():
            axis = axes.get(name.split(".")[-2])
            own[name] = w if axis is None or parts == 1 else w.chunk(parts, dim=axis)[part].clone()
        torch.save(own, folder / f"consolidated.{part:02}.pth")
    if params:
        (folder / "params.json").write_text(json.dumps(params))
    return folder


params = {"dim": 8, "multiple_of": 4, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "norm_eps": 1e-5, "vocab_size": -1,
          "head_dim": 4}
model = llama()
theirs = meta(model, 4, 2)
freqs = [("rope.freqs", torch.ones(2))]
save("single", theirs, params, extra=freqs)
config = {"model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "head_dim": 4,
          "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 6, "max_position_embeddings": 4096,
          "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
expected["meta/single"] = entry(model, skipped=["rope.freqs"], warnings=["config-derived"], config=config)
# Llama 2 splits the embedding by columns, Llama 3 by rows.
save("columns", theirs, params, parts=2, embedding=1, extra=freqs)
save("rows", theirs, params | {"vocab_size": 6, "rope_theta": 500000.0, "use_scaled_rope": True}, parts=2, embedding=0)
expected["meta/columns"] = entry(model, skipped=["rope.freqs"], warnings=["config-derived"], config=config)
expected["meta/rows"] = entry(model, warnings=["config-derived"], config=config | {
    "rope_theta": 500000.0, "max_position_embeddings": 131072})

# Parts that cannot be put together.
shutil.rmtree(root / "meta/gap", ignore_errors=True)
shutil.copytree(root / "meta/rows", root / "meta/gap")
(root / "meta/gap/consolidated.00.pth").unlink()
expected["meta/gap"] = {"error": "shard-missing", "class": "malformed"}
save("no-params", theirs, None)
expected["meta/no-params"] = {"error": "params-missing", "class": "malformed"}
short = dict(theirs)
del short["layers.1.feed_forward.w3.weight"]
save("short", short, params)
expected["meta/short"] = {"error": "tensor-missing", "class": "malformed"}
save("more", theirs | {"layers.0.attention.extra.weight": torch.ones(2)}, params)
expected["meta/more"] = {"error": "unmapped-tensors", "class": "unsupported"}
save("heads", theirs, params | {"n_heads": 3})
expected["meta/heads"] = {"error": "shape-mismatch", "class": "malformed"}
save("params", theirs, params | {"dim": "8"})
expected["meta/params"] = {"error": "bad-params", "class": "malformed"}

# torchtune's own file, with the config that lies beside it.
tune = {}
TUNE = {"embed_tokens": "tok_embeddings", "lm_head": "output", "self_attn": "attn", "o_proj": "output_proj", "gate_proj": "w1",
        "down_proj": "w2", "up_proj": "w3", "input_layernorm": "sa_norm", "post_attention_layernorm": "mlp_norm"}
for name, w in model.items():
    if "q_proj" in name or "k_proj" in name:
        w = pairs(w, 4 if "q_proj" in name else 2)
    name = ".".join(TUNE.get(part, part) for part in name.removeprefix("model.").split("."))
    tune[name.replace("norm.weight", "norm.scale")] = w
folder = root / "torchtune/llama"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
torch.save(tune, folder / "model_0.pt")
(folder / "config.json").write_text(json.dumps(config))
expected["torchtune/llama"] = entry(model, names="hf")
expected["torchtune/llama/model_0.pt"] = entry(model, names="hf")

(root / "expected-meta.json").write_text(json.dumps(expected, indent=1) + "\n")
