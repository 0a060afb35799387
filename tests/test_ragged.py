"""Rows of unequal length against lists of lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.text import ragged
from kalm.text.ragged import RaggedArray

rows_of_ids = st.lists(st.lists(st.integers(0, 1000), max_size=6), min_size=1, max_size=12)


@given(rows=rows_of_ids, data=st.data())
def test_taking_ragged_rows_equals_a_loop(rows, data):
    array = RaggedArray.from_rows(rows)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    values, lengths = array.take(np.array(wanted))
    assert lengths.tolist() == [len(rows[i]) for i in wanted]
    assert values.tolist() == [value for i in wanted for value in rows[i]]


def test_ragged_array_survives_the_disk(tmp_path):
    array = RaggedArray.from_rows([[1, 2], [], [3]])
    array.save(tmp_path, "x")
    opened = RaggedArray.open(tmp_path, "x")
    assert isinstance(opened.values, np.memmap)
    assert opened.values.tolist() == [1, 2, 3]
    assert opened.lengths.tolist() == [2, 0, 1]


@pytest.mark.parametrize("at_once", [1, 5, 1000])
@given(rows=st.lists(st.lists(st.integers(0, 2), max_size=3), min_size=1, max_size=20), data=st.data())
def test_distinct_rows_are_those_of_a_dictionary(rows, data, at_once):
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ragged, "HASHED_AT_ONCE", at_once)
        first, place_of = RaggedArray.from_rows(rows).distinct(np.array(wanted))
    contents = list(dict.fromkeys(tuple(rows[i]) for i in wanted))
    assert [tuple(rows[i]) for i in first] == contents
    assert [contents[place] for place in place_of] == [tuple(rows[i]) for i in wanted]


def test_rows_whose_hashes_meet_are_told_apart(monkeypatch):
    hashes = ragged._row_hashes
    monkeypatch.setattr(ragged, "_row_hashes", lambda *task: hashes(*task) * np.uint64(task[-1] > 1))
    first, place_of = RaggedArray.from_rows([[1, 2], [2, 1], [1, 2]]).distinct(np.arange(3))
    assert (first.tolist(), place_of.tolist()) == ([0, 1], [0, 1, 0])
