"""The HDF5 part of arrays.py; the files of Keras itself are made where it can be imported too."""

import os
import shutil
import struct
import zipfile

import h5py
import ml_dtypes
import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")


def datasets(path, root="", skip=()):
    """What h5py reads, by path; bfloat16 is two bytes without a type."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith(tuple(skip)):
            value = item[()]
            found[name] = value.view(ml_dtypes.bfloat16) if value.dtype.str == "|V2" else value

    with h5py.File(path) as file:
        (file[root] if root else file).visititems(visit)
    return found


def make(g):
    root, case, place, sample = g["ROOT"], g["case"], g["place"], g["sample"]
    folder = "hdf5/made"
    shutil.rmtree(root / folder, ignore_errors=True)

    def create(name, fill, **options):
        with h5py.File(place(f"{folder}/{name}"), "w", **options) as file:
            fill(file)
        return f"{folder}/{name}"

    def good(name, fill, libver=None, **rest):
        path = create(name, fill, libver=libver)
        case(path, datasets(root / path), **rest)

    def bad(name, fill, error, kind="unsupported", libver=None, **rest):
        case(create(name, fill, libver=libver), error=error, **{"class": kind}, **rest)

    arrays = {}
    for dtype in ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]:
        arrays[dtype] = sample(dtype, (3, 4))
        if np.dtype(dtype).itemsize > 1:
            arrays[f"be_{dtype}"] = arrays[dtype].astype(np.dtype(dtype).newbyteorder(">"))

    def dtypes(file):
        for name, array in arrays.items():
            file[f"group/{name}"] = array

    good("dtypes.h5", dtypes)
    good("latest.h5", lambda f: [f.create_dataset(k, data=v) for k, v in list(arrays.items())[:7]], libver="latest")
    good("dense.h5", dtypes, libver="latest")
    for count in (9, 300):
        good(f"dense{count}.h5", lambda f: [f.create_dataset(f"g/{'n' * (i % 9)}{i}", data=np.int16(i)) for i in range(count)], libver="v110")

    big = sample("f4", (37, 29, 5))

    def chunked(file):
        file.create_dataset("plain", data=big, chunks=(10, 8, 5))
        file.create_dataset("deflate", data=big, chunks=(10, 8, 2), compression="gzip")
        file.create_dataset("shuffle", data=big, chunks=(7, 29, 5), compression="gzip", shuffle=True)
        file.create_dataset("be", data=arrays["be_f8"], chunks=(2, 3), compression="gzip", shuffle=True)
        file.create_dataset("many", data=np.arange(9000, dtype="i4"), chunks=(16,))
        part = file.create_dataset("part", shape=(20, 20), dtype="f4", chunks=(8, 8), compression="gzip", fillvalue=1.5)
        part[8:16, :8] = 2
        file.create_dataset("unwritten", shape=(4, 3), dtype=">i4", fillvalue=-7)
        file.create_dataset("zeros", shape=(4, 3), dtype="f4")

    good("chunked.h5", chunked)
    bad("single_chunk.h5", lambda f: f.create_dataset("x", data=big, chunks=big.shape, compression="gzip"), "hdf5-layout", libver="latest")
    for name, chunks, options in (("v110_single", big.shape, {"compression": "gzip"}), ("v110_plain", big.shape, {})):
        good(f"{name}.h5", lambda f: f.create_dataset("x", data=big, chunks=chunks, **options), libver=("v110", "v110"))
    bad("v110_array.h5", lambda f: f.create_dataset("x", data=big, chunks=(10, 8, 5)), "hdf5-layout", libver=("v110", "v110"))
    good("v108.h5", lambda f: [f.create_dataset(f"g/{k}", data=v) for k, v in list(arrays.items())[:5]], libver=("v108", "v108"))

    good("tiny_chunked.h5", lambda f: f.create_dataset("x", data=big[:6, :4, 0], chunks=(4, 3), compression="gzip", shuffle=True))

    def odd(file):
        file["scalar"] = np.float32(2.5)
        file["empty"] = np.zeros((0, 3), "f4")
        file["a/b/c"] = sample("f4", (2,))
        space = h5py.h5s.create_simple((4,))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        dataset = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, plist)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(4, dtype="f4"))
        for index in range(40):
            file[f"many/{index}"] = np.int16(index)

    good("odd.h5", odd)

    def links(file):
        file["a/x"] = sample("f4", (2,))
        file["soft"] = h5py.SoftLink("/a/x")
        file["outside"] = h5py.ExternalLink("other.h5", "/x")
        file["again"] = file["a"]

    path = create("links.h5", links)
    case(path, {"a/x": datasets(root / path)["a/x"]}, skipped=["soft", "outside", "again"])
    bad("text.h5", lambda f: f.create_dataset("t", data=["a", "b"]), "hdf5-type")
    path = create("text_left.h5", lambda f: (f.create_dataset("t", data=["a"]), f.create_dataset("x", data=big[0, 0])))
    case(path, {"x": big[0, 0]}, skipped=["t"], options={"skip_unsupported": True})
    bad("records.h5", lambda f: f.create_dataset("t", data=np.zeros(2, [("a", "f4"), ("b", "i4")])), "hdf5-type")
    bad("c16.h5", lambda f: f.create_dataset("t", data=np.zeros(2, "c16")), "hdf5-type")
    bad("lzf.h5", lambda f: f.create_dataset("t", data=big, compression="lzf"), "hdf5-layout")
    bad("checksummed.h5", lambda f: f.create_dataset("t", data=big, fletcher32=True), "hdf5-layout")
    bad("outside.h5", lambda f: f.create_dataset("t", shape=(2,), dtype="f4", external=[("/etc/passwd", 0, 8)]), "hdf5-external")
    bad("untyped.h5", lambda f: f.create_dataset("t", data=np.zeros(2, "V2")), "void-dtype")
    path = create("typed.h5", lambda f: f.create_dataset("t", data=sample(ml_dtypes.bfloat16, 4).view("V2")))
    case(path, datasets(root / path), options={"void_as": "BF16"})

    whole = (root / folder / "dtypes.h5").read_bytes()
    place(f"{folder}/short.h5", whole[:-100])
    case(f"{folder}/short.h5", error="truncated", **{"class": "malformed"})
    place(f"{folder}/nothing.h5", b"nothing of the kind")
    case(f"{folder}/nothing.h5", error="not-hdf5", **{"class": "malformed"})

    make_keras(g)


def make_keras(g):
    root, case, place = g["ROOT"], g["case"], g["place"]
    try:
        import keras
        from keras import layers
    except ImportError as error:
        return print(f"make_keras: left as it was ({error})")
    shutil.rmtree(root / "keras", ignore_errors=True)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(4, name="first"), layers.BatchNormalization(), layers.Dense(2, dtype="bfloat16"),
         layers.Lambda(lambda x: x * 2)]
    )  # fmt: skip
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 8)), np.zeros((2, 2)), verbose=0)
    model.save(place("keras/whole.keras"))
    with zipfile.ZipFile(root / "keras/whole.keras") as archive:
        place("keras/extracted.h5", archive.read("model.weights.h5"))
    expected = datasets(root / "keras/extracted.h5", skip=["optimizer"])
    (root / "keras/extracted.h5").unlink()
    case("keras/whole.keras", expected, warn=["lambda-layer"], skipped=["optimizer"])
    model.save_weights(place("keras/only.weights.h5"))
    case("keras/only.weights.h5", datasets(root / "keras/only.weights.h5", skip=["optimizer"]), skipped=["optimizer"])
    plain = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="first"), layers.BatchNormalization()])
    plain.compile("adam", "mse")
    plain.fit(np.zeros((2, 8)), np.zeros((2, 4)), verbose=0)
    plain.save(place("keras/legacy.h5"))
    with h5py.File(root / "keras/legacy.h5") as file:
        print({name: list(file[name]) for name in file})
    case("keras/legacy.h5", datasets(root / "keras/legacy.h5", "model_weights"), skipped=[n for n in h5py.File(root / "keras/legacy.h5") if n != "model_weights"])
