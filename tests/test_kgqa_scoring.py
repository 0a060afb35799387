"""What counts as a right answer, against plain definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalm.kgqa.scoring import Vocabulary, normalise, score, token_f1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Lord of the  Rings!", "lord of rings"),
        ("ﬁsh", "fish"),  # a ligature
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("«Amélie»", "amélie"),
        ("U.S.A.", "usa"),
        ("!!!", "!!!"),
        ("The The", "the the"),
        ("a", "a"),
        ("Theatre", "theatre"),
        (" \n", ""),
    ],
)
def test_texts_are_compared_without_case_punctuation_and_articles(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalising_twice_changes_nothing_and_a_name_never_becomes_empty(text):
    once = normalise(text)
    assert bool(once) == bool(text.strip())
    assert normalise(once) == once


def test_a_part_of_a_name_is_no_match():
    names = Vocabulary(["New York", "York"])
    assert names.meant_by("york") == (1,)
    assert names.meant_by("New York City") == ()
    assert names.meant_by("") == ()


def test_a_name_as_it_is_written_comes_before_one_in_another_case():
    names = Vocabulary(["Paul Dano", "paul dano", "Paul"], {2: ["PD"], 0: ["pd"]})
    assert names.named(" paul dano ") == (1,)
    assert names.named("PAUL DANO") == (0, 1)
    assert names.named("pd") == (0,)


@given(st.lists(st.sampled_from("xyz"), max_size=5), st.lists(st.sampled_from("xyz"), max_size=5))
def test_f1_equals_precision_and_recall_of_words(answer, truth):
    left, common = list(truth), 0
    for word in answer:
        if word in left:
            left.remove(word)
            common += 1
    expected = 0.0
    if common:
        precision, recall = common / len(answer), common / len(truth)
        expected = 2 * precision * recall / (precision + recall)
    assert token_f1(" ".join(answer), [" ".join(truth)]) == pytest.approx(expected)


def test_f1_is_that_of_the_best_truth():
    assert token_f1("blue whale", ["a dog", "the Whale", "blue fish and whale"]) == pytest.approx(2 / 3)
    assert token_f1("blue whale", []) == 0


NAMES = Vocabulary(["Ann", "a cat", "Bob", "the cat", "hen"], {0: ["Annie"], 2: ["hen"]})


def scored(*answers, own=0, known=(0,)):
    return score(answers, [NAMES.meant_by(answer) for answer in answers], own, known, NAMES)


def test_an_alias_is_own_and_not_exact():
    assert (scored("ANN").exact, scored("ANN").own) == (True, True)
    assert (scored("annie").exact, scored("annie").own, scored("annie").known) == (False, True, True)


def test_another_known_answer_is_known_and_not_own():
    found = scored("Bob", known=(0, 2))
    assert (found.exact, found.own, found.known, found.f1) == (False, False, True, 1.0)


def test_other_right_answers_may_come_before_the_own_one():
    assert scored("Bob", "Ann", known=(0, 2)).filtered
    assert not scored("Bob", "cat", "Ann", known=(0, 2)).filtered, "a wrong one may not"
    assert not scored("Bob", known=(0, 2)).filtered
    assert scored("Bob", known=(0, 2)).undecided, "more answers may bring it"
    for answers in (["Bob", "Ann"], ["Bob", "cat"], ["cat"], ["zebra"], []):
        assert not scored(*answers, known=(0, 2)).undecided
    assert not scored("Bob", own=None, known=(0, 2)).undecided
    assert scored("Ann").filtered
    assert scored("Bob", own=None, known=(0, 2)).filtered
    assert not scored("cat", "Bob", own=None, known=(0, 2)).filtered


def test_a_name_of_others_too_is_right_and_counted_as_ambiguous():
    assert scored("cat", own=1, known=(1,)).ambiguous
    assert not scored("cat", own=1, known=(1, 3)).ambiguous, "both are answers"
    assert not scored("cat").ambiguous, "wrong anyway"
    assert scored("hen", own=2, known=(2,)).ambiguous, "the alias of one is the name of another"


def test_no_answer_is_wrong_and_only_a_text_can_be_no_name():
    found = scored()
    assert (found.exact, found.own, found.known, found.f1, found.any, found.recall) == (0, 0, 0, 0, 0, 0)
    assert not found.invalid
    assert scored("A zebra").invalid
    assert scored("").invalid, "the end alone was written"


def test_scores_of_sets():
    found = scored("Bob", "dog", "Ann", own=None, known=(0, 2))
    assert (found.any, found.recall, found.exact_set) == (True, 1.0, False), "the dog is among the first two"
    assert scored("Bob", "Ann", "dog", own=None, known=(0, 2)).exact_set
    assert not scored("Bob", own=None, known=(0, 2)).exact_set, "too few answers"
    assert not scored("Bob", "bob", own=None, known=(0, 2)).exact_set, "one of them twice"
    assert scored("dog", "Bob", own=None, known=(0, 2)).recall == 0.5
