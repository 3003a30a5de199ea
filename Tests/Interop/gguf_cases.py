#!/usr/bin/env python3
"""Let gguf, transformers, tokenizers and llama.cpp judge what `artifact` makes of GGUF files.

Prints one PASS or FAIL line per check; the exit status is 1 if any check failed. Checks that need llama-cpp-python
or the file of a real model (`--model FILE.gguf`) are skipped without it.

Usage: python gguf_cases.py --artifact .build/release/artifact [--only WORD] [--model FILE.gguf]
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import unicodedata
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error")
warnings.filterwarnings("ignore")

import gguf
import numpy
import torch
import transformers
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Type
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

try:
    import llama_cpp
except ImportError:
    llama_cpp = None

transformers.utils.logging.disable_progress_bar()
ROOT = Path(__file__).resolve().parents[2]
LLAMA = ROOT / "SampleModels" / "tiny-llama"

# Where the fp16 scales of a block stand.
SCALES = {
    "Q1_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52],
    "TQ2_0": [64], "MXFP4": [], "NVFP4": [], "Q8_K": [],
}  # fmt: skip
PLAIN = {
    "F64": numpy.float64, "F32": numpy.float32, "F16": numpy.float16, "I8": numpy.int8, "I16": numpy.int16,
    "I32": numpy.int32, "I64": numpy.int64,
}  # fmt: skip
TEXTS = [
    "Hello, world! 12345 it's FINE, isn't IT?\n\n  x  ",
    "<|user|>What's this?<|assistant|> It is 3.14159.</s>",
    "naïve café — 你好，世界。 مرحبا ١٢٣ 😀\t\ttabs\r\n\r\nend",
    "   leading and trailing   ",
    "def f(x):\n    return x**2  # a comment\n\n\n",
    "",
    " ",
    "Grüße an_alle: snake_case CamelCase ΑΒΓ абв 2024-01-31",
]


def random_blocks(name, rows, row_blocks, random):
    """Blocks of random bytes with scales that are no NaN."""
    size = GGML_QUANT_SIZES[Type[name]][1]
    count = rows * row_blocks
    blocks = random.integers(0, 256, (count, size), dtype=numpy.uint8)
    for place in SCALES[name]:
        scale = random.standard_normal(count).astype(numpy.float16)
        blocks[:, place : place + 2] = scale.view(numpy.uint8).reshape(count, 2)
    if name == "Q8_K":
        blocks[:, :4] = random.standard_normal(count).astype(numpy.float32).view(numpy.uint8).reshape(count, 4)
    if name == "MXFP4":
        blocks[:, 0] = random.integers(100, 150, count)
    return blocks.reshape(rows, row_blocks * size)


def decoded(name, blocks):
    """The values of blocks by gguf's package, or by rules of our own for two types that it lacks."""
    if name == "Q8_K":
        parts = blocks.reshape(-1, 292)
        values = parts[:, 4:260].view(numpy.int8).astype(numpy.float32) * parts[:, :4].copy().view(numpy.float32)
    elif name == "Q1_0":
        parts = blocks.reshape(-1, 18)
        bits = numpy.unpackbits(parts[:, 2:], axis=1, bitorder="little").astype(numpy.float32)
        values = (bits * 2 - 1) * parts[:, :2].copy().view(numpy.float16).astype(numpy.float32)
    else:
        with numpy.errstate(all="ignore"):
            values = gguf.quants.dequantize(blocks, Type[name])
    return values.reshape(blocks.shape[0], -1)


