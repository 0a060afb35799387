"""What a resumed run needs, published whole or not at all."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kalm.distributed import barrier, rank, world_size
from kalm.objective.negatives import TargetQueue
from kalm.provenance import write_json
from kalm.training.hard_negatives import HardNegatives
from kalm.training.run_folder import newest_checkpoint

ENGINE_TAG, PROGRESS = "engine", "progress.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class RankState:
    """What one rank holds beside the engine and must have again: its random states, and these."""

    queue: TargetQueue
    hard_negatives: HardNegatives | None

    def save(self, path: Path) -> None:
        neighbours = None if self.hard_negatives is None else self.hard_negatives.neighbours
        torch.save(
            {
                "random": _random_states(),
                "queue": self.queue.batches,
                "neighbours": None if neighbours is None else torch.from_numpy(neighbours),
            },
            path,
        )

    def load(self, path: Path, device: torch.device) -> None:
        saved = torch.load(path, weights_only=True)
        _restore_random_states(saved["random"])
        self.queue.batches = [(targets.to(device), ids.to(device)) for targets, ids in saved["queue"]]
        if self.hard_negatives is not None and saved["neighbours"] is not None:
            self.hard_negatives.neighbours = saved["neighbours"].numpy()


def checkpoint_folder(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08d}"


def save_checkpoint(engine: Any, state: RankState, step: int, checkpoints: Path) -> None:
    """Write `checkpoints/step-N` from all ranks, then drop the older ones.

    All ranks write into a folder with another name, which gets its own by one rename after the last has
    finished: a kill at any moment leaves the older checkpoint or the new one, never a torn one.
    """
    unfinished = checkpoints / ".unfinished"
    if rank() == 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    barrier()
    engine.save_checkpoint(unfinished, tag=ENGINE_TAG, save_latest=False, exclude_frozen_parameters=True)
    state.save(unfinished / f"rank-{rank()}.pt")
    barrier()
    if rank() == 0:
        write_json(unfinished / PROGRESS, {"step": step, "world_size": world_size()})
        _flush_to_disk(unfinished)
        finished = checkpoint_folder(checkpoints, step)
        unfinished.rename(finished)
        for older in checkpoints.glob("step-*"):
            if older != finished:
                shutil.rmtree(older)
    barrier()


def load_checkpoint(engine: Any, state: RankState, checkpoints: Path) -> int:
    """Restore the engine and this rank's state from the newest checkpoint; the number of its steps.

    Checkpoints are pickled by DeepSpeed: load only those you trust. The result in `model/` is safetensors.

    Raises:
        ValueError: there is none, or another number of processes wrote it.
    """
    folder = newest_checkpoint(checkpoints)
    saved = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    if saved["world_size"] != world_size():
        raise ValueError(f"training.resume=true: {folder} was written by {saved['world_size']} processes and these are "
                         f"{world_size()}; start as many as before")  # fmt: skip
    # frozen weights are not saved: they come from the base model
    path, _ = engine.load_checkpoint(folder, tag=ENGINE_TAG, load_module_strict=False)
    assert path is not None, "DeepSpeed found nothing to load and said nothing"
    state.load(folder / f"rank-{rank()}.pt", engine.device)
    return int(saved["step"])


def _random_states() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _flush_to_disk(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
