"""Texts of relations: from files, else made from ids; told apart where they are equal."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph.readable import readable, readable_relations, told_apart
from kalm.graph.sources import load_graph
from kalm.graph.wikidata_properties import PROPERTIES
from kalm.text.template import relation_segments

EXAMPLES = {
    "/people/person/profession": "people person profession",
    "people.person.profession": "people person profession",
    "P106": "occupation",
    "wasBornIn": "was born in",
    "_has_part": "has part",
    "hasISBN": "has ISBN",
    "isLocatedIn": "is located in",
    "PlaysFor": "Plays for",
    "P99999": "P99999",
    "has part": "has part",
    "___": "___",
}


@pytest.mark.parametrize("label", EXAMPLES)
def test_an_id_becomes_readable(label):
    assert readable_relations(pa.array([label], pa.large_string())).to_pylist() == [EXAMPLES[label]]


def test_entities_keep_their_capitals():
    assert readable("iPhone_4S") == "iPhone 4S"
    assert readable("P106") == "P106"


@pytest.mark.parametrize("name", ["J.R.R. Tolkien", "Washington, D.C.", "AC/DC", "3.14", "A_B and C"])
def test_a_name_stays_as_it_is(name):
    assert readable(name) == name
    assert readable(name.replace(" ", "_")) == name.replace("_", " ")


def test_the_table_of_properties_holds_ids_and_different_labels():
    assert len(PROPERTIES) > 200
    assert all(key[0] == "P" and key[1:].isdigit() for key in PROPERTIES)
    assert len(set(PROPERTIES.values())) == len(PROPERTIES)


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "likes", "likes (a)", "b"]), st.text("ab (", min_size=1)),
        unique_by=lambda r: r[1],
    )
)
def test_relations_are_told_apart_and_the_rest_is_left_alone(rows):
    texts, labels = [row[0] for row in rows], [row[1] for row in rows]
    made, num_changed = told_apart(pa.array(texts, pa.large_string()), pa.array(labels, pa.large_string()))
    made = made.to_pylist()
    filled = [text for text in made if text]
    assert len(set(filled)) == len(filled)
    assert all(new.startswith(old) for new, old in zip(made, texts, strict=True))
    if len(set(filter(None, texts))) == len(list(filter(None, texts))):
        assert (made, num_changed) == (texts, 0)


def test_equal_texts_of_a_file_are_told_apart_and_said(toy_folder, template):
    (toy_folder / "relation2text.txt").write_text("likes\tis fond of\nknows\tis fond of\n")
    graph = load_graph("folder", toy_folder)
    assert list(graph.relation_names) == ["eats", "is fond of (knows)", "is fond of (likes)"]
    assert any(note.startswith("2 relations or inverses share their text") for note in graph.reading.notes)
    assert len(set(relation_segments(graph, template).names)) == 6


def test_the_text_of_an_inverse_can_be_given(toy_folder, template):
    (toy_folder / "relation_inverse.txt").write_text("likes\tis liked by\n")
    graph = load_graph("folder", toy_folder)
    names = relation_segments(graph, template).names
    assert names == [" eats", " knows", " is fond of", " inverse of eats", " inverse of knows", " is liked by"]


def test_of_two_texts_of_one_label_the_first_counts_and_a_note_says_so(toy_folder):
    path = toy_folder / "entity2text.txt"
    before = load_graph("folder", toy_folder)
    path.write_text(path.read_text() + "ann\tAnnie\nbob\tBob\n")
    graph = load_graph("folder", toy_folder)
    assert graph.entity_names == before.entity_names
    (note,) = graph.reading.notes
    assert note == ("entity2text.txt: 1 lines give another text to what an earlier line names; the earlier counts: "
                    "ann (Annie)")  # fmt: skip
