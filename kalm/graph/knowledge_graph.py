"""A knowledge graph: integer triples, names of its parts, inverse relations and known tails."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEAD, RELATION, TAIL = 0, 1, 2
SPLITS = ("train", "valid", "test")

Triples = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeGraph:
    """Triples as ids, and for each id its label in the files and its text.

    With R relations, relation id r + R is the inverse of r, so every triple (h, r, t) is also the
    directed triple (t, r + R, h), and one query form (head, relation, ?) covers both directions.

    Args:
        entity_labels: the entities' ids as the files write them, N strings.
        entity_names: what people call them, N strings, never empty.
        entity_descriptions: a sentence or more, N strings, empty where there is none.
        relation_labels: the relations' ids as the files write them, R strings.
        relation_names: the relations in words, R strings.
        triples: split -> (n, 3) int64 array with columns head, relation, tail.
        num_named: how many entities had a name in the source; the others carry a readable id.
    """

    entity_labels: Sequence[str]
    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    relation_labels: Sequence[str]
    relation_names: Sequence[str]
    triples: dict[str, Triples]
    num_named: int

    @property
    def num_entities(self) -> int:
        return len(self.entity_labels)

    @property
    def num_relations(self) -> int:
        """Relations as the files have them; directed relations are twice as many."""
        return len(self.relation_labels)

    def directed(self, split: str) -> Triples:
        """Both directed triples of each triple: (2n, 3), row 2i is triple i, row 2i + 1 its inverse."""
        return add_inverses(self.triples[split], self.num_relations)

    def known_tail_keys(self, splits: Sequence[str]) -> NDArray[np.int64]:
        """One sorted key per distinct directed triple of the splits (see `triple_keys`)."""
        directed = np.concatenate([np.empty((0, 3), np.int64), *(self.directed(split) for split in splits)])
        return np.unique(triple_keys(directed, self.num_relations, self.num_entities))

    def known_relation_keys(self, splits: Sequence[str]) -> NDArray[np.int64]:
        """One sorted key (head * N + tail) * R + relation per distinct triple of the splits."""
        triples = np.concatenate([self.triples[split] for split in splits])
        pairs = triples[:, HEAD] * self.num_entities + triples[:, TAIL]
        return np.unique(pairs * self.num_relations + triples[:, RELATION])

    def digest(self) -> str:
        """Hex digest of the triples and labels."""
        digest = hashlib.sha256(json.dumps([list(self.entity_labels), list(self.relation_labels)]).encode())
        for split in SPLITS:
            digest.update(np.ascontiguousarray(self.triples[split]).tobytes())
        return digest.hexdigest()


def add_inverses(triples: Triples, num_relations: int) -> Triples:
    """Both directed triples of each triple: (2n, 3), row 2i is triple i, row 2i + 1 its inverse."""
    directed = np.repeat(triples, 2, axis=0)
    directed[1::2, HEAD] = triples[:, TAIL]
    directed[1::2, RELATION] += num_relations
    directed[1::2, TAIL] = triples[:, HEAD]
    return directed


def triple_keys(directed: Triples, num_relations: int, num_entities: int) -> NDArray[np.int64]:
    """(head * 2R + relation) * N + tail: all known tails of a query are one run of the sorted keys."""
    assert num_entities**2 * 2 * num_relations < 2**63, "keys would overflow int64"
    queries = directed[:, HEAD] * (2 * num_relations) + directed[:, RELATION]
    return np.asarray(queries * num_entities + directed[:, TAIL])


def contains(sorted_keys: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each key whether it is one of the sorted ones."""
    if len(sorted_keys) == 0:
        return np.zeros(len(keys), dtype=bool)
    places = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
    return np.asarray(sorted_keys[places] == keys)


def first_split_with(graph: KnowledgeGraph, directed: Triples, splits: Sequence[str]) -> NDArray[np.object_]:
    """For each directed triple, (n, 3), the first of the splits that holds it either way round; None for a new one."""
    keys = triple_keys(directed, graph.num_relations, graph.num_entities)
    found: NDArray[np.object_] = np.full(len(directed), None, dtype=object)
    for split in reversed(splits):
        found[contains(graph.known_tail_keys([split]), keys)] = split
    return found
