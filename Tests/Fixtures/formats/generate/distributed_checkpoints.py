#!/usr/bin/env python3
"""Write checkpoints with torch.distributed.checkpoint on a few gloo ranks, and what PyTorch says they hold.

Usage: python distributed_checkpoints.py FOLDER   writes FOLDER/dcp/... and FOLDER/expected-dcp.json
Needs torch and zstandard. The ids in the files are random; the tensors are not.
"""

import copy
import io
import json
import os
import pickle
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from distributed_cases import digest, flatten, numbers


def shard(values, mesh, *placements):
    return distribute_tensor(values, mesh, list(placements))


def fsdp2(out, rank, world, mesh):
    """A flat state dict with uneven and empty shards beside training state, as torchtitan saves it."""
    shapes = {
        "tok_embeddings.weight": (7, 6), "layers.0.wq.weight": (8, 4), "norm.weight": (3,), "tiny.weight": (1, 5),
        "output.weight": (10, 2),
    }
    model = {n: shard(numbers(i, s, torch.bfloat16), mesh, Shard(0)) for i, (n, s) in enumerate(shapes.items())}
    model["freqs"] = numbers(50, (4,))
    state = dict(model)
    state["optimizer"] = {"state": {n: {"exp_avg": shard(numbers(9, s), mesh, Shard(0))} for n, s in shapes.items()}}
    state["train_state"] = {"step": torch.tensor(5), "ntokens_seen": torch.tensor(100)}
    state["lr_scheduler"] = {"last_epoch": 3}
    dcp.save(state, checkpoint_id=f"{out}/fsdp2")


def dtypes(out, rank, world, mesh):
    state = {}
    for i, dtype in enumerate(
        [
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
            torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
        ]
    ):
        whole = (numbers(i, (5, 3)) % 7).to(dtype)
        rows = -(-5 // world)
        local = whole[min(5, rank * rows) : min(5, rank * rows + rows)].clone()
        state[str(dtype)[6:]] = DTensor.from_local(
            local, mesh, [Shard(0)], shape=whole.shape, stride=whole.stride()
        )
    state["nested"] = {"list": [numbers(1, (2,)), {"deep": numbers(2, (3,))}], "text": "x", "pair": (1, 2.5)}
    dcp.save(state, checkpoint_id=f"{out}/dtypes")


def zstd(out, rank, world, mesh):
    """Every item compressed."""
    from torch.distributed.checkpoint._extension import ZStandard

    model = {"w": shard(numbers(1, (64, 48)), mesh, Shard(0)), "b": numbers(2, (5,), torch.bfloat16)}
    writer = dcp.FileSystemWriter(f"{out}/zstd", _extensions=[ZStandard()])
    dcp.save({"model": model, "step": 3}, storage_writer=writer)


def items(out, rank, world, mesh):
    """A file for each item, under two keys."""
    model = {f"l.{i}.weight": shard(numbers(i, (6, 3)), mesh, Shard(0)) for i in range(2)}
    state = {"app": {"model": model, "optim": {"state": {"x": numbers(9, (2,))}}}}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(f"{out}/items", single_file_per_rank=False))


def trainer(out, rank, world, mesh):
    """FSDP2 with an optimizer, in the directories of accelerate."""
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Embedding(7, 6), torch.nn.Linear(6, 5), torch.nn.LayerNorm(5))
    for layer in net:
        fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    net(torch.tensor([1, 2, 3])).sum().backward()
    optimizer.step()
    weights, state = get_state_dict(net, optimizer)
    dcp.save({"model": weights}, checkpoint_id=f"{out}/trainer/pytorch_model_fsdp_0")
    dcp.save({"optimizer": state}, checkpoint_id=f"{out}/trainer/optimizer_0")
    if rank == 0:
        Path(f"{out}/trainer/config.json").write_text('{"model_type": "x"}')
        Path(f"{out}/trainer/trainer_state.json").write_text("{}")


def fsdp1(out, rank, world, mesh):
    """The first FSDP, whose shards are ShardedTensors."""
    from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Embedding(7, 6), torch.nn.Linear(6, 5), torch.nn.LayerNorm(5))
    wrapped = FullyShardedDataParallel(
        net, auto_wrap_policy=ModuleWrapPolicy({torch.nn.Linear}), use_orig_params=True,
        device_id=torch.device("cpu"),
    )
    with FullyShardedDataParallel.state_dict_type(wrapped, StateDictType.SHARDED_STATE_DICT):
        dcp.save({"model": wrapped.state_dict()}, checkpoint_id=f"{out}/fsdp1")


