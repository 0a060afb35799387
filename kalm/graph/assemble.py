"""From a graph of labels to one of ids."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kalm.graph.iris import last_parts
from kalm.graph.knowledge_graph import KnowledgeGraph, Triples, keys_fit, num_repeated, triple_keys
from kalm.graph.labelled import Codes, LabelledGraph
from kalm.graph.reading import Reading
from kalm.graph.strings import Strings

# what re calls white space (RE2's \\s is that of ASCII), and what stands for it in ids
_BETWEEN_WORDS = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}_/.]+"


def assemble(labelled: LabelledGraph) -> KnowledgeGraph:
    """Number the labels and give each its texts.

    Ids follow the order of labels, by code points. Without a name, the label in readable form stands.

    Raises:
        ValueError: there are more entities and relations than keys of triples can hold.
    """
    entities, entity_ids = _numbered(labelled.entities)
    relations, relation_ids = _numbered(labelled.relations)
    names = labelled.entity_names.of(entities)
    descriptions = Strings(labelled.entity_descriptions.of(entities))
    relation_names = labelled.relation_names.of(relations)
    triples = {split: _renumbered(codes, entity_ids, relation_ids) for split, codes in labelled.triples.items()}
    sizes = (len(relations), len(entities))
    if not keys_fit(*sizes):
        raise ValueError(f"{labelled.format}: {sizes[0]:,} relations and {sizes[1]:,} entities are more than 64-bit "
                         "keys can tell apart; are the columns head, relation, tail (data.columns)?")  # fmt: skip
    reading = Reading(
        format=labelled.format, accounts=labelled.accounts, notes=labelled.notes,
        duplicates={split: num_repeated(np.sort(triple_keys(rows, *sizes))) for split, rows in triples.items()},
    )  # fmt: skip
    return KnowledgeGraph(
        entity_labels=Strings(entities),
        entity_names=Strings(_or_readable(names, entities)),
        entity_descriptions=descriptions,
        relation_labels=Strings(relations),
        relation_names=Strings(_or_readable(relation_names, relations)),
        inverse_names=Strings(labelled.inverse_names.of(relations)),
        triples=triples,
        num_named=Strings(names).num_filled,
        reading=reading,
    )


def readable(label: str) -> str:
    """One id in readable form, see `readable_labels`."""
    return str(readable_labels(pa.array([label], pa.large_string()))[0].as_py())


def readable_labels(labels: pa.Array) -> pa.Array:
    """Ids in readable form: `/people/person/birth_place` -> `people person birth place`; never empty.

    Of an IRI the last part counts: `http://example.org/birth_place` -> `birth place`.
    """
    spaced = pc.utf8_trim(pc.replace_substring_regex(last_parts(labels), _BETWEEN_WORDS, " "), " ")
    return pc.if_else(pc.equal(spaced, ""), labels, spaced)


def _or_readable(names: pa.Array, labels: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(names, ""), readable_labels(labels), names)


def _numbered(labels: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """The labels in order, and for each place in `labels` its place in that order."""
    order = pc.array_sort_indices(labels).to_numpy()
    ids = np.empty(len(order), np.int64)
    ids[order] = np.arange(len(order))
    return labels.take(pa.array(order)), ids


def _renumbered(codes: Codes, entity_ids: NDArray[np.int64], relation_ids: NDArray[np.int64]) -> Triples:
    triples = np.empty(codes.shape, np.int64)
    for column, ids in enumerate((entity_ids, relation_ids, entity_ids)):
        triples[:, column] = ids[codes[:, column]]
    return triples
