"""safetensors_open.py FILE...: each file as the Python package opens it.

Prints JSON: [{"metadata", "tensors": {name: {"dtype", "shape", "sha256", "offset"}}}]. The offset is that of the
file.
"""

import hashlib
import json
import sys

from safetensors import deserialize, safe_open

result = []
for path in sys.argv[1:]:
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    tensors = {
        name: {
            "dtype": info["dtype"],
            "shape": info["shape"],
            "sha256": hashlib.sha256(bytes(info["data"])).hexdigest(),
            "offset": start + header[name]["data_offsets"][0],
        }
        for name, info in deserialize(data)
    }
    result.append({"metadata": metadata, "tensors": tensors})
json.dump({"files": result}, sys.stdout)
