"""Where a model is good: each query belongs to one group of several groupings, and every group has its own metrics."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kalm.config import Ties
from kalm.evaluation.kgc import by_group
from kalm.evaluation.questions import Questions, in_training
from kalm.evaluation.ranking import Ranks
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples, triple_keys
from kalm.text.ragged import Ids


class Meaning(NamedTuple):
    """For those who read the numbers."""

    title: str
    meaning: str


MEANINGS = {
    "relation_category": Meaning(
        "Relation category",
        "Heads that a tail has, and tails that a head has, in training: N for 1.5 and more on average, else 1.",
    ),
    "answer_frequency": Meaning("Frequency of the answer", "Training triples that the answer occurs in."),
    "answer_length": Meaning(
        "Length of the answer's text", "Tokens, in groups bounded by the quartiles over the queries."
    ),
    "seen_in_training": Meaning(
        "Entities seen in training", "Which of the query's two entities occur in some training triple."
    ),
    "reverse_in_training": Meaning(
        "Reverse in training", "Whether a training triple, by any relation, leads from the tail back to the head."
    ),
}
MANY = 1.5  # heads per tail, or tails per head
FREQUENCIES = (1, 3, 10, 100)  # where a bin begins; below the first: never


class Grouping(NamedTuple):
    """Names of groups, and the group of each query."""

    names: Sequence[str]
    group_of: Ids  # (Q,), places in `names`


def breakdown(ranks: Ranks, questions: Questions, text_lengths: Ids, ties: Ties) -> dict[str, Any]:
    """Grouping -> group -> direction -> metrics; groups and directions that nothing is asked of are left out.

    Args:
        ranks, questions: of the same Q queries.
        text_lengths: tokens of each entity's text, (N,).
        ties: policy for ties.
    """
    groupings = {
        "relation_category": relation_category(questions),
        "answer_frequency": answer_frequency(questions),
        "answer_length": answer_length(questions, text_lengths),
        "seen_in_training": seen_in_training(questions),
        "reverse_in_training": reverse_in_training(questions),
    }
    return {name: by_group(ranks, questions, ties, *grouping) for name, grouping in groupings.items()}


def relation_category(questions: Questions) -> Grouping:
    """1-1, 1-N, N-1 or N-N: heads per tail and tails per head of the relation, each `1` below 1.5 on average.

    Averages are over the distinct tails, or heads, that the relation has in training. The category is that of the
    relation as the files have it, for both directions of a query. Source: Bordes et al., "Translating Embeddings for
    Modeling Multi-relational Data" (NeurIPS 2013), section 4.3.
    """
    graph = questions.graph
    train = _distinct_training_triples(graph)
    num_triples = np.bincount(train[:, RELATION], minlength=graph.num_relations)
    has_many = [_num_triples_per(graph, train, column, num_triples) >= MANY for column in (TAIL, HEAD)]
    category = np.where(num_triples == 0, 4, 2 * has_many[0] + has_many[1])
    names = ("1-1", "1-N", "N-1", "N-N", "not in training")
    return Grouping(names, category[questions.directed[:, RELATION] % graph.num_relations])


def answer_frequency(questions: Questions) -> Grouping:
    """In how many distinct training triples the answer occurs, as head or as tail."""
    names = [_range(low, high - 1) for low, high in pairwise((0, *FREQUENCIES))] + [f"{FREQUENCIES[-1]} or more"]
    frequency = num_training_triples(questions.graph)[questions.directed[:, TAIL]]
    return Grouping(names, np.searchsorted(FREQUENCIES, frequency, side="right"))


def answer_length(questions: Questions, text_lengths: Ids) -> Grouping:
    """Tokens of the answer's text, between the quartiles over queries; fewer groups where quartiles coincide."""
    lengths = text_lengths[questions.directed[:, TAIL]]
    quartiles = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="inverted_cdf"))
    last = quartiles[quartiles < lengths.max()]  # of each group but the longest
    bounds = [int(lengths.min()) - 1, *last.tolist(), int(lengths.max())]
    names = [_range(low + 1, high) for low, high in pairwise(bounds)]
    return Grouping(names, np.searchsorted(last, lengths, side="left"))


def seen_in_training(questions: Questions) -> Grouping:
    """Whether the answer and the known entity of the query stand in some training triple."""
    is_unseen = ~in_training(questions.graph)
    anchor, answer = is_unseen[questions.directed[:, HEAD]], is_unseen[questions.directed[:, TAIL]]
    return Grouping(("both", "answer unseen", "known entity unseen", "neither"), 2 * anchor + answer)


def reverse_in_training(questions: Questions) -> Grouping:
    """For a triple (h, r, t): does a triple (t, r', h) with any r', r among them, stand in training?"""
    num_entities, train = questions.graph.num_entities, questions.graph.triples["train"]
    # a query for the head is the triple backwards already
    start = np.where(questions.is_head, questions.directed[:, HEAD], questions.directed[:, TAIL])
    stop = np.where(questions.is_head, questions.directed[:, TAIL], questions.directed[:, HEAD])
    leads_back = np.isin(start * num_entities + stop, train[:, HEAD] * num_entities + train[:, TAIL])
    return Grouping(("no", "yes"), leads_back.astype(np.int64))


def num_training_triples(graph: KnowledgeGraph) -> Ids:
    """Distinct training triples that each entity occurs in, (N,); one from an entity to itself counts once."""
    train = _distinct_training_triples(graph)
    loops = train[train[:, HEAD] == train[:, TAIL], HEAD]
    as_head, as_tail, as_both = (
        np.bincount(entities, minlength=graph.num_entities) for entities in (train[:, HEAD], train[:, TAIL], loops)
    )
    return np.asarray(as_head + as_tail - as_both)


def _distinct_training_triples(graph: KnowledgeGraph) -> Triples:
    train = graph.triples["train"]
    _, first = np.unique(triple_keys(train, graph.num_relations, graph.num_entities), return_index=True)
    return train[first]


def _num_triples_per(graph: KnowledgeGraph, train: Triples, column: int, num_triples: Ids) -> NDArray[np.float64]:
    """Triples of each relation per distinct entity that it has in a column, (R,); 0 without triples."""
    pairs = np.unique(train[:, RELATION] * graph.num_entities + train[:, column])
    num_entities = np.bincount(pairs // graph.num_entities, minlength=graph.num_relations)
    return num_triples / np.maximum(num_entities, 1)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
