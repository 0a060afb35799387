"""Entities by vectors: the nearest to a text under a trained run, for what no name finds."""

from collections.abc import Sequence
from pathlib import Path

from kalm.evaluation.embedding_cache import cached_entity_embeddings
from kalm.evaluation.encoding import encode_new_entities
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.loaded_run import load_run
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.serving.new_entities import NewEntity, with_new_entities


class NearestInRun:
    """A text is encoded as the name of an entity that the graph has never seen.

    Args:
        folder: the run's.
        graph: what is linked to; the run's own.
        min_cosine: nearer than this, or no entity.

    Raises:
        ValueError: the folder is no run, or its graph is another.
    """

    def __init__(self, folder: str, graph: KnowledgeGraph, *, min_cosine: float) -> None:
        self._run = load_run(Path(folder).expanduser())
        if self._run.graph.digest() != graph.digest():
            raise ValueError(f"linking.run={folder} was trained on another graph than data names; give its data")
        self._vectors = cached_entity_embeddings(self._run, self._run.config.ranking.batch_tokens)
        self._index = EntityIndex(self._vectors)
        self._min_cosine = min_cosine

    def __call__(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The nearest entity to each text, (its id,), or () where its cosine is too low."""
        run = with_new_entities(self._run, [NewEntity("", text, "") for text in texts])
        batch_tokens = run.config.ranking.batch_tokens
        encoded = encode_new_entities(run.encoder, run.table, batch_tokens, self._vectors)[len(self._vectors) :]
        scores, ids = self._index.search(encoded, 1)
        pairs = zip(scores[:, 0].tolist(), ids[:, 0].tolist(), strict=True)
        return [(entity,) if score >= self._min_cosine else () for score, entity in pairs]
