"""The MLX part of arrays.py."""

import json
import shutil

import ml_dtypes
import mlx.core as mx
import numpy as np

DTYPES = {"f16": (mx.float16, np.float16), "bf16": (mx.bfloat16, ml_dtypes.bfloat16), "f32": (mx.float32, np.float32)}


def numpy(array):
    if array.dtype == mx.bfloat16:
        return np.array(array.view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(array)


def make(g):
    root, case, place, rng = g["ROOT"], g["case"], g["place"], g["rng"]
    folder = "mlx/made"
    shutil.rmtree(root / folder, ignore_errors=True)

    def save(name, tensors, config):
        place(f"{folder}/{name}/config.json", json.dumps(config, indent=1).encode())
        mx.save_safetensors(str(root / folder / name / "model.safetensors"), tensors, {"format": "mlx"})

    def weight(dtype, *shape):
        return mx.array(rng.standard_normal(shape).astype(np.float32)).astype(DTYPES[dtype][0])

    def quantised(name, array, tensors, expected, **settings):
        parts = mx.quantize(array, **settings)
        for part, value in zip(("weight", "scales", "biases"), parts):
            tensors[f"{name}.{part}"] = value
        expected[f"{name}.weight"] = numpy(mx.dequantize(*parts, **settings))

    for bits in (2, 3, 4, 5, 6, 8):
        for dtype in DTYPES:
            tensors, expected = {}, {}
            group = {2: 32, 3: 64, 4: 128, 5: 32, 6: 64, 8: 128}[bits]
            quantised("l", weight(dtype, 6, 256), tensors, expected, bits=bits, group_size=group)
            tensors["l.bias"] = weight(dtype, 6)
            expected["l.bias"] = numpy(tensors["l.bias"])
            save(f"q{bits}_{dtype}", tensors, {"model_type": "x", "quantization": {"group_size": group, "bits": bits}})
            case(f"{folder}/q{bits}_{dtype}", expected)
    for mode, bits, group in (("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)):
        tensors, expected = {}, {}
        quantised("l", weight("f32", 6, 256), tensors, expected, mode=mode)
        quantised("experts", weight("f32", 2, 3, 64), tensors, expected, mode=mode)
        save(mode, tensors, {"quantization": {"group_size": group, "bits": bits, "mode": mode}})
        case(f"{folder}/{mode}", expected)

    tensors, expected = {}, {}
    quantised("model.a", weight("f16", 4, 128), tensors, expected, bits=4, group_size=64)
    quantised("model.b", weight("f16", 4, 128), tensors, expected, bits=8, group_size=32)
    quantised("model.experts", weight("f16", 3, 4, 128), tensors, expected, bits=4, group_size=64)
    quantised("model.mx", weight("f16", 4, 128), tensors, expected, mode="mxfp4")
    for name in ("model.plain.weight", "norm.weight"):
        tensors[name] = weight("f16", 4, 128)
        expected[name] = numpy(tensors[name])
    settings = {
        "group_size": 64, "bits": 4, "mode": "affine", "model.b": {"group_size": 32, "bits": 8}, "model.plain": False,
        "model.mx": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
    }  # fmt: skip
    save("mixed", tensors, {"architectures": ["X"], "quantization": settings, "quantization_config": settings, "dtype": "float16"})
    case(f"{folder}/mixed", expected, config={"architectures": ["X"], "dtype": "float16"})
    save("plain", {"norm.weight": tensors["norm.weight"]}, {"model_type": "x"})
    case(f"{folder}/plain", {"norm.weight": expected["norm.weight"]})

    def bad(name, error, change=lambda t: None, kind="malformed", **settings):
        tensors = {}
        quantised("l", weight("f16", 4, 128), tensors, {}, bits=4, group_size=64)
        change(tensors)
        save(name, tensors, {"quantization": {"group_size": 64, "bits": 4, **settings}})
        case(f"{folder}/{name}", error=error, **{"class": kind})

    bad("wrong_bits", "mlx-shape", bits=8)
    bad("wrong_group", "mlx-shape", group_size=32)
    bad("no_biases", "mlx-mode", lambda t: t.pop("l.biases"), "unsupported")
    bad("wrong_scales", "mlx-shape", lambda t: t.update({"l.scales": t["l.scales"][:2]}))
    bad("wrong_dtype", "mlx-shape", lambda t: t.update({"l.weight": t["l.weight"].astype(mx.int32)}))
    bad("unknown_mode", "mlx-mode", kind="unsupported", mode="magic")
    bad("not_quantised", "mlx-layer", l=False)
