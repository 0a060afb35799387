"""Sequences, sites and labels against a loop over segments."""

import numpy as np
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


def test_a_sequence_is_head_relation_tail_with_sites_at_the_segment_ends(toy_graph, table):
    directed = toy_graph.directed("train")
    batch = collate(directed, table)
    labels_at = {}
    for position, label in zip(batch.label_positions.tolist(), batch.labels.tolist(), strict=True):
        labels_at.setdefault(position // batch.input_ids.shape[1], []).append((position, label))
    num_tokens = 0
    for row, (head, relation, tail) in enumerate(directed.tolist()):
        segments = [
            part.values[part.offsets[i] : part.offsets[i + 1]].tolist()
            for part, i in ((table.heads, head), (table.relations, relation), (table.tails, tail))
        ]
        sequence = sum(segments, [])
        num_tokens += len(sequence)
        ids = batch.input_ids[row].tolist()
        assert ids[: len(sequence)] == sequence
        assert batch.entity_sites[row] == len(segments[0]) - 1
        assert batch.query_sites[row] == len(segments[0]) + len(segments[1]) - 1
        # the first label is predicted at the query site, the last token is the end of text
        start = row * batch.input_ids.shape[1] + int(batch.query_sites[row])
        assert labels_at[row] == [(start + j, token) for j, token in enumerate(segments[2])]
    assert batch.num_tokens == num_tokens
    assert torch.equal(batch.tail_ids[0::2], batch.head_ids[1::2]), "a tail heads the inverse beside it"
