"""One process of test_zero.py: `python zero_worker.py FOLDER RANK WORLD_SIZE`, gradients through DeepSpeed's engine."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

FOLDER, RANK, WORLD_SIZE = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def main() -> None:
    os.environ.update(RANK=str(RANK), LOCAL_RANK=str(RANK), LOCAL_WORLD_SIZE=str(WORLD_SIZE),
                      WORLD_SIZE=str(WORLD_SIZE), MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[4])  # fmt: skip
    from kalm.text.batch import collate
    from kalm.training.engine import init_distributed, initialize

    init_distributed()
    from deepspeed.utils import safe_get_full_grad

    results = {}
    for stage in (0, 1, 2, 3):
        objective, table, directed, config = torch.load(FOLDER / "task.pt", weights_only=False)
        staged = replace(config, deepspeed=replace(config.deepspeed, zero_stage=stage))
        engine = initialize(objective, staged, world_size=WORLD_SIZE, total_steps=10)
        local = len(directed) // WORLD_SIZE
        losses = engine(collate(directed[RANK * local : (RANK + 1) * local], table, num_groups=2))
        engine.backward(losses.total)
        results[stage] = {
            name.removeprefix("module."): safe_get_full_grad(parameter)
            for name, parameter in engine.module.named_parameters()
            if parameter.requires_grad
        }
        engine.step()
        engine.destroy()
    if RANK == 0:
        torch.save(results, FOLDER / "results.pt")


if __name__ == "__main__":
    main()
