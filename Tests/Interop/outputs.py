#!/usr/bin/env python3
"""Let torch, transformers, NumPy, gguf and llama.cpp read what `artifact export --to` writes.

Checks that need llama-cpp-python or gguf say SKIP where these are not installed.

Usage: python outputs.py --artifact .build/release/artifact [--only WORD] [--work FOLDER]
"""

import ctypes
import functools
import importlib.util
import json
import shutil

import numpy
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import interop
from interop import CHECKS, LLAMA, SAMPLES, check, identity, spelled

CHECKS.clear()  # those of interop.py run there

TYPED = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
         torch.uint8, torch.bool, torch.complex64]
NEWER = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz,
         torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2]
# What llama.cpp calls the mixes.
MIXES = {"q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q5_k_s": 16, "q5_1": 9, "q5_0": 8, "q4_k_m": 15, "q4_k_s": 14, "q4_1": 3,
         "q4_0": 2, "f16": 1, "bf16": 32}
PROMPT = list(range(5, 21))


def needs(*modules):
    """Skip a check where a module is not installed."""

    def wrap(function):
        @functools.wraps(function)
        def run(artifact):
            missing = [name for name in modules if importlib.util.find_spec(name) is None]
            return f"SKIP: no {', '.join(missing)}" if missing else function(artifact)

        return run

    return wrap


def everything():
    """A tensor of each dtype, and odd shapes."""
    torch.manual_seed(1)
    tensors = {}
    for dtype in TYPED + NEWER:
        raw = torch.randint(1, 120, (64,), dtype=torch.uint8)
        if dtype == torch.bool:
            raw = raw % 2
        tensors[f"d.{str(dtype)[6:]}"] = raw.view(dtype).reshape(2, -1)
    tensors["scalar"] = torch.tensor(3.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors["of.four"] = torch.randn(2, 3, 4, 5)
    tensors["large"] = torch.randn(1100, 1200)
    tensors["ünï"] = torch.randn(3)
    return tensors


@check("torch loads every dtype, with weights_only and without, mapped and not, in one file and in shards")
def torch_loads(artifact):
    expected = everything()
    source = artifact.fresh("all.safetensors")
    save_file(expected, source)
    for options in ([], ["--max-shard-size", "300"]):
        folder = artifact.export(source, "--to", "pytorch", *options)
        files = sorted(folder.glob("pytorch_model*.bin"))
        assert len(files) > 2 or not options
        for weights_only in (True, False):
            for mmap in (True, False):
                found = {}
                for path in files:
                    found.update(torch.load(path, weights_only=weights_only, mmap=mmap))
                assert found.keys() == expected.keys()
                for name, tensor in expected.items():
                    assert spelled(found[name]) == spelled(tensor), name
    return f"{len(expected)} tensors"


@check("torch gives tied names one storage, and transformers loads shards of .bin as it loads SafeTensors")
def tied_and_sharded(artifact):
    folder = artifact.export(LLAMA, "--to", "pytorch", "--max-shard-size", "100KB")
    index = json.loads((folder / "pytorch_model.bin.index.json").read_text())["weight_map"]
    file = index["lm_head.weight"]
    assert index["model.embed_tokens.weight"] == file
    state = torch.load(folder / file, weights_only=True)
    assert identity(state["lm_head.weight"]) == identity(state["model.embed_tokens.weight"])
    with torch.no_grad():
        logits = [
            AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)(torch.tensor([PROMPT])).logits
            for place in (folder, artifact.export(LLAMA))
        ]
    assert torch.equal(*logits)


@check("NumPy loads an .npz, and numpy.savez would have made the same members")
def numpy_loads(artifact):
    folder = artifact.export(LLAMA, "--to", "npz", "--dtype", "f32")
    expected = load_file(artifact.export(LLAMA, "--dtype", "f32") / "model.safetensors")
    with numpy.load(folder / "model.npz") as found:
        # Nobody ties names when arrays are loaded, so both are there.
        assert set(found.files) == set(expected) | {"lm_head.weight"}
        for name, tensor in expected.items():
            assert numpy.array_equal(found[name], tensor.numpy()), name


