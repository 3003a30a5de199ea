#!/usr/bin/env python3
"""Check the maps of Formats/architectures against formulas of their own, on tiny models of transformers.

For every model a checkpoint of counted numbers is saved by transformers, loaded again (so that the names and shapes
are its own), and put into each other scheme by the code below, which follows the upstream converters and knows nothing
of the maps: gguf-py's tensor names and llama.cpp's reshapes, torchtune's and Meta's rotary permutation, Megatron's
grouped QKV, Flax kernels, MLX and OpenAI names, and the names that modules of transformers have in memory. `artifact
export --names` must make the same bytes in both directions.

Usage: python architectures.py --artifact .build/release/artifact [--only WORD]
       python architectures.py --write     (writes the fixtures of Tests/ArchitecturesTests)
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
warnings.filterwarnings("ignore")

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

hf.utils.logging.disable_progress_bar()
FIXTURES = Path(__file__).resolve().parents[1] / "Fixtures/architectures"

SIZES = dict(vocab_size=11, hidden_size=16, intermediate_size=12, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2)
WIDE = dict(SIZES, head_dim=8)
T5 = dict(vocab_size=11, d_model=16, d_kv=6, d_ff=12, num_layers=2, num_decoder_layers=3, num_heads=4,
          relative_attention_num_buckets=5, pad_token_id=0, eos_token_id=1)
WHISPER = dict(vocab_size=11, d_model=16, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4,
               decoder_attention_heads=4, encoder_ffn_dim=12, decoder_ffn_dim=10, num_mel_bins=5,
               max_source_positions=8, max_target_positions=9, pad_token_id=0, bos_token_id=1, eos_token_id=2,
               decoder_start_token_id=3)

# name: class, config, GGUF architecture, schemes
MODELS = {
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig(**WIDE), "LLAMA", "gguf meta torchtune megatron flax"),
    "llama-bias": (hf.LlamaForCausalLM, hf.LlamaConfig(**WIDE, attention_bias=True), "LLAMA",
                   "gguf megatron flax"),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig(**WIDE), "LLAMA", "gguf meta torchtune megatron flax"),
    "mixtral": (hf.MixtralForCausalLM, hf.MixtralConfig(**WIDE, num_local_experts=3), "LLAMA",
                "gguf meta megatron hf-fused mlx"),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config(**SIZES), "QWEN2", "gguf torchtune megatron"),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config(**WIDE), "QWEN3", "gguf torchtune megatron"),
    "qwen2_moe": (hf.Qwen2MoeForCausalLM,
                  hf.Qwen2MoeConfig(**SIZES, num_experts=3, moe_intermediate_size=6, num_experts_per_tok=2,
                                    shared_expert_intermediate_size=10), "QWEN2MOE", "gguf megatron hf-fused mlx"),
    "qwen3_moe": (hf.Qwen3MoeForCausalLM,
                  hf.Qwen3MoeConfig(**WIDE, num_experts=3, moe_intermediate_size=6, num_experts_per_tok=2),
                  "QWEN3MOE", "gguf megatron hf-fused mlx"),
    "gemma": (hf.GemmaForCausalLM, hf.GemmaConfig(**WIDE), "GEMMA", "gguf torchtune megatron flax"),
    "gemma2": (hf.Gemma2ForCausalLM, hf.Gemma2Config(**WIDE), "GEMMA2", "gguf torchtune megatron"),
    "gemma3": (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig(**WIDE), "GEMMA3", "gguf megatron"),
    "phi3": (hf.Phi3ForCausalLM, hf.Phi3Config(**SIZES), "PHI3", "gguf torchtune"),
    "gpt2": (hf.GPT2LMHeadModel,
             hf.GPT2Config(vocab_size=11, n_embd=16, n_layer=2, n_head=4, n_positions=9, bos_token_id=1,
                           eos_token_id=2), "GPT2", "gguf megatron mlx flax"),
    "bert": (hf.BertForPreTraining,
             hf.BertConfig(vocab_size=11, hidden_size=16, intermediate_size=12, num_hidden_layers=2,
                           num_attention_heads=4, max_position_embeddings=9), "BERT", "gguf flax"),
    "t5": (hf.T5ForConditionalGeneration, hf.T5Config(**T5), "T5", "gguf flax"),
    "t5-gated": (hf.T5ForConditionalGeneration,
                 hf.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False), "T5", "gguf flax"),
    "whisper": (hf.WhisperForConditionalGeneration, hf.WhisperConfig(**WHISPER), None, "openai mlx flax"),
}


def counted(shapes):
    """Tensors that count up from where the one before ended, in order of their names."""
    result, start = {}, 0
    for name in sorted(shapes):
        count = 1
        for size in shapes[name]:
            count *= size
        result[name] = torch.arange(start, start + count, dtype=torch.float32).reshape(shapes[name])
        start += count
    return result


def model(name, folder):
    """Saves a model of counted numbers, and returns its config, its tensors and those that it has in memory."""
    kind, config, _, _ = MODELS[name]
    kind(config).save_pretrained(folder)
    file = Path(folder) / "model.safetensors"
    tensors = counted({key: tuple(value.shape) for key, value in load_file(file).items()})
    save_file(tensors, file, metadata={"format": "pt"})
    memory = kind.from_pretrained(folder, dtype=torch.float32).state_dict()
    return json.loads((Path(folder) / "config.json").read_text()), tensors, memory


# --- Schemes -----------------------------------------------------------------------------------------------------

def interleaved(weight, heads):
    """Rotary pairs side by side, as Meta's code has them, from halves, as transformers has them."""
    rest = weight.shape[1:]
    return weight.reshape(heads, 2, -1, *rest).transpose(1, 2).reshape(weight.shape)


