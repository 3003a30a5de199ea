"""narrow_casts.py SOURCE RESULT: is every tensor of RESULT what NumPy and ml_dtypes make of SOURCE's F32 one?

Prints the number of tensors of each dtype as JSON; fails at the first that differs.
"""

import collections
import json
import struct
import sys

import ml_dtypes
import numpy as np

PLAIN = {"F32": np.float32, "F64": np.float64, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}


def tensors(directory):
    data = open(directory + "/model.safetensors", "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    for name, info in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            yield name, info["dtype"], data[8 + length + begin : 8 + length + end]


def cast(values, dtype):
    if dtype == "I8":
        return np.clip(np.rint(values), -128, 127).astype(np.int8).tobytes()
    if dtype == "F4":
        bits = values.astype(ml_dtypes.float4_e2m1fn).view(np.uint8) & 15
        return (bits[0::2] | bits[1::2] << 4).tobytes()
    if dtype == "F6_E2M3":
        bits = (values.astype(ml_dtypes.float6_e2m3fn).view(np.uint8) & 63).astype(np.uint32).reshape(-1, 4)
        word = bits[:, 0] | bits[:, 1] << 6 | bits[:, 2] << 12 | bits[:, 3] << 18
        return np.stack([word & 255, word >> 8 & 255, word >> 16], 1).astype(np.uint8).tobytes()
    return values.astype(PLAIN[dtype]).tobytes()


source = {name: np.frombuffer(data, np.float32) for name, dtype, data in tensors(sys.argv[1])}
counts = collections.Counter()
for name, dtype, data in tensors(sys.argv[2]):
    assert cast(source[name], dtype) == data, (name, dtype)
    counts[dtype] += 1
print(json.dumps(counts))
