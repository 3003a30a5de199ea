"""casts.py FROM TO INPUT OUTPUT: are the elements of OUTPUT those of INPUT as NumPy and ml_dtypes convert them?

Equal bit for bit, but for NaN, where any NaN will do.
"""

import sys

import ml_dtypes
import numpy as np

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
BITS = {8: np.uint64, 4: np.uint32, 2: np.uint16}

source, target, input_path, output_path = sys.argv[1:]
values = np.fromfile(input_path, DTYPES[source])
result = np.fromfile(output_path, DTYPES[target])
with np.errstate(all="ignore"):
    if source == "F64" and target in ("F16", "BF16"):
        # As torch and ml_dtypes do it: through float32.
        values = values.astype(np.float32)
    expected = values.astype(DTYPES[target])
    nan = np.isnan(expected.astype(np.float64))
    if not np.array_equal(nan, np.isnan(result.astype(np.float64))):
        sys.exit("NaN in other places")
bits = BITS[np.dtype(DTYPES[target]).itemsize]
wrong = np.flatnonzero((expected.view(bits) != result.view(bits)) & ~nan)
if wrong.size:
    i = wrong[0]
    sys.exit(f"{wrong.size} of {values.size} differ, first {values[i]!r}: {result[i]!r}, expected {expected[i]!r}")
