"""encode.py FOLDER: numbers and the blocks that llama.cpp itself makes of them, as digests.

Needs llama-cpp-python, whose libggml-base is called directly.
"""

import ctypes
import glob
import hashlib
import json
import os
import sys

import llama_cpp
import numpy as np

TYPES = {"Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
         "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210)}
BLOCK, EACH = 256, 4


def numbers(rng):
    shape = (EACH, BLOCK)
    yield rng.standard_normal(shape)
    yield rng.standard_t(2, shape) * 0.02
    yield rng.uniform(0, 1, shape)
    yield -np.abs(rng.standard_normal(shape))
    yield rng.integers(-8, 8, shape) / 8
    yield rng.standard_normal(shape) * 1e-7
    yield rng.standard_normal(shape) * 10.0 ** rng.uniform(-12, 3, shape)
    sparse = rng.standard_normal(shape) * (rng.random(shape) < 0.1)
    sparse[0] = 0
    sparse[1, :64] = -0.5
    yield sparse
    # Whole numbers and halves, where rounding has ties.
    yield rng.integers(-254, 255, shape) / 2


def main(folder):
    library = glob.glob(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))[0]
    ggml = ctypes.CDLL(library)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    values = np.concatenate(list(numbers(np.random.default_rng(7)))).astype("<f4").reshape(-1)
    values.tofile(os.path.join(folder, "numbers.f32"))
    digests = {}
    for name, (number, elements, width) in TYPES.items():
        blocks = np.zeros(values.size // elements * width, np.uint8)
        ggml.ggml_quantize_chunk(
            number, values.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(0), ctypes.c_int64(values.size // BLOCK), ctypes.c_int64(BLOCK), None)
        digests[name] = hashlib.sha256(blocks.tobytes()).hexdigest()
    with open(os.path.join(folder, "digests.json"), "w") as stream:
        json.dump(digests, stream, indent=2)
        stream.write("\n")


main(sys.argv[1])
