"""What the generators of distributed checkpoints share: digests of tensors, as the expected files hold them."""

import hashlib

import torch

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL", torch.complex64: "C64", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


def digest(tensor):
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {
        "dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "nbytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def flatten(value, path=()):
    """The tensors of nested dictionaries and lists, by keys joined with dots."""
    if isinstance(value, torch.Tensor):
        return {".".join(path): digest(value)}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    result = {}
    for key, inner in pairs:
        result |= flatten(inner, (*path, str(key)))
    return result


def numbers(seed, shape, dtype=torch.float32):
    """Values that depend on nothing but the seed."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 50).to(dtype)
