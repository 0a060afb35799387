"""A run's folder: who may write it, and what is kept beside the result."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from kalm.config import Config, save_config
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.provenance import environment, write_json
from kalm.text.token_table import text_digest


def lock_folder(folder: Path) -> IO[str]:
    """Reserve the folder for this process until the returned file is closed or the process ends.

    The kernel drops the lock with the process, so a killed run leaves nothing to clean up.

    Raises:
        ValueError: another run is writing the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ValueError(
            f"run.name: {folder} is being written by another run (process {lock.read().strip() or 'unknown'}); "
            "wait for it, or choose another run.name"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def prepare_folder(config: Config) -> None:
    """Make the folder ready for a new or a resumed run; call it with the lock held.

    Raises:
        ValueError: it holds another run, or nothing to resume.
    """
    folder = config.run.folder
    if config.training.resume:
        newest_checkpoint(folder / "checkpoints")
        return
    used = [path for path in folder.iterdir() if path.name != ".lock"]
    if used and not config.run.overwrite:
        raise ValueError(f"run.name: {folder} already holds a run; continue it with training.resume=true, "
                         "delete it with run.overwrite=true, or choose another run.name")  # fmt: skip
    if used and not (folder / "config.yaml").is_file():
        raise ValueError(f"run.overwrite=true: {folder} has no config.yaml, so it is not a run; delete it yourself")
    for path in used:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def newest_checkpoint(checkpoints: Path) -> Path:
    """The folder of the checkpoint with the most steps.

    Raises:
        ValueError: there is none.
    """
    folders = sorted(checkpoints.glob("step-*"))
    if not folders:
        raise ValueError(f"training.resume=true: {checkpoints} holds no checkpoint; leave it out to start anew")
    return folders[-1]


def describe_run(config: Config, graph: KnowledgeGraph, world_size: int) -> None:
    """Write config.yaml and environment.json."""
    folder = config.run.folder
    save_config(config, folder / "config.yaml")
    data = {"triples": graph.digest(), "texts": text_digest(graph)}
    write_json(folder / "environment.json", {**environment(), "data": data, "processes": world_size})
