"""Sequences, sites and labels against a loop over segments."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kalm.text.batch import collate, pad_rows
from kalm.text.ragged import RaggedArray

rows_of_ids = st.lists(st.lists(st.integers(0, 1000), max_size=6), min_size=1, max_size=12)


@given(rows=rows_of_ids, data=st.data())
def test_taking_ragged_rows_equals_a_loop(rows, data):
    array = RaggedArray.from_rows(rows)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    values, lengths = array.take(np.array(wanted))
    assert lengths.tolist() == [len(rows[i]) for i in wanted]
    assert values.tolist() == [value for i in wanted for value in rows[i]]


@given(rows_of_ids.filter(all))
def test_padding_keeps_each_row_at_the_left(rows):
    array = RaggedArray.from_rows(rows)
    padded = pad_rows(*array.take(np.arange(len(rows))))
    for row, ids in zip(padded.tolist(), rows, strict=True):
        assert row[: len(ids)] == ids


def test_ragged_array_survives_the_disk(tmp_path):
    array = RaggedArray.from_rows([[1, 2], [], [3]])
    array.save(tmp_path, "x")
    opened = RaggedArray.open(tmp_path, "x")
    assert isinstance(opened.values, np.memmap)
    assert opened.values.tolist() == [1, 2, 3]
    assert opened.lengths.tolist() == [2, 0, 1]


def row_starts(batch) -> list[int]:
    """Where each row begins in the groups' tokens laid end to end."""
    widths = [group.shape[1] for group in batch.input_ids for _ in group]
    return [sum(widths[:row]) for row in range(len(widths))]


@pytest.mark.parametrize("num_groups", [1, 3, 100])
def test_a_sequence_is_head_relation_tail_with_sites_at_the_segment_ends(toy_graph, table, num_groups):
    directed = toy_graph.directed("train")
    batch = collate(directed, table, num_groups=num_groups)
    rows = torch.stack([batch.head_ids, batch.relation_ids, batch.tail_ids], dim=1).tolist()
    assert sorted(rows) == sorted(directed.tolist())
    tokens = torch.cat([group.flatten() for group in batch.input_ids]).tolist()
    label_positions, labels = [], []
    for start, (head, relation, tail), entity_site, query_site in zip(
        row_starts(batch), rows, batch.entity_sites.tolist(), batch.query_sites.tolist(), strict=True
    ):
        head_ids, relation_ids, tail_ids = (
            part.values[part.offsets[i] : part.offsets[i + 1]].tolist()
            for part, i in ((table.heads, head), (table.relations, relation), (table.tails, tail))
        )
        sequence = head_ids + relation_ids + tail_ids
        assert tokens[start : start + len(sequence)] == sequence
        assert entity_site == start + len(head_ids) - 1
        assert query_site == start + len(head_ids) + len(relation_ids) - 1
        # the first label is predicted at the query site, the last token is the end of text
        label_positions += range(query_site, query_site + len(tail_ids))
        labels += tail_ids
    assert batch.label_positions.tolist() == label_positions
    assert batch.labels.tolist() == labels


def test_groups_waste_less_than_one_matrix(toy_graph, table):
    directed = toy_graph.directed("train")
    one, many = (collate(directed, table, num_groups=n) for n in (1, 4))
    assert one.num_tokens == many.num_tokens
    assert sum(group.numel() for group in many.input_ids) < one.input_ids[0].numel()
