#!/usr/bin/env python3
"""Crafts small SafeTensors files and model directories, gives them to the loaders that are installed, and
prints what each did: `loads`, `wrong` (other values, shapes or dtypes, or tensors lost) or `refuses`.

    loaders.py [--only LOADER,…] [--json]                  what the loaders do
    loaders.py --artifact PATH [--only …]                  the same, compared with `artifact check`; exit 1 where
                                                           a rule says something else than the loader did
    loaders.py --record FILE [--only …]                    adds what they do to FILE, which the tests of Loaders read

`unknown` claims nothing and so agrees with everything.
"""

import argparse
import base64
import importlib
import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
        "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
DATA = bytes.fromhex("0000803f000000400000404000008040")  # 1, 2, 3, 4 as F32
A = {"a": ("F32", [2, 2], DATA)}
AB = {"a": ("F32", [2], DATA[:8]), "b": ("F32", [2], DATA[8:])}


def raw(header, data=b""):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header)) + header + data


def file(tensors, metadata={"format": "pt"}, pad=" ", lead="", fields="", align=8):
    """A file; metadata False means no `__metadata__`."""
    entries, offset, data = [], 0, b""
    if metadata is not False:
        entries.append('"__metadata__":' + json.dumps(metadata, separators=(",", ":")))
    for name, (dtype, shape, content) in tensors.items():
        entries.append('%s:{"dtype":"%s","shape":%s%s,"data_offsets":[%d,%d]}' % (
            json.dumps(name), dtype, json.dumps(shape), fields, offset, offset + len(content)))
        offset += len(content)
        data += content
    header = lead + "{" + ",".join(entries) + "}"
    header += pad * (-len(header.encode()) % align) if align else ""
    return raw(header, data)


