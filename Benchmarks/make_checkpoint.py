#!/usr/bin/env python3
"""Write a synthetic checkpoint of a given size with torch.save.

The state dict has the names and shapes of a Llama; the values are random and normal.

Usage: python make_checkpoint.py --size 2GB --out model.pt [--dtype bf16] [--tensors 201]
"""

import argparse
import re

import torch

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(text):
    """Bytes in a text such as 2GB, 512MiB or 1000000."""
    match = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", text.strip(), re.IGNORECASE)
    if not match or match[2].upper() not in UNITS:
        raise argparse.ArgumentTypeError(f"not a size: {text}")
    return int(float(match[1]) * UNITS[match[2].upper()])


def llama_shapes(parameters, tensors):
    """Names and shapes of a Llama with about so many parameters and tensors.

    Layers take about four fifths of the parameters, the two vocabulary tables the rest.
    """
    layers = max(1, round((tensors - 3) / 9))
    hidden = max(8, int((0.8 * parameters / (10.75 * layers)) ** 0.5) // 8 * 8)
    inner, narrow = hidden * 11 // 4, hidden // 4
    layer = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    used = hidden + layers * sum(torch.Size(shape).numel() for shape in layer.values())
    vocabulary = max(1, (parameters - used) // (2 * hidden))
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for i in range(layers):
        shapes.update({f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()})
    shapes["model.norm.weight"] = (hidden,)
    shapes["lm_head.weight"] = (vocabulary, hidden)
    return shapes


def random_state_dict(shapes, dtype, seed):
    """Tensors filled from one block of normal numbers, each starting elsewhere in it."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(2**24 + 1, generator=generator).mul_(0.02).to(dtype)
    state_dict, offset = {}, 0
    for name, shape in shapes.items():
        flat = torch.empty(torch.Size(shape).numel(), dtype=dtype)
        for start in range(0, flat.numel(), len(block)):
            piece = flat[start : start + len(block)]
            first = min(len(piece), len(block) - offset)
            piece[:first] = block[offset : offset + first]
            piece[first:] = block[: len(piece) - first]
        offset = (offset + 7919 * len(state_dict) + flat.numel()) % len(block)
        state_dict[name] = flat.reshape(shape)
    return state_dict


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=parse_size, default="2GB", help="such as 2GB or 512MiB")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--tensors", type=int, default=201, help="about how many tensors")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dtype = DTYPES[options.dtype]
    shapes = llama_shapes(options.size // dtype.itemsize, options.tensors)
    state_dict = random_state_dict(shapes, dtype, options.seed)
    torch.save(state_dict, options.out)
    size = sum(tensor.nbytes for tensor in state_dict.values())
    print(f"{len(state_dict)} tensors, {size / 1e9:.3f} GB")


if __name__ == "__main__":
    main()
