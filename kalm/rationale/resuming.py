"""Whether a file of rationales is of the same graph, questions and config, and how far it is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kalm.config import RationalesConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.loading import ADAPTER_CONFIG
from kalm.provenance import file_digest, folder_digest
from kalm.rationale.line_file import LineFile, locked
from kalm.rationale.record import BEGINNING
from kalm.text.token_table import data_digests

# sections that change no record: what they name is known by its digest, or is no matter of content
NO_CONTENT = ("data", "qa", "out", "overwrite", "at_once", "debug")
TOKENIZER_FILES = ("*token*", "vocab*", "merges*", "*.model")
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", *TOKENIZER_FILES)


def graph_digest(graph: KnowledgeGraph) -> str:
    """Of triples and texts."""
    return hashlib.sha256("".join(data_digests(graph).values()).encode()).hexdigest()[:16]


def config_digest(config: RationalesConfig) -> str:
    """Of all that a record depends on beside graph and questions; files are known by their bytes.

    So are models, since one that was trained again lies at the same place; reading takes about as long as loading.
    """
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    content: dict[str, Any] = {str(key): value for key, value in plain.items() if key not in NO_CONTENT}
    content["leave_out"] = [file_digest(Path(path).expanduser()) for path in config.leave_out]
    linking = content["linking"]
    if config.linking.aliases is not None:
        linking["aliases"] = file_digest(Path(config.linking.aliases).expanduser())
    endpoint = content["generator"]["endpoint"]
    # how it is asked, not what
    content["generator"]["endpoint"] = {key: endpoint[key] for key in ("model", "temperature", "max_new_tokens")}
    local = content["generator"]["local"]
    local.pop("batch_size")
    if config.generator.local.path is not None:
        local["path"] = _model_digest(config.generator.local.path, MODEL_FILES)
    if config.run is not None:
        content["run"] = _model_digest(f"{config.run}/model", MODEL_FILES)
    if config.tokenizer is not None:
        content["tokenizer"] = _model_digest(config.tokenizer, TOKENIZER_FILES)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _model_digest(path: str, patterns: Sequence[str]) -> str:
    """Of a folder's files, those of its adapter's base too; a hub name stands for itself."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    digest = folder_digest(folder, patterns)
    # a file that is damaged is told of when it is loaded
    with suppress(FileNotFoundError, ValueError, LookupError, TypeError):
        base = json.loads((folder / ADAPTER_CONFIG).read_bytes())["base_model_name_or_path"]
        digest += _model_digest(str(base), patterns)
    return digest


def open_records(out: Path, digests: Mapping[str, str], *, overwrite: bool) -> tuple[LineFile, int]:
    """The file that records are added to, and how many questions are done in it; no other run may write to it.

    Args:
        out: the file that is wanted.
        digests: of graph, questions and config.
        overwrite: records go to OUT.unfinished, to be moved when all are written, so that `out` stays as it is until
            then. There too an interrupted run is gone on with; one of other digests is begun anew.

    Raises:
        ValueError: another run is writing to the file, or it was made from another graph, other questions or another
            config, or is something else.
    """
    if overwrite and out.exists():
        with locked(out):  # a run that is writing to it is told of now, not when all is done
            pass
    file = LineFile(_unfinished(out) if overwrite else out, BEGINNING)
    if file.was_torn:
        print(f"{file.path}: the last line was not whole and is cut off; its question is asked again", flush=True)
    try:
        return file, _num_records(file, digests)
    except ValueError:
        if not overwrite:
            file.close()
            raise
        return file, 0


def _unfinished(out: Path) -> Path:
    whole = out.resolve()  # not beside a link, which may lie on another disk
    return whole.with_name(f"{whole.name}.unfinished")


def _num_records(file: LineFile, digests: Mapping[str, str]) -> int:
    count = 0
    for row in file:
        if row.get("number") != count:
            raise ValueError(f"{file.path}:{count + 1}: expected the record of question {count}; overwrite=true makes "
                             "the file anew")  # fmt: skip
        if other := [part for part, digest in digests.items() if (row.get("digests") or {}).get(part) != digest]:
            raise ValueError(f"out: {file.path} was made from another {' and '.join(other)}; take another file, or "
                             "overwrite=true")  # fmt: skip
        count += 1
    return count
