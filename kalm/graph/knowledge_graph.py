"""A knowledge graph: integer triples, names of its parts, inverse relations and known tails."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kalm.graph.reading import Reading
from kalm.graph.strings import Strings

HEAD, RELATION, TAIL = 0, 1, 2
SPLITS = ("train", "valid", "test")

Triples = NDArray[np.int64]

# so many look-ups are sorted first, since those that follow each other then find the same parts of the keys in cache:
# 10 million among 40 million keys take 2 seconds instead of 16
SORT_FROM = 2**16


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeGraph:
    """Triples as ids, and for each id its label in the files and its text.

    With R relations, relation id r + R is the inverse of r, so every triple (h, r, t) is also the
    directed triple (t, r + R, h), and one query form (head, relation, ?) covers both directions.

    Texts are lists, or `Strings` where there are many.

    Args:
        entity_labels: the entities' ids as the files write them, N strings.
        entity_names: what people call them, N strings, never empty.
        entity_descriptions: a sentence or more, N strings, empty where there is none.
        relation_labels: the relations' ids as the files write them, R strings.
        relation_names: the relations in words, R strings.
        triples: split -> (n, 3) int64 array with columns head, relation, tail.
        num_named: how many entities had a name in the source; the others carry a readable id.
        inverse_names: the inverse relations in words, R strings, empty where the template's "inverse of ..." stands;
            none at all means that it always does.
        reading: how the graph came out of its files; None if it was made otherwise.
    """

    entity_labels: Sequence[str]
    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    relation_labels: Sequence[str]
    relation_names: Sequence[str]
    triples: dict[str, Triples]
    num_named: int
    inverse_names: Sequence[str] = ()
    reading: Reading | None = None

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
        """One sorted key per distinct directed triple of the splits (see `triple_keys`).

        They are made in the array that is returned: 16 bytes per triple, and little more while it lasts.
        """
        sizes = (self.num_relations, self.num_entities)
        keys = np.empty(2 * sum(len(self.triples[split]) for split in splits), np.int64)
        stop = 0
        for split in splits:
            head, relation, tail = self.triples[split].T
            start, stop = stop, stop + len(head)
            _write_keys(keys[start:stop], head, relation, tail, *sizes)
            start, stop = stop, stop + len(head)
            _write_keys(keys[start:stop], tail, relation, head, *sizes)
            keys[start:stop] += self.num_relations * self.num_entities  # the inverse relation
        keys.sort()
        if not num_repeated(keys):
            return keys
        return keys[np.r_[True, keys[1:] != keys[:-1]]]

    def known_relation_keys(self, splits: Sequence[str]) -> NDArray[np.int64]:
        """One sorted key (head * N + tail) * R + relation per distinct triple of the splits."""
        triples = np.concatenate([self.triples[split] for split in splits])
        pairs = triples[:, HEAD] * self.num_entities + triples[:, TAIL]
        return np.unique(pairs * self.num_relations + triples[:, RELATION])

    def digest(self) -> str:
        """Hex digest of the triples and labels."""
        digest = hashlib.sha256()
        for labels in (self.entity_labels, self.relation_labels):
            Strings(labels).update(digest)
        for split in SPLITS:
            digest.update(len(self.triples[split]).to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(self.triples[split]).data)
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
    keys = np.empty(len(directed), np.int64)
    head, relation, tail = directed.T
    _write_keys(keys, head, relation, tail, num_relations, num_entities)
    return keys


def keys_fit(num_relations: int, num_entities: int) -> bool:
    """Whether every directed triple of so many entities and relations has a key of its own."""
    return num_entities**2 * 2 * num_relations < 2**63


def num_repeated(sorted_keys: NDArray[np.int64]) -> int:
    """How many of the keys repeat an earlier one."""
    return int(np.count_nonzero(sorted_keys[1:] == sorted_keys[:-1]))


def contains(sorted_keys: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each key whether it is one of the sorted ones."""
    if len(sorted_keys) == 0:
        return np.zeros(len(keys), dtype=bool)
    if len(keys) < SORT_FROM:
        return _contains(sorted_keys, keys)
    ordered, order = torch.from_numpy(keys).sort()
    found = np.empty(len(keys), bool)
    found[order.numpy()] = _contains(sorted_keys, ordered.numpy())
    return found


def first_split_with(graph: KnowledgeGraph, directed: Triples, splits: Sequence[str]) -> NDArray[np.object_]:
    """For each directed triple, (n, 3), the first of the splits that holds it either way round; None for a new one."""
    keys = triple_keys(directed, graph.num_relations, graph.num_entities)
    found: NDArray[np.object_] = np.full(len(directed), None, dtype=object)
    for split in reversed(splits):
        found[contains(graph.known_tail_keys([split]), keys)] = split
    return found


def _contains(sorted_keys: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    places = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
    return np.asarray(sorted_keys[places] == keys)


def _write_keys(
    keys: NDArray[np.int64],
    head: NDArray[np.int64],
    relation: NDArray[np.int64],
    tail: NDArray[np.int64],
    num_relations: int,
    num_entities: int,
) -> None:
    assert keys_fit(num_relations, num_entities), "keys would overflow int64"
    np.multiply(head, 2 * num_relations, out=keys)
    keys += relation
    keys *= num_entities
    keys += tail
