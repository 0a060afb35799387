"""One process of the tests in test_distributed.py: `python distributed_worker.py FOLDER RANK WORLD_SIZE`."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from kalm.distributed import all_reduce_sum, gather_with_grad, rank, world_size
from kalm.text.batch import collate


def average_gradients(objective: torch.nn.Module, term: torch.Tensor) -> dict[str, torch.Tensor]:
    """What DeepSpeed's engine makes of a loss: each rank's gradient, averaged over ranks."""
    objective.zero_grad()
    term.backward(retain_graph=True)
    return {
        name: all_reduce_sum(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad) / world_size()
        for name, parameter in objective.named_parameters()
    }


def main(folder: Path, worker: int, num_workers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting-{num_workers}", rank=worker, world_size=num_workers
    )
    objective, table, directed = torch.load(folder / "task.pt", weights_only=False)
    local = len(directed) // num_workers
    losses = objective(collate(directed[worker * local : (worker + 1) * local], table, num_groups=2))
    results = {}
    for term in losses._fields:
        value = getattr(losses, term)
        mean = float(all_reduce_sum(value)) / num_workers
        results[term] = (mean, average_gradients(objective, value))

    rows = torch.full((2, 3), float(rank() + 1), requires_grad=True)
    gathered = gather_with_grad(rows)
    (gathered * (rank() + 1) * torch.arange(len(gathered))[:, None]).sum().backward()
    results["gather"] = (gathered.detach(), rows.grad)
    torch.save(results, folder / f"results-{num_workers}-{worker}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
