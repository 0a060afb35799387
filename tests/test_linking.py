"""From words to entities: the name index against a loop, and each way of linking."""

import sys
from dataclasses import replace

import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st
from rationale_config import rationales_config

from kalm.kgqa.question_lines import read_question_lines, without_brackets
from kalm.rationale.linking import How, Linker
from kalm.rationale.name_index import NameIndex
from kalm.rationale.question import Kind, Question, read_questions

LETTERS = "abAB ßs'İié1"


def plain_mentions(names, text, ignored=frozenset()):
    """Each place in turn, the longest name first, characters compared one by one."""
    folded = [character.casefold() for character in text]
    found, place = [], 0
    while place < len(text):
        for stop in range(len(text), place, -1):
            part = "".join(folded[place:stop])
            owners = [i for i, name in enumerate(names) if name.strip().casefold() == part]
            at_word = all(
                end in (0, len(text)) or not (folded[end - 1][-1].isalnum() and folded[end][0].isalnum())
                for end in (place, stop)
            )
            if owners and at_word and part not in ignored:
                exact = [i for i in owners if names[i].strip() == text[place:stop]]
                found.append((place, stop, text[place:stop], tuple(exact or owners)))
                place = stop - 1
                break
        place += 1
    return found


@given(st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=6), st.text(LETTERS, max_size=12))
@example(["a", "A", "a b"], "a B A")
@example(["ss", "ß"], "aß ß SS")
@example(["é"], "é e")
@example(["i"], "İ i")
def test_mentions_are_those_of_a_loop(names, text):
    names = [*names, "a"]
    assert [tuple(mention) for mention in NameIndex(names).mentions(text)] == plain_mentions(names, text)


@given(st.lists(st.text(LETTERS, min_size=1, max_size=3), min_size=1, max_size=6), st.integers(0, 5))
def test_a_whole_text_is_found_however_it_is_written(names, place):
    names = [*names, "b"]
    wanted = names[place % len(names)].strip()
    found = NameIndex(names).find(f" {wanted} ")
    assert set(found) == {i for i, name in enumerate(names) if name.strip() == wanted and wanted}
    assert NameIndex(["x"]).find("xx") == ()


def test_the_words_as_written_come_before_those_in_another_case():
    index = NameIndex(["It", "it", "Ann"], aliases=[(2, "the boss")])
    assert index.find("It") == (0,)
    assert index.find("IT") == (0, 1)
    assert [mention.entity_ids for mention in index.mentions("The Boss saw it")] == [(2,), (1,)]
    assert [mention.text for mention in index.mentions("it is Ann's", frozenset(["it"]))] == ["Ann"]
    # composed and decomposed accents are the same letter
    assert NameIndex(["Café"]).find("CAFE\N{COMBINING ACUTE ACCENT}") == (0,)


@pytest.mark.parametrize(
    ("marked", "text", "topics"),
    [
        ("who made [Ann] and [Bob]", "who made Ann and Bob", ("Ann", "Bob")),
        ("what is [[REC] 2] about", "what is [REC] 2 about", ("[REC] 2",)),
        ("an [open bracket", "an [open bracket", ()),
        ("a ] before [x]", "a ] before x", ("x",)),
        ("[]", "", ()),
    ],
)
def test_topics_stand_in_the_outermost_brackets(marked, text, topics):
    assert without_brackets(marked) == (text, topics)


def test_lines_are_read_as_metaqa_writes_them(tmp_path):
    path = tmp_path / "qa.txt"
    path.write_bytes("\ufeffwho likes [Ann]\tBob|a cat|Bob\r\n\nno answer\nempty [x]\t | \n".encode())
    assert [tuple(line) for line in read_question_lines(path)] == [
        (1, "who likes Ann", ("Ann",), ("Bob", "a cat")), (3, "no answer", (), ()), (4, "empty x", ("x",), ()),
    ]  # fmt: skip


def question(text="who likes Ann", answers=("Bob",), **keys):
    return Question(**{"number": 0, "line": 1, "own_id": None, "kind": Kind.short_answer, "text": text,
                       "answers": answers, **keys})  # fmt: skip


@pytest.fixture(scope="module")
def linking():
    return rationales_config().linking


def link(linker, **keys):
    (linked,) = linker.link([question(**keys)])
    return [[(link.text, link.entity_ids, link.how) for link in links] for links in (linked.question, linked.answers)]


def test_links_in_the_data_are_used_as_they_are(toy_graph, linking):
    linker = Linker(toy_graph, linking)
    ids = {label: place for place, label in enumerate(toy_graph.entity_labels)}
    about, answers = link(linker, text="who likes Ann and a fox", links=("dog2", "a dog", "nobody"))
    assert about == [("dog2", (ids["dog2"],), How.given),
                     ("a dog", tuple(sorted((ids["dog"], ids["dog2"]))), How.given),
                     ("nobody", (), How.given)]  # fmt: skip
    assert answers == [("Bob", (ids["bob"],), How.name)]
    assert link(linker, answer_links=("elm",))[1] == [("elm", (ids["elm"],), How.given)]
    assert link(linker, links=())[0] == []


def test_names_are_found_in_words(toy_graph, linking):
    linker = Linker(toy_graph, linking)
    ids = {label: place for place, label in enumerate(toy_graph.entity_labels)}
    about, answers = link(linker, text="Is ANN fond of an elm tree?", kind=Kind.free_answer,
                          answers=("Yes: Bob says so, and ivy too",))  # fmt: skip
    assert [entities for _, entities, _ in about] == [(ids["ann"],), (ids["elm"],)]
    assert [entities for _, entities, _ in answers] == [(ids["bob"],), (ids["ivy"],)]


