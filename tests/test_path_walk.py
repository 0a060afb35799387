"""Decoding along paths of training triples, against all paths made and scored one by one."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from test_dual_view_lm import FAMILIES
from test_generation import random_encoder

from kalm.evaluation.generation import log_probabilities
from kalm.graph.neighbours import OutgoingTriples
from kalm.kgqa.path_walk import PathTexts, walk_paths
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import build_token_table

STARTS = [["ann"], ["hen", "bob"], ["gnu", "gnu"], ["dog"]]
PROMPTS = [[7, 8, 9, 10], [11], [12, 13, 14], [15, 16]]


@pytest.fixture(scope="module")
def texts(table, tokenizer, template):
    return PathTexts.of_template(table, tokenizer, template)


@pytest.fixture(scope="module")
def encoder_of_toys():
    return random_encoder(FAMILIES["llama"])


def ids(graph, labels):
    return [graph.entity_labels.index(label) for label in labels]


def walk(encoder, tokenizer, graph, texts, max_hops, starts=STARTS, prompts=PROMPTS, **changes):
    arguments = {"num_beams": 400, "num_answers": 1, "batch_tokens": 100_000, "logit_memory_mib": 4, **changes}
    return walk_paths(encoder, tokenizer, RaggedArray.from_rows(prompts), [ids(graph, own) for own in starts], graph,
                      outgoing=OutgoingTriples.of(graph), texts=texts, max_hops=max_hops, **arguments)  # fmt: skip


def all_paths(graph, start, max_hops):
    """Every path to entities that are not on it yet, by plain recursion."""
    edges = {tuple(row) for row in graph.directed("train").tolist()}

    def onward(path, visited):
        for head, relation, tail in edges:
            if head == visited[-1] and tail not in visited:
                longer = (*path, (head, relation, tail))
                yield longer
                if len(longer) < max_hops:
                    yield from onward(longer, [*visited, tail])

    return list(onward((), [start]))


def tokens_of(path, table, template, tokenizer):
    separator = tokenizer(template.head_end, add_special_tokens=False).input_ids
    row = []
    for place, (_, relation, tail) in enumerate(path):
        row += separator if place else []
        row += table.relations.take(np.array([relation]))[0].tolist()
        row += table.tails.take(np.array([tail]))[0].tolist()[:-1]
    return (*row, tokenizer.eos_token_id)


@pytest.mark.parametrize("max_hops", [1, 2, 3])
def test_with_enough_beams_the_best_paths_are_those_of_scoring_each(
    max_hops, encoder_of_toys, tokenizer, toy_graph, table, template, texts
):
    found = walk(encoder_of_toys, tokenizer, toy_graph, texts, max_hops, num_answers=10)
    for prompt, labels, own in zip(PROMPTS, STARTS, found, strict=True):
        by_text = {}
        for start in ids(toy_graph, dict.fromkeys(labels)):
            for path in all_paths(toy_graph, start, max_hops):
                by_text.setdefault(tokens_of(path, table, template, tokenizer), set()).add(path)
        rows = RaggedArray.from_rows(list(by_text))
        scores = log_probabilities(
            encoder_of_toys, RaggedArray.from_rows([prompt]), PrefixTree.from_rows(rows),
            RaggedArray.from_rows([range(len(rows))]), batch_tokens=4096, logit_memory_mib=4,
        )  # fmt: skip
        seen, expected = set(), []
        for score, paths in sorted(zip(scores.tolist(), by_text.values(), strict=True), key=lambda pair: -pair[0]):
            ends = {path[-1][2] for path in paths}
            if not ends <= seen:
                expected.append((score, paths))
                seen |= ends
        assert [answer.log_probability for answer in own] == pytest.approx([score for score, _ in expected], abs=1e-4)
        assert [set(answer.paths) for answer in own] == [paths for _, paths in expected]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_every_step_of_a_path_is_a_training_triple(num_beams, encoder_of_toys, tokenizer, toy_graph, texts):
    train = {tuple(row) for row in toy_graph.directed("train").tolist()}
    found = walk(encoder_of_toys, tokenizer, toy_graph, texts, 3, num_beams=num_beams, num_answers=num_beams)
    num_relations = set()
    for labels, own in zip(STARTS, found, strict=True):
        assert own
        for answer in own:
            assert answer.is_complete
            assert answer.entity_ids == tuple(sorted({path[-1][2] for path in answer.paths}))
            assert answer.text == toy_graph.entity_names[answer.entity_ids[0]]
            for path in answer.paths:
                assert set(path) <= train
                assert path[0][0] in ids(toy_graph, labels)
                assert all(step[2] == after[0] for step, after in pairwise(path))
                visited = [path[0][0], *(step[2] for step in path)]
                assert len(set(visited)) == len(visited)
                num_relations |= {relation >= toy_graph.num_relations for _, relation, _ in path}
    assert num_relations == {True, False} or num_beams == 1, "both directions"


def test_a_path_is_written_as_the_template_writes_its_parts(encoder_of_toys, tokenizer, toy_graph, texts):
    relations = list(toy_graph.relation_names)
    relations += [f"inverse of {name}" for name in relations]
    found = walk(encoder_of_toys, tokenizer, toy_graph, texts, 2, num_answers=10)
    lengths = set()
    for answer in (answer for own in found for answer in own):
        for path in answer.paths:
            steps = [f"{relations[relation]}: {toy_graph.entity_names[tail]}" for _, relation, tail in path]
            assert answer.written == "; ".join(steps)
            lengths.add(len(path))
    assert lengths == {1, 2}


def test_names_that_are_shared_give_all_paths_of_the_same_words(encoder_of_toys, tokenizer, toy_graph, texts):
    dogs = ids(toy_graph, ["dog", "dog2"])
    found = walk(encoder_of_toys, tokenizer, toy_graph, texts, 1, starts=[["bob"]], prompts=[[7]], num_answers=9)
    (both,) = (answer for answer in found[0] if answer.text == "a dog")
    assert both.entity_ids == tuple(sorted(dogs))
    assert sorted(path[0][2] for path in both.paths) == sorted(dogs)


def test_a_name_that_holds_the_separator_is_not_mistaken_for_two_hops(
    encoder_of_toys, tokenizer, toy_graph, table, template
):
    names = list(toy_graph.entity_names)
    hen, fox = ids(toy_graph, ["hen", "fox"])
    # "a fox" and "a fox; is fond of" begin alike, as do the separator and the name's own
    names[hen] = f"{names[fox]}; inverse of is fond of"
    graph = replace(toy_graph, entity_names=names)
    texts = PathTexts.of_template(build_token_table(graph, tokenizer, template), tokenizer, template)
    train = {tuple(row) for row in graph.directed("train").tolist()}
    for own in walk(encoder_of_toys, tokenizer, graph, texts, 2, num_answers=10):
        assert {step for answer in own for path in answer.paths for step in path} <= train


def test_without_training_triples_there_is_no_answer(encoder_of_toys, tokenizer, toy_graph, texts):
    train = toy_graph.triples["train"]
    ivy = ids(toy_graph, ["ivy"])[0]
    graph = replace(toy_graph, triples={**toy_graph.triples, "train": train[(train[:, [0, 2]] != ivy).all(axis=1)]})
    found = walk(encoder_of_toys, tokenizer, graph, texts, 2, starts=[["ivy"], ["ann"], []], prompts=[[7], [8], [9]])
    assert [len(own) for own in found] == [0, 1, 0]
    assert walk(encoder_of_toys, tokenizer, graph, texts, 2, starts=[["ivy"]], prompts=[[7]]) == [[]]


def test_triples_are_found_by_where_they_leave_and_arrive(toy_graph):
    outgoing = OutgoingTriples.of(toy_graph)
    edges = sorted({tuple(row) for row in toy_graph.directed("train").tolist()})
    assert [tuple(row) for row in outgoing.directed.tolist()] == edges
    for entity in range(toy_graph.num_entities):
        own = [edge for edge in edges if edge[0] == entity]
        assert outgoing.directed[outgoing.offsets[entity] : outgoing.offsets[entity + 1]].tolist() == [*map(list, own)]
        others = np.arange(toy_graph.num_entities)
        between = outgoing.counts_between(np.full_like(others, entity), others)
        assert between.tolist() == [sum(edge[2] == other for edge in own) for other in others]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_hops": 0}, "max_hops must be at least 1, got 0"),
        ({"starts": [["ann"]]}, "4 prompts and 1 lists of entities"),
        ({"num_answers": 500}, "num_answers must be at most num_beams=400"),
    ],
)
def test_what_cannot_be_walked_is_refused(changes, message, encoder_of_toys, tokenizer, toy_graph, texts):
    with pytest.raises(ValueError, match=message):
        walk(encoder_of_toys, tokenizer, toy_graph, texts, **{"max_hops": 2, **changes})
