"""A run's folder: what may be in it before a run starts, and what is kept beside the result."""

import json
import shutil
from pathlib import Path

from kalm.composition import save_config, texts_beside_graph
from kalm.config import Config
from kalm.graph.coverage import num_covered
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.provenance import environment, file_digest, write_json
from kalm.text.token_table import data_digests
from kalm.training.lock import LOCK

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"


def remove_if_empty(folder: Path) -> None:
    """Delete the folder if a run that could not start has left nothing in it; call it with the lock held."""
    if not _contents(folder):
        (folder / LOCK).unlink()
        folder.rmdir()


def check_folder(config: Config) -> None:
    """Refuse a folder that cannot take a new run, or has nothing to resume; nothing is changed yet.

    Raises:
        ValueError: it holds another run, or nothing to resume, or what is no run at all.
    """
    folder = config.run.folder
    if config.training.resume:
        newest_checkpoint(folder / "checkpoints")
    elif used := _contents(folder):
        if not (folder / CONFIG).is_file():
            raise ValueError(f"run.name: {folder} holds {used[0].name} and is not a run; choose another run.name")
        if not config.run.overwrite:
            raise ValueError(f"run.name: {folder} already holds a run; continue it with training.resume=true, "
                             "delete it with run.overwrite=true, or choose another run.name")  # fmt: skip


def check_data(config: Config, graph: KnowledgeGraph) -> None:
    """Refuse to resume a run with another graph or other texts beside it.

    Raises:
        ValueError: triples or texts have changed since it was started.
    """
    if not config.training.resume:
        return
    before = json.loads((config.run.folder / ENVIRONMENT).read_text(encoding="utf-8"))
    if changed := [key for key, digest in _text_digests(config).items() if before["texts"][key] != digest]:
        raise ValueError(f"training.resume=true: {' and '.join(changed)} changed since the run was started; restore "
                         "the file, or start a new run")  # fmt: skip
    if changed := [part for part, digest in data_digests(graph).items() if before["data"][part] != digest]:
        raise ValueError(f"training.resume=true: the graph's {' and '.join(changed)} changed since the run was "
                         "started; restore the files, or start a new run")  # fmt: skip


def start_folder(config: Config, graph: KnowledgeGraph, world_size: int) -> None:
    """Delete the old run, unless it is resumed, and write config.yaml and environment.json.

    Called when data and model have been loaded, so that a run that cannot start costs nothing. config.yaml comes
    first and goes last: with it the folder is known as a run's, however a kill may leave it.
    """
    folder = config.run.folder
    save_config(config, folder / CONFIG)
    if not config.training.resume:
        for path in _contents(folder):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != CONFIG:
                path.unlink()
    content = {**environment(), "data": data_digests(graph), "processes": world_size}
    if texts_beside_graph(config):
        content["texts"] = _text_digests(config)
    if graph.reading is not None:
        content["reading"] = {**graph.reading.as_json(), "coverage": num_covered(graph)}
    write_json(folder / ENVIRONMENT, content)


def newest_checkpoint(checkpoints: Path) -> Path:
    """The folder of the checkpoint with the most steps.

    Raises:
        ValueError: there is none.
    """
    folders = sorted(checkpoints.glob("step-*"))
    if not folders:
        raise ValueError(f"training.resume=true: {checkpoints} holds no checkpoint; leave it out to start anew")
    return folders[-1]


def _text_digests(config: Config) -> dict[str, str]:
    return {key: file_digest(path) for key, path in texts_beside_graph(config).items()}


def _contents(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK]
