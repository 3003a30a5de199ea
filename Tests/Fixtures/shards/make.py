"""make.py: writes the fixtures of shard sets beside this file, with the libraries that they imitate.

Needs torch, huggingface_hub 2.4, transformers 5.24 and safetensors 0.8.

    splits.jsonl    one division a line by huggingface_hub.split_torch_state_dict_into_shards:
                    [limit, sizes, shard of each tensor], or for tensors that share storage
                    [limit, sizes, storages, shards as lists of tensors]
    hub/            a model as huggingface_hub.save_torch_state_dict saves it
    transformers/   a model as transformers' save_pretrained saves it
    names.json      for both the tensors in the order of the state dict: [name, bytes]
"""

import json
import pathlib
import random
import shutil

import torch
from huggingface_hub import save_torch_state_dict, split_torch_state_dict_into_shards
from transformers import LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent
random.seed(20261124)
torch.manual_seed(20261124)


def split(tensors, limit):
    result = split_torch_state_dict_into_shards(
        {str(i): t for i, t in enumerate(tensors)}, max_shard_size=limit
    )
    return [[int(name) for name in names] for names in result.filename_to_tensors.values()]


def plain(sizes, limit):
    shards = split([torch.empty(n, dtype=torch.uint8, device="meta") for n in sizes], limit)
    place = {index: number for number, shard in enumerate(shards) for index in shard}
    return [limit, sizes, [place[i] for i in range(len(sizes))]]


def shared(sizes, limit):
    storages = [random.choice([None, random.randrange(4)]) for _ in sizes]
    bases = {s: torch.empty(sizes[storages.index(s)], dtype=torch.uint8) for s in set(storages) - {None}}
    tensors = [
        torch.empty(n, dtype=torch.uint8) if s is None else bases[s] for n, s in zip(sizes, storages)
    ]
    return [limit, sizes, storages, split(tensors, limit)]


lines = [plain([4, 12, 4], 10), plain([6, 6, 2, 6, 2, 2], 10), plain([], 10), plain([5, 5], 10)]
for _ in range(2500):
    largest = random.choice([3, 20, 1000])
    sizes = [random.randint(0, largest) for _ in range(random.randint(1, 24))]
    lines.append(plain(sizes, random.randint(1, largest * 3)))
for _ in range(300):
    sizes = [random.randint(1, 50) for _ in range(random.randint(1, 12))]
    lines.append(shared(sizes, random.randint(1, 100)))
text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
(HERE / "splits.jsonl").write_text(text)

names = {}
for name in ("hub", "transformers"):
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir()
# The order is not that of names, and one name is not ASCII.
weights = {"norm": [16], "embed": [8, 16], "layer.10.weight": [16, 8], "layer.9.weight": [16, 8], "größe": [3]}
state = {key: torch.randn(shape, dtype=torch.float16) for key, shape in weights.items()}
save_torch_state_dict(state, HERE / "hub", max_shard_size=300, metadata={"tied": "none", "note": "é"})
names["hub"] = [[key, value.nbytes] for key, value in state.items()]

config = LlamaConfig(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=16,
    max_position_embeddings=8,
)
model = LlamaForCausalLM(config)
model.save_pretrained(HERE / "transformers", max_shard_size=1000)
for extra in (HERE / "transformers").iterdir():
    if "safetensors" not in extra.name:
        extra.unlink()
names["transformers"] = [[key, value.nbytes] for key, value in model.state_dict().items()]
(HERE / "names.json").write_text(json.dumps(names, indent=1) + "\n")