def heads_of(config, key):
    return config["num_attention_heads"] if "q_proj" in key else config["num_key_value_heads"]


def gguf(name, config, tensors, _memory):
    import gguf as library

    arch = MODELS[name][2]
    names = library.get_tensor_name_map(library.MODEL_ARCH[arch], 8)
    out, experts = {}, {}
    for key, value in tensors.items():
        if arch == "BERT":
            if key.startswith("cls.") or "pooler" in key:
                continue
            key = key.removeprefix("bert.")
        if arch == "LLAMA" and re.search(r"\.(q|k)_proj\.", key):
            value = interleaved(value, heads_of(config, key))
        if arch.startswith("GEMMA") and key.endswith("norm.weight"):
            value = value + 1
        if arch == "GPT2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", key):
            value = value.T
        found = re.fullmatch(r"(model\.layers\.\d+\..*experts)\.(\d+)\.(\w+)\.weight", key)
        if found:
            whole = f"{found[1]}.{found[3]}.weight"
            experts.setdefault(whole, {})[int(found[2])] = value
            continue
        if "shared_expert_gate" in key:
            value = value.squeeze(0)
        out[names.get_name(key, try_suffixes=(".weight", ".bias"))] = value
    for key, parts in experts.items():
        stacked = torch.stack([parts[index] for index in range(len(parts))])
        out[names.get_name(key, try_suffixes=(".weight", ".bias"))] = stacked
    return out


def replaced(tensors, pairs):
    """Renames by a chain of regular expressions; None drops."""
    out = {}
    for key, value in tensors.items():
        for pattern, text in pairs:
            key = re.sub(pattern, text, key)
        out[key] = value
    return out


def meta(name, config, tensors, _memory):
    tensors = {
        key: interleaved(value, heads_of(config, key)) if re.search(r"(q|k)_proj", key) else value
        for key, value in tensors.items()}
    return replaced(tensors, [
        (r"^lm_head", "output"), (r"^model\.embed_tokens", "tok_embeddings"), (r"^model\.", ""),
        (r"self_attn\.(q|k|v|o)_proj", r"attention.w\1"), (r"post_attention_layernorm", "ffn_norm"),
        (r"input_layernorm", "attention_norm"), (r"mlp\.gate_proj", "feed_forward.w1"),
        (r"mlp\.down_proj", "feed_forward.w2"), (r"mlp\.up_proj", "feed_forward.w3"),
        (r"block_sparse_moe", "feed_forward")])


