"""One process of test_estimate.py: `python memory_worker.py FOLDER RANK WORLD_SIZE PORT`, what DeepSpeed holds."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

FOLDER, RANK, WORLD_SIZE = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


class Layers(nn.Module):
    """Sizes that two processes cannot share evenly, one above and the others below what ZeRO-3 holds whole."""

    def __init__(self, trains_all: bool) -> None:
        super().__init__()
        self.large = nn.Linear(333, 401, bias=False)
        self.small = nn.Linear(401, 7)
        self.large.requires_grad_(trains_all)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.small(self.large(rows)).square().sum()


def main() -> None:
    os.environ.update(RANK=str(RANK), LOCAL_RANK=str(RANK), LOCAL_WORLD_SIZE=str(WORLD_SIZE),
                      WORLD_SIZE=str(WORLD_SIZE), MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[4])  # fmt: skip
    from kalm.config import Dtype
    from kalm.training.engine import init_distributed, initialize
    from kalm.training.memory import states_of

    init_distributed()
    config = torch.load(FOLDER / "config.pt", weights_only=False)
    cases = []
    for stage in range(4):
        for dtype in Dtype:
            for trains_all in (True, False):
                case = replace(config, deepspeed=replace(config.deepspeed, zero_stage=stage),
                               model=replace(config.model, dtype=dtype))  # fmt: skip
                engine = initialize(Layers(trains_all), case, world_size=WORLD_SIZE, total_steps=10)
                engine.backward(engine(torch.ones(2, 333, dtype=getattr(torch, dtype.value))))
                gradients = gradient_bytes(engine, stage)
                engine.step()
                cases.append({
                    "case": f"ZeRO-{stage} {dtype.value} {'all' if trains_all else 'some'} trained",
                    "estimated": {part.name: part.num_bytes for part in states_of(engine, case.deepspeed)},
                    "held": held_bytes(engine, stage) | {"gradients": gradients},
                })  # fmt: skip
                engine.destroy()
    if RANK == 0:
        (FOLDER / "cases.json").write_text(json.dumps(cases))


def gradient_bytes(engine, stage: int) -> int | None:
    """None where they are reduced and cut before anybody can look."""
    if stage == 3:
        return engine.optimizer.grad_partitions_flat_buffer.nbytes
    if stage == 2:
        return sum(part.nbytes for parts in engine.optimizer.averaged_gradients.values() for part in parts)
    return None if stage == 1 else sum(p.grad.nbytes for p in engine.module.parameters() if p.requires_grad)


def held_bytes(engine, stage: int) -> dict[str, int]:
    parameters, optimizer = list(engine.module.parameters()), engine.basic_optimizer
    weights = [p.ds_tensor if stage == 3 else p for p in parameters]
    own = {p.untyped_storage().data_ptr() for p in weights}
    updated = [p for group in optimizer.param_groups for p in group["params"]]
    if stage == 3:
        updated = engine.optimizer.fp32_partitioned_groups_flat
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    return {
        "weights": sum(p.nbytes for p in weights),
        "small weights, held whole": sum(p.nbytes for p in parameters) if stage == 3 else 0,
        "float32 copy of the weights": sum(p.nbytes for p in updated if p.untyped_storage().data_ptr() not in own),
        "optimizer state": sum(moment.nbytes for moment in moments),
    }


if __name__ == "__main__":
    main()