def dtype(name, shape=None):
    shape = shape or [8]
    count = 1
    for dimension in shape:
        count *= dimension
    return {"a": (name, shape, bytes(i % 2 for i in range(count * BITS[name] // 8)))}


ENTRY = '{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
CONFIG = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}).encode()


def index(weight_map, metadata={"total_size": 16}):
    value = {"weight_map": weight_map}
    if metadata is not False:
        value = {"metadata": metadata, **value}
    return json.dumps(value).encode()


S1, S2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
ONE, TWO = file({"a": AB["a"]}), file({"b": AB["b"]})
INDEX = "model.safetensors.index.json"
MAP = {"a": S1, "b": S2}

# id: (file bytes or {name: bytes}, what a faithful loader returns)
CASES = {
    "plain": (file(A), A),
    "metadata-absent": (file(A, False), A),
    "metadata-empty": (file(A, {}), A),
    "metadata-null": (file(A, None), A),
    "metadata-other": (file(A, {"made_by": "x"}), A),
    "format-mlx": (file(A, {"format": "mlx"}), A),
    "format-tf": (file(A, {"format": "tf"}), A),
    "format-np": (file(A, {"format": "np"}), A),
    "padding-crlf": (file(A, pad="\n"), A),
    "padding-none": (file(A, align=0), A),
    "leading-space": (file(A, lead=" "), A),
    "unknown-field": (file(A, fields=',"x":1'), A),
    "unaligned": (file({"m": ("U8", [1], b"\1"), **A}), {"m": ("U8", [1], b"\1"), **A}),
    "duplicate-tensor": (raw('{"a":%s,"a":%s}' % (ENTRY % (0, 4), ENTRY % (0, 4)), DATA[:4]), None),
    "entry-array": (raw('{"a":["F32",[1],[0,4]]}', DATA[:4]), {"a": ("F32", [1], DATA[:4])}),
    "byte-order-mark": (raw(b"\xef\xbb\xbf{}     "), None),
    "padding-nul": (file(A, pad="\0"), None),
    "size-mismatch": (raw('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', DATA[:4]), None),
    "shape-float": (raw('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', DATA[:4]), None),
    "shape-overflow": (raw('{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'), None),
    "offsets-reversed": (raw('{"a":%s}' % (ENTRY % (4, 0)), DATA[:4]), None),
    "dtype-lower": (raw('{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}', DATA[:4]), None),
    "entry-without-shape": (raw('{"a":{"dtype":"F32","data_offsets":[0,4]}}', DATA[:4]), None),
    "metadata-number": (raw('{"__metadata__":{"x":1},"a":%s}' % (ENTRY % (0, 4)), DATA[:4]), None),
    "header-number": (raw("1       "), None),
    "header-cut": (file(A)[:60], None),
    "not-utf8": (raw(b'{"\xff":%s}' % (ENTRY % (0, 4)).encode(), DATA[:4]), None),
    "f4-half-byte": (raw('{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', DATA[:2]), None),
    "hole": (raw('{"a":%s,"b":%s}' % (ENTRY % (0, 4), ENTRY % (8, 12)), DATA[:12]), None),
    "trailing": (file(A) + b"x", None),
    "truncated": (file(A)[:-1], None),
    "overlap": (raw('{"a":%s,"b":%s}' % (ENTRY % (0, 4), ENTRY % (0, 4)), DATA[:4]), None),
    "empty-file-set": (raw("{}      "), {}),
    "rank-0": (file({"a": ("F32", [], DATA[:4])}), {"a": ("F32", [], DATA[:4])}),
    "rank-6": (file({"a": ("F32", [1, 1, 1, 1, 2, 2], DATA)}), {"a": ("F32", [1, 1, 1, 1, 2, 2], DATA)}),
    "rank-9": (file({"a": ("F32", [1] * 8 + [4], DATA)}), {"a": ("F32", [1] * 8 + [4], DATA)}),
    "rank-40": (file({"a": ("F32", [1] * 39 + [4], DATA)}), {"a": ("F32", [1] * 39 + [4], DATA)}),
    "rank-65": (file({"a": ("F32", [1] * 64 + [4], DATA)}), {"a": ("F32", [1] * 64 + [4], DATA)}),
    "zero-size": (file({"a": ("F32", [2, 0], b"")}), {"a": ("F32", [2, 0], b"")}),
    "huge-dimension": (file({"a": ("F32", [0, 2**63], b"")}), {"a": ("F32", [0, 2**63], b"")}),
    "dimension-2G": (file({"a": ("F32", [0, 2**31], b"")}), {"a": ("F32", [0, 2**31], b"")}),
    "name-empty": (file({"": A["a"]}), {"": A["a"]}),
    "name-nul": (file({"a\0b": A["a"]}), {"a\0b": A["a"]}),
    "name-control": (file({"a\nb": A["a"]}), {"a\nb": A["a"]}),
    "name-unicode": (file({"é\U0001F600": A["a"]}), {"é\U0001F600": A["a"]}),
    "name-path": (file({"../a/b": A["a"]}), {"../a/b": A["a"]}),
    "name-long": (file({"n" * 300: A["a"]}), {"n" * 300: A["a"]}),
    **{"dtype-" + name: (file(dtype(name)), dtype(name)) for name in BITS},
    "f4-odd-row": (file(dtype("F4", [2, 3])), dtype("F4", [2, 3])),
    "header-6MB": (file(A, {"format": "pt", "x": "y" * 6_000_000}), A),
    "header-26MB": (file(A, {"format": "pt", "x": "y" * 26_000_000}), A),
    "header-100MB": (raw(b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'.ljust(100_000_000), DATA), A),
    "dir-sharded": ({S1: ONE, S2: TWO, INDEX: index(MAP)}, AB),
    "dir-index-without-metadata": ({S1: ONE, S2: TWO, INDEX: index(MAP, False)}, AB),
    "dir-index-empty-metadata": ({S1: ONE, S2: TWO, INDEX: index(MAP, {})}, AB),
    "dir-index-metadata-null": ({S1: ONE, S2: TWO, INDEX: index(MAP, None)}, AB),
    "dir-index-wrong-total": ({S1: ONE, S2: TWO, INDEX: index(MAP, {"total_size": 1})}, AB),
    "dir-index-11MB": ({S1: ONE, S2: TWO, INDEX: index(MAP, {"total_size": 16, "x": "y" * 11_000_000})}, AB),
    "dir-index-bom": ({S1: ONE, S2: TWO, INDEX: b"\xef\xbb\xbf" + index(MAP)}, AB),
    "dir-index-duplicate-key": ({S1: ONE, S2: TWO, INDEX: (
        '{"metadata":{},"weight_map":{"a":"%s","b":"%s","b":"%s"}}' % (S1, S1, S2)).encode()}, None),
    "dir-shard-missing": ({S1: ONE, INDEX: index(MAP)}, None),
    "dir-shard-subfolder": ({"w/" + S1: ONE, "w/" + S2: TWO, INDEX: index({"a": "w/" + S1, "b": "w/" + S2})}, AB),
    "dir-shard-other-name": ({"x.safetensors": ONE, "y.safetensors": TWO,
                              INDEX: index({"a": "x.safetensors", "b": "y.safetensors"})}, AB),
    "dir-shard-bin": ({"x.bin": ONE, S2: TWO, INDEX: index({"a": "x.bin", "b": S2})}, None),
    "dir-shard-parent": ({"sub/" + INDEX: index({"a": "../x.safetensors", "b": S2}), "x.safetensors": ONE,
                          "sub/" + S2: TWO}, None),
    "dir-tensor-not-in-shard": ({S1: ONE, S2: ONE, INDEX: index(MAP)}, None),
    "dir-tensor-not-indexed": ({S1: file(AB), INDEX: index({"a": S1})}, AB),
    "dir-tensor-in-wrong-shard": ({S1: TWO, S2: ONE, INDEX: index(MAP)}, AB),
    "dir-tensor-in-two-shards": ({S1: ONE, S2: file(AB), INDEX: index(MAP)}, AB),
    "dir-tensor-in-two-ways": ({S1: ONE, S2: file({"a": ("F32", [2], DATA[8:]), "b": AB["b"]}),
                                INDEX: index(MAP)}, AB),
    "dir-stray-model-file": ({S1: ONE, S2: TWO, INDEX: index(MAP), "model-old.safetensors": file(
        {"a": ("F32", [2], DATA[8:])})}, AB),
    "dir-single-and-index": ({S1: ONE, S2: TWO, INDEX: index(MAP), "model.safetensors": file(
        {"a": ("F32", [2], DATA[8:]), "b": AB["b"]})}, AB),
    "dir-stray-file": ({S1: ONE, S2: TWO, INDEX: index(MAP), "old.safetensors": file(
        {"a": ("F32", [2], DATA[8:])})}, AB),
    "dir-no-index": ({S1: ONE, S2: TWO}, AB),
    "dir-single": ({"model.safetensors": file(AB)}, AB),
    "dir-single-other-name": ({"weights.safetensors": file(AB)}, AB),
    "dir-shard-without-format": ({S1: file({"a": AB["a"]}, {}), S2: TWO, INDEX: index(MAP)}, AB),
}


def torch_table(state):
    import torch
    names = {torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.uint16: "U16",
             torch.int32: "I32", torch.uint32: "U32", torch.int64: "I64", torch.uint64: "U64", torch.float16: "F16",
             torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64", torch.complex64: "C64",
             torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.float8_e8m0fnu: "F8_E8M0",
             torch.float8_e4m3fnuz: "F8_E4M3FNUZ", torch.float8_e5m2fnuz: "F8_E5M2FNUZ"}
    four = getattr(torch, "float4_e2m1fn_x2", None)
    table = {}
    for name, tensor in state.items():
        shape = list(tensor.shape)
        if tensor.dtype == four:
            dtype, shape[-1] = "F4", shape[-1] * 2
        else:
            dtype = names[tensor.dtype]
        flat = tensor.contiguous().reshape(-1)
        table[name] = (dtype, shape, flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return table


def torch_model(expected):
    import torch
    module = torch.nn.Module()
    for name in ("a", "b"):
        module.register_parameter(name, torch.nn.Parameter(torch.full((2,), -1.0)))
    return module


def load_safetensors(path):
    from safetensors.torch import load_file
    return torch_table(load_file(path))


def load_numpy(path):
    import numpy
    from safetensors.numpy import load_file
    names = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32",
             "uint32": "U32", "int64": "I64", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64",
             "complex64": "C64", "bfloat16": "BF16"}
    return {k: (names[str(v.dtype)], list(v.shape), v.tobytes()) for k, v in load_file(path).items()}


def load_transformers(path):
    if os.path.isfile(path):
        from transformers.modeling_utils import load_state_dict
        return torch_table(load_state_dict(path))
    import torch
    from transformers import PretrainedConfig, PreTrainedModel
    class Probe(PreTrainedModel):
        config_class = PretrainedConfig
        def __init__(self, config):
            super().__init__(config)
            self.a = torch.nn.Parameter(torch.full((2,), -1.0))
            self.b = torch.nn.Parameter(torch.full((2,), -1.0))
            self.post_init()
        def _init_weights(self, module):
            pass
    return torch_table(Probe.from_pretrained(path, config=PretrainedConfig(), use_safetensors=True).state_dict())


def load_accelerate(path):
    if os.path.isfile(path):
        from accelerate.utils.modeling import load_state_dict
        return torch_table(load_state_dict(path))
    from accelerate import load_checkpoint_in_model
    model = torch_model(None)
    load_checkpoint_in_model(model, path)
    return torch_table(model.state_dict())


def load_hub(path):
    if os.path.isfile(path):
        from huggingface_hub import load_state_dict_from_file
        return torch_table(load_state_dict_from_file(path))
    from huggingface_hub import load_torch_model
    model = torch_model(None)
    load_torch_model(model, path)
    return torch_table(model.state_dict())


def load_mlx(path):
    import mlx.core as mx
    import numpy
    names = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32",
             "uint32": "U32", "int64": "I64", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32",
             "float64": "F64", "complex64": "C64"}
    def table(file):
        result = {}
        for name, value in mx.load(file).items():
            dtype = names[str(value.dtype).split(".")[-1]]
            shape = list(value.shape)
            value = value.reshape(-1)
            value = value.view(mx.uint16) if dtype == "BF16" else value
            result[name] = (dtype, shape, numpy.array(value).tobytes())
        return result
    if os.path.isfile(path):
        return table(path)
    result = {}  # As mlx-lm: every model*.safetensors of the directory.
    for name in sorted(os.listdir(path)):
        if re.fullmatch(r"model.*\.safetensors", name):
            result.update(table(os.path.join(path, name)))
    if not result:
        raise FileNotFoundError("no model*.safetensors")
    return result


def load_gguf(path):
    from pathlib import Path
    from gguf.utility import SafetensorsLocal
    import torch
    dtypes = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16,
              "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "U8": torch.uint8, "I8": torch.int8,
              "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
    def table(file):  # As LazyTorchTensor.from_local_tensor of convert_hf_to_gguf.py does it.
        with SafetensorsLocal(Path(file)) as tensors:
            return torch_table({k: torch.from_numpy(v.mmap_bytes()).view(dtypes[v.dtype]).reshape(v.shape)
                                for k, v in tensors.items()})
    if os.path.isfile(path):
        return table(path)
    # As ModelBase.index_tensors of convert_hf_to_gguf.py does it.
    parts = sorted(n for n in os.listdir(path) if n.startswith("model") and n.endswith(".safetensors"))
    if not parts:
        raise FileNotFoundError("no model*.safetensors")
    indexed = set()
    place = os.path.join(path, INDEX)
    if os.path.isfile(place):
        with open(place, encoding="utf-8") as text:
            weight_map = json.load(text)["weight_map"]
        indexed, parts = set(weight_map), sorted(set(weight_map.values()))
    result = {}
    for name in parts:
        result.update(table(os.path.join(path, name)))
    if indexed and indexed != set(result):
        raise ValueError("Mismatch between weight map and model parts for tensor names")
    return result


def load_fastsafetensors(path):
    from fastsafetensors import fastsafe_open
    files = [path] if os.path.isfile(path) else sorted(
        os.path.join(path, n) for n in os.listdir(path) if n.endswith(".safetensors"))
    with fastsafe_open(filenames=files, nogds=True, device="cpu") as f:
        return torch_table({k: f.get_tensor(k).clone() for k in f.keys()})


def works(module):
    """Whether a package whose native part may be missing can be used."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def installed(module, major=None):
    if importlib.util.find_spec(module) is None:
        return False
    if major is None:
        return True
    from importlib.metadata import version
    return version(module).split(".")[0] == major


LOADERS = {
    "safetensors": (lambda: installed("safetensors") and installed("torch"), load_safetensors),
    "safetensors-numpy": (lambda: installed("safetensors") and installed("numpy"), load_numpy),
    "transformers@4": (lambda: installed("transformers", "4"), load_transformers),
    "transformers@5": (lambda: installed("transformers", "5"), load_transformers),
    "accelerate": (lambda: installed("accelerate"), load_accelerate),
    "hub": (lambda: installed("huggingface_hub", "2") and installed("torch"), load_hub),
    "mlx": (lambda: installed("mlx") and works("mlx.core"), load_mlx),
    "llama.cpp": (lambda: installed("gguf") and installed("torch"), load_gguf),
    "fastsafetensors": (lambda: installed("fastsafetensors"), load_fastsafetensors),
}
FILES_ONLY = {"safetensors", "safetensors-numpy", "fastsafetensors"}  # Their callers say which files to read.
VARIES = {("dir-tensor-in-two-ways", "hub")}  # It reads shards in the order of a set.


def differences(expected, got):
    for name in expected:
        if name not in got:
            return f"{name!r} is lost"
        for what, a, b in zip(("dtype", "shape", "bytes"), expected[name], got[name]):
            if a != b:
                return f"{name!r}: {what} {a if what != 'bytes' else a.hex()} became {b if what != 'bytes' else b.hex()}"
    extra = [name for name in got if name not in expected]
    return f"{extra[0]!r} is extra" if extra else None


def judge(load, path, expected):
    try:
        got = load(path)
    except BaseException as error:  # pyo3 panics are no Exceptions
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return "refuses", text.replace(path, "PATH")[:160]
    if expected is None:
        return "wrong", "opens a broken file"
    difference = differences(expected, got)
    return ("wrong", difference[:160]) if difference else ("loads", "")


def write(directory, content):
    if isinstance(content, bytes):
        path = os.path.join(directory, "model.safetensors")
        content = {"model.safetensors": content}
    else:
        path = directory
        content = {"config.json": CONFIG, **content}
        if any(name.startswith("sub/") for name in content):
            content["sub/config.json"] = CONFIG
            path = os.path.join(directory, "sub")
    for name, data in content.items():
        place = os.path.join(directory, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as out:
            out.write(data)
    return path


def record(records, case, content, loader, verdict):
    files = {"model.safetensors": content} if isinstance(content, bytes) else content
    if sum(map(len, files.values())) > 1 << 16:
        return
    encoded = {name: base64.b64encode(data).decode() for name, data in files.items()}
    old = records.get(case, {})
    verdicts = old.get("verdicts", {}) if old.get("files") == encoded else {}
    verdicts[loader] = verdict
    records[case] = {"case": case, "directory": not isinstance(content, bytes), "files": encoded,
                     "verdicts": dict(sorted(verdicts.items()))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact")
    parser.add_argument("--only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record")
    options = parser.parse_args()
    chosen = [name for name, (present, _) in LOADERS.items()
              if present() and (options.only is None or name in options.only.split(","))]
    failures = 0
    records = {}
    if options.record and os.path.exists(options.record):
        with open(options.record) as lines:
            records = {record["case"]: record for record in map(json.loads, lines)}
    for case, (content, expected) in CASES.items():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            path = write(directory, content)
            verdicts = {}
            if options.artifact:
                out = subprocess.run([options.artifact, "check", path, "--json", "--for", ",".join(chosen)],
                                     capture_output=True, text=True)
                verdicts = {v["loader"]: v for v in json.loads(out.stdout)["loaders"]} if out.stdout else {}
            for name in chosen:
                if name in FILES_ONLY and os.path.isdir(path):
                    continue
                if (case, name) in VARIES:
                    continue
                verdict, reason = judge(LOADERS[name][1], path, expected)
                record(records, case, content, name, verdict)
                said = verdicts.get(name, {}).get("verdict")
                agrees = not options.artifact or said in (verdict, "unknown")
                failures += not agrees
                if options.json:
                    print(json.dumps({"case": case, "loader": name, "verdict": verdict, "reason": reason}))
                elif not options.artifact or not agrees:
                    print(f"{case:28} {name:18} {verdict:8} {reason}"
                          + ("" if agrees else f"   BUT artifact says {said}"), flush=True)
    if options.record:
        with open(options.record, "w") as out:
            for case in CASES:
                if case in records:
                    out.write(json.dumps(records[case], separators=(",", ":")) + "\n")
    if options.artifact:
        print(f"{len(CASES)} cases, {', '.join(chosen)}: {failures} disagreements")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
