#!/usr/bin/env python3
"""Merge tiny adapters of every kind with PEFT and with `artifact`, and compare every bit.

For each variant a tiny model and a random adapter are made and saved; PEFT loads both, merges (plainly and with
safe_merge) and saves; `artifact export --merge` (with --rounding once and peft-safe) must write the same tensors.
Prints one line a variant with how many tensors are the same to the bit and the largest distance of the others in
units in the last place; the exit status is 1 where one is farther than its limit.

Then adapters go to mlx-lm's layout and back, where mlx (if it is installed) must compute the same weights from them,
and are extracted again from what they made, where PEFT must come back to it but for the error that is stated.

With --fixtures FOLDER the bases, adapters and digests that the Swift tests use are written there.

Usage: python adapters.py --artifact .build/release/artifact [--only WORD] [--work FOLDER] [--fixtures FOLDER]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1", OMP_NUM_THREADS="1"
)
warnings.filterwarnings("ignore")

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

transformers.utils.logging.disable_progress_bar()

DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def llama(tie=False, bias=False):
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, tie_word_embeddings=tie, attention_bias=bias, mlp_bias=bias,
        )
    )


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    )


def bert():
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=16, num_labels=3,
        )
    )


def qwen_moe():
    return transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(
            vocab_size=40, hidden_size=16, intermediate_size=24, moe_intermediate_size=20, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8, num_experts=3, num_experts_per_tok=2,
            decoder_sparse_step=1, mlp_only_layers=[],
        )
    )


def mixtral():
    return transformers.MixtralForCausalLM(
        transformers.MixtralConfig(
            vocab_size=40, hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, num_local_experts=3, num_experts_per_tok=2,
        )
    )


def gpt_oss():
    return transformers.GptOssForCausalLM(
        transformers.GptOssConfig(
            vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, num_local_experts=3, num_experts_per_tok=2,
        )
    )


def vit():
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=8,
            patch_size=4, num_labels=2,
        )
    )


ATTENTION = ["q_proj", "v_proj"]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name -> model maker, settings of the adapter, and what else differs:
#   base, adapter: dtypes; limit: the largest distance in units in the last place that is fine.
VARIANTS = {
    "plain": (llama, dict(r=4, lora_alpha=8, target_modules=ALL), {}),
    "rank1": (llama, dict(r=1, lora_alpha=3, target_modules=ATTENTION), {}),
    "rank16": (llama, dict(r=16, lora_alpha=7, target_modules=ALL), {}),
    "rs": (llama, dict(r=3, lora_alpha=5, target_modules=ALL, use_rslora=True), {}),
    "patterns": (
        llama,
        dict(
            r=4, lora_alpha=8, target_modules=ALL,
            rank_pattern={"q_proj": 2, r"model\.layers\.1\.mlp\..*": 6, "^model.layers.0.self_attn.v_proj": 5},
            alpha_pattern={r"layers\.\d+\.self_attn\.(k|v)_proj": 32, "down_proj": 1},
        ),
        {},
    ),
    "dora": (llama, dict(r=4, lora_alpha=8, target_modules=ALL, use_dora=True), {}),
    "dora-rs-bf16": (
        llama, dict(r=4, lora_alpha=8, target_modules=ALL, use_dora=True, use_rslora=True),
        dict(base=torch.bfloat16),
    ),
    "embeddings": (llama, dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "lm_head", "q_proj"]), {}),
    "embeddings-dora": (
        llama, dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "q_proj"], use_dora=True), {},
    ),
    "bias-all": (llama, dict(r=4, target_modules=ATTENTION, bias="all"), dict(bias=True)),
    "bias-lora": (llama, dict(r=4, target_modules=ATTENTION, bias="lora_only"), dict(bias=True)),
    "lora-bias": (llama, dict(r=4, lora_alpha=6, target_modules=ALL, lora_bias=True), dict(bias=True)),
    "lora-bias-bf16": (
        llama, dict(r=4, lora_alpha=6, target_modules=ALL, lora_bias=True), dict(bias=True, base=torch.bfloat16),
    ),
    "modules-to-save": (llama, dict(r=4, target_modules=ATTENTION, modules_to_save=["lm_head", "norm"]), {}),
    "tokens": (llama, dict(r=4, target_modules=ATTENTION, trainable_token_indices=[39, 3, 4, 0]), {}),
    "tokens-dict": (
        llama, dict(r=4, target_modules=ATTENTION, trainable_token_indices={"embed_tokens": [7, 2]}),
        dict(base=torch.bfloat16),
    ),
    "tokens-tied": (
        llama, dict(r=4, target_modules=ATTENTION, trainable_token_indices=[1, 39]), dict(tie=True),
    ),
    "tied-save-embed": (
        llama, dict(r=4, target_modules=ATTENTION, modules_to_save=["embed_tokens"]), dict(tie=True),
    ),
    "tied-save-both": (
        llama, dict(r=4, target_modules=ATTENTION, modules_to_save=["embed_tokens", "lm_head"]), dict(tie=True),
    ),
    "tied-save-ensured": (
        llama,
        dict(r=4, target_modules=ATTENTION, modules_to_save=["embed_tokens"], ensure_weight_tying=True),
        dict(tie=True),
    ),
    "bf16": (llama, dict(r=4, lora_alpha=8, target_modules=ALL), dict(base=torch.bfloat16)),
    "bf16-bf16": (
        llama, dict(r=4, lora_alpha=8, target_modules=ALL), dict(base=torch.bfloat16, adapter=torch.bfloat16),
    ),
    "f16": (llama, dict(r=4, lora_alpha=8, target_modules=ALL), dict(base=torch.float16)),
    "f16-f16": (
        llama, dict(r=4, lora_alpha=8, target_modules=ALL), dict(base=torch.float16, adapter=torch.float16),
    ),
    "f32-bf16": (llama, dict(r=4, lora_alpha=8, target_modules=ALL), dict(adapter=torch.bfloat16)),
    "gpt2": (gpt2, dict(r=4, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True), {}),
    "gpt2-dora": (
        gpt2, dict(r=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, use_dora=True), {},
    ),
    "gpt2-bf16-rs": (
        gpt2, dict(r=4, target_modules=["c_attn"], fan_in_fan_out=True, use_rslora=True), dict(base=torch.bfloat16),
    ),
    "gpt2-embeddings": (gpt2, dict(r=4, target_modules=["wpe", "c_fc"], fan_in_fan_out=True), {}),
    "bert-classifier": (bert, dict(r=4, target_modules=["query", "value"], task_type="SEQ_CLS"), {}),
    "vit-conv": (vit, dict(r=4, target_modules=["projection", "query"]), {}),
    "qwen-moe": (
        qwen_moe,
        dict(r=2, target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
        {},
    ),
    "qwen-moe-bf16": (
        qwen_moe, dict(r=2, target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"]),
        dict(base=torch.bfloat16, safe_only=True),
    ),
    "mixtral": (
        mixtral,
        dict(r=2, target_modules=["q_proj"], target_parameters=["experts.gate_up_proj", "experts.down_proj"]), {},
    ),
    "gpt-oss": (
        gpt_oss,
        dict(r=2, target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
        {},
    ),
}


def make(name, folder):
    """Saves a base and an adapter, and what PEFT makes of them: plainly and with safe_merge."""
    maker, settings, options = VARIANTS[name]
    torch.manual_seed(sum(map(ord, name)))
    model = maker(**{k: options[k] for k in ("tie", "bias") if k in options})
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    dtype = options.get("base", torch.float32)
    base, adapter = folder / "base", folder / "adapter"
    model.to(dtype).save_pretrained(base)
    settings = dict(settings)
    peft_model = get_peft_model(model, LoraConfig(**settings))
    with torch.no_grad():
        for key, parameter in peft_model.named_parameters():
            if parameter.requires_grad:
                parameter.add_((torch.randn(parameter.shape) * 0.2).to(parameter.dtype))
    peft_model.save_pretrained(adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    stored = options.get("adapter", torch.float32)
    save_file({k: v.to(stored).contiguous() for k, v in weights.items()}, adapter / "adapter_model.safetensors",
              metadata={"format": "pt"})
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    (adapter / "adapter_config.json").write_text(json.dumps(config, indent=1))
    for safe in (False, True):
        again = type(model).from_pretrained(base, dtype=dtype)
        merged = PeftModel.from_pretrained(again, adapter).merge_and_unload(safe_merge=safe)
        merged.save_pretrained(folder / ("safe" if safe else "default"))
    return dtype


def ulps(a, b):
    """The distance of two tensors of one dtype, in units in the last place."""
    wide = {2: torch.int16, 4: torch.int32}[a.element_size()]
    mask = 2 ** (8 * a.element_size() - 1) - 1

    def ordered(t):
        i = t.contiguous().view(wide).to(torch.int64)
        return torch.where(i < 0, -(i & mask), i)

    return int((ordered(a) - ordered(b)).abs().max()) if a.numel() else 0


def compare(expected, found, dtype):
    """(tensors, tensors that are the same, largest distance, problems)."""
    problems = sorted(set(expected) ^ set(found))
    same, largest, total = 0, 0, 0
    for key in set(expected) & set(found):
        a, b = expected[key].to(dtype), found[key]
        total += 1
        if a.shape != b.shape or b.dtype != dtype:
            problems.append(f"{key}: {a.shape} {b.shape} {b.dtype}")
        elif torch.equal(a, b):
            same += 1
        else:
            largest = max(largest, ulps(a, b))
    return total, same, largest, problems


def run(name, artifact, folder):
    options = VARIANTS[name][2]
    dtype = make(name, folder)
    line, fine = [], True
    for rounding, reference in (("once", "default"), ("peft-safe", "safe")):
        if options.get("safe_only") and rounding == "once":
            continue
        out = folder / f"out-{rounding}"
        result = subprocess.run(
            [artifact, "export", folder / "base", "--merge", folder / "adapter", "--rounding", rounding, "-o", out],
            capture_output=True, text=True,
        )
        if result.returncode:
            return False, f"exit {result.returncode}: {result.stderr.strip()[:500]}"
        total, same, largest, problems = compare(
            load_file(folder / reference / "model.safetensors"), load_file(out / "model.safetensors"), dtype
        )
        line.append(f"{rounding}: {same}/{total} the same" + (f", {largest} ulp" if largest else ""))
        if problems or largest > options.get("limit", 0):
            fine = False
            line.append(f"problems {problems[:6]}")
        wanted = json.loads((folder / reference / "config.json").read_text()).get("tie_word_embeddings")
        written = json.loads((out / "config.json").read_text()).get("tie_word_embeddings")
        if wanted != written:
            fine = False
            line.append(f"tie_word_embeddings {written}, not {wanted}")
    return fine, "; ".join(line)


def command(artifact, *arguments):
    result = subprocess.run([artifact, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def check_mlx(name, artifact, folder):
    """An adapter in mlx-lm's layout: its formula gives PEFT's weights, and the way back the same tensors."""
    command(artifact, "adapter", "convert", folder / "adapter", "--to", "mlx", "-o", folder / "mlx", "-q")
    command(artifact, "adapter", "convert", folder / "mlx", "--to", "peft", "-o", folder / "back", "-q")
    old, new = (load_file(folder / n / "adapter_model.safetensors") for n in ("adapter", "back"))
    assert all(torch.equal(old[k], new[k]) for k in new), "the way back changes tensors"
    assert set(new) == {k for k in old if ".base_layer." not in k}, sorted(set(new) ^ set(old))
    try:
        import mlx.core as mx
    except ImportError:
        return "mlx is not there to judge"
    scale = json.loads((folder / "mlx/adapter_config.json").read_text())["lora_parameters"]["scale"]
    base, merged = load_file(folder / "base/model.safetensors"), load_file(folder / "default/model.safetensors")
    tensors = mx.load(str(folder / "mlx/adapters.safetensors"))
    worst = 0.0
    for key, a in tensors.items():
        if not key.endswith(".lora_a"):
            continue
        module = key.removesuffix(".lora_a")
        weight = mx.array(base[module + ".weight"].numpy())
        update = scale * (tensors[module + ".lora_b"].T @ a.T)
        weight = weight + update
        if module + ".m" in tensors:
            weight = (tensors[module + ".m"] / mx.linalg.norm(weight, axis=1))[:, None] * weight
        worst = max(worst, float(mx.abs(weight - mx.array(merged[module + ".weight"].numpy())).max()))
    assert worst < 1e-5, worst
    return f"mlx is within {worst:.1e}"


def check_extraction(name, artifact, folder):
    """An adapter extracted from PEFT's result: PEFT merges it to that again, but for the error that is stated."""
    maker = VARIANTS[name][0]
    report = json.loads(
        command(artifact, "adapter", "extract", folder / "base", folder / "default", "--rank", "auto", "--energy",
                "0.95", "--others", "save", "-o", folder / "extracted", "--json")
    )
    updates = report["changes"][0]["updates"]
    model = type(maker()).from_pretrained(folder / "base")
    merged = PeftModel.from_pretrained(model, folder / "extracted").merge_and_unload().state_dict()
    base, wanted = load_file(folder / "base/model.safetensors"), load_file(folder / "default/model.safetensors")
    stated = {u["name"]: u["relative_error"] for u in updates}
    for key, tensor in wanted.items():
        error = ((merged[key] - tensor).norm() / (tensor - base[key]).norm()).item() if key in stated else 0
        assert abs(error - stated.get(key, 0)) < 1e-5, (key, error, stated.get(key))
        assert key in stated or torch.equal(merged[key], tensor), key
    return f"{len(updates)} updates, the worst misses {max(stated.values()):.3f}"


