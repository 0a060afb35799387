"""One process of test_zero.py, a step through the engine: `python zero_worker.py FOLDER RANK WORLD_SIZE PORT`."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

FOLDER, RANK, WORLD_SIZE = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def step_through_deepspeed(
    objective, table, directed, windows, config, question_table
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses and gradients of a step; with questions those of a step on them, after one on triples."""
    from conftest import cut, cut_questions, cut_texts
    from deepspeed.utils import safe_get_full_grad

    from kalm.distributed import all_reduce_sum
    from kalm.training.engine import initialize
    from kalm.training.question_step import question_step
    from kalm.training.step import check_weights, train_step

    engine = initialize(objective, config, world_size=WORLD_SIZE, total_steps=10)
    gradients = {}
    update = engine.step

    def read_and_update():
        if engine.is_gradient_accumulation_boundary():
            for name, parameter in engine.module.named_parameters():
                if parameter.requires_grad:
                    gradients[name] = safe_get_full_grad(parameter).float()
        update()

    engine.step = read_and_update
    directed, windows = (
        rows[RANK * len(rows) // WORLD_SIZE : (RANK + 1) * len(rows) // WORLD_SIZE] for rows in (directed, windows)
    )
    batches = cut(directed, table, engine.gradient_accumulation_steps())
    # fewer micro-batches than the graph has
    texts = cut_texts(windows, min(len(windows), len(batches)))
    losses = train_step(engine, batches, texts)
    measured = [losses.total, *losses.terms().values()]
    if question_table is not None:
        kale = objective.config.kale
        questions = range(12)[RANK * 12 // WORLD_SIZE : (RANK + 1) * 12 // WORLD_SIZE]
        rows = [question % len(question_table) for question in questions]
        batches = cut_questions(question_table, rows, kale, engine.gradient_accumulation_steps())
        of_questions = question_step(engine, batches, texts)
        measured = [of_questions.total, *of_questions.terms().values()]
    values = (all_reduce_sum(torch.stack(measured)) / WORLD_SIZE).tolist()
    fill_padding(engine.module)
    check_weights(engine, batches[0])
    break_weights(engine.module)
    try:
        check_weights(engine, batches[0])
    except FloatingPointError:
        engine.destroy()
        return values, gradients
    raise AssertionError("broken weights were not found on this rank")


def fill_padding(objective) -> None:
    """ZeRO-3 leaves it as the memory was, nan among others."""
    for parameter in objective.parameters():
        if hasattr(parameter, "ds_tensor"):
            part = parameter.ds_tensor.view(-1)
            part[max(0, parameter.ds_numel - RANK * len(part)) :] = float("nan")


def break_weights(objective) -> None:
    """On the last rank, which all ranks must notice."""
    import deepspeed

    weight = next(parameter for parameter in objective.encoder.parameters() if parameter.requires_grad)
    with deepspeed.zero.GatheredParameters([weight], modifier_rank=WORLD_SIZE - 1):
        if RANK == WORLD_SIZE - 1:
            weight.data.view(-1)[-1] = float("nan")


def main() -> None:
    os.environ.update(RANK=str(RANK), LOCAL_RANK=str(RANK), LOCAL_WORLD_SIZE=str(WORLD_SIZE),
                      WORLD_SIZE=str(WORLD_SIZE), MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[4])  # fmt: skip
    from kalm.training.engine import init_distributed

    init_distributed()
    results = {}
    for model, dtype, stage, micro_batch_size in torch.load(FOLDER / "cases.pt"):
        task = torch.load(FOLDER / f"{model}-{dtype}.pt", weights_only=False)
        objective, table, directed, windows, config, question_table = task
        config = replace(
            config,
            deepspeed=replace(config.deepspeed, zero_stage=stage),
            training=replace(config.training, micro_batch_size=micro_batch_size),
        )
        results[model, dtype, stage, micro_batch_size] = step_through_deepspeed(
            objective, table, directed, windows, config, question_table
        )
    if RANK == 0:
        torch.save(results, FOLDER / f"results-{WORLD_SIZE}.pt")


if __name__ == "__main__":
    main()
