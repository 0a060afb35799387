"""Facts of held-out questions, left out of the graph before paths are searched in it."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from kalm.graph.knowledge_graph import HEAD, TAIL, Triples
from kalm.rationale.linking import Linker
from kalm.rationale.question import read_questions
from kalm.text.ragged import Ids

AT_ONCE = 4096


def without_facts_of(triples: Triples, paths: Iterable[Path], linker: Linker, num_entities: int) -> Triples:
    """The triples, (n, 3), without those between an entity of a question and one of its answers, either way round.

    They are what answers a question of one hop. The facts of a question of two hops join other entities, and stay.
    Where a name is that of several entities, the triples of all of them go.

    Raises:
        ValueError: a file is missing or is none of questions.
    """
    held = np.unique(np.concatenate([np.empty(0, np.int64), *(_pairs(path, linker, num_entities) for path in paths)]))
    forward = triples[:, HEAD] * num_entities + triples[:, TAIL]
    backward = triples[:, TAIL] * num_entities + triples[:, HEAD]
    return triples[~(np.isin(forward, held) | np.isin(backward, held))]


def _pairs(path: Path, linker: Linker, num_entities: int) -> Ids:
    """Head * N + tail for each pair of topic and answer of a file's questions."""
    questions = read_questions(path)
    parts = [np.empty(0, np.int64)]
    while block := list(islice(questions, AT_ONCE)):
        pairs = {
            topic * num_entities + answer
            for linked in linker.link(block)
            for about in linked.question
            for topic in about.entity_ids
            for named in linked.answers
            for answer in named.entity_ids
        }
        parts.append(np.fromiter(pairs, np.int64, count=len(pairs)))
    return np.concatenate(parts)