def write_fixture(name, folder, fixtures):
    """Copies a variant with the digests of what PEFT made of it."""
    target = fixtures / name
    shutil.rmtree(target, ignore_errors=True)
    for part in ("base", "adapter"):
        shutil.copytree(folder / part, target / part, ignore=shutil.ignore_patterns("README.md", "generation*"))
    dtype = VARIANTS[name][2].get("base", torch.float32)
    expected = {}
    for reference in ("default", "safe"):
        tensors = load_file(folder / reference / "model.safetensors")
        expected[reference] = {
            key: {
                "dtype": DTYPE_NAMES[dtype], "shape": list(tensor.shape),
                "sha256": hashlib.sha256(
                    tensor.to(dtype).contiguous().view(torch.uint8).numpy().tobytes()).hexdigest(),
            }
            for key, tensor in sorted(tensors.items())
        }
    (target / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--work")
    parser.add_argument("--fixtures", type=Path)
    options = parser.parse_args()
    work = Path(options.work or tempfile.mkdtemp())
    failed = 0
    for name in VARIANTS:
        if options.only not in name:
            continue
        folder = work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fine, text = run(name, options.artifact, folder)
        failed += not fine
        print("PASS" if fine else "FAIL", f"{name}: {text}", flush=True)
        if options.fixtures:
            write_fixture(name, folder, options.fixtures)
    for check, names in (
        (check_mlx, ("plain", "rs", "rank16", "dora")),
        (check_extraction, ("plain", "modules-to-save", "dora", "gpt2", "bias-all")),
    ):
        for name in names:
            if options.only not in name:
                continue
            try:
                print("PASS", f"{check.__name__} {name}: {check(name, options.artifact, work / name)}", flush=True)
            except AssertionError as error:
                failed += 1
                print("FAIL", f"{check.__name__} {name}: {error}", flush=True)
    if not options.work:
        shutil.rmtree(work)
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
