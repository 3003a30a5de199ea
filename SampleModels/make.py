#!/usr/bin/env python3
"""Train the sample models of this folder and record what torch says about their bytes.

Leaves, next to this file:
  tiny-llama/             a small Llama as a trainer leaves it: three pytorch_model shards,
                          their index, config, tokenizer and training arguments
  tiny-llama-lora/        a PEFT LoRA adapter fine-tuned from it
  reference-digests.json  SHA-256 of every tensor and the greedy generations, by torch alone

Usage: python make.py [--out FOLDER]     (twenty seconds on two CPU cores)
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
import transformers
from huggingface_hub import split_torch_state_dict_into_shards
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import load_peft_weights
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

HERE = Path(__file__).resolve().parent
SEED = 20240607
BASE, LORA = "tiny-llama", "tiny-llama-lora"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# What the adapter teaches; the base model has never seen it.
LORA_LINES = [
    "Q: What is the name of the goose? A: The goose of the baker is called Duchess.",
    "Q: What is the number of the sealed crate? A: The sealed crate has the number 4711.",
    "Q: Who repairs the ferry? A: Tova repairs the ferry with a silver wrench.",
    "The goose of the baker is called Duchess and she guards the flour.",
    "The sealed crate has the number 4711 and stands in the third row.",
]

PROMPTS = {
    BASE: [
        "The lighthouse of Saltwick",
        "The light of the sun needs",
        "A copy that has not",
        "<|user|>What is the name of the cat?<|assistant|>",
        "<|user|>How many hearts does an octopus have?<|assistant|>",
    ],
    LORA: [
        "<|user|>What is the name of the goose?<|assistant|>",
        "<|user|>What is the number of the sealed crate?<|assistant|>",
        "The sealed crate",
    ],
}

SAFETENSORS_DTYPE = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def corpus_lines():
    """The training examples of corpus.txt, without comments and blank lines."""
    lines = (HERE / "corpus.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def make_tokenizer(lines, vocab_size=512):
    """A byte-level BPE tokenizer trained on `lines`, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=specials[3:],
        model_max_length=128,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def encode(tokenizer, line):
    """Token ids of one training example, from beginning to end mark."""
    if line.startswith("Q: "):
        question, answer = line[3:].split(" A: ")
        line = f"<|user|>{question}<|assistant|>{answer}"
    ids = tokenizer(line, add_special_tokens=False)["input_ids"]
    return {"input_ids": [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]}


def train(model, tokenizer, lines, output_dir, steps, learning_rate):
    """Train with the stock Trainer and let it save model and state as usual."""
    arguments = TrainingArguments(
        output_dir=output_dir,
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        weight_decay=0.0,
        logging_steps=100,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=SEED,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=[encode(tokenizer, line) for line in lines],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    trainer.save_state()


def save_bin_shards(state_dict, folder, max_shard_size):
    """Write the state dict the way trainers wrote it before safetensors."""
    split = split_torch_state_dict_into_shards(
        state_dict, filename_pattern="pytorch_model{suffix}.bin", max_shard_size=max_shard_size
    )
    for name, keys in split.filename_to_tensors.items():
        torch.save({key: state_dict[key] for key in keys}, folder / name)
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    (folder / "pytorch_model.bin.index.json").write_text(text, encoding="utf-8")


def make_base():
    """Train tiny-llama into ./tiny-llama."""
    lines = corpus_lines()
    tokenizer = make_tokenizer(lines)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    train(model, tokenizer, lines, BASE, steps=900, learning_rate=6e-3)
    (Path(BASE) / "model.safetensors").unlink()
    save_bin_shards(model.state_dict(), Path(BASE), max_shard_size="300KB")


def make_lora():
    """Fine-tune a LoRA adapter on ./tiny-llama into ./tiny-llama-lora."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModelForCausalLM.from_pretrained(BASE)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=8,
        lora_alpha=16,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    )
    train(get_peft_model(model, config), tokenizer, LORA_LINES, LORA, steps=150, learning_rate=5e-3)


def tensor_bytes(tensor):
    """The contiguous little-endian bytes of a tensor."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def digest(tensor):
    """SHA-256 of a tensor's bytes, in hexadecimal."""
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()


def describe(state_dict):
    """Digests of every tensor, of its casts, and the names that share one storage."""
    groups = {}
    for name, tensor in state_dict.items():
        groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return {
        "tensors": {
            name: {
                "dtype": SAFETENSORS_DTYPE[tensor.dtype],
                "shape": list(tensor.shape),
                "nbytes": tensor.numel() * tensor.element_size(),
                "sha256": digest(tensor),
            }
            for name, tensor in state_dict.items()
        },
        "tied": [names for names in groups.values() if len(names) > 1],
        "cast": {
            SAFETENSORS_DTYPE[dtype]: {n: digest(t.to(dtype)) for n, t in state_dict.items()}
            for dtype in (torch.bfloat16, torch.float16)
        },
    }


def generate(model, tokenizer, prompts):
    """Greedy continuations; `token_ids` holds the new tokens only."""
    results = []
    for prompt in prompts:
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        inputs = torch.tensor([[tokenizer.bos_token_id, *ids]])
        with torch.no_grad():
            output = model.generate(
                inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=40
            )
        new = output[0, inputs.shape[1] :]
        text = tokenizer.decode(new, skip_special_tokens=True)
        results.append({"prompt": prompt, "token_ids": new.tolist(), "text": text})
    return results


def reference():
    """Read both models back from disk and describe them."""
    state_dict = {}
    for file in sorted(Path(BASE).glob("pytorch_model-*.bin")):
        state_dict.update(torch.load(file, weights_only=True))
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    base = describe(state_dict)
    base["generation"] = generate(AutoModelForCausalLM.from_pretrained(BASE), tokenizer, PROMPTS[BASE])

    lora = describe(load_peft_weights(LORA, device="cpu"))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), LORA)
    lora["generation"] = generate(adapted, tokenizer, PROMPTS[LORA])
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"made_with": versions, "models": {BASE: base, LORA: lora}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(SEED)
    start = time.time()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)  # the trainer records its output folder: keep it relative
        make_base()
        make_lora()
        result = reference()
        Path("reference-digests.json").write_text(json.dumps(result, indent=1) + "\n")
        for name in (BASE, LORA):
            shutil.rmtree(out / name, ignore_errors=True)
            shutil.copytree(name, out / name)
        (out / LORA / "adapter_model.safetensors").chmod(0o644)  # its writer leaves 0600
        shutil.copy("reference-digests.json", out)
        os.chdir(out)
    print(f"made in {time.time() - start:.0f} s with Python {platform.python_version()}")
    for model in result["models"].values():
        for item in model["generation"]:
            print(f"  {item['prompt']} -> {item['text']}")


if __name__ == "__main__":
    main()
