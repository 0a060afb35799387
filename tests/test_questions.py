"""Questions and candidates: what is understood, and what is refused with its line."""

import re

import pytest
from toy_run import configured

from kalm.config import PredictConfig, Question
from kalm.serving.new_entities import read_candidates
from kalm.serving.questions import KEYS, UNKNOWN, Placed, read_questions, resolve


def question(**parts) -> Question:
    return Question(**{key: parts.get(key) for key in KEYS})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"head": "ann"}, "got head"),
        ({}, "asks for the third; got none"),
        ({"head": "ann", "relation": "likes", "tail": "cat"}, "got head and relation and tail"),
        ({"head": "ann", "head_text": "Zoe", "relation": "likes"}, "head and head_text both name the head"),
        ({"tail_description": "a cat", "relation": "likes", "head": "ann"}, "tail_description needs tail_text"),
        ({"head": " ", "relation": "likes"}, "head must be a label or name, got ' '"),
        ({"head": "ann", "relation": "likes", "k": 0}, "k must be a whole number >= 1"),
        ({"head": "ann", "relation": "likes", "input": "-"}, "input must be left out, or head and relation"),
    ],
)
def test_a_question_that_asks_for_nothing_or_too_much_is_refused(parts, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        configured(PredictConfig, "predict", run="x", **parts)


def test_labels_and_names_become_ids_and_described_entities_come_after_all_others(toy_graph):
    asked = resolve(
        [
            Placed("", question(head="ann", relation="is fond of")),
            Placed("", question(head_text=" Zoe ", tail="A CAT")),
            Placed("", question(relation="eats", tail_text="moss", tail_description="grows on stones")),
        ],
        toy_graph,
    )
    labels = list(toy_graph.entity_labels)
    eats, likes = (toy_graph.relation_labels.index(label) for label in ("eats", "likes"))
    assert asked.triples.tolist() == [
        [labels.index("ann"), likes, UNKNOWN], [10, UNKNOWN, labels.index("cat")], [UNKNOWN, eats, 11],
    ]  # fmt: skip
    assert [tuple(entity) for entity in asked.described] == [("", "Zoe", ""), ("", "moss", "grows on stones")]


def test_the_first_fault_is_told_and_the_places_of_all(toy_graph):
    good, bad = question(head="ann", relation="likes"), question(head="a dog", relation="liked")
    placed = [Placed(f"q.jsonl:{number}: ", bad if number in {2, 4} else good) for number in range(1, 5)]
    with pytest.raises(ValueError, match=r"^q.jsonl:2: head: 2 entities share .* also wrong: q.jsonl:4$"):
        resolve(placed, toy_graph)
    many = [Placed(f"q.jsonl:{number}: ", bad) for number in range(1, 9)]
    with pytest.raises(ValueError, match=r"q.jsonl:2, q.jsonl:3, q.jsonl:4, q.jsonl:5 and maybe others$"):
        resolve(many, toy_graph)
    with pytest.raises(ValueError, match=r"relation: none of the 3 relations .*'lik'; nearest: 'is fond of'|no name"):
        resolve([Placed("", question(head="ann", relation="lik"))], toy_graph)


def test_questions_are_read_in_their_order_with_their_lines(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"head": "ann", "relation": "likes"}\r\n\n{"tail": "caf\\u00e9", "relation": "x", '
                     b'"head": null}\n')  # fmt: skip
    first, second = read_questions(str(path))
    assert (first.place, second.place) == (f"{path}:1: ", f"{path}:3: ")
    assert (first.question.head, second.question.head, second.question.tail) == ("ann", None, "café")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"head": "ann", "relation": "likes"}\n{"head": "ann"', "q.jsonl:2: not JSON"),
        (b'["ann", "likes"]', "q.jsonl:1: expected an object with keys among head, relation, tail"),
        (b'{"haed": "ann", "relation": "likes"}', "q.jsonl:1: unknown key 'haed'"),
        (b'{"head": 5, "relation": "likes"}', "q.jsonl:1: head must be a text or null, got 5"),
        (b'{"head": "\\ud800", "relation": "likes"}', "q.jsonl:1: head holds half a character at place 1"),
        (b'{"head": "ann"}', "q.jsonl:1: a question gives two of"),
        (b'{"head": "\xff", "relation": "likes"}', "q.jsonl:1: not UTF-8 text"),
        (b"\n \n", "no question"),
    ],
)
def test_a_bad_line_of_questions_is_refused(tmp_path, text, message):
    (tmp_path / "q.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_questions(str(tmp_path / "q.jsonl"))


def test_candidates_come_from_tabs_or_json_with_their_line_as_label(tmp_path):
    (tmp_path / "new.tsv").write_text('moss\tgrows on "stones\n\nyak\n')
    (tmp_path / "new.jsonl").write_text('{"name": "moss", "description": "grows\\non stones"}\n{"name": "yak"}\n')
    assert read_candidates(tmp_path / "new.tsv") == [
        ("new.tsv:1", "moss", 'grows on "stones'), ("new.tsv:3", "yak", ""),
    ]  # fmt: skip
    assert read_candidates(tmp_path / "new.jsonl") == [
        ("new.jsonl:1", "moss", "grows on stones"), ("new.jsonl:2", "yak", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("new.tsv", "moss\ta\nyak\tb\nMoss\tc\n", "new.tsv:3: 'Moss' stands in line 1 already"),
        ("new.tsv", "moss\ta\n\tno name\n", "new.tsv:2: the candidate has no name"),
        ("new.tsv", "moss\ta\tb\n", "new.tsv:1: 3 tab-separated columns, expected 1 or 2"),
        ("new.tsv", "\n", "the file is empty"),
        ("new.jsonl", '{"description": "a"}', "new.jsonl:1: the candidate has no name"),
        ("new.jsonl", '{"name": "a"}\n{"name": "a"}', "new.jsonl:2: 'a' stands in line 1 already"),
        ("new.jsonl", '{"nam": "a"}', "new.jsonl:1: unknown key 'nam'"),
    ],
)
def test_a_bad_file_of_candidates_is_refused_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_candidates(tmp_path / name)


def test_files_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"input: there is no file nowhere\.jsonl"):
        read_questions("nowhere.jsonl")