class Run:
    """The command under test and the folder to work in."""

    def __init__(self, binary, work, model):
        self.binary, self.work, self.model = Path(binary).resolve(), Path(work), model
        self.count = 0

    def fresh(self, name):
        self.count += 1
        return self.work / f"{name}-{self.count:03}"

    def export(self, source, *options):
        folder = self.fresh("export")
        command = [self.binary, "export", source, "-o", folder, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"export of {source}: {done.stderr[-600:]}"
        self.said = done.stderr
        return folder


CHECKS = []


def check(title):
    def register(function):
        CHECKS.append((title, function))
        return function

    return register


class Skipped(Exception):
    pass


# MARK: Types


@check("every type of elements has the bytes that gguf decodes")
def types(run):
    random = numpy.random.default_rng(7)
    path = run.fresh("types").with_suffix(".gguf")
    writer = gguf.GGUFWriter(path, "none")
    writer.add_custom_alignment(64)
    expected = {}
    for name, dtype in PLAIN.items():
        values = (random.standard_normal((3, 5)) * 50).astype(dtype)
        writer.add_tensor(f"plain.{name}", values)
        expected[f"plain.{name}"] = values
    half = random.standard_normal((3, 6)).astype(numpy.float32).view(numpy.uint32) >> 16
    writer.add_tensor("plain.BF16", half.astype(numpy.uint16).view(numpy.uint8), raw_dtype=Type.BF16)
    for name in SCALES:
        blocks = random_blocks(name, 5, 3, random)
        writer.add_tensor(f"block.{name}", blocks, raw_dtype=Type[name])
        expected[f"block.{name}"] = decoded(name, blocks)
    write(writer)
    found = load_torch(run.export(path))
    bits = found.pop("plain.BF16").view(torch.int16).numpy().astype(numpy.uint16)
    assert numpy.array_equal(bits, half.astype(numpy.uint16))
    assert set(found) == set(expected), set(found) ^ set(expected)
    for name, values in expected.items():
        assert found[name].numpy().tobytes() == values.tobytes(), name
    return f"{len(expected) + 1} types"


def load_torch(folder):
    from safetensors.torch import load_file as load

    return load(folder / "model.safetensors")


def write(writer):
    if not any(writer.tensors):
        writer.add_tensor("nothing", numpy.zeros(1, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# MARK: Models


def permuted(weight, heads):
    """Rows in the order that GGUF's Llama has them in."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


class Converted:
    """A model of transformers as a GGUF file, converted by rules of our own."""

    def __init__(self, run, model, arch, quantised=None):
        config = self.config = model.config
        self.saved = run.fresh("saved")
        model.save_pretrained(self.saved)
        self.tensors = load_file(self.saved / "model.safetensors")
        self.path = run.fresh(arch).with_suffix(".gguf")
        self.arch, self.quantised = arch, quantised
        self.expected = {}
        self.writer = gguf.GGUFWriter(self.path, arch)
        self.write_numbers(config)

    def finish(self):
        self.write_tensors()
        write(self.writer)
        return self

    def write_numbers(self, config):
        writer, arch = self.writer, self.arch
        heads = config.num_attention_heads
        dimension = getattr(config, "head_dim", None) or config.hidden_size // heads
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_vocab_size(config.vocab_size)
        writer.add_key_length(dimension)
        writer.add_value_length(dimension)
        rotation = config.rope_parameters
        rotation = rotation.get("full_attention", rotation)
        writer.add_rope_freq_base(rotation["rope_theta"])
        writer.add_rope_dimension_count(dimension)
        if config.model_type == "mixtral":
            writer.add_expert_count(config.num_local_experts)
            writer.add_expert_used_count(config.num_experts_per_tok)
        if arch in ("qwen2moe", "qwen3moe"):
            writer.add_expert_count(config.num_experts)
            writer.add_expert_used_count(config.num_experts_per_tok)
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
        if arch == "qwen2moe":
            writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
        if arch in ("gemma2", "gemma3"):
            writer.add_sliding_window(config.sliding_window)
        if arch == "gemma2":
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
            writer.add_final_logit_softcapping(config.final_logit_softcapping)

    def write_tensors(self):
        config, layers = self.config, self.config.num_hidden_layers
        arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == self.arch)
        names = gguf.get_tensor_name_map(arch, layers)
        experts = {}
        for name, tensor in self.tensors.items():
            base, ending = name.rsplit(".", 1)
            if ".experts." in base:
                head, rest = base.split(".experts.")
                number, part = rest.split(".")
                part = {"w1": "gate", "w2": "down", "w3": "up"}.get(part, part.removesuffix("_proj"))
                experts.setdefault((head.split(".")[2], part), {})[int(number)] = (name, tensor)
                continue
            own = names.get_name(base)
            assert own, base
            rows, offset = 0, 0
            if self.arch == "llama" and ".q_proj" in base:
                rows = config.num_attention_heads
            if self.arch == "llama" and ".k_proj" in base:
                rows = config.num_key_value_heads
            if self.arch.startswith("gemma") and "norm" in base:
                offset = 1
            self.add(f"{own}.{ending}", name, tensor, rows, offset)
        for (layer, part), parts in experts.items():
            stack = numpy.stack([parts[number][1] for number in sorted(parts)])
            kind, data, values = self.quantise(stack)
            self.writer.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", data, raw_dtype=kind)
            for number in parts:
                self.expected[parts[number][0]] = values[number]

    def quantise(self, tensor):
        if self.quantised is None or tensor.ndim < 2:
            return None, tensor, tensor
        data = gguf.quants.quantize(tensor, self.quantised)
        return self.quantised, data, gguf.quants.dequantize(data, self.quantised).reshape(tensor.shape)

    def add(self, own, name, tensor, rows, offset):
        # A gate of one row is a vector in GGUF.
        stored = tensor[0] if own.endswith("ffn_gate_inp_shexp.weight") else tensor
        kind, _, values = self.quantise(stored)
        stored = permuted(stored, rows) if rows else stored + numpy.float32(offset) if offset else stored
        _, data, _ = self.quantise(stored)
        self.writer.add_tensor(own, data, raw_dtype=kind)
        values = (stored - numpy.float32(1)) if offset else values
        self.expected[name] = values.reshape(tensor.shape)


SIZES = dict(
    vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128,
)  # fmt: skip


def model(kind, **settings):
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **settings})
    result = getattr(transformers, f"{kind}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return result


MODELS = {
    "llama": ("llama", lambda: model("Llama")),
    "llama-tied": ("llama", lambda: model("Llama", tie_word_embeddings=True)),
    "llama-biases": ("llama", lambda: model("Llama", attention_bias=True, mlp_bias=True)),
    "mistral": ("llama", lambda: model("Mistral", sliding_window=None)),
    "mixtral": ("llama", lambda: model("Mixtral", num_local_experts=4, num_experts_per_tok=2)),
    "qwen2": ("qwen2", lambda: model("Qwen2")),
    "qwen3": ("qwen3", lambda: model("Qwen3", head_dim=32)),
    "qwen2moe": (
        "qwen2moe",
        lambda: model(
            "Qwen2Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
            shared_expert_intermediate_size=64, norm_topk_prob=False,
        ),
    ),
    "qwen3moe": (
        "qwen3moe",
        lambda: model(
            "Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, head_dim=32,
            norm_topk_prob=True,
        ),
    ),
    "gemma": ("gemma", lambda: model("Gemma", head_dim=32)),
    "gemma2": ("gemma2", lambda: model("Gemma2", head_dim=32, query_pre_attn_scalar=32, sliding_window=16)),
    "gemma3": (
        "gemma3",
        lambda: model("Gemma3Text", head_dim=32, query_pre_attn_scalar=32, sliding_window=16, num_hidden_layers=7)
        if hasattr(transformers, "Gemma3TextForCausalLM")
        else gemma3(),
    ),
    "phi3": ("phi3", lambda: model("Phi3", pad_token_id=0)),
}  # fmt: skip


def gemma3():
    torch.manual_seed(3)
    config = transformers.Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 7}, head_dim=32, query_pre_attn_scalar=32, sliding_window=16
    )
    result = transformers.Gemma3ForCausalLM(config).float().eval()
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return result


# What `from_pretrained(gguf_file=...)` reads; of Qwen 3 it does not take the size of heads, of Llama no biases.
READ_BY_TRANSFORMERS = {"llama", "llama-tied", "qwen2", "gemma2", "gemma3", "phi3"}


def judge_model(run, name, quantised):
    arch, make = MODELS[name]
    original = make()
    converted = Converted(run, original, arch, quantised)
    if name == "mistral":
        converted.writer.add_name("Mistral 7B")
    if name == "phi3":
        converted.writer.add_pad_token_id(0)
    converted.finish()
    folder = run.export(converted.path)
    found = load_file(folder / "model.safetensors")
    assert set(found) == set(converted.expected), set(found) ^ set(converted.expected)
    for key, values in converted.expected.items():
        assert found[key].shape == values.shape, (key, found[key].shape, values.shape)
        assert found[key].tobytes() == numpy.ascontiguousarray(values).tobytes(), key
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert type(loaded) is type(original), type(loaded)
    reference = AutoModelForCausalLM.from_pretrained(
        converted.saved, dtype=torch.float32, state_dict=None, attn_implementation="eager"
    )
    reference.load_state_dict(loaded.state_dict())
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokens = torch.arange(1, 41).reshape(1, -1)
    with torch.no_grad():
        difference = (loaded(tokens).logits - reference(tokens).logits).abs().max().item()
    assert difference < 1e-4, f"logits differ by {difference}"
    if name in READ_BY_TRANSFORMERS:
        theirs = AutoModelForCausalLM.from_pretrained(
            converted.path.parent, gguf_file=converted.path.name, dtype=torch.float32
        ).state_dict()
        ours = loaded.state_dict()
        assert set(theirs) == set(ours)
        for key in ours:
            assert torch.equal(theirs[key], ours[key]), key
        return "equal to transformers' own reading"


for each in MODELS:
    for kind in [None, Type.Q8_0, Type.Q4_0]:
        title = f"{each} {kind.name if kind else 'F32'} is the model that it was made of"
        check(title)(lambda run, each=each, kind=kind: judge_model(run, each, kind))


# MARK: To GGUF


def logits(path, tokens):
    with contextlib.redirect_stderr(io.StringIO()):
        model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, n_threads=2)
    model.eval(tokens)
    return numpy.array(model.scores[: len(tokens)])


def judge_written(run, name):
    """A directory written as GGUF is the model to llama.cpp, and comes back as it was."""
    original = MODELS[name][1]()
    source = run.fresh("source")
    original.save_pretrained(source)
    for side in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(LLAMA / side, source)
    written = run.export(source, "--to", "gguf")
    path = next(written.glob("*.gguf"))
    back = load_file(run.export(path) / "model.safetensors")
    expected = load_file(source / "model.safetensors")
    assert set(back) == set(expected), set(back) ^ set(expected)
    for key, values in expected.items():
        # Gemma's norms are stored with one added, which rounds.
        same = numpy.allclose(back[key], values, atol=1e-7) if "norm" in key else numpy.array_equal(back[key], values)
        assert same, key
    if llama_cpp is None:
        return "without llama.cpp"
    tokens = list(range(5, 45))
    with torch.no_grad():
        want = original(torch.tensor([tokens])).logits[0].numpy()
    difference = numpy.abs(logits(path, tokens) - want).max()
    assert difference < 0.02 * max(1, numpy.abs(want).max()), f"logits differ by {difference}"
    return f"logits differ by {difference:.1e} of {numpy.abs(want).max():.1f}"


for each in MODELS:
    check(f"{each} goes to llama.cpp and back")(lambda run, each=each: judge_written(run, each))


# MARK: Tokenizers


def add_byte_pairs(writer, folder, pre):
    """The keys of the tokenizer of a directory, whose files are read here by themselves."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = {token: number for token, number in tokenizer["model"]["vocab"].items()}
    added = {item["id"]: item for item in tokenizer["added_tokens"]}
    for number, item in added.items():
        vocabulary[item["content"]] = number
    tokens = [token for token, _ in sorted(vocabulary.items(), key=lambda pair: pair[1])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if added.get(n, {}).get("special") else 4 if n in added else 1 for n in range(len(tokens))])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_add_bos_token(False)
    return tokens


def tokenize(path, text):
    if llama_cpp is None:
        return None
    with contextlib.redirect_stderr(io.StringIO()):
        model = LOADED.get(path) or llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    LOADED.clear()
    LOADED[path] = model
    return model.tokenize(text.encode(), add_bos=True, special=True) if text else []


LOADED = {}


@check("the tokenizer and chat template of a model of byte pairs come through")
def byte_pairs(run):
    path = run.fresh("bpe").with_suffix(".gguf")
    writer = gguf.GGUFWriter(path, "llama")
    tokens = add_byte_pairs(writer, LLAMA, "gpt-2")
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template((LLAMA / "chat_template.jinja").read_text())
    write(writer)
    folder = run.export(path)
    ours, theirs = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(LLAMA)
    for text in TEXTS:
        found = ours(text)["input_ids"]
        assert found == theirs(text)["input_ids"], text
        assert ours.decode(found) == theirs.decode(found)
        own = tokenize(path, text)
        assert own is None or own == found, (text, own, found)
    messages = [{"role": "user", "content": "Hello"}]
    assert ours.apply_chat_template(messages, tokenize=False) == theirs.apply_chat_template(messages, tokenize=False)
    for name in ("bos_token", "eos_token", "pad_token"):
        assert getattr(ours, name) == getattr(theirs, name)
    return f"{len(tokens)} tokens"


def corpus():
    return [(ROOT / "SampleModels" / "corpus.txt").read_text()] + TEXTS * 20


@check("a model of SentencePiece tokenises as SentencePiece does")
def sentence_pieces(run):
    import sentencepiece

    results = []
    for prefix in (True, False):
        source = run.fresh("corpus.txt")
        source.write_text("\n".join(line for text in corpus() for line in text.splitlines() if line.strip()))
        base = run.fresh("spm")
        sentencepiece.SentencePieceTrainer.train(
            input=str(source), model_prefix=str(base), vocab_size=700, model_type="bpe", byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=prefix,
            character_coverage=0.99, user_defined_symbols=["<|user|>", "<|assistant|>"], minloglevel=2,
        )  # fmt: skip
        judge = sentencepiece.SentencePieceProcessor(model_file=f"{base}.model")
        path = run.fresh("spm").with_suffix(".gguf")
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        count = judge.vocab_size()
        kinds = [
            2 if judge.IsUnknown(n) else 3 if judge.IsControl(n) else 6 if judge.IsByte(n) else
            4 if judge.IdToPiece(n).startswith("<|") else 1 for n in range(count)
        ]  # fmt: skip
        writer.add_token_list([judge.IdToPiece(n) for n in range(count)])
        writer.add_token_scores([judge.GetScore(n) for n in range(count)])
        writer.add_token_types(kinds)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_space_prefix(prefix)
        writer.add_add_bos_token(True)
        write(writer)
        folder = run.export(path)
        ours = AutoTokenizer.from_pretrained(folder)
        again = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        for text in TEXTS:
            found = ours(text)["input_ids"]
            assert again.encode(text) == judge.encode(text), text
            if "<|" not in text and text:
                assert found == [1] + judge.encode(text), (prefix, text, found, judge.encode(text))
                assert ours.decode(found[1:]) == text or "\ufffd" in ours.decode(found[1:]), text
            own = tokenize(path, text)
            if own:
                assert own == found, (prefix, text, own, found)
        results.append(count)
        written_again(run, folder, path, count)
    return f"{results} tokens"


def written_again(run, folder, path, count):
    """The files made of a GGUF file become one that llama.cpp tokenises alike, with and without the scores."""
    if llama_cpp is None:
        return
    source = run.fresh("source")
    model("Llama", vocab_size=count).save_pretrained(source)
    for side in folder.glob("tokenizer*"):
        shutil.copy(side, source)
    for drops in (False, True):
        if drops:
            (source / "tokenizer.model").unlink()
        again = next(run.export(source, "--to", "gguf").glob("*.gguf"))
        for text in TEXTS:
            assert tokenize(again, text) == tokenize(path, text), (drops, text)


# A name of each way to cut text into words.
PRE = [
    "gpt-2", "llama-bpe", "dbrx", "qwen2", "stablelm2", "qwen35", "smollm", "command-r", "tekken", "gpt-4o",
    "llama4", "deepseek-v3", "deepseek-coder",
]  # fmt: skip


def judge_pre(run, pre):
    if llama_cpp is None:
        raise Skipped("llama-cpp-python is not there")
    from tokenizers import Tokenizer, pre_tokenizers, trainers

    def make(folder):
        path = run.fresh(pre).with_suffix(".gguf")
        writer = gguf.GGUFWriter(path, "llama")
        add_byte_pairs(writer, folder, pre)
        write(writer)
        return path, run.export(path)

    # The steps are those that the command writes; a vocabulary is trained with them.
    _, first = make(LLAMA)
    steps = json.loads((first / "tokenizer.json").read_text())
    steps["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(steps))
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    trained = run.fresh("trained")
    trained.mkdir()
    tokenizer.save(str(trained / "tokenizer.json"))
    path, folder = make(trained)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        text = unicodedata.normalize("NFC", text)  # llama.cpp does not
        found, own = ours.encode(text).ids, tokenize(path, text)
        assert found == own, (text, ours.encode(text).tokens, [ours.id_to_token(n) for n in own])
        assert found == tokenizer.encode(text).ids


for each in PRE:
    check(f"words are cut as llama.cpp cuts them for {each}")(lambda run, each=each: judge_pre(run, each))


@check("a real model is what transformers makes of it")
def real_model(run):
    if not run.model:
        raise Skipped("no --model")
    path = Path(run.model)
    folder = run.export(path)
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        own = tokenize(path, text)
        assert own is None or own == tokenizer(text)["input_ids"], text
    prompt = [{"role": "user", "content": "What is the capital of France?"}]
    batch = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = ours.generate(**batch, max_new_tokens=12, do_sample=False)[0, batch["input_ids"].shape[1] :]
    return tokenizer.decode(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="gguf-interop-")
    run = Run(arguments.artifact, work, arguments.model)
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    try:
        for title, function in CHECKS:
            if arguments.only not in title:
                continue
            try:
                remark, verdict = function(run), "PASS"
            except Skipped as reason:
                remark, verdict = str(reason), "SKIP"
            except Exception as error:
                remark, verdict = "".join(traceback.format_exception_only(error)).strip()[-1500:], "FAIL"
            counts[verdict] += 1
            print(f"{verdict} {title}" + (f" ({remark})" if remark else ""), flush=True)
    finally:
        shutil.rmtree(work)
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
