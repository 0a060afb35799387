"""Rationales, internalised: against a loop over tokens, its sequences, its steps."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import (
    ASKED,
    Asked,
    cut_questions,
    cut_texts,
    kale_config,
    loud,
    make_encoder,
    make_objective,
    objective_config,
    perturbed_copy,
    raw_windows,
    short_prompts,
    with_lora,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_engine import PlainEngine, assert_same_gradients, step_gradients
from toy_run import composed

from kalm.composition import load_config, validate
from kalm.config import Compared, KlDirection, TaskPrompt, Teacher
from kalm.kgqa.prompts import InstructionPrompts
from kalm.kgqa.question_files import Asked as KgqaAsked
from kalm.text.question_batch import collate_questions
from kalm.text.question_table import QuestionTable, build_question_table, cached_question_table, question_prompt
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import token_ids
from kalm.training.interleaving import Interleaving
from kalm.training.question_step import question_step
from kalm.training.questions import QuestionBatches
from kalm.training.step import check_weights
from kalm.training.trainer import num_steps

CPU = torch.device("cpu")


def tokens_of(text, tokenizer):
    return token_ids([text], tokenizer, None)[0]


class Row:
    """A question as the loop sees it: its tokens, and where each kind of them begins."""

    def __init__(self, asked: Asked, tokenizer) -> None:
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.plain = start + tokens_of(f"Q: {asked.question}\nA:", tokenizer)
        self.explained = start + tokens_of(f"Q: {asked.question}\nF: {asked.rationale}\nA:", tokenizer)
        self.answer = [*tokens_of(f" {asked.answers[-1]}", tokenizer), tokenizer.eos_token_id]
        self.begin = 0  # tokens that both prompts begin with
        while self.plain[self.begin] == self.explained[self.begin]:
            self.begin += 1
        self.end = 0  # and end with, which are others
        while self.begin + self.end < len(self.plain) and self.plain[-1 - self.end] == self.explained[-1 - self.end]:
            self.end += 1

    def compared(self, positions: Compared) -> list[tuple[list[int], list[int]]]:
        """What student and teacher have read before each prediction."""
        of_answer = [
            (self.plain + self.answer[:place], self.explained + self.answer[:place])
            for place in range(len(self.answer))
        ]
        if positions is Compared.answer:
            return of_answer
        beginning = [(self.plain[: place + 1], self.explained[: place + 1]) for place in range(self.begin)]
        ending = [(self.plain[:-left], self.explained[:-left]) for left in range(self.end - 1, 0, -1)]
        return [*beginning, *ending, *of_answer]


def log_p(lm, prefix, temperature=1.0):
    return (lm(input_ids=torch.tensor([prefix])).logits[0, -1] / temperature).log_softmax(dim=-1)


def loop_divergence(student, teacher, rows, kale):
    total, count = torch.zeros(()), 0
    for without, explained in [pair for row in rows for pair in row.compared(kale.positions)]:
        p = log_p(student, without, kale.temperature)
        with torch.no_grad():
            q = log_p(teacher, explained, kale.temperature)
        m = ((p.exp() + q.exp()) / 2).log()
        total = (
            total
            + kale.temperature**2
            * {
                KlDirection.student_teacher: (p.exp() * (p - q)).sum(),
                KlDirection.teacher_student: (q.exp() * (q - p)).sum(),
                KlDirection.jensen_shannon: ((p.exp() * (p - m)).sum() + (q.exp() * (q - m)).sum()) / 2,
            }[kale.direction]
        )
        count += 1
    return total / count


def loop_next_token(lm, written: list[tuple[list[int], list[int]]]):
    """Pairs of what is read and what is then to be written."""
    losses = [-log_p(lm, read + to_write[:place])[token]
              for read, to_write in written for place, token in enumerate(to_write)]  # fmt: skip
    return torch.stack(losses).mean()


DIVERGENCES = [
    {"teacher": Teacher.self, "direction": KlDirection.student_teacher},
    {"teacher": Teacher.self, "direction": KlDirection.teacher_student, "temperature": 1.3, "positions": Compared.all},
    {"teacher": Teacher.base, "direction": KlDirection.jensen_shannon},
    {"teacher": Teacher.base, "direction": KlDirection.student_teacher, "positions": Compared.all, "lora": True},
]


def assert_is(objective, expected, batch, name) -> None:
    trained = [weight for weight in objective.encoder.parameters() if weight.requires_grad]
    wanted = torch.autograd.grad(expected, trained)
    (counts,) = objective.count_questions([batch])
    terms = objective(batch, counts)
    assert [field for field in terms._fields if getattr(terms, field) is not None] == [name]
    found = getattr(terms, name)
    torch.testing.assert_close(found, expected)
    for gradient, wanted_gradient in zip(torch.autograd.grad(found, trained), wanted, strict=True):
        # float32 sums in another order
        torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", DIVERGENCES)
def test_the_divergence_and_its_gradient_are_those_of_a_loop_over_tokens(
    case, encoder, tokenizer, question_table, toy_graph
):
    case = dict(case)
    lora = case.pop("lora", False)
    base, teacher = None, loud(encoder).lm
    if lora:
        teacher, encoder = copy.deepcopy(encoder.lm), with_lora(encoder)
    elif case["teacher"] is Teacher.base:
        base = perturbed_copy(encoder)
        teacher = base.lm
    config = objective_config(kale=case)
    rows = [Row(asked, tokenizer) for asked in ASKED[:4]]
    (batch,) = cut_questions(question_table, range(4), config.kale, 1)
    assert len({len(row.answer) for row in rows}) > 1 < min(row.end for row in rows)
    expected = loop_divergence(encoder.lm, teacher, rows, config.kale)
    assert float(expected.detach()) > 0.01
    assert_is(make_objective(encoder, toy_graph, config, base), expected, batch, "divergence")


@pytest.mark.parametrize("weight", ["answer_weight", "answer_with_rationale_weight", "rationale_weight"])
def test_each_next_token_loss_and_its_gradient_are_those_of_a_loop(
    weight, encoder, tokenizer, question_table, toy_graph
):
    config = objective_config(kale={"kl_weight": 0.0, weight: 1.0})
    rows = [Row(asked, tokenizer) for asked in ASKED[:4]]
    (batch,) = cut_questions(question_table, range(4), config.kale, 1)
    written = {
        "answer_weight": [(row.plain, row.answer) for row in rows],
        "answer_with_rationale_weight": [(row.explained, row.answer) for row in rows],
        "rationale_weight": [(row.explained[: row.begin], row.explained[row.begin :] + row.answer) for row in rows],
    }[weight]
    expected = loop_next_token(encoder.lm, written)
    assert_is(make_objective(encoder, toy_graph, config), expected, batch, weight.removesuffix("_weight"))


@pytest.mark.parametrize("positions", Compared)
def test_a_rationale_that_says_nothing_pulls_nowhere(positions, encoder, tokenizer, toy_graph):
    words = short_prompts(explained=TaskPrompt(instruction="", input="{question}{rationale}"))
    table = build_question_table([asked._replace(rationale="") for asked in ASKED], tokenizer, words)
    config = objective_config(kale={"prompts": words, "positions": positions})
    objective = make_objective(encoder, toy_graph, config)
    batches = cut_questions(table, range(4), config.kale, 1)
    assert all(torch.equal(*pair) for pair in zip(batches[0].plain_ids, batches[0].explained_ids, strict=True))
    assert float(question_step(PlainEngine(objective), batches).kale.divergence.detach()) == 0
    for gradient in step_gradients(objective, question_step, batches).values():
        # the gradient of a softmax's sum, which rounding leaves
        assert float(gradient.abs().max()) < 1e-6


def test_the_teacher_has_no_dropout(tokenizer, question_table, toy_graph):
    config = objective_config(kale={})
    objective = make_objective(loud(make_encoder(tokenizer)), toy_graph, config).train()
    objective.encoder.dropout.p = 0.3
    seen = []
    logits = objective.encoder.logits
    objective.encoder.logits = lambda states: seen.append((objective.encoder.training, states)) or logits(states)
    (batch,) = cut_questions(question_table, range(4), config.kale, 1)
    (counts,) = objective.count_questions([batch])
    for _ in range(2):
        objective(batch, counts)
    teacher = [states for is_training, states in seen if not is_training]
    student = [states for is_training, states in seen if is_training]
    assert len(teacher) >= 2
    assert torch.equal(teacher[0], teacher[len(teacher) // 2])
    assert not torch.equal(student[0], student[len(student) // 2])
    assert all(not states.requires_grad for states in teacher)
    assert objective.encoder.training


def test_plain_fine_tuning_reads_no_rationale(encoder, question_table, toy_graph):
    config = objective_config(kale={"kl_weight": 0.0, "answer_weight": 1.0})
    objective = make_objective(encoder, toy_graph, config)
    (batch,) = cut_questions(question_table, range(4), config.kale, 1)
    assert batch.explained_ids == ()
    losses = question_step(PlainEngine(objective), [batch])
    assert [*losses.terms()] == ["kale_answer"]
    assert [*losses.measured()] == ["loss/kale_answer"]


def test_a_step_on_questions_holds_the_anchor_too(encoder, question_table, toy_graph):
    config = objective_config(retention_weight=0.5, kale={"answer_weight": 0.3})
    objective = make_objective(encoder, toy_graph, config, perturbed_copy(encoder))
    batches = cut_questions(question_table, range(6), config.kale, 3)
    losses = question_step(PlainEngine(objective), batches, cut_texts(raw_windows(3), 2))
    assert [*losses.terms()] == ["kale_divergence", "kale_answer", "retention"]
    expected = losses.kale.divergence + 0.3 * losses.kale.answer + 0.5 * losses.retention
    torch.testing.assert_close(losses.total, expected)
    whole = step_gradients(objective, question_step, cut_questions(question_table, range(6), config.kale, 1),
                           cut_texts(raw_windows(3), 1))  # fmt: skip
    found = step_gradients(objective, question_step, batches, cut_texts(raw_windows(3), 2))
    assert_same_gradients(found, whole)


def test_broken_weights_are_found_without_a_batch_of_triples(encoder, question_table, toy_graph):
    config = objective_config(kale={})
    objective = make_objective(encoder, toy_graph, config)
    (batch,) = cut_questions(question_table, range(4), config.kale, 1)
    check_weights(PlainEngine(objective), batch)
    with torch.no_grad():
        objective.encoder.causal_lm.get_output_embeddings().weight[7, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="divergence nan"):
        check_weights(PlainEngine(objective), batch)


def test_a_question_is_put_as_in_evaluation(tokenizer, question_table, toy_graph, template):
    words = short_prompts()
    writer = InstructionPrompts(toy_graph, words, template, tokenizer, descriptions=False)
    for place, asked in enumerate(ASKED):
        row = question_table.prompts.take(np.array([place]))[0].tolist()
        assert row == writer.tokens(
            KgqaAsked(task="question", number=0, text=asked.question, topics=(), known=(0,)), []
        )
        assert question_prompt(words, asked.question) == f"Q: {asked.question}\nA:"
        answers = question_table.answers.take(np.arange(*question_table.answer_offsets[place : place + 2]))
        ends = np.flatnonzero(answers[0] == tokenizer.eos_token_id)
        assert ends.tolist() == (answers[1].cumsum() - 1).tolist()


token_rows = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=2, max_size=2)


@settings(max_examples=100)
@given(st.lists(st.tuples(token_rows, st.lists(st.integers(1, 3), min_size=1, max_size=3)), min_size=1, max_size=4))
def test_what_is_compared_is_the_same_tokens(rows):
    """Prompts of any tokens: what follows each pair of compared positions is equal but where a rationale begins."""
    table = QuestionTable(
        prompts=RaggedArray.from_rows([prompts[0] for prompts, _ in rows]),
        explained=RaggedArray.from_rows([prompts[1] for prompts, _ in rows]),
        answers=RaggedArray.from_rows([answer for _, answer in rows]),
        answer_offsets=np.arange(len(rows) + 1), counts={},
    )  # fmt: skip
    every = np.arange(len(rows))
    found = {
        compared: collate_questions(table, every, every, num_groups=2, reads_rationales=True, compared=compared)
        for compared in Compared
    }
    batch = found[Compared.all]
    plain, explained = (torch.cat([group.flatten() for group in ids]) for ids in (batch.plain_ids, batch.explained_ids))
    expected_answers = [token for _, answer in rows for token in answer]
    assert sorted(batch.answers.tolist()) == sorted(expected_answers)
    assert len(batch.compared_positions) == len(batch.explained_compared_positions) >= len(batch.answer_positions)
    assert len(set(batch.compared_positions.tolist())) == len(batch.compared_positions)
    assert set(batch.answer_positions.tolist()) <= set(batch.compared_positions.tolist())
    for positions, ids in ((batch.answer_positions, plain), (batch.explained_answer_positions, explained)):
        # all but the last token of each answer are read
        ends = np.cumsum([len(answer) for _, answer in rows]) - 1
        inner = np.setdiff1d(np.arange(len(positions)), ends)
        assert ids[positions[inner] + 1].tolist() == batch.answers[inner].tolist()
    assert torch.equal(found[Compared.answer].compared_positions, batch.answer_positions)
    # rationale and answer, as a loop finds them
    wanted = []
    for prompts, answer in rows:
        first = 0
        while first < min(map(len, prompts)) - 1 and prompts[0][first] == prompts[1][first]:
            first += 1
        wanted += [*prompts[1], *answer][max(1, first) :]
    assert batch.written.tolist() == wanted


def test_answers_without_a_token_are_counted_and_left_out(tokenizer):
    words = short_prompts(questions=replace(short_prompts().questions, answer="{answer}"))
    table = build_question_table([Asked("a", "b", ("", "c")), Asked("d", "e", ("",))], tokenizer, words)
    assert (len(table), len(table.answers), table.counts) == (1, 1, {"answers without a token": 1})


def test_a_cached_table_is_the_built_one_and_is_not_built_again(tokenizer, question_table, tmp_path):
    def read(counts):
        counts["no_path"] = 3
        yield from ASKED

    words = short_prompts()
    first = cached_question_table(read, "digest", tokenizer, words, tmp_path)
    again = cached_question_table(lambda _: pytest.fail("read again"), "digest", tokenizer, words, tmp_path)
    for table in (first, again):
        assert table.counts == {"no_path": 3}
        for part in ("prompts", "explained", "answers"):
            assert np.array_equal(getattr(table, part).values, getattr(question_table, part).values)
            assert np.array_equal(getattr(table, part).offsets, getattr(question_table, part).offsets)
        assert np.array_equal(table.answer_offsets, question_table.answer_offsets)
    other = cached_question_table(lambda _: iter(ASKED[:1]), "other", tokenizer, words, tmp_path)
    assert len(other) == 1


def question_config(*overrides, **kale):
    config = load_config(composed("train", "training.batch_size=12", "training.seed=3", *overrides))
    return replace(config, objective=objective_config(kale={"batch_size": 4, **kale}))


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch_size", ["null", "1"])
def test_ranks_split_the_same_questions_and_each_comes_once_in_a_pass(question_table, world_size, micro_batch_size):
    config = question_config(f"training.micro_batch_size={micro_batch_size}")
    rows = np.arange(len(question_table))
    whole = QuestionBatches(question_table, rows, config, rank=0, world_size=1)
    ranks = [QuestionBatches(question_table, rows, config, rank=rank, world_size=world_size)
             for rank in range(world_size)]  # fmt: skip

    def answers(makers, step):
        parts = [maker.of_step(step, CPU) for maker in makers]
        assert len({len(batches) for batches in parts}) == 1, "equally many on all ranks"
        found = [batch.answers for batches in parts for batch in batches]
        written = [batch.written for batches in parts for batch in batches]
        return sorted(torch.cat(found).tolist()), sorted(torch.cat(written).tolist())

    for step in range(4):
        assert answers(ranks, step) == answers([whole], step) == answers([whole], step)
    seen = np.concatenate([rows[whole.sampler.rows(step)] for step in range(7)])
    assert np.bincount(seen).tolist() == [4] * 7, "four passes"


def test_each_answer_of_a_question_is_drawn(tokenizer, question_table):
    config = question_config(batch_size=1)
    only = QuestionBatches(question_table, np.array([1]), config, rank=0, world_size=1)
    drawn = {tuple(batch.answers.tolist()) for step in range(30) for batch in only.of_step(step, CPU)}
    assert drawn == {(*tokens_of(f" {answer}", tokenizer), tokenizer.eos_token_id) for answer in ASKED[1].answers}


def test_fewer_questions_than_a_step_takes_are_refused(question_table):
    with pytest.raises(ValueError, match=r"objective\.kale\.batch_size=4: rationales\.jsonl has 3 questions to train"):
        QuestionBatches(question_table, np.arange(3), question_config(), rank=0, world_size=1)


@given(st.integers(0, 100).map(lambda percent: percent / 100), st.integers(1, 60))
def test_steps_of_both_kinds_are_spread_evenly_by_number_alone(share, num_steps):
    interleaving = Interleaving(share)
    of_questions = [interleaving.is_of_questions(step) for step in range(num_steps)]
    for step in range(num_steps + 1):
        count = sum(of_questions[:step])
        assert interleaving.num_question_steps(step) == count
        assert interleaving.num_triple_steps(step) == step - count
        # 1e-9: the share of 100 is no binary fraction
        assert abs(count - share * step) < 1 + 1e-9
    if share < 1:
        total = interleaving.num_steps(num_steps)
        assert interleaving.num_triple_steps(total) == num_steps
        assert interleaving.num_triple_steps(total - 1) == num_steps - 1


@pytest.mark.parametrize(("share", "of_questions"), [(4e-5, 40), (0.99999, 999_990), (0.03, 30_000)])
def test_a_share_is_kept_however_near_to_none_or_all(share, of_questions):
    interleaving = Interleaving(share)
    assert interleaving.num_question_steps(1_000_000) == of_questions
    total = interleaving.num_steps(10)
    assert (interleaving.num_triple_steps(total - 1), interleaving.num_triple_steps(total)) == (9, 10)


@pytest.mark.parametrize(("share", "steps"), [(0.05, None), (0.12, 10)])
def test_a_share_that_gives_no_step_of_questions_is_refused(toy_graph, question_table, share, steps):
    # nine steps of the toy graph's triples
    config = question_config("training.epochs=1.2", "training.batch_size=2", share=share)
    questions = QuestionBatches(question_table, np.arange(4), config, rank=0, world_size=1)
    if steps is None:
        with pytest.raises(ValueError, match=r"objective\.kale\.share=0\.05: none of the 9 steps is of questions"):
            num_steps(config, toy_graph, questions)
    else:
        assert num_steps(config, toy_graph, questions) == steps


BAD = {
    "no file": (["objective=kale"], "objective.kale.rationales"),
    "no such file": (["objective=kale", "objective.kale.rationales=nowhere"],
                     "objective.kale.rationales must be a file of rationales that exists"),
    "no share": (["objective=kalm_kale", "objective.kale.share=0"], "objective.kale.share must be a number in (0, 1]"),
    "no step": (["objective=kalm_kale", "objective.kale.share=0.02", "training.max_steps=49"],
                "objective.kale.share must be at least 1 / training.max_steps, which is 49"),
    "no term": (["objective=kale", "objective.kale.kl_weight=0"], "objective.kale.kl_weight must be > 0 when"),
    "negative": (["objective=kale", "objective.kale.answer_weight=-1"], "objective.kale.answer_weight must be"),
    "no temperature": (["objective=kale", "objective.kale.temperature=0"], "objective.kale.temperature must be"),
    "no outcome": (["objective=kale", "objective.kale.top_k=0"], "objective.kale.top_k must be a whole number >= 1"),
    "direction": (["objective=kale", "objective.kale.direction=both"], "objective.kale.direction"),
    "odd": (["objective=kale", "objective.kale.batch_size=3"], "objective.kale.batch_size must be a multiple of"),
    "micro-batches": (["objective=kalm_kale", "objective.kale.batch_size=6", "training.micro_batch_size=16"],
                      "objective.kale.batch_size must be a multiple of processes times micro-batches, 8"),
    "micro-batch": (["objective=kale", "objective.kale.batch_size=4", "training.micro_batch_size=4"],
                    "training.micro_batch_size must be at most objective.kale.batch_size / processes = 2"),
    "base": (["objective=kale", "objective.kale.teacher=base"], "objective.kale.teacher must be self without model."),
    "dry run": (["objective=kale", "training.dry_run=true"], "training.dry_run must be false with objective.kale"),
    "slot": (["objective=kale", "objective.kale.prompts.explained.input='{rationale}'"],
             "explained.input must be a text with the slots question, rationale"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_config_is_refused_before_anything_loads(case, tmp_path):
    overrides, message = BAD[case]
    (tmp_path / "rationales.jsonl").write_text("")
    if case not in ("no file", "no such file"):
        overrides = [*overrides, f"objective.kale.rationales={tmp_path / 'rationales.jsonl'}"]
    with pytest.raises(ValueError) as error:
        validate(load_config(composed("train", *overrides)), world_size=2)
    assert message in str(error.value)


def test_a_config_says_which_terms_read_rationales():
    assert kale_config().reads_rationales
    assert not kale_config(kl_weight=0.0, answer_weight=1.0).reads_rationales
