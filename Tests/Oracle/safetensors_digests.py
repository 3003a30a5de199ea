"""safetensors_digests.py DIR: the tensors of every SafeTensors file of DIR as the Python package reads them.

Prints JSON: {name: {"dtype", "shape", "sha256", "file"}}. Bytes are taken as they stand (NumPy knows no BF16).
"""

import hashlib
import json
import pathlib
import sys

from safetensors import deserialize

tensors = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors")):
    for name, info in deserialize(path.read_bytes()):
        assert name not in tensors, name
        tensors[name] = {
            "dtype": info["dtype"],
            "shape": info["shape"],
            "sha256": hashlib.sha256(bytes(info["data"])).hexdigest(),
            "file": path.name,
        }
json.dump(tensors, sys.stdout)
