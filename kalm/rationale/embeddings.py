"""A trained run's vectors of texts and entities, where KaLM helps KALE: to link, and to choose paths."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from kalm.evaluation.embedding_cache import cached_entity_embeddings
from kalm.evaluation.encoding import encode_new_entities
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.loaded_run import load_run
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.serving.new_entities import NewEntity, with_new_entities


class RunEmbeddings:
    """Texts are encoded as names of entities that the graph has never seen.

    Args:
        folder: the run's.
        graph: the run's own.

    Raises:
        ValueError: the folder is no run, or its graph is another.
    """

    def __init__(self, folder: str, graph: KnowledgeGraph) -> None:
        self._run = load_run(Path(folder).expanduser())
        if self._run.graph.digest() != graph.digest():
            raise ValueError(f"run={folder} was trained on another graph than the one data names; give its data")
        self.entities = cached_entity_embeddings(self._run, self._run.config.ranking.batch_tokens)
        self._index = EntityIndex(self.entities)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors, (n, D), float32, on the CPU."""
        run = with_new_entities(self._run, [NewEntity("", text, "") for text in texts])
        return encode_new_entities(run.encoder, run.table, run.config.ranking.batch_tokens, self.entities)[
            len(self.entities) :
        ]

    def nearest(self, texts: Sequence[str], min_cosine: float) -> list[tuple[int, ...]]:
        """The nearest entity to each text, (its id,), or () where its cosine is lower."""
        scores, ids = self._index.search(self.encode(texts), 1)
        pairs = zip(scores[:, 0].tolist(), ids[:, 0].tolist(), strict=True)
        return [(entity,) if score >= min_cosine else () for score, entity in pairs]
