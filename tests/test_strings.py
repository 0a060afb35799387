"""A sequence of strings in Arrow's buffers is what a list of them is."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph import strings
from kalm.graph.strings import Strings

texts = st.lists(st.text(max_size=4), max_size=9)


@given(texts, st.integers(0, 8), st.integers(0, 9))
def test_it_does_what_a_list_does(values, start, stop):
    found = Strings(values)
    assert len(found) == len(values) and list(found) == values and found == values
    assert list(found[start:stop]) == values[start:stop]
    assert found.num_filled == sum(map(bool, values))
    for place, value in enumerate(values):
        assert found[place] == value == found[np.int64(place)] and value in found
        assert found[place - len(values)] == value
        assert found.index(value) == values.index(value)
    assert "longer than any" not in found
    assert found != [*values, ""]
    assert pickle.loads(pickle.dumps(found)) == values
    with pytest.raises(IndexError):
        found[len(values)]
    with pytest.raises(ValueError, match="not among the"):
        found.index("longer than any")


@given(texts, texts)
def test_equal_digests_mean_equal_strings(one, other):
    assert (digest(Strings(one)) == digest(Strings(other))) == (one == other)


@given(texts, st.integers(0, 9))
def test_a_part_has_the_digest_of_its_strings(values, start):
    assert digest(Strings(values)[start:]) == digest(Strings(values[start:]))


def test_chunks_change_nothing(monkeypatch):
    values = ["", *(str(i) * i for i in range(10)), ""]
    whole = digest(Strings(values))
    monkeypatch.setattr(strings, "CHUNK", 3)
    assert list(Strings(values)) == values
    assert digest(Strings(values)) == whole


def digest(values: Strings) -> str:
    found = hashlib.sha256()
    values.update(found)
    return found.hexdigest()
