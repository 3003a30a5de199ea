"""archives.py places FILE: where each member of a zip file has its bytes.
archives.py arrays FILE: the arrays of a .npz file, as NumPy loads them, and whether each member is what NumPy writes.
archives.py state FILE...: the tensors of PyTorch state dicts, by zipfile and a pickle machine that knows six globals.

Prints JSON.
"""

import collections
import hashlib
import io
import json
import pickle
import struct
import sys
import zipfile

import numpy

WIDTHS = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
    "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64",
}
NEWER = {"uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
         "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
         "float4_e2m1fn_x2": "F4"}


def places(path):
    found = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:
        for info in archive.infolist():
            stream.seek(info.header_offset)
            header = stream.read(30)
            assert header[:4] == b"PK\3\4"
            name, extra = struct.unpack("<HH", header[26:30])
            found[info.filename] = [info.header_offset + 30 + name + extra, info.file_size]
    return {"places": found}


def arrays(path):
    found = {}
    with zipfile.ZipFile(path) as archive, numpy.load(path) as loaded:
        assert archive.testzip() is None
        for name in loaded.files:
            array = loaded[name]
            again = io.BytesIO()
            numpy.save(again, array)
            found[name] = {
                "dtype": array.dtype.str, "shape": list(array.shape),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(), "hex": array.tobytes()[:64].hex(),
                "as_saved": again.getvalue() == archive.read(name + ".npy"),
            }
    return {"arrays": found}


class Machine(pickle.Unpickler):
    def __init__(self, archive, root):
        super().__init__(io.BytesIO(archive.read(root + "/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, *rest: self.tensor(storage, storage[0], *rest)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v3"):
            return lambda storage, offset, size, stride, grad, hooks, dtype: self.tensor(
                storage, dtype, offset, size, stride, grad, hooks)
        if module == "torch" and name.endswith("Storage"):
            return WIDTHS[name[:-7]]
        if (module, name) == ("torch.storage", "UntypedStorage"):
            return None
        assert module == "torch" and name in NEWER, (module, name)
        return NEWER[name]

    def persistent_load(self, pid):
        kind, dtype, key, location, count = pid
        assert (kind, location) == ("storage", "cpu")
        data = self.archive.read("%s/data/%s" % (self.root, key))
        width = len(data) // count if count else 1
        assert len(data) == count * width and (dtype or width == 1)
        return dtype, key, data

    def tensor(self, storage, dtype, offset, size, stride, grad, hooks):
        assert offset == 0 and grad is False and hooks == collections.OrderedDict()
        step, strides = 1, []
        for length in reversed(size):
            strides.insert(0, step)
            step *= max(1, length)
        assert list(stride) == strides, (size, stride)
        size = list(size)
        if dtype == "F4":
            size[-1] *= 2
        return {"dtype": dtype, "shape": size, "storage": storage[1],
                "sha256": hashlib.sha256(storage[2]).hexdigest(), "hex": storage[2][:64].hex()}


def state(paths):
    found = {}
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            root = archive.namelist()[0].split("/")[0]
            assert all(name.startswith(root + "/") for name in archive.namelist())
            assert archive.read(root + "/version") == b"3\n"
            loaded = Machine(archive, root).load()
            assert type(loaded) is collections.OrderedDict
            for name, tensor in loaded.items():
                assert name not in found
                found[name] = dict(tensor, file=path.split("/")[-1])
    return {"tensors": found}


json.dump({"places": lambda: places(sys.argv[2]), "arrays": lambda: arrays(sys.argv[2]),
           "state": lambda: state(sys.argv[2:])}[sys.argv[1]](), sys.stdout)
