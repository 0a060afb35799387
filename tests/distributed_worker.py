"""One process of test_distributed.py: `python distributed_worker.py FOLDER RANK WORLD_SIZE`."""

import copy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from conftest import cut, cut_questions, cut_texts, kale_config, loud
from plain_engine import PlainEngine, step_gradients

from kalm.config import Compared, Scope, Teacher
from kalm.distributed import all_reduce_sum, gather_with_grad, rank, world_size
from kalm.training.question_step import question_step
from kalm.training.step import train_step

# the weights of contrastive, triple completion and retention
TERMS = {
    "contrastive": (1.0, 0.0, 0.0), "triple_completion": (0.0, 1.0, 0.0), "retention": (0.0, 1e-9, 1.0),
    "total": (1.0, 0.3, 0.5),
}  # fmt: skip

KALE_TERMS = {
    "kale_divergence": {"kl_weight": 1.0, "positions": Compared.all, "teacher": Teacher.base},
    "kale_self": {"kl_weight": 1.0, "teacher": Teacher.self},
    "kale_answer": {"answer_weight": 1.0},
    "kale_answer_with_rationale": {"answer_with_rationale_weight": 1.0},
    "kale_rationale": {"rationale_weight": 1.0},
    "kale": {"kl_weight": 1.0, "answer_weight": 0.3, "answer_with_rationale_weight": 0.2, "rationale_weight": 0.1},
}
QUESTIONS = [0, 1, 2, 3, 4, 5, 6, 1]  # answers of unequal length


def average(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What DeepSpeed's engine makes of each rank's gradient."""
    return {name: all_reduce_sum(value) / world_size() for name, value in values.items()}


def of_questions(objective, question_table, windows, share) -> dict:
    """Values and gradients of each term on questions."""
    loud(objective.encoder)
    config, results = objective.config, {}
    for term, weights in KALE_TERMS.items():
        kale = kale_config(**{"kl_weight": 0.0, **weights})
        objective.config = replace(config, kale=kale, retention_weight=weights.get("answer_weight", 0.0))
        for num_micro_batches in (1, 2):
            batches = cut_questions(question_table, share(QUESTIONS), kale, num_micro_batches)
            texts = cut_texts(share(windows), num_micro_batches)
            losses = question_step(PlainEngine(objective), batches, texts)
            values = average({**losses.terms(), "total": losses.total.detach()})
            gradients = average(step_gradients(objective, question_step, batches, texts))
            results[term, num_micro_batches] = (values, gradients)
    return results


def main(folder: Path, worker: int, num_workers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting-{num_workers}", rank=worker, world_size=num_workers
    )
    objective, table, directed, hard, earlier, windows, question_table = torch.load(
        folder / "task.pt", weights_only=False
    )
    config = objective.config
    results = {}

    def share(rows):
        return rows[worker * len(rows) // num_workers : (worker + 1) * len(rows) // num_workers]

    for term, (contrastive, triple_completion, retention) in TERMS.items():
        objective.config = replace(
            config, contrastive_weight=contrastive, triple_completion_weight=triple_completion,
            retention_weight=retention,
        )  # fmt: skip
        for num_micro_batches in (1, 3):
            objective.contrastive.queue.batches = []
            train_step(PlainEngine(objective), cut(share(earlier), table, 1))  # fills the queue
            batches = cut(share(directed), table, num_micro_batches, share(hard))
            texts = cut_texts(share(windows), num_micro_batches)
            losses = train_step(PlainEngine(objective), batches, texts)
            values = average({name: getattr(losses, name).detach() for name in losses._fields})
            gradients = average(step_gradients(objective, train_step, batches, texts))
            results[term, num_micro_batches] = (values, gradients)

    results |= of_questions(copy.deepcopy(objective), question_table, windows, share)

    # the contrastive term against the own share only; one process takes the shares in turn
    scoped = replace(config, negatives=replace(config.negatives, scope=Scope.rank), triple_completion_weight=0.0)
    objective.config = objective.contrastive.config = scoped
    shares = [share(directed)] if num_workers > 1 else np.array_split(directed, 2)
    hard_shares = [share(hard)] if num_workers > 1 else np.array_split(hard, 2)
    found = []
    for rows, entities in zip(shares, hard_shares, strict=True):
        objective.contrastive.queue.batches = []
        gradients = step_gradients(objective, train_step, cut(rows, table, 1, entities))
        objective.contrastive.queue.batches = []
        loss = train_step(PlainEngine(objective), cut(rows, table, 1, entities)).contrastive.detach()
        found.append({"loss": loss, **gradients})
    mean = {name: sum(part[name] for part in found) / len(found) for name in found[0]}
    results["own share"] = average(mean)
    objective.config = objective.contrastive.config = config

    with torch.no_grad():
        if worker == num_workers - 1:
            objective.log_temperature_change.fill_(float("nan"))  # on the last rank alone
    try:
        train_step(PlainEngine(objective), cut(share(directed), table, 1))
    except FloatingPointError as error:
        results["bad loss"] = str(error)

    rows = torch.full((2, 3), float(rank() + 1), requires_grad=True)
    gathered = gather_with_grad(rows)
    (gathered * (rank() + 1) * torch.arange(len(gathered))[:, None]).sum().backward()
    results["gather"] = (gathered.detach(), rows.grad)
    torch.save(results, folder / f"results-{num_workers}-{worker}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
