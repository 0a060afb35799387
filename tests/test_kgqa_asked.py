"""What is asked: questions of a split, files of questions, examples; against plain loops."""

from collections import Counter

import numpy as np
import pytest
from conftest import NAMES, shared
from hypothesis import given
from hypothesis import strategies as st

from kalm.config import QaTask, QuestionsFormat
from kalm.graph.aliases import read_aliases
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.graph.sources import load_graph
from kalm.kgqa.asked import NO_ANSWER, NO_TOPIC, SCORED, Asked, ask_entities, ask_relations, ask_truth, sample_triples
from kalm.kgqa.question_files import read_questions, sample_questions
from kalm.kgqa.scoring import Vocabulary
from kalm.kgqa.shots import Shots, TriplePool, question_pool

ENTITIES = Vocabulary(list(NAMES.values()), {0: ["Annie"]})


def triples_in(graph, splits):
    return {tuple(triple) for split in splits for triple in graph.triples[split].tolist()}


@pytest.mark.parametrize("filter_splits", [SPLITS, ("test",)])
def test_known_answers_equal_those_of_a_loop(toy_graph, filter_splits):
    known = triples_in(toy_graph, filter_splits)
    triples = toy_graph.triples["test"]
    for task, asker, column in ((QaTask.tail, 0, 2), (QaTask.head, 2, 0)):
        for question, triple in zip(
            ask_entities(toy_graph, triples, task, filter_splits), triples.tolist(), strict=True
        ):
            answers = {t[column] for t in known if (t[1], t[asker]) == (triple[1], triple[asker])}
            assert (question.own, set(question.known)) == (triple[column], answers)
            assert len(question.known) == len(answers)
            assert question.known[0] == question.own
            assert question.topics == (triple[asker],)
    for question, triple in zip(ask_relations(toy_graph, triples, filter_splits), triples.tolist(), strict=True):
        assert set(question.known) == {t[1] for t in known if (t[0], t[2]) == (triple[0], triple[2])}
        assert question.own == triple[1]


def test_an_own_answer_that_the_filter_lacks_is_right_all_the_same(toy_graph):
    asked = ask_entities(toy_graph, toy_graph.triples["test"], QaTask.tail, ["train"])
    assert all(question.own in question.known for question in asked)


def test_a_sample_has_distinct_triples_in_the_order_of_the_split(toy_graph):
    everything = sample_triples(toy_graph, "train", None, 0).tolist()
    some = sample_triples(toy_graph, "train", 5, 3).tolist()
    assert len(some) == 5
    assert [triple for triple in everything if triple in some] == some
    assert (
        sample_triples(toy_graph, "train", 5, 3).tolist() == some != sample_triples(toy_graph, "train", 5, 4).tolist()
    )


def test_a_split_without_triples_is_refused(toy_graph):
    empty = {**toy_graph.triples, "valid": toy_graph.triples["valid"][:0]}
    graph = KnowledgeGraph(**{name: getattr(toy_graph, name) for name in (
        "entity_labels", "entity_names", "entity_descriptions", "relation_labels", "relation_names", "num_named")},
        triples=empty)  # fmt: skip
    with pytest.raises(ValueError, match="split=valid: the graph has no triple in it"):
        sample_triples(graph, "valid", None, 0)


def test_a_true_and_its_false_triple_have_one_number(toy_graph):
    true = toy_graph.triples["test"]
    asked = ask_truth(true, true[::-1])
    assert [(question.number, question.is_true) for question in asked] == [
        *((number, True) for number in range(4)), *((number, False) for number in range(4)),
    ]  # fmt: skip


def read(tmp_path, graph, text, max_bad_lines=0, file_format=QuestionsFormat.answers):
    path = tmp_path / "questions.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_questions(path, file_format, graph, ENTITIES, max_bad_lines)


def test_questions_of_a_file(tmp_path, toy_graph):
    text = "what does [Ann] like\ta cat|a fox\nwhat [Zed] eats\tivy\n\n"
    text += "who eats [ivy]\tnobody|A Gnu!\nhen\t\nwho\tAnnie\r\n"
    asked, account = read(tmp_path, toy_graph, text)
    assert [question.status for question in asked] == [SCORED, NO_TOPIC, SCORED, NO_ANSWER, SCORED]
    assert [question.number for question in asked] == [1, 2, 4, 5, 6]
    assert (asked[0].text, asked[0].topics, asked[0].known) == ("what does Ann like", (0,), (2, 6))
    assert (asked[2].known, asked[2].num_lost) == ((7,), 1)
    assert (asked[4].topics, asked[4].known) == ((), (0,)), "by its alias"
    assert (account.read, account.blank, account.lines) == (5, 1, 6)