@check("what goes through PyTorch, SafeTensors and GGUF comes back as it was")
def round_trip(artifact):
    first = artifact.export(LLAMA)
    gguf = artifact.export(first, "--to", "gguf")
    again = artifact.export(gguf)
    one, two = (load_file(folder / "model.safetensors") for folder in (first, again))
    assert one.keys() == two.keys() and all(spelled(one[name]) == spelled(two[name]) for name in one)
    digests = [
        {tensor["name"]: tensor["sha256"] for tensor in json.loads((folder / "artifact-manifest.json").read_text())["tensors"]}
        for folder in (first, again)
    ]
    assert digests[0] == digests[1]


def quiet():
    import llama_cpp

    if not hasattr(quiet, "callback"):
        quiet.callback = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(quiet.callback, None)
    return llama_cpp


def wide_model(artifact, **options):
    """A Llama whose rows are multiples of 256, as the formats with K want them."""
    folder = artifact.fresh("wide")
    torch.manual_seed(3)
    config = LlamaConfig(**{**dict(
        vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=9, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    ), **options})
    LlamaForCausalLM(config).float().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(LLAMA / name, folder)
    return folder


@check("every mix is, tensor by tensor and byte by byte, what llama.cpp's own quantiser makes")
@needs("llama_cpp", "gguf")
def quantised_alike(artifact):
    llama_cpp = quiet()
    import gguf

    count = 0
    for source in (wide_model(artifact), wide_model(artifact, hidden_size=288, intermediate_size=352,
                                                    num_hidden_layers=3, tie_word_embeddings=True), LLAMA):
        plain = next(artifact.export(source, "--to", "gguf", "--quantize", "f32").glob("*.gguf"))
        for name, number in MIXES.items():
            target = artifact.fresh("reference.gguf")
            parameters = llama_cpp.llama_model_quantize_default_params()
            parameters.ftype = number
            # Some of llama.cpp's types have no other to fall back on for narrow rows.
            if llama_cpp.llama_model_quantize(str(plain).encode(), str(target).encode(), ctypes.byref(parameters)):
                continue
            made = next(artifact.export(source, "--to", "gguf", "--quantize", name).glob("*.gguf"))
            theirs, ours = (
                {tensor.name: (tensor.tensor_type.name, list(tensor.shape), tensor.data.tobytes())
                 for tensor in gguf.GGUFReader(path).tensors} for path in (target, made))
            assert theirs.keys() == ours.keys()
            for tensor in theirs:
                assert theirs[tensor] == ours[tensor], f"{name}: {tensor}: {theirs[tensor][0]} {ours[tensor][0]}"
                count += 1
            kinds = [gguf.GGUFReader(path).fields["general.file_type"].contents() for path in (target, made)]
            assert kinds[0] == kinds[1]
    assert count > 1000
    return f"{count} tensors"


@check("llama.cpp loads what is written, whole and split, and says what transformers says")
@needs("llama_cpp")
def llama_runs(artifact):
    llama_cpp = quiet()
    worst = {}
    for source in (LLAMA, wide_model(artifact), wide_model(artifact, tie_word_embeddings=True)):
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
        with torch.no_grad():
            logits = model(torch.tensor([PROMPT])).logits[0].numpy()
            ids = model.generate(torch.tensor([PROMPT]), max_new_tokens=16, do_sample=False, eos_token_id=None,
                                 pad_token_id=0)[0].tolist()[len(PROMPT):]
        for kind, options, limit in (
            ("f32", [], 0.0015), ("f32", ["--max-shard-size", "100KB"], 0.0015), ("f16", [], 0.0021), ("bf16", [], 0.015),
            ("q8_0", [], 0.084),
        ):
            folder = artifact.export(source, "--to", "gguf", "--quantize", kind, *options)
            files = sorted(folder.glob("*.gguf"))
            assert len(files) > 1 or not options
            llama = llama_cpp.Llama(str(files[0]), n_ctx=128, logits_all=True, verbose=False, n_threads=1,
                                    type_k=0, type_v=0)
            llama.eval(PROMPT)
            # A trained model's logits are larger, and llama.cpp rounds activations to the type of the weights.
            scale = 3 * abs(logits).max() / 4 if source == LLAMA else 1
            distance = abs(llama.scores[:len(PROMPT)] - logits).max() / scale
            worst[kind] = max(worst.get(kind, 0), distance)
            assert distance <= limit, f"{source.name}: {kind}: {distance}"
            if kind == "f32":
                said = []
                for _ in ids:
                    said.append(int(numpy.argmax(llama.scores[llama.n_tokens - 1])))
                    llama.eval(said[-1:])
                assert said == ids, f"{source.name}: {said} {ids}"
    return ", ".join(f"{kind} {value:.4f}" for kind, value in worst.items())