def test_aliases_are_names_too(toy_graph, linking, tmp_path):
    path = tmp_path / "aliases.tsv"
    path.write_text("ann\tAnnie|the boss\nstranger\tnobody\n")
    linker = Linker(toy_graph, replace(linking, aliases=str(path)))
    assert link(linker, text="who knows the boss")[0][0][1] == (toy_graph.entity_labels.index("ann"),)
    with pytest.raises(ValueError, match=r"linking\.aliases: there is no file"):
        Linker(toy_graph, replace(linking, aliases=str(path / "x")))


def test_vectors_are_asked_last(toy_graph, linking):
    asked = []

    def nearest(texts):
        asked.extend(texts)
        return [(3,) if "animal" in text else () for text in texts]

    linker = Linker(toy_graph, linking, nearest)
    assert link(linker, text="which animal", answers=("some animal", "Bob", "stone")) == [
        [("which animal", (3,), How.embedding)],
        [("some animal", (3,), How.embedding), ("Bob", (toy_graph.entity_labels.index("bob"),), How.name),
         ("stone", (), How.name)],
    ]  # fmt: skip
    assert asked == ["which animal", "some animal", "stone"]


def own(texts, graph):
    return [["hen", "ivy"] if "bird" in text else [] for text in texts]


def test_a_linker_of_ones_own(toy_graph, linking):
    linker = Linker(toy_graph, replace(linking, linker=f"{__name__}:own"))
    ids = [toy_graph.entity_labels.index(label) for label in ("hen", "ivy")]
    assert [(entities, how) for _, entities, how in link(linker, text="a bird and Ann")[0]] == [
        ((ids[0],), How.linker), ((ids[1],), How.linker),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "message"),
    [(lambda texts, graph: [], "one list of labels per text"), (lambda texts, graph: None, "one list of labels"),
     (lambda texts, graph: ["hen"], "list of labels per text"), (lambda texts, graph: [["x"]], "no entity's label")],
)  # fmt: skip
def test_a_linker_that_answers_otherwise_is_refused(toy_graph, linking, monkeypatch, answer, message):
    monkeypatch.setattr(sys.modules[__name__], "own", answer)
    with pytest.raises(ValueError, match=message):
        link(Linker(toy_graph, replace(linking, linker=f"{__name__}:own")))


@pytest.mark.parametrize("dotted", ["json", "nothing.here:f", "json:nothing", "json:__name__"])
def test_a_linker_that_is_not_there_is_refused(toy_graph, linking, dotted):
    with pytest.raises(ValueError, match=f"linking.linker.*{dotted}"):
        Linker(toy_graph, replace(linking, linker=dotted))


def test_questions_of_each_kind_are_read(tmp_path):
    path = tmp_path / "qa.jsonl"
    path.write_text(
        '{"question": "who", "answers": ["Ann", "Ann", "Bob"], "id": 7, "links": ["cat"]}\n\n'
        '{"question": "which", "choices": ["a", "b"], "answer": 1}\n'
        '{"question": "which", "choices": ["a", "b"], "answer": "a"}\n'
        '{"question": "why", "kind": "free_answer", "answer": "because of Ann"}\n'
    )
    found = list(read_questions(path))
    assert [(q.number, q.line, q.kind.value, q.answers) for q in found] == [
        (0, 1, "short_answer", ("Ann", "Bob")), (1, 3, "multiple_choice", ("b",)), (2, 4, "multiple_choice", ("a",)),
        (3, 5, "free_answer", ("because of Ann",)),
    ]  # fmt: skip
    assert (found[0].own_id, found[0].links, found[1].links) == (7, ("cat",), None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "expected an object"),
        ("{", "not JSON"),
        ('{"question": " "}', "question must be a text"),
        ('{"question": "x", "anwer": "y"}', "unknown key 'anwer'"),
        ('{"question": "x", "answers": "y"}', "answers must be a list"),
        ('{"question": "x", "answers": ["y"], "answer": "y"}', "take one of them"),
        ('{"question": "x", "choices": ["a"], "answer": 1}', "from 0 to 0"),
        ('{"question": "x", "choices": ["a"], "answer": "b"}', "none of the choices"),
        ('{"question": "x", "choices": ["a"], "answers": ["a", "b"]}', "has one answer"),
        ('{"question": "x", "choices": ["a", "a ", "b"], "answer": 1}', "choices must be different texts.*give each"),
        ('{"question": "x", "choices": ["", "a", "b"], "answer": 1}', "choices must be different texts, none of them"),
        ('{"question": "x", "kind": "short", "answer": "b"}', "kind must be one of"),
        ('{"question": "x", "kind": "multiple_choice", "answer": "b"}', "does not go with"),
        ('{"question": "x", "answer": 3}', "answer must be a text"),
        ('{"question": "x", "id": 1.5}', "id must be"),
        ('{"question": "\\ud800"}', "surrogate"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, line, message):
    path = tmp_path / "qa.jsonl"
    path.write_text('{"question": "who", "answer": "Ann"}\n' + line + "\n")
    with pytest.raises(ValueError, match=rf"qa.jsonl:2: .*{message}"):
        list(read_questions(path))


def test_the_questions_in_the_docs_are_read(tmp_path):
    text = (ROOT / "docs" / "kale.md").read_text(encoding="utf-8")
    path = tmp_path / "qa.jsonl"
    path.write_text(text.partition("```jsonl\n")[2].partition("```")[0])
    found = list(read_questions(path))
    assert [question.kind.value for question in found] == [
        "short_answer", "short_answer", "multiple_choice", "multiple_choice", "free_answer",
    ]  # fmt: skip
    assert found[2].answers == found[3].answers == ("a fox",)