def torchtune(name, config, tensors, _memory):
    out = {}
    for key, value in tensors.items():
        if re.search(r"(q|k)_proj", key) and not name.startswith("qwen"):
            value = interleaved(value, heads_of(config, key))
        if "qkv_proj" in key:
            size = config["hidden_size"] // config["num_attention_heads"]
            q, kv = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
            for part, letter in zip(value.split([q, kv, kv]), "qkv"):
                out[key.replace("qkv_proj", f"{letter}_proj")] = part
        elif "gate_up_proj" in key:
            out[key.replace("gate_up", "gate")], out[key.replace("gate_up", "up")] = value.chunk(2)
        else:
            out[key] = value
    second = "sa_scale" if name == "gemma2" else "mlp_norm"
    return replaced(out, [
        (r"^lm_head", "output"), (r"^model\.embed_tokens", "tok_embeddings"), (r"^model\.", ""),
        (r"^norm\.weight", "norm.rms_norm.scale" if name == "gemma2" else "norm.scale"),
        (r"self_attn\.o_proj", "attn.output_proj"), (r"self_attn", "attn"), (r"(q|k)_norm\.weight", r"\1_norm.scale"),
        (r"pre_feedforward_layernorm\.weight", "mlp_norm.scale"),
        (r"post_feedforward_layernorm\.weight", "mlp_scale.scale"),
        (r"post_attention_layernorm\.weight", f"{second}.scale"), (r"input_layernorm\.weight", "sa_norm.scale"),
        (r"mlp\.gate_proj", "mlp.w1"), (r"mlp\.down_proj", "mlp.w2"), (r"mlp\.up_proj", "mlp.w3")])