def architectures():
    """A small model of each architecture, as its config and its class."""
    import transformers as hf

    base = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    experts = dict(base, num_experts_per_tok=2)
    gemma = dict(base, head_dim=16, query_pre_attn_scalar=16, sliding_window=64)
    scaled = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=64)
    yield hf.LlamaForCausalLM(LlamaConfig(**base, rope_parameters=scaled))
    yield hf.MistralForCausalLM(hf.MistralConfig(**base, head_dim=16, sliding_window=None))
    yield hf.MixtralForCausalLM(hf.MixtralConfig(**experts, num_local_experts=4))
    yield hf.Qwen2ForCausalLM(hf.Qwen2Config(**base))
    yield hf.Qwen3ForCausalLM(hf.Qwen3Config(**base, head_dim=16))
    yield hf.Qwen2MoeForCausalLM(hf.Qwen2MoeConfig(
        **experts, num_experts=4, moe_intermediate_size=96, shared_expert_intermediate_size=128))
    yield hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(
        **experts, head_dim=16, num_experts=4, moe_intermediate_size=96, norm_topk_prob=True))
    yield hf.GemmaForCausalLM(hf.GemmaConfig(**base, head_dim=16))
    yield hf.Gemma2ForCausalLM(hf.Gemma2Config(**gemma))
    yield hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**gemma))
    # Its name makes llama.cpp look for a token that this tokenizer has not.
    yield hf.Phi3ForCausalLM(hf.Phi3Config(**base))


@check("llama.cpp runs every architecture as transformers does")
@needs("llama_cpp")
def every_architecture(artifact):
    llama_cpp = quiet()
    worst, names = 0, []
    torch.manual_seed(5)
    for model in architectures():
        model = model.float().eval()
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.data += torch.randn_like(parameter) * 0.1
        folder = artifact.fresh(model.config.model_type)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(LLAMA / name, folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            logits = model(torch.tensor([PROMPT])).logits[0].numpy()
        path = artifact.export(folder, "--to", "gguf", "--quantize", "f32") / "model.gguf"
        llama = llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0)
        llama.eval(PROMPT)
        distance = abs(llama.scores[:len(PROMPT)] - logits).max()
        assert distance < 0.0015, f"{model.config.model_type}: {distance}"
        worst = max(worst, distance)
        names.append(model.config.model_type)
    return f"{', '.join(names)}: at most {worst:.5f}"


@check("llama.cpp cuts text into the tokens of transformers, and has its chat template")
@needs("llama_cpp")
def tokens_alike(artifact):
    llama_cpp = quiet()
    path = next(artifact.export(LLAMA, "--to", "gguf").glob("*.gguf"))
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    tokenizer = AutoTokenizer.from_pretrained(LLAMA)
    lines = (SAMPLES / "corpus.txt").read_text().splitlines() + ["", " a  b", "Ünïcode → ✓", "12345 + 67,8"]
    for line in lines:
        ours = llama.tokenize(line.encode(), add_bos=False, special=False)
        assert ours == tokenizer.encode(line, add_special_tokens=False), line
    assert llama.metadata["tokenizer.chat_template"] == tokenizer.chat_template
    return f"{len(lines)} lines"


if __name__ == "__main__":
    interop.main()
