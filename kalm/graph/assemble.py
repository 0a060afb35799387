"""From a graph of labels to one of ids."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kalm.graph.knowledge_graph import KnowledgeGraph, Triples, keys_fit, num_repeated, triple_keys
from kalm.graph.labelled import Codes, LabelledGraph
from kalm.graph.readable import readable_entities, readable_relations, told_apart
from kalm.graph.reading import Reading
from kalm.graph.strings import Strings


def assemble(labelled: LabelledGraph) -> KnowledgeGraph:
    """Number the labels and give each its texts.

    Ids follow the order of labels, by code points. Without a name, the label in readable form stands;
    relations of one text have their labels behind it.

    Raises:
        ValueError: there are more entities and relations than keys of triples can hold.
    """
    entities, entity_ids = _numbered(labelled.entities)
    relations, relation_ids = _numbered(labelled.relations)
    names = labelled.entity_names.of(entities)
    descriptions = Strings(labelled.entity_descriptions.of(entities))
    given = labelled.relation_names.of(relations)
    relation_texts = pc.if_else(pc.equal(given, ""), readable_relations(relations), given)
    # an inverse may say what another relation says
    directed = pa.concat_arrays([relation_texts, labelled.inverse_names.of(relations)])
    directed_names, num_alike = told_apart(directed, pa.concat_arrays([relations, relations]))
    relation_names, inverse_names = directed_names[: len(relations)], directed_names[len(relations) :]
    notes = labelled.notes
    if num_alike:
        notes = (*notes, f"{num_alike} relations or inverses share their text with another one; their ids stand "
                         "behind it")  # fmt: skip
    triples = {split: _renumbered(codes, entity_ids, relation_ids) for split, codes in labelled.triples.items()}
    sizes = (len(relations), len(entities))
    if not keys_fit(*sizes):
        raise ValueError(f"{labelled.format}: {sizes[0]:,} relations and {sizes[1]:,} entities are more than 64-bit "
                         "keys can tell apart; are the columns head, relation, tail (data.columns)?")  # fmt: skip
    reading = Reading(
        format=labelled.format, accounts=labelled.accounts, notes=notes,
        duplicates={split: num_repeated(np.sort(triple_keys(rows, *sizes))) for split, rows in triples.items()},
    )  # fmt: skip
    return KnowledgeGraph(
        entity_labels=Strings(entities),
        entity_names=Strings(pc.if_else(pc.equal(names, ""), readable_entities(entities), names)),
        entity_descriptions=descriptions,
        relation_labels=Strings(relations),
        relation_names=Strings(relation_names),
        inverse_names=Strings(inverse_names),
        triples=triples,
        num_named=Strings(names).num_filled,
        reading=reading,
    )


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
