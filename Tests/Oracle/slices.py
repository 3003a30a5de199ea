"""slices.py DATA CASES: are the slices of CASES what NumPy gives?

A line of CASES: bits of an element | shape | index expression | shape of the result, or ! and an error code | bytes in
hexadecimal. Every tensor begins at the first byte of DATA, whose bits begin with the lowest.
"""

import sys

import numpy as np

data = np.fromfile(sys.argv[1], np.uint8)
elements = {}
for width in (4, 6, 8, 16, 32, 64):
    usable = len(data) // (width * 3) * width * 3
    bits = np.unpackbits(data[:usable], bitorder="little").reshape(-1, width).astype(np.uint64)
    elements[width] = (bits << np.arange(width, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def packed(values, width):
    bits = (values.reshape(-1, 1) >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes().hex()


lines = open(sys.argv[2]).read().splitlines()
errors = 0
for line in lines:
    width, shape, index, result, content = line.split("|")
    shape = [int(d) for d in shape.split(",") if d]
    array = elements[int(width)][: int(np.prod(shape, dtype=object))].reshape(shape)
    try:
        # [()] makes an array of a scalar.
        expected = np.asarray(eval(f"array[{index}]"))
        expected = ",".join(map(str, expected.shape)) + "|" + packed(expected, int(width))
    except IndexError as error:
        text = str(error)
        expected = "!tooManyIndices|" if "too many" in text else "!badSelection|" if "ellips" in text else "!outOfRange|"
        errors += 1
    except ValueError:
        expected = "!badSelection|"
        errors += 1
    if expected != f"{result}|{content}":
        sys.exit(f"{line}\nNumPy: {expected}")
print(len(lines), "slices", errors, "refused")
