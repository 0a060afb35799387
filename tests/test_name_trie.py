"""Every name has a node of its own where it ends, or is told apart."""

import numpy as np
import pytest
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st

from kalm.kgqa.decoding import NameWalk
from kalm.kgqa.name_trie import Fault, NameTrie
from kalm.text.prefix_tree import ROOT
from kalm.text.ragged import RaggedArray

END = 9
named_rows = st.lists(st.tuples(st.lists(st.integers(0, 3), max_size=4), st.integers(0, 5)), min_size=1, max_size=10)


def build(rows, names=None, entity_ids=None, **more):
    names = [str(row) for row in rows] if names is None else names
    ids = np.arange(len(rows)) if entity_ids is None else np.array(entity_ids)
    return NameTrie.build(RaggedArray.from_rows(rows), names, ids, **more)


def walked(trie):
    """Every token row that a walk from the root can end, with its entities: a plain search in depth."""
    found = {}
    children = {}
    for node, parent in enumerate(trie.tree.parents.tolist()):
        children.setdefault(parent, []).append(node)

    def descend(node, written):
        for child in children.get(node, []):
            row = (*written, int(trie.tree.tokens[child]))
            rows, _ = trie.rows_ending.take(np.array([child]))
            if len(rows):
                found[row] = trie.entities(rows)
            descend(child, row)

    descend(ROOT, ())
    return found


@given(named_rows)
def test_the_rows_and_no_others_can_be_walked(named):
    rows = [[*row, END] for row, _ in named]
    trie = build(rows, entity_ids=[entity for _, entity in named])
    expected = {}
    for row, (_, entity) in zip(rows, named, strict=True):
        expected.setdefault(tuple(row), set()).add(entity)
    assert walked(trie) == {row: tuple(sorted(entities)) for row, entities in expected.items()}
    assert trie.num_names == len(expected)
    assert trie.num_shared == sum(len(entities) > 1 for entities in expected.values())
    assert Fault.no_end not in trie.faults


@given(named_rows)
def test_children_are_found_in_one_slice_by_ascending_token(named):
    trie = build([[*row, END] for row, _ in named])
    for node in range(ROOT, len(trie.tree.tokens)):
        first, last = trie.child_offsets[node - ROOT : node - ROOT + 2]
        assert np.flatnonzero(trie.tree.parents == node).tolist() == list(range(first, last))
        assert np.all(np.diff(trie.tree.tokens[first:last]) > 0)


@given(named_rows)
def test_a_walk_offers_the_children_of_each_beam(named):
    trie = build([[*row, END] for row, _ in named])
    walk = NameWalk(trie, 2)
    everything = walk.choices()
    num_first = len({row[0] if row else END for row, _ in named})
    assert everything.beams.tolist() == [0] * num_first + [1] * num_first
    walk.advance(np.array([num_first]))  # one beam: the second prompt's first token
    token = everything.tokens[num_first]
    longer = {([*row, END])[1] for row, _ in named if [*row, END][0] == token and token != END}
    assert walk.choices().tokens.tolist() == sorted(longer)


def test_names_that_cannot_be_written_or_ended_alone_are_listed():
    rows = [[], [1, 2], [1, 2, 3], [4, 7], [5, 6], [5, 6], [8, 8], [8, 8]]
    names = ["", "a", "a b", "c ?", "long one", "long other", "twin", "twin"]
    trie = build(rows, names, unknown_token_id=7)
    assert {fault: found.tolist() for fault, found in trie.faults.items()} == {
        Fault.no_token: [0], Fault.unknown_token: [3], Fault.no_end: [1], Fault.same_tokens: [4, 5],
    }  # fmt: skip
    assert trie.describe_faults()[2] == (
        "1 of 8 names have no end of their own: another name begins with the same tokens, and no end token follows: 'a'"
    )
    assert walked(trie)[1, 2] == (1,)
    assert walked(trie)[5, 6] == (4, 5)
    assert trie.num_shared == 2


def test_the_end_token_ends_a_name_that_another_begins_with(toy_graph, table, tokenizer):
    trie = NameTrie.of_tails(toy_graph, table, tokenizer)
    assert trie.faults == {}
    dogs = tuple(sorted(toy_graph.entity_labels.index(label) for label in ("dog", "dog2")))
    assert dogs in walked(trie).values()
    assert (trie.num_names, trie.num_shared) == (9, 1)


def test_names_and_aliases_in_a_form_of_their_own(toy_graph, table, tokenizer, template):
    names, ids = list(toy_graph.entity_names), list(range(toy_graph.num_entities))
    form = {"form": template.tail, "end": [tokenizer.eos_token_id], "max_name_tokens": template.max_name_tokens}
    same = NameTrie.of_names(names, np.array(ids), tokenizer, **form)
    assert walked(same) == walked(NameTrie.of_tails(toy_graph, table, tokenizer))
    aliases = NameTrie.of_names([*names, "Robert", "a hound"], np.array([*ids, ids[1], ids[3]]), tokenizer, **form)
    added = set(walked(aliases).items()) - set(walked(same).items())
    assert sorted(entities for _, entities in added) == [(ids[1],), (ids[3],)]
    cut = NameTrie.of_names(["an elm tree", "an elm"], np.arange(2), tokenizer, **{**form, "max_name_tokens": 2})
    assert cut.faults[Fault.same_tokens].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([[1]], ["a", "b"]), "1 token rows, 2 names and 1 entities"), (([[], []],), "none of the names has a token")],
)
def test_a_trie_of_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(*arguments)


@pytest.mark.slow
def test_each_name_of_wordnet_ends_alone(template):
    from kalm.graph.sources import load_graph
    from kalm.model.loading import load_saved_tokenizer
    from kalm.text.token_table import build_token_table

    graph = load_graph("wn18rr", shared("data/WN18RR"))
    tokenizer = load_saved_tokenizer(str(shared("models/tiny1m")))
    trie = NameTrie.of_tails(graph, build_token_table(graph, tokenizer, template), tokenizer)
    assert Fault.no_end not in trie.faults
    rows, _ = trie.rows_ending.take(np.arange(len(trie.tree.tokens)))
    assert sorted(rows.tolist()) == list(range(graph.num_entities))
