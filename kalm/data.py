"""The graph that a config names."""

from pathlib import Path

from kalm.config import DataConfig, Source
from kalm.graph.archives import is_archive, unpacked
from kalm.graph.knowledge_graph import KnowledgeGraph, Triples
from kalm.graph.labelled import ReadOptions
from kalm.graph.named import find_data_set
from kalm.graph.sources import load_graph, load_negatives, load_pykeen
from kalm.graph.splitting import SplitOptions


def read_graph(data: DataConfig) -> KnowledgeGraph:
    """Read the graph, and split it if it is not split; download or unpack it before, where that has to be.

    Raises:
        ValueError: the place is a file and should be a folder; see `find_data_set`, `unpacked` and `load_graph`.
    """
    if data.source is Source.pykeen:
        assert data.pykeen is not None
        return load_pykeen(data.pykeen)
    train, valid, test = data.split
    return load_graph(
        data.source.value,
        _find_files(data),
        ReadOptions(
            columns=None if data.columns is None else tuple(data.columns),
            header=data.header,
            max_bad_lines=data.max_bad_lines,
            language=data.language,
        ),
        format_name=data.format,
        split=SplitOptions(shares=(train, valid, test), seed=data.split_seed, inductive=data.inductive),
    )


def read_negatives(data: DataConfig, graph: KnowledgeGraph, split: str) -> Triples | None:
    """The data set's own false triples of a split; None where it has none, see `load_negatives`.

    Raises:
        ValueError: they are malformed or not false.
    """
    return None if data.source is Source.pykeen else load_negatives(data.source.value, _find_files(data), graph, split)


def _find_files(data: DataConfig) -> Path:
    """The file or folder that holds the graph."""
    place = data.folder or find_data_set(data.source.value, data.cache_folder)
    place = unpacked(place, data.cache_folder / "unpacked") if is_archive(place) else place
    if data.source is not Source.folder and not place.is_dir():
        raise ValueError(f"data.root must be a folder with the files of data={data.source.value}, or an archive of "
                         f"one, got {place}; a file of one's own is data.path")  # fmt: skip
    return place
