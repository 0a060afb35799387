"""Sequences, sites and labels against a loop over segments."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kalm.text.batch import IGNORED, collate, collate_separately, length_groups, pad_rows
from kalm.text.ragged import RaggedArray

rows_of_ids = st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=6), min_size=1, max_size=12)


@given(rows_of_ids)
def test_padding_keeps_each_row_at_the_left(rows):
    array = RaggedArray.from_rows(rows)
    padded = pad_rows(*array.take(np.arange(len(rows))))
    for row, ids in zip(padded.tolist(), rows, strict=True):
        assert row[: len(ids)] == ids


def row_starts(batch) -> list[int]:
    """Where each row begins in the groups' tokens laid end to end."""
    widths = [group.shape[1] for group in batch.input_ids for _ in group]
    return [sum(widths[:row]) for row in range(len(widths))]


def tokens_of(batch) -> list[int]:
    return torch.cat([group.flatten() for group in batch.input_ids]).tolist()


def rows_of(part, ids) -> list[list[int]]:
    return [part.values[part.offsets[i] : part.offsets[i + 1]].tolist() for i in ids]


@pytest.mark.parametrize("num_groups", [1, 3, 100])
def test_a_sequence_is_head_relation_tail_with_sites_at_the_segment_ends(toy_graph, table, num_groups):
    directed = toy_graph.directed("train")
    completed = np.arange(len(directed)) % 3 != 1
    batch = collate(
        directed, table, num_groups=num_groups, more_entities=np.array([4, 2, 2]), is_completed=completed
    )  # fmt: skip
    assert len(batch.input_ids) == min(num_groups, len(directed) + 3)
    assert batch.ids.entity_ids.tolist() == [*directed[:, 0].tolist(), 4, 2, 2]
    assert [
        batch.ids.head_ids.tolist(),
        batch.ids.relation_ids.tolist(),
        batch.ids.tail_ids.tolist(),
    ] == directed.T.tolist()
    tokens, labels, num_tokens = tokens_of(batch), [], 0
    for row, (head, relation, tail) in enumerate(directed.tolist()):
        head_ids, relation_ids, tail_ids = (
            rows_of(part, [i])[0] for part, i in ((table.heads, head), (table.relations, relation), (table.tails, tail))
        )
        # the tail is read for its labels alone: its last token predicts none
        sequence = head_ids + relation_ids + (tail_ids[:-1] if completed[row] else [])
        num_tokens += len(sequence)
        entity_site, query_site = int(batch.entity_sites[row]), int(batch.query_sites[row])
        start = query_site + 1 - len(head_ids) - len(relation_ids)
        assert start in row_starts(batch)
        assert tokens[start : start + len(sequence)] == sequence
        assert entity_site == start + len(head_ids) - 1
        if completed[row]:
            # the first label is predicted at the query site, the last token is the end of text
            labels += zip(range(query_site, query_site + len(tail_ids)), tail_ids, strict=True)
    assert list(zip(batch.label_positions.tolist(), batch.labels.tolist(), strict=True)) == labels
    for entity, site in zip([4, 2, 2], batch.entity_sites[len(directed) :].tolist(), strict=True):
        (sequence,) = rows_of(table.targets, [entity])
        assert tokens[site + 1 - len(sequence) : site + 1] == sequence
        num_tokens += len(sequence)
    assert batch.num_tokens == num_tokens
    assert batch.num_labels == len(labels)


@pytest.mark.parametrize("encode_heads", [False, True])
@pytest.mark.parametrize("logits_everywhere", [False, True])
def test_separate_forwards_give_each_view_a_sequence_of_its_own(
    toy_graph, paper_table, encode_heads, logits_everywhere
):
    table, directed = paper_table, toy_graph.directed("train")
    completed = np.arange(len(directed)) % 4 == 0
    batch = collate_separately(
        directed, table, is_completed=completed, encode_heads=encode_heads, logits_everywhere=logits_everywhere
    )
    assert len(batch.input_ids) == 3 + encode_heads, "one matrix per kind of sequence"
    tokens, starts = tokens_of(batch), set(row_starts(batch))

    def assert_sequence(sequence, site):
        start = site + 1 - len(sequence)
        assert start in starts
        assert tokens[start : site + 1] == sequence

    entities = [*directed[:, 2].tolist(), *(directed[:, 0].tolist() if encode_heads else [])]
    assert batch.ids.entity_ids.tolist() == entities
    for sequence, site in zip(rows_of(table.targets, entities), batch.entity_sites.tolist(), strict=True):
        assert_sequence(sequence, site)
    for (head, relation, _), site in zip(directed.tolist(), batch.query_sites.tolist(), strict=True):
        assert_sequence(rows_of(table.heads, [head])[0] + rows_of(table.relations, [relation])[0], site)
    expected, places = [], dict(zip(batch.label_positions.tolist(), batch.labels.tolist(), strict=True))
    for head, relation, tail in directed[completed].tolist():
        prompt = rows_of(table.completion_heads, [head])[0] + rows_of(table.completion_relations, [relation])[0]
        (answer,) = rows_of(table.tails, [tail])
        expected.append((prompt + answer, answer))
    found = sorted(position for position, label in places.items() if label != IGNORED)
    assert len(found) == batch.num_labels == sum(len(answer) for _, answer in expected)
    for sequence, answer in expected:
        at = [start for start in starts if tokens[start : start + len(sequence)] == sequence]
        first = at[0] + len(sequence) - len(answer) - 1
        assert [places[first + i] for i in range(len(answer))] == answer
    assert len(places) == (
        sum(len(sequence) - 1 for sequence, _ in expected) if logits_everywhere else batch.num_labels
    )  # fmt: skip


def padded_size(lengths, groups) -> int:
    return sum(len(group) * int(lengths[group].max()) for group in groups)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9), num_groups=st.integers(1, 4))
def test_length_groups_hold_every_row_once_and_waste_least(lengths, num_groups):
    lengths = np.array(lengths)
    groups = length_groups(lengths, num_groups)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    assert len(groups) == min(num_groups, len(lengths))
    ordered = np.sort(lengths)[::-1]
    cuts = combinations(range(1, len(ordered)), len(groups) - 1)
    best = min(padded_size(ordered, np.split(np.arange(len(ordered)), list(cut))) for cut in cuts)
    assert padded_size(lengths, groups) == best