def hub(out, rank, world, mesh):
    """The writer of SafeTensors files, with the parts of each rank, and put together."""
    from torch.distributed.checkpoint import HuggingFaceStorageWriter

    state = {
        "model.embed.weight": shard(numbers(1, (7, 4), torch.bfloat16), mesh, Shard(0)),
        "model.q.weight": shard(numbers(2, (4, 6)), mesh, Shard(1)),
        "model.norm.weight": shard(numbers(3, (4,)), mesh, Replicate()),
    }
    names = {"model.embed.weight": 1, "model.q.weight": 2, "model.norm.weight": 2}
    for name, options in {"hub": {}, "hub_indexed": {"fqn_to_index_mapping": names}}.items():
        dcp.save(
            state,
            storage_writer=HuggingFaceStorageWriter(f"{out}/{name}", save_distributed=True, **options),
        )
    writer = HuggingFaceStorageWriter(f"{out}/hub_whole", save_distributed=True, enable_consolidation=True)
    dcp.save(state, storage_writer=writer)


def ranks(out, rank, world, mesh):
    """Each rank its own metadata, without a word to the others."""
    state = {"w": shard(numbers(1, (5, 4)), mesh, Shard(0)), "b": numbers(2, (3,))}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(f"{out}/ranks"), use_collectives=False)


def grid(out, rank, world, mesh):
    """FSDP and tensor parallelism at once: rows, columns, both, copies."""
    both = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("dp", "tp"))
    model = {
        "rows": shard(numbers(1, (7, 6)), both, Shard(0), Shard(0)),
        "both": shard(numbers(2, (5, 9), torch.float16), both, Shard(0), Shard(1)),
        "columns": shard(numbers(3, (4, 7), torch.bfloat16), both, Replicate(), Shard(1)),
        "copies": shard(numbers(4, (3, 3)), both, Replicate(), Replicate()),
        "cube": shard(numbers(5, (3, 5, 4), torch.int64), both, Shard(1), Shard(2)),
        "plain": numbers(6, (2, 2), torch.float64),
        "empty": torch.zeros(0, 4),
    }
    dcp.save({"model": model, "optim": {"m": numbers(8, (4,))}, "step": 12}, checkpoint_id=f"{out}/grid")


WORLDS = {3: [fsdp2, dtypes, zstd, items, trainer, fsdp1, hub, ranks], 4: [grid]}


def work(rank, world, port, out):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("dp",))
    for function in WORLDS[world]:
        try:
            function(out, rank, world, mesh)
        except BaseException:
            traceback.print_exc()
            print(f"failed: {function.__name__}", file=sys.stderr)
        dist.barrier()
    dist.destroy_process_group()


# What PyTorch cannot be asked, because it keeps names as they are: the key that all weights stand under.
ROOTS = {"zstd": "model", "items": "app.model", "trainer": "model", "fsdp1": "model", "grid": "model"}
TRAINING = ("optimizer.", "train_state.", "optim.")


def whole(folder):
    """The tensors of a checkpoint, by PyTorch's own converter."""
    with tempfile.TemporaryDirectory() as work:
        dcp_to_torch_save(folder, f"{work}/whole.pt")
        return flatten(torch.load(f"{work}/whole.pt", weights_only=False))


def expected(out):
    """What should come of every checkpoint."""
    result = {}
    for name in ["fsdp2", "dtypes", "zstd", "items", "trainer", "fsdp1", "grid"]:
        folder = f"{out}/{name}" + ("/pytorch_model_fsdp_0" if name == "trainer" else "")
        root = ROOTS.get(name)
        start = len(root) + 1 if root else 0
        tensors = {
            key[start:]: value for key, value in whole(folder).items()
            if key.startswith(root + "." if root else "") and not key.startswith(TRAINING)
        }
        result[f"dcp/{name}"] = {"tensors": tensors} | ({"root": root} if root else {})
    result["dcp/fsdp2"]["skipped"] = {"optimizer": 5, "train_state": 2, "lr_scheduler": 0}
    result["dcp/dtypes"]["values"] = {"nested.text": "x", "nested.pair": [1, 2.5]}
    result["dcp/zstd"]["values"] = {"step": 3}
    result["dcp/grid"]["values"] = {"step": 12}
    from safetensors.torch import load_file

    together = load_file(f"{out}/hub_whole/model-00001-of-00001.safetensors")
    for name in ["hub", "hub_indexed", "hub_whole"]:
        result[f"dcp/{name}"] = {"tensors": flatten(together)}
    for name in ["hub", "hub_indexed"]:
        result[f"dcp/{name}"]["warn"] = ["rank-count-unstated"]
    result["dcp/objects"] = {
        "tensors": {"w": digest(numbers(1, (2, 3)))}, "root": "model", "values": {"n": None, "flag": True},
        "skipped": {"state": 0},
    }
    result["dcp/ranks"] = {"tensors": {"w": digest(numbers(1, (5, 4))), "b": digest(numbers(2, (3,)))}}
    return result


