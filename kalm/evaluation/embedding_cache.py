"""Embeddings of a run's entities, kept in the run's folder under a name that says all they depend on."""

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kalm.evaluation.encoding import encode_entities
from kalm.evaluation.loaded_run import LoadedRun, model_files
from kalm.model.loading import ADAPTER_CONFIG
from kalm.provenance import folder_digest, whole_file
from kalm.text.token_table import table_digest

# raised when the way tokens become embeddings changes, so that nothing computed in the old way is found
ENCODING_VERSION = 1
MODEL_FILES = ("*.safetensors", "config.json", ADAPTER_CONFIG)


def cached_entity_embeddings(run: LoadedRun, batch_tokens: int) -> Tensor:
    """Unit vectors of all entities, (N, D), float32, from the cache; encoded on first use.

    They lie in the run's folder, not beside the token tables: they may be larger than the model, they are of use to
    this run alone, and so they go when it goes. The file appears by one rename, whole or not at all.

    Raises:
        ValueError: the model gives embeddings without a direction, or the file is damaged.
    """
    path = run.folder / "cache" / f"entities-{embeddings_digest(run)}.npy"
    if _is_still_there(run) and path.is_file():
        with suppress(FileNotFoundError):  # deleted by a process that has loaded newer weights
            return open_embeddings(path, len(run.table.targets))
    embeddings = encode_entities(run.encoder, run.table, batch_tokens)
    if _is_still_there(run):
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as unfinished:
            np.save(unfinished, embeddings.numpy())
        for older in set(path.parent.glob("entities-*.npy")) - {path}:
            older.unlink(missing_ok=True)
    return embeddings


def _is_still_there(run: LoadedRun) -> bool:
    """Whether the files are those that were loaded: training may have put better ones there since."""
    return model_files(run.folder) == run.model_files


def open_embeddings(path: Path, num_entities: int) -> Tensor:
    """The file's matrix; nothing is read before it is used.

    Raises:
        ValueError: it is cut short, or has not one row of float32 for each entity.
    """
    try:
        # copy on write: torch has no tensors that cannot be written to
        matrix = np.load(path, mmap_mode="c")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a whole array ({error}); delete it, it will be made anew") from error
    if matrix.ndim != 2 or len(matrix) != num_entities or matrix.dtype != np.float32:
        raise ValueError(f"{path}: {matrix.dtype} {matrix.shape}, expected float32 ({num_entities}, D); delete it, it "
                         "will be made anew")  # fmt: skip
    return torch.from_numpy(matrix)


def embeddings_digest(run: LoadedRun) -> str:
    """Hex digest of all that the embeddings depend on: weights, tokenizer, template, texts and precision.

    Raises:
        ValueError: the base of the run's adapter is a folder that is gone.
    """
    parts = (
        str(ENCODING_VERSION),
        model_digest(run),
        table_digest(run.graph, run.tokenizer, run.template),
        run.config.model.dtype.value,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def model_digest(run: LoadedRun) -> str:
    """Hex digest of the bytes of weights and configs, those of an adapter's base included.

    Hashing takes about as long as loading did. A base with a hub name is known by its commit, which never changes.
    """
    folder = run.folder / "model"
    parts = [folder_digest(folder, MODEL_FILES)]
    if (folder / ADAPTER_CONFIG).is_file():
        base = run.description["base"]
        if Path(base).is_dir():
            parts.append(folder_digest(Path(base), MODEL_FILES))
        else:
            parts.append(f"{base}@{run.encoder.causal_lm.config._commit_hash}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
