"""Prompts: the run's own segments, and instructions in words; what may be answered."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import NAMES
from hypothesis import given
from hypothesis import strategies as st
from toy_run import configured

from kalm.config import KgqaConfig, QaTask
from kalm.kgqa.asked import Asked, ask_entities, ask_relations, ask_truth
from kalm.kgqa.options import own_entities, worded
from kalm.kgqa.prompts import InstructionPrompts, OwnPrompts, cut
from kalm.kgqa.scoring import Vocabulary
from kalm.text.batch import collate

ENTITIES = Vocabulary(list(NAMES.values()))
QUESTION = Asked(task="question", number=1, text="who likes Ann?", topics=(0,), known=(1,))


@pytest.fixture
def words():
    return configured(KgqaConfig, "kgqa", run="x").prompts


def asked_of(graph, task):
    return ask_entities(graph, graph.triples["test"], task, ["test"])


@pytest.mark.parametrize("task", [QaTask.tail, QaTask.head])
def test_own_prompts_and_answers_are_the_sequences_of_training(toy_graph, table, template, tokenizer, task):
    prompts = OwnPrompts(table, template, tokenizer)
    options = own_entities(toy_graph, ENTITIES, table, template, tokenizer)
    for question in asked_of(toy_graph, task):
        batch = collate(np.array([question.triple]), table, num_groups=1)
        answer = options.trie.tree.tokens[options.trie.tree.paths.take(np.array([question.own]))[0]].tolist()
        sequence = [*prompts.tokens(question, []), *answer]
        assert sequence[:-1] == batch.input_ids[0][0].tolist(), "the end token is a label only"
        assert answer == batch.labels.tolist()


def test_examples_in_the_own_template_are_whole_sequences(toy_graph, table, template, tokenizer):
    prompts = OwnPrompts(table, template, tokenizer)
    first, second, third = asked_of(toy_graph, QaTask.tail)[:3]
    tails = [table.tails.take(np.array([question.own]))[0].tolist() for question in (first, second)]
    alone = [prompts.tokens(question, []) for question in (first, second, third)]
    assert prompts.tokens(third, [first, second]) == [*alone[0], *tails[0], *alone[1], *tails[1], *alone[2]]


def test_a_question_stands_where_the_relation_does(toy_graph, table, template, tokenizer):
    tokens = OwnPrompts(table, template, tokenizer).tokens(QUESTION, [])
    head = table.heads.take(np.array([0]))[0].tolist()
    assert tokens[: len(head)] == head
    assert tokenizer.decode(tokens[len(head) :]) == " who likes Ann?:"


def test_a_completion_with_a_prompt_of_its_own_is_asked_by_it(toy_graph, paper_table, paper_template, tokenizer):
    question = asked_of(toy_graph, QaTask.tail)[0]
    text = tokenizer.decode(OwnPrompts(paper_table, paper_template, tokenizer).tokens(question, []))
    assert "Write the tail.\nInput: Ann" in text
    assert text.endswith("\nResponse: ")


def instruction(graph, words, template, tokenizer, *, descriptions=True):
    return InstructionPrompts(graph, words, template, tokenizer, descriptions=descriptions)


def test_instructions_in_words(toy_graph, words, template, tokenizer):
    prompts = instruction(toy_graph, words, template, tokenizer)
    gnu_likes_ann = toy_graph.triples["test"][1:2]
    (tail,) = ask_entities(toy_graph, gnu_likes_ann, QaTask.tail, ["test"])
    (head,) = ask_entities(toy_graph, gnu_likes_ann, QaTask.head, ["test"])
    (relation,) = ask_relations(toy_graph, gnu_likes_ann, ["test"])
    truth = ask_truth(gnu_likes_ann, gnu_likes_ann)
    texts = [prompts.text(question, []) for question in (tail, head, relation, truth[0], truth[1])]
    assert all(text.endswith("\n\n### Response:\n\n") for text in texts)
    inputs = [text.partition("### Input:\n")[2].partition("\n\n###")[0] for text in texts]
    ann = "Ann" + cut(f", {toy_graph.entity_descriptions[0]}", 5, tokenizer)
    assert ann != "Ann"
    assert inputs[:3] == ["a gnu, is fond of", f"{ann}, inverse of is fond of", f"a gnu, {ann}"]
    assert inputs[3] == inputs[4] == f"a gnu, is fond of, {ann}", "a false triple looks like a true one"
    assert f"one of: {'; '.join(toy_graph.relation_names)}\n" in texts[2]
    assert prompts.text(QUESTION, []) == "Question: who likes Ann?\nAnswer:"
    bare = instruction(toy_graph, words, template, tokenizer, descriptions=False)
    assert "Ann, inverse of" in bare.text(head, [])


def test_examples_in_words_end_with_their_answers(toy_graph, words, template, tokenizer):
    prompts = instruction(toy_graph, words, template, tokenizer)
    first, second = asked_of(toy_graph, QaTask.tail)[:2]
    text = prompts.text(second, [first])
    assert text.count("### Instruction:") == 1
    assert "### Input:\nAnn" in text
    assert "### Response:\n\na gnu\n\n### Input:\na gnu, is fond of\n\n### Response:\n\n" in text
    true, false = ask_truth(toy_graph.triples["test"][:1], toy_graph.triples["test"][:1])
    assert prompts.text(true, [false, true]).count("### Response:\n\nno\n\n") == 1
    assert "### Response:\n\nyes\n\n" in prompts.text(true, [false, true])
    other = replace_text(QUESTION, "who eats?")
    assert prompts.text(other, [QUESTION]) == "Question: who likes Ann?\nAnswer: Bob\nQuestion: who eats?\nAnswer:"
    (relation,) = ask_relations(toy_graph, toy_graph.triples["test"][:1], ["test"])
    assert "### Response:\n\nis fond of\n\n" in prompts.text(relation, [relation])


def replace_text(question, text):
    return replace(question, text=text)


def test_braces_in_names_are_text(toy_graph, words, template, tokenizer):
    graph = replace(toy_graph, entity_names=["{head}", *NAMES.values()][:10])
    question = asked_of(graph, QaTask.tail)[0]
    assert "### Input:\n{head}" in instruction(graph, words, template, tokenizer).text(question, [])


def test_a_prompt_begins_with_the_start_token_once(toy_graph, words, template, tokenizer):
    tokens = instruction(toy_graph, words, template, tokenizer).tokens(QUESTION, [])
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    assert tokens == start + tokenizer("Question: who likes Ann?\nAnswer:", add_special_tokens=False).input_ids


@given(st.text(max_size=30), st.integers(1, 8))
def test_a_text_is_cut_behind_a_token(tokenizer, text, max_tokens):
    short = cut(text, max_tokens, tokenizer)
    assert text.startswith(short)
    num_tokens = len(tokenizer(text, add_special_tokens=False).input_ids)
    assert (short == text) or num_tokens > max_tokens


def test_names_end_as_the_prompt_shows(toy_graph, words, tokenizer):
    def rows(shots):
        options = worded(toy_graph.entity_labels, ENTITIES, tokenizer, words.triples, shots=shots)
        tree = options.trie.tree
        return options, [tree.tokens[tree.paths.take(np.array([row]))[0]].tolist() for row in range(10)]

    options, alone = rows(shots=0)
    _, shown = rows(shots=2)
    assert all(row[-1] == tokenizer.eos_token_id for row in alone)
    ends = {row[-1] for row in shown}
    assert len(ends) == 1
    assert set(tokenizer.decode(list(ends))) == {"\n"}
    assert [row[:-1] for row in alone] == [row[:-1] for row in shown]
    assert tokenizer.decode(alone[0][:-1]) == "Ann"
    assert {tokenizer.eos_token_id, *ends} <= set(options.end_token_ids)


def test_aliases_may_be_written_too(toy_graph, table, template, tokenizer):
    names = Vocabulary(list(NAMES.values()), {0: ["Annie", "a cat"]})
    trie = own_entities(toy_graph, names, table, template, tokenizer).trie
    assert sorted(zip(trie.names, trie.entity_ids.tolist(), strict=True)) == sorted(
        [*((name, place) for place, name in enumerate(NAMES.values())), ("Annie", 0), ("a cat", 0)]
    )
    plain = own_entities(toy_graph, ENTITIES, table, template, tokenizer).trie
    of_cats = {row: trie.entities(np.flatnonzero([name == row for name in trie.names])) for row in ("a cat", "Ann")}
    assert of_cats == {"a cat": (0, 2), "Ann": (0,)}
    assert plain.num_names == len(set(NAMES.values()))


def test_an_answer_with_a_description_counts_by_its_name(toy_graph, paper_table, paper_template, tokenizer):
    names = Vocabulary(["Ann", "Washington, D.C.", "Washington", *NAMES.values()][:10])
    options = own_entities(toy_graph, names, paper_table, paper_template, tokenizer)
    for text, name in (
        ("Ann", "Ann"), ("Ann, a person, and more", "Ann"), ("Washington, D.C., a city", "Washington, D.C."),
        ("Washington, a state, D.C.", "Washington"), ("a zebra, striped, fast", "a zebra"),
    ):  # fmt: skip
        assert options.name_in(text) == name
    assert options.name_in("") == ""


def test_a_tokenizer_without_an_end_is_refused(toy_graph, table, template, words):
    class Endless:
        eos_token_id = None

    with pytest.raises(ValueError, match="no end-of-text token"):
        own_entities(toy_graph, ENTITIES, table, template, Endless())
