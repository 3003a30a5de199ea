#!/usr/bin/env python3
"""Train a tiny model for two steps with DeepSpeed on a few CPU ranks, in many settings, and save it.

Usage: python zero.py FOLDER   writes FOLDER/deepspeed/... and FOLDER/expected-deepspeed.json
Needs deepspeed (built with DS_BUILD_OPS=0) and ninja on the PATH. What is expected is what DeepSpeed's own
zero_to_fp32 makes of it, and the model's own state for what that leaves out.
"""

import json
import logging
import os
import shutil
import sys
import traceback
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import torch
import torch.multiprocessing as mp

from distributed_cases import digest


class Net(torch.nn.Module):
    def __init__(self, tied, frozen):
        super().__init__()
        self.embed = torch.nn.Embedding(7, 4)
        self.l = torch.nn.Linear(4, 5)
        self.n = torch.nn.LayerNorm(5)
        self.frozen = torch.nn.Linear(5, 4, bias=False)
        self.scale = torch.nn.Parameter(torch.randn(3))
        self.out = torch.nn.Linear(4, 7, bias=False)
        self.register_buffer("buf", torch.arange(3).float())
        self.register_buffer("count", torch.tensor([5], dtype=torch.int64))
        if tied:
            self.out.weight = self.embed.weight
        if frozen:
            for parameter in (self.frozen.weight, self.scale):
                parameter.requires_grad_(False)

    def forward(self, x):
        hidden = self.frozen(self.n(self.l(self.embed(x))))
        return self.out(hidden + self.scale.sum() * 0.01).float().logsumexp(-1).mean()


def settings(stage, dtype):
    result = {
        "train_micro_batch_size_per_gpu": 2, "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
    }
    if stage is not None:
        result["zero_optimization"] = {"stage": stage}
    if stage == 3:
        result["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    if dtype != "fp32":
        result[dtype] = {"enabled": True}
    return result


# name: (ranks, stage, dtype, tied, frozen)
CASES = {
    "none_bf16": (2, None, "bf16", True, True),
    "none_fp32": (2, None, "fp32", False, True),
    "none_fp16": (2, None, "fp16", True, False),
    "zero1_bf16": (2, 1, "bf16", True, True),
    "zero1_fp16": (2, 1, "fp16", False, True),
    "zero1_fp32": (2, 1, "fp32", True, False),
    "zero2_bf16": (2, 2, "bf16", True, True),
    "zero2_fp16": (2, 2, "fp16", False, False),
    "zero2_fp32": (2, 2, "fp32", False, True),
    "zero3_bf16": (2, 3, "bf16", True, True),
    "zero3_fp16": (2, 3, "fp16", False, True),
    "zero3_fp32": (2, 3, "fp32", True, False),
    "three_zero1": (3, 1, "bf16", True, True),
    "three_zero2": (3, 2, "bf16", True, True),
    "three_zero3": (3, 3, "bf16", True, True),
}


def work(rank, world, port, out):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world)
    )
    torch.set_num_threads(1)
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    deepspeed.utils.logger.setLevel(logging.ERROR)
    # PyTorch computes in float16 on processors by now.
    get_accelerator().is_fp16_supported = lambda: True
    get_accelerator().supported_dtypes = lambda: [torch.float, torch.bfloat16, torch.float16]
    deepspeed.init_distributed("gloo")
    for name, (ranks, stage, dtype, tied, frozen) in CASES.items():
        if ranks != world:
            continue
        try:
            train(f"{out}/{name}", rank, stage, dtype, tied, frozen)
        except BaseException:
            traceback.print_exc()
            print(f"failed: {name}", file=sys.stderr)
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def train(folder, rank, stage, dtype, tied, frozen):
    import deepspeed

    torch.manual_seed(3)
    net = Net(tied, frozen)
    trained = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    engine, *_ = deepspeed.initialize(model=net, optimizer=optimizer, config=settings(stage, dtype))
    for step in range(2):
        engine.backward(engine(torch.tensor([[1 + rank, 2], [3, 4 + step]])))
        engine.step()
    engine.save_checkpoint(folder, client_state={"epoch": 2})


def expected(out):
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    result = {}
    for name, (_, stage, dtype, tied, frozen) in CASES.items():
        folder = f"{out}/{name}"
        module = {}
        if stage != 3:
            state = torch.load(f"{folder}/global_step2/mp_rank_00_model_states.pt", weights_only=False)
            module = {key: digest(value) for key, value in state["module"].items()}
        master = {}
        if stage:
            state = get_fp32_state_dict_from_zero_checkpoint(folder)
            master = {key: digest(value) for key, value in state.items()}
        case = {"tensors": module | master}
        case["tied"] = [["embed.weight", "out.weight"]] if tied else []
        case["values"] = {"epoch": 2, "global_steps": 2}
        if not stage and dtype != "fp32":
            case["warn"] = ["master-missing"]
        if module:
            case["model"] = module
        result[f"deepspeed/{name}"] = case
    return result


def generate(folder):
    """Write all checkpoints below a folder and return what is expected of them."""
    out = f"{folder}/deepspeed"
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for number, world in enumerate((2, 3)):
        mp.spawn(work, (world, 29650 + number, out), world)
    cases = expected(out)
    # Tens of kilobytes of program text for each.
    for script in Path(out).glob("*/zero_to_*.py"):
        script.unlink()
    return cases


if __name__ == "__main__":
    cases = generate(sys.argv[1])
    Path(sys.argv[1], "expected-deepspeed.json").write_text(
        json.dumps({"cases": cases}, indent=1, sort_keys=True) + "\n"
    )