class OldMetadata:
    """Metadata with the classes of PyTorch 2.0 to 2.2."""

    @staticmethod
    def of(metadata):
        from torch.distributed._shard.sharded_tensor.metadata import TensorProperties

        metadata = copy.deepcopy(metadata)
        for item in metadata.state_dict_metadata.values():
            if hasattr(item, "properties"):
                new = item.properties
                item.properties = TensorProperties(new.dtype, new.layout, False, new.memory_format, False)
        del metadata.version, metadata.storage_meta
        return metadata


class Command:
    """Runs a command where it is unpickled by Python."""

    def __reduce__(self):
        return os.system, ("true",)


class Stranger:
    """Of a class that is nobody's business."""

    def __init__(self):
        self.a = 1


def write_values(out):
    """Values that are objects, saved by one process: one of an unknown class, and one that runs a command."""
    weights = {"w": numbers(1, (2, 3))}
    dcp.save({"model": weights, "state": Stranger(), "n": None, "flag": True}, checkpoint_id=f"{out}/objects", no_dist=True)
    dcp.save({"model": weights, "evil": Command()}, checkpoint_id=f"{out}/hostile", no_dist=True)


def edits(out):
    """Metadata of `grid` with one thing wrong each, or differently right; name to (metadata, code, tensor)."""
    good = pickle.load(open(f"{out}/grid/.metadata", "rb"))

    def change(function):
        metadata = copy.deepcopy(good)
        function(metadata)
        return metadata

    def chunks(metadata, name):
        return metadata.state_dict_metadata["model." + name].chunks

    def lose(metadata):
        chunks(metadata, "rows").pop(1)

    def widen(metadata):
        item = metadata.state_dict_metadata["model.rows"]
        item.size = torch.Size([8, 6])

    def shrink(metadata):
        metadata.state_dict_metadata["model.rows"].size = torch.Size([6, 6])

    def twice(metadata):
        metadata.state_dict_metadata["model.rows"].chunks.append(chunks(metadata, "rows")[0])

    def overlap(metadata):
        first, second = chunks(metadata, "rows")[:2]
        key = next(k for k in metadata.storage_data if k.fqn == "model.rows" and k.offset == second.offsets)
        moved = dcp.metadata.MetadataIndex("model.rows", [1, 0])
        metadata.storage_data[moved] = metadata.storage_data[key]
        second.offsets = torch.Size([1, 0])

    def unplaced(metadata):
        key = next(k for k in metadata.storage_data if k.fqn == "model.cube")
        del metadata.storage_data[key]

    def beyond(metadata):
        info = next(v for k, v in metadata.storage_data.items() if k.fqn == "model.plain")
        info.length = 1 << 40

    def swap(metadata):
        keys = [k for k in metadata.storage_data if k.fqn in ("model.plain", "model.copies")]
        data = metadata.storage_data
        data[keys[0]], data[keys[1]] = data[keys[1]], data[keys[0]]

    def escape(metadata):
        info = next(v for k, v in metadata.storage_data.items() if k.fqn == "model.plain")
        info.relative_path = "../grid/__0_0.distcp"

    def encrypt(metadata):
        for info in metadata.storage_data.values():
            info.transform_descriptors = ["stream.rot13/1"]

    return {
        "hole": (change(lose), "malformed", "chunk-hole", "rows"),
        "wider": (change(widen), "malformed", "chunk-hole", "rows"),
        "narrower": (change(shrink), "malformed", "chunk-outside", "rows"),
        "twice": (change(twice), None, None, None),
        "overlap": (change(overlap), "malformed", "chunk-overlap", "rows"),
        "unplaced": (change(unplaced), "malformed", "chunk-missing", "model.cube"),
        "beyond": (change(beyond), "malformed", "truncated", "plain"),
        "swapped": (change(swap), "malformed", "chunk-mismatch", None),
        "escape": (change(escape), "unsafe", "path-escape", "model.plain"),
        "transform": (change(encrypt), "unsupported", "transform-unknown", None),
        "command": (Command(), "unsafe", "refused-global", None),
        "list": ([1, 2], "malformed", "bad-metadata", None),
        "old": (OldMetadata.of(good), None, None, None),
    }


def write_edits(out):
    """Only the metadata: the files are those of `grid`."""
    os.makedirs(f"{out}/edited", exist_ok=True)
    result = {}
    for name, (metadata, kind, code, tensor) in edits(out).items():
        stream = io.BytesIO()
        pickle.dump(metadata, stream, protocol=4)
        Path(f"{out}/edited/{name}.metadata").write_bytes(stream.getvalue())
        result[name] = {"class": kind, "error": code, "tensor": tensor}
    return result


def generate(folder):
    """Write all checkpoints below a folder and return what is expected of them."""
    out = f"{folder}/dcp"
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for number, world in enumerate(WORLDS):
        mp.spawn(work, (world, 29611 + number, out), world)
    write_values(out)
    return expected(out), write_edits(out)


if __name__ == "__main__":
    cases, edited = generate(sys.argv[1])
    document = {"cases": cases, "edited": edited}
    Path(sys.argv[1], "expected-dcp.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