def test_a_name_of_several_entities_is_right_for_each(tmp_path, toy_graph):
    asked, _ = read(tmp_path, toy_graph, "who barks\ta dog\n")
    assert asked[0].known == (3, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who\tAnn\nno tab here\n", "questions.txt:2: 1 tab-separated columns, expected 2"),
        ("\tAnn\n", "questions.txt:1: no question"),
        (b"who\t\xff\n", "questions.txt:1: not UTF-8 text"),
        ("\n", "questions.txt: no question; expected lines such as"),
    ],
)
def test_a_bad_line_is_named(tmp_path, toy_graph, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, toy_graph, text)


def test_bad_lines_are_counted_where_they_may_be(tmp_path, toy_graph):
    asked, account = read(tmp_path, toy_graph, "who\tAnn\nno tab here\n", max_bad_lines=1)
    assert (len(asked), account.refused) == (1, 1)
    with pytest.raises(ValueError, match=r"\(max_bad_lines=1, and this is one too many\)"):
        read(tmp_path, toy_graph, "who\tAnn\nno tab here\nnor here\n", max_bad_lines=1)


field = st.text(st.characters(exclude_characters="\t\n\r\0[]|", exclude_categories=["Cs"]), min_size=1).filter(
    str.strip
)


@given(st.lists(st.tuples(field, st.lists(field, max_size=3)), min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, toy_graph, rows):
    text = "".join(f"{question}\t{'|'.join(answers)}\n" for question, answers in rows)
    asked, _ = read(tmp_path_factory.mktemp("q"), toy_graph, "\ufeff" + text)
    assert [question.text for question in asked] == [" ".join(question.split()) for question, _ in rows]
    for question, (_, answers) in zip(asked, rows, strict=True):
        meant = [ENTITIES.named(answer) for answer in dict.fromkeys(answer.strip() for answer in answers)]
        assert set(question.known) == {place for ids in meant for place in ids}
        assert question.num_lost == sum(not ids for ids in meant)


def test_simplequestions_by_freebase_ids(tmp_path, toy_graph):
    graph = load_graph("folder", write_freebase(tmp_path / "fb"))
    rows = [("m/a", "m/b", "who"), ("m/a", "m/zzz", "what"), ("m/zzz", "m/a", "where")]
    text = "".join(f"www.freebase.com/{s}\twww.freebase.com/r\twww.freebase.com/{o}\t{q}\n" for s, o, q in rows)
    asked, _ = read(tmp_path, graph, text, file_format=QuestionsFormat.simplequestions)
    assert [question.status for question in asked] == [SCORED, NO_ANSWER, NO_TOPIC]
    labels = list(graph.entity_labels)
    assert (asked[0].topics, asked[0].known) == ((labels.index("/m/a"),), (labels.index("/m/b"),))
    with pytest.raises(ValueError, match=r"questions.txt:1: 'm/a' is no address of Freebase"):
        read(tmp_path, graph, "m/a\tr\tm/b\twho\n", file_format=QuestionsFormat.simplequestions)


def write_freebase(folder):
    folder.mkdir()
    for split in SPLITS:
        (folder / f"{split}.txt").write_text("/m/a\t/r\t/m/b\n/m/b\t/r\t/m/c\n")
    return folder


def test_the_shared_questions_have_the_counts_of_their_readme():
    graph = load_graph("metaqa", shared("data/MetaQA"))
    entities = Vocabulary(graph.entity_names)
    asked, account = read_questions(shared("data/MetaQA/1-hop/test.txt"), QuestionsFormat.answers, graph, entities, 0)
    assert (len(asked), account.refused) == (9947, 0)
    assert all(question.status == SCORED and question.topics and not question.num_lost for question in asked)


@pytest.mark.slow
def test_simplequestions_over_fb15k_237():
    graph = load_graph("fb15k237", shared("data/FB15k-237"))
    path = shared("data/SimpleQuestions/annotated_fb_data_test.txt")
    asked, _ = read_questions(path, QuestionsFormat.simplequestions, graph, Vocabulary(graph.entity_names), 0)
    assert Counter(question.status for question in asked)[SCORED] == 349
    assert len(asked) == 21687


def test_a_sample_keeps_questions_that_are_set_apart(toy_graph):
    asked = [Asked(task="question", number=row, status=(SCORED, NO_ANSWER)[row % 2]) for row in range(50)]
    some = sample_questions(asked, 20, 1)
    assert [question.number for question in some] == sorted(question.number for question in some)
    assert {question.status for question in some} == {SCORED, NO_ANSWER}
    assert sample_questions(asked, 60, 1) == asked


def test_aliases(tmp_path, toy_graph):
    path = tmp_path / "aliases.txt"
    path.write_text("ann\tAnnie|Nan\nzed\tZ\nann\tA.\n")
    aliases, others = read_aliases(path, toy_graph, 0)
    assert (aliases, others) == ({toy_graph.entity_labels.index("ann"): ["Annie", "Nan", "A."]}, 1)
    path.write_text("ann\t\n")
    with pytest.raises(ValueError, match=r"aliases.txt:1: no name"):
        read_aliases(path, toy_graph, 0)


@pytest.mark.parametrize("task", list(QaTask))
def test_examples_are_training_triples_of_other_entities(toy_graph, task):
    train = triples_in(toy_graph, ["train"])
    known = triples_in(toy_graph, SPLITS)
    shots = Shots(TriplePool(toy_graph, task, 0), 2, 7)
    kinds = Counter()
    for entity in range(10):
        question = Asked(task=task.value, number=entity, triple=(entity, 0, entity), topics=(entity,))
        examples = shots.examples(question)
        if examples is None:
            continue
        assert len({example.triple for example in examples}) == 2
        for example in examples:
            head, relation, tail = example.triple
            assert entity not in (head, tail)
            if task is QaTask.head:
                head, relation, tail = tail, relation - toy_graph.num_relations, head
            kinds[example.is_true] += 1
            assert ((head, relation, tail) in (train if example.is_true else known)) is example.is_true
    assert kinds[True] > 0
    assert (kinds[False] > 0) is (task is QaTask.classification)


def test_examples_depend_on_seed_and_question_alone(toy_graph):
    questions = [Asked(task="tail", number=number, triple=(9, 0, 9)) for number in range(8)]

    def drawn(seed, order):
        shots = Shots(TriplePool(toy_graph, QaTask.tail, 0), 3, seed)
        found = {question.number: [example.triple for example in shots.examples(question)] for question in order}
        return [found[question.number] for question in questions]

    assert drawn(0, questions) == drawn(0, questions[::-1]) != drawn(1, questions)


@given(st.integers(1, 30), st.integers(0, 90))
def test_too_small_a_pool_gives_none(num_shots, size):
    pool = [Asked(task="question", number=row, text=f"q{row}", known=(row,)) for row in range(size)]
    question = Asked(task="question", number=0, text="q1", known=(2, 3))
    usable = size - sum(row < size for row in (1, 2, 3))
    examples = Shots(pool, num_shots, 0).examples(question)
    assert (examples is None) is (usable < num_shots)
    if examples is not None:
        assert len({example.number for example in examples}) == num_shots
        assert {1, 2, 3}.isdisjoint(example.number for example in examples)


def test_no_examples_need_no_pool():
    assert Shots([], 0, 0).examples(Asked(task="tail", number=0)) == []


def test_a_pool_of_questions_has_those_with_an_answer():
    asked = [
        Asked(task="question", number=row, status=status) for row, status in enumerate((SCORED, NO_ANSWER, NO_TOPIC))
    ]
    assert [question.number for question in question_pool(asked, with_topic=False)] == [0]


def test_a_prompt_that_begins_with_a_topic_has_such_examples_alone():
    asked = [Asked(task="question", number=0), Asked(task="question", number=1, topics=(4,))]
    assert [question.number for question in question_pool(asked, with_topic=True)] == [1]


def test_examples_that_cannot_be_called_false_are_true(toy_graph):
    pool = TriplePool(toy_graph, QaTask.classification, 0, with_false=False)
    assert {example.triple for example in pool} == triples_in(toy_graph, ["train"])
    assert all(example.is_true for example in pool)


def test_arrays_of_triples_have_a_row_each(toy_graph):
    pool = TriplePool(toy_graph, QaTask.tail, 0)
    assert len(pool) == len(np.unique(toy_graph.triples["train"], axis=0))
