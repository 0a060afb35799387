"""The graph that a config names."""

from kalm.config import DataConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.labelled import ReadOptions
from kalm.graph.sources import load_graph
from kalm.graph.splitting import SplitOptions


def read_graph(data: DataConfig) -> KnowledgeGraph:
    """Read the graph, and split it if it is not split.

    Raises:
        ValueError: see `load_graph`.
    """
    train, valid, test = data.split
    return load_graph(
        data.source.value,
        data.folder,
        ReadOptions(
            columns=None if data.columns is None else tuple(data.columns),
            header=data.header,
            max_bad_lines=data.max_bad_lines,
            language=data.language,
        ),
        format_name=data.format,
        split=SplitOptions(shares=(train, valid, test), seed=data.split_seed, inductive=data.inductive),
    )
