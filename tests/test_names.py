"""Finding what people mean by a label or a name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph import names as names_module
from kalm.graph.names import Names

LABELS = ["p1", "p2", "p3", "p4", "Paris"]
NAMES = ["Paris", "paris", "Berlin", "Texas", "a mouse"]
DESCRIPTIONS = ["the capital of France " * 9, "", "a city", "", ""]


@pytest.fixture
def places():
    return Names("entities", LABELS, NAMES, DESCRIPTIONS)


def test_a_label_comes_before_a_name_and_the_exact_name_before_any_case(places):
    assert places.find("p2") == 1
    assert places.find("Paris") == 4
    assert places.find("paris") == 1
    assert places.find(" BERLIN ") == 2


def test_an_ambiguous_name_lists_those_that_share_it(places):
    with pytest.raises(ValueError, match="2 entities share the name 'PARIS'") as fault:
        places.find("PARIS")
    assert re.search(r"p1 \(Paris: the capital of France .*\.\.\.\), p2 \(paris\)$", str(fault.value))
    assert len(str(fault.value)) < 200, "descriptions are shortened"


def test_a_name_that_many_share_lists_the_first_of_them():
    many = Names("entities", [f"e{i}" for i in range(12)], ["run"] * 12, [""] * 12)
    with pytest.raises(ValueError, match=r"12 entities share .* e9 \(run\) and 2 more$"):
        many.find("Run")


def test_an_unknown_name_lists_the_nearest(places):
    with pytest.raises(ValueError, match=r"none of the 5 entities .* 'Berln'; nearest: 'Berlin' \(label p3\)"):
        places.find("Berln")
    with pytest.raises(ValueError, match="no name is like it"):
        places.find("zzz")
    with pytest.raises(ValueError, match="no name is like it"):
        places.find("")


@given(st.lists(st.from_regex(r"[a-hé][a-hé ]{3,10}[a-hé]", fullmatch=True), min_size=1,
                max_size=names_module.NUM_NEAREST, unique_by=str.casefold), st.data())  # fmt: skip
def test_a_name_with_a_letter_too_many_is_still_found_near(names, data):
    meant = data.draw(st.sampled_from(names))
    at = data.draw(st.integers(0, len(meant)))
    typed = meant[:at] + "x" + meant[at:]
    assert meant in [names[i] for i in Names("entities", names, names, names).nearest(typed)]


def test_chunks_do_not_change_what_is_near(monkeypatch):
    words = [f"{a}{b} tree" for a in ("oak", "elm", "ash", "fig") for b in range(5)]
    names = Names("entities", words, words, [""] * len(words))
    whole = names.nearest("elm3 trees")
    monkeypatch.setattr(names_module, "CHUNK", 3)
    assert names.nearest("elm3 trees") == whole
    assert words[whole[0]] == "elm3 tree"