def megatron(name, config, tensors, _memory, padding=3):
    if name == "gpt2":
        return megatron_gpt2(config, tensors, padding)
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    out = {}
    is_sandwich = name in ("gemma2", "gemma3")
    is_sparse = "moe" in name or name == "mixtral"
    before_mlp = "pre_feedforward_layernorm" if is_sandwich else "post_attention_layernorm"

    def grouped(layer, kind):
        parts = [tensors[f"{layer}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
        rest = parts[0].shape[1:]
        views = [part.reshape(groups, -1, part.shape[0] // count, *rest)
                 for part, count in zip(parts, (heads, groups, groups))]
        return torch.cat(views, dim=1).reshape(-1, *rest)

    def experts(layer, *projections):
        count = 1 + max(int(k.split("experts.")[1].split(".")[0]) for k in tensors if f"{layer}." in k and "experts." in k)
        prefix = next(k for k in tensors if f"{layer}." in k and "experts." in k).split("experts.")[0]
        return torch.stack([
            torch.cat([tensors[f"{prefix}experts.{e}.{p}.weight"] for p in projections]) for e in range(count)])

    for key, value in tensors.items():
        found = re.match(r"(model\.layers\.(\d+))\.(.*)", key)
        if not found:
            target = {"model.embed_tokens.weight": "embedding.word_embeddings.weight",
                      "lm_head.weight": "output_layer.weight", "model.norm.weight": "decoder.final_layernorm.weight"}[key]
            if target != "decoder.final_layernorm.weight":
                value = torch.cat([value, torch.full((padding, value.shape[1]), -1.0)])
            out[target] = value
            continue
        layer, number, rest = found.groups()
        to = f"decoder.layers.{number}"
        if rest == "input_layernorm.weight":
            out[f"{to}.self_attention.linear_qkv.layer_norm_weight"] = value
        elif rest == f"{before_mlp}.weight":
            out[f"{to}.pre_mlp_layernorm.weight" if is_sparse else f"{to}.mlp.linear_fc1.layer_norm_weight"] = value
        elif rest == "post_attention_layernorm.weight":
            out[f"{to}.self_attention.linear_proj.post_layernorm.weight"] = value
        elif rest == "post_feedforward_layernorm.weight":
            out[f"{to}.mlp.linear_fc2.post_layernorm.weight"] = value
        elif re.match(r"self_attn\.q_proj", rest):
            kind = rest.split(".")[-1]
            out[f"{to}.self_attention.linear_qkv.{kind}"] = grouped(layer, kind)
        elif re.match(r"self_attn\.(q|k)_norm", rest):
            out[f"{to}.self_attention.{rest[10]}_layernorm.weight"] = value
        elif re.match(r"self_attn\.o_proj", rest):
            out[f"{to}.self_attention.linear_proj.{rest.split('.')[-1]}"] = value
        elif rest == "mlp.gate_proj.weight":
            out[f"{to}.mlp.linear_fc1.weight"] = torch.cat([value, tensors[f"{layer}.mlp.up_proj.weight"]])
        elif rest == "mlp.down_proj.weight":
            out[f"{to}.mlp.linear_fc2.weight"] = value
        elif rest in ("mlp.gate.weight", "block_sparse_moe.gate.weight"):
            out[f"{to}.mlp.router.weight"] = value
            mixtral = name == "mixtral"
            first = ("w1", "w3") if mixtral else ("gate_proj", "up_proj")
            out[f"{to}.mlp.experts.experts.linear_fc1.weight"] = experts(layer, *first)
            out[f"{to}.mlp.experts.experts.linear_fc2.weight"] = experts(layer, "w2" if mixtral else "down_proj")
        elif rest == "mlp.shared_expert.gate_proj.weight":
            up = tensors[f"{layer}.mlp.shared_expert.up_proj.weight"]
            out[f"{to}.mlp.shared_experts.linear_fc1.weight"] = torch.cat([value, up])
        elif rest == "mlp.shared_expert.down_proj.weight":
            out[f"{to}.mlp.shared_experts.linear_fc2.weight"] = value
        elif rest == "mlp.shared_expert_gate.weight":
            out[f"{to}.mlp.shared_experts.gate_weight"] = value
    return out


def megatron_gpt2(config, tensors, padding):
    heads = config["n_head"]
    out = {}
    for key, value in tensors.items():
        if key.endswith("c_attn.weight") or key.endswith("c_attn.bias"):
            columns = value.T if value.dim() == 2 else value
            parts = columns.reshape(3, heads, -1, *columns.shape[1:])
            value = torch.stack([parts[:, head] for head in range(heads)]).reshape(columns.shape)
        elif re.search(r"(c_proj|c_fc)\.weight$", key):
            value = value.T
        if key.endswith("wte.weight"):
            value = torch.cat([value, torch.full((padding, value.shape[1]), -1.0)])
        out[key] = value
    return replaced(out, [
        (r"^transformer\.wte", "embedding.word_embeddings"), (r"^transformer\.wpe", "embedding.position_embeddings"),
        (r"^transformer\.ln_f", "decoder.final_layernorm"), (r"^transformer\.h", "decoder.layers"),
        (r"ln_1\.", "self_attention.linear_qkv.layer_norm_"), (r"ln_2\.", "mlp.linear_fc1.layer_norm_"),
        (r"attn\.c_attn", "self_attention.linear_qkv"), (r"attn\.c_proj", "self_attention.linear_proj"),
        (r"mlp\.c_fc", "mlp.linear_fc1"), (r"mlp\.c_proj", "mlp.linear_fc2")])


def stacked(name, config, tensors, memory):
    """Megatron's with layers stacked, as torch_dist keeps them."""
    out, layers = {}, {}
    for key, value in megatron(name, config, tensors, memory).items():
        found = re.match(r"decoder\.layers\.(\d+)\.(.*)", key)
        if found:
            layers.setdefault("decoder.layers." + found[2], []).append((int(found[1]), value))
        else:
            out[key] = value
    return out | {key: torch.stack([v for _, v in sorted(parts, key=lambda p: p[0])]) for key, parts in layers.items()}


def flax(name, config, tensors, _memory):
    """As transformers 4 renames and turns weights for Flax: embeddings, LayerNorm scales, kernels [in, out]."""
    out = {}
    for key, value in tensors.items():
        module, kind = key.rsplit(".", 1)
        if kind == "weight" and value.dim() == 1:
            has_scale = name in ("gpt2", "bert", "whisper")
            key = f"{module}.scale" if has_scale else key
        elif kind == "weight" and re.search(r"(embed\w*|embeddings|wte|wpe|shared|relative_attention_bias)$", module):
            key = f"{module}.embedding"
        elif kind == "weight":
            key, value = f"{module}.kernel", value.permute(*reversed(range(value.dim())))
        out[key] = value
    return out


def mlx(name, config, tensors, memory):
    if name == "gpt2":
        turned = {k: v.T if re.search(r"(c_attn|c_proj|c_fc)\.weight$", k) else v for k, v in tensors.items()}
        return replaced(turned, [(r"^transformer", "model")])
    if name == "whisper":
        out = {k: v.swapaxes(1, 2) if "conv" in k and v.dim() == 3 else v
               for k, v in openai(name, config, tensors, memory).items() if k != "encoder.positional_embedding"}
        return replaced(out, [(r"mlp\.0", "mlp1"), (r"mlp\.2", "mlp2")])
    out, experts = {}, {}
    for key, value in tensors.items():
        found = re.match(r"(.*)\.experts\.(\d+)\.(\w+)\.weight", key)
        if not found:
            out[key] = value
            continue
        projection = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}.get(found[3], found[3])
        experts.setdefault(f"{found[1]}.switch_mlp.{projection}.weight", {})[int(found[2])] = value
    return out | {k: torch.stack([v[i] for i in range(len(v))]) for k, v in experts.items()}


def openai(name, config, tensors, _memory):
    tensors = {k: v for k, v in tensors.items() if k != "proj_out.weight"}
    return replaced(tensors, [
        (r"^model\.", ""), (r"embed_positions\.weight", "positional_embedding"), (r"embed_tokens", "token_embedding"),
        (r"layers\.(\d+)", r"blocks.\1"), (r"^encoder\.layer_norm", "encoder.ln_post"), (r"^decoder\.layer_norm", "decoder.ln"),
        (r"encoder_attn_layer_norm", "cross_attn_ln"), (r"self_attn_layer_norm", "attn_ln"), (r"final_layer_norm", "mlp_ln"),
        (r"encoder_attn\.", "cross_attn."), (r"self_attn\.", "attn."), (r"q_proj", "query"), (r"k_proj", "key"),
        (r"v_proj", "value"), (r"out_proj", "out"), (r"fc1", "mlp.0"), (r"fc2", "mlp.2")])


def fused(name, config, tensors, memory):
    """What the module has in memory, which is what a trainer without save_pretrained writes."""
    return dict(memory)


SCHEMES = {"gguf": gguf, "meta": meta, "torchtune": torchtune, "megatron": megatron, "megatron-stacked": stacked,
           "flax": flax, "mlx": mlx, "openai": openai, "hf-fused": fused}


def schemes(name):
    for scheme in MODELS[name][3].split():
        yield scheme
        if scheme == "megatron":
            yield "megatron-stacked"


def digest(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


# --- The command -------------------------------------------------------------------------------------------------

def export(artifact, source, target, *options):
    run = subprocess.run([artifact, "export", str(source), "-o", str(target), *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return load_file(Path(target) / "model.safetensors")


def same(ours, theirs):
    assert set(ours) == set(theirs), sorted(set(ours) ^ set(theirs))[:6]
    for key in theirs:
        assert ours[key].shape == theirs[key].shape, (key, ours[key].shape, theirs[key].shape)
        assert ours[key].dtype == theirs[key].dtype and torch.equal(ours[key], theirs[key]), key


def unpadded(scheme, tensors, rows):
    """Megatron without the rows that fill its vocabulary up, which are not made again."""
    if not scheme.startswith("megatron"):
        return tensors
    return {k: v[:rows] if k in ("embedding.word_embeddings.weight", "output_layer.weight") else v
            for k, v in tensors.items()}


def check(artifact, name, work):
    config, tensors, memory = model(name, work / "hf")
    for scheme in schemes(name):
        theirs = SCHEMES[scheme](name, config, tensors, memory)
        made = export(artifact, work / "hf", work / f"to-{scheme}", "--names", scheme)
        same(made, unpadded(scheme, theirs, config["vocab_size"]))
        folder = work / f"from-{scheme}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        torch.save({k: v.contiguous() for k, v in theirs.items()}, folder / "model.pt")
        back = export(artifact, folder, work / f"back-{scheme}", "--names", "hf")
        lost = {"gguf": r"^(cls\.|bert\.pooler)", "mlx": r"encoder\.embed_positions"}.get(scheme, "$^")
        same(back, {k: v for k, v in tensors.items() if not re.search(lost, k)})
        kind = MODELS[name][0]
        _, report = kind.from_pretrained(work / f"back-{scheme}", dtype=torch.float32, output_loading_info=True)
        assert not report["unexpected_keys"] and not report["mismatched_keys"], report
        yield scheme


def meta_parts(artifact, work):
    """Llama split over two files as Meta's code splits it, embeddings by columns and by rows."""
    config, tensors, _ = model("llama", work / "hf")
    theirs = meta("llama", config, tensors, None)
    for embedding in (0, 1):
        folder = work / f"parts-{embedding}"
        folder.mkdir()
        split = {"output": 0, "wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "wo": 1, "w2": 1, "tok_embeddings": embedding}
        even = {k: torch.cat([v, v[:1]]) if re.match("output|tok_emb", k) else v for k, v in theirs.items()}
        for part in range(2):
            pieces = {"rope.freqs": torch.ones(4)}
            for key, value in even.items():
                axis = split.get(key.split(".")[-2])
                pieces[key] = value if axis is None else value.chunk(2, dim=axis)[part].clone()
            torch.save(pieces, folder / f"consolidated.0{part}.pth")
        (folder / "params.json").write_text(json.dumps(
            {"dim": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "norm_eps": 1e-5, "vocab_size": -1}))
        out = work / f"joined-{embedding}"
        ours = export(artifact, folder, out)
        whole = {k: torch.cat([v, v[:1]]) if "embed_tokens" in k or "lm_head" in k else v for k, v in tensors.items()}
        same(ours, whole)
        made = hf.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
        assert made.config.vocab_size == 12 and made.config.intermediate_size == 12
        assert torch.equal(made.state_dict()["model.layers.1.mlp.up_proj.weight"], whole["model.layers.1.mlp.up_proj.weight"])


# --- Fixtures ----------------------------------------------------------------------------------------------------

def write():
    FIXTURES.mkdir(exist_ok=True)
    for name in MODELS:
        with tempfile.TemporaryDirectory() as work:
            config, tensors, memory = model(name, work)
            document = {"config": config, "tensors": {k: list(v.shape) for k, v in sorted(tensors.items())}, "schemes": {}}
            for scheme in schemes(name):
                theirs = SCHEMES[scheme](name, config, tensors, memory)
                theirs = unpadded(scheme, theirs, config["vocab_size"])
                document["schemes"][scheme] = {
                    k: [list(v.shape), digest(v)[:16]] for k, v in sorted(theirs.items())}
            text = json.dumps(document, indent=1)
            text = re.sub(r"\[\s+((?:[\d]+,?\s*)*)\]", lambda m: "[" + " ".join(m[1].split()) + "]", text)
            text = re.sub(r"\[\s+(\[[^\]]*\]),\s+(\"[0-9a-f]{16}\")\s+\]", r"[\1, \2]", text)
            (FIXTURES / f"{name}.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.write:
        return write()
    failed = passed = 0
    checks = {name: lambda work, name=name: list(check(arguments.artifact, name, work)) for name in MODELS}
    checks["Meta's parts"] = lambda work: meta_parts(arguments.artifact, work)
    for name, body in checks.items():
        if arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory() as work:
            try:
                done = body(Path(work))
                passed += 1
                print("PASS", name, *(done or []), flush=True)
            except AssertionError as error:
                failed += 1
                print("FAIL", name, error, flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
