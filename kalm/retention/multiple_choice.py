"""Multiple choice by likelihood: the answer that the LM finds likeliest after the question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from kalm.config import Answers
from kalm.evaluation.encoding import batches_by_cost
from kalm.evaluation.generation import check_finite, next_token_log_probabilities
from kalm.evaluation.paired import accuracy, compare_accuracy
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import max_positions
from kalm.progress import Progress
from kalm.retention.exam import LETTERS, Question, Subject
from kalm.text.batch import pad_rows
from kalm.text.ragged import Ids, RaggedArray, run_positions

QUESTIONS_TOGETHER = 512  # whose tokens are in memory at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a model says of one question."""

    log_likelihoods: list[float]  # of each choice
    chosen: int  # the first of the likeliest
    is_cut: bool  # the prompt was longer than the LM's window, and its beginning was left out


class _Row(NamedTuple):
    """A prompt with one choice, as tokens."""

    read: list[int]  # all but the last token
    labels: list[int]  # the choice's tokens; they are predicted from the last positions read
    is_cut: bool


def prompt(question: Question, subject: Subject, answers: Answers) -> str:
    """All that stands before the answer, word for word as in the task `mmlu` of lm-evaluation-harness.

    With `Answers.texts` the choices are not listed, and the question is asked as its task `arc_easy` does.
    """
    if answers is Answers.texts:
        return "".join(f"Question: {example.text.strip()}\nAnswer: {example.choices[example.answer]}\n\n"
                       for example in subject.examples) + f"Question: {question.text.strip()}\nAnswer:"  # fmt: skip
    name = subject.name.replace("_", " ")
    start = f"The following are multiple choice questions (with answers) about {name}.\n\n"
    examples = "".join(f"{_listed(example)} {LETTERS[example.answer]}\n\n" for example in subject.examples)
    return start + examples + _listed(question)


def _listed(question: Question) -> str:
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, question.choices, strict=False))
    return f"{question.text.strip()}\n{choices}Answer:"


def continuations(question: Question, answers: Answers) -> list[str]:
    """What may follow the prompt, one text for each choice."""
    named = question.choices if answers is Answers.texts else LETTERS[: len(question.choices)]
    return [f" {text}" for text in named]


def answer_all(
    encoder: DualViewLM,
    tokenizer: PreTrainedTokenizerFast,
    exam: Sequence[Subject],
    answers: Answers,
    *,
    batch_tokens: int,
    logit_memory_mib: int,
    label: str,
) -> list[Answered]:
    """Answer every question, subject by subject.

    Raises:
        ValueError: a choice has no token of its own, or a result is not finite.
    """
    asked = [(subject, question) for subject in exam for question in subject.questions]
    every = iter(asked)
    found: list[Answered] = []
    with Progress(label, len(asked)) as progress:
        while block := list(islice(every, QUESTIONS_TOGETHER)):
            rows = list(_rows(block, tokenizer, answers, max_positions(encoder)))
            scores = iter(_score(encoder, rows, batch_tokens, logit_memory_mib).tolist())
            cut = iter(row.is_cut for row in rows)
            for _, question in block:
                likelihoods = [next(scores) for _ in question.choices]
                is_cut = sum(next(cut) for _ in question.choices) > 0
                # lengths of texts in characters, as the harness takes them for acc_norm
                sizes = [len(text) if answers is Answers.texts else 1 for text in question.choices]
                best = np.array(likelihoods) / np.maximum(sizes, 1)
                found.append(Answered(log_likelihoods=likelihoods, chosen=int(best.argmax()), is_cut=is_cut))
            progress.advance(len(block))
    return found


def _rows(
    block: Sequence[tuple[Subject, Question]],
    tokenizer: PreTrainedTokenizerFast,
    answers: Answers,
    window: int | None,
) -> Iterator[_Row]:
    """Tokens as lm-evaluation-harness makes them: of prompt and choice together, cut where those of the prompt end."""
    prompts = [prompt(question, subject, answers) for subject, question in block]
    whole = [text + more for text, (_, question) in zip(prompts, block, strict=True)
             for more in continuations(question, answers)]  # fmt: skip
    alone, together = (tokenizer(texts, return_attention_mask=False, verbose=False).input_ids
                       for texts in (prompts, whole))  # fmt: skip
    ids = iter(together)
    for start, (_, question) in zip(alone, block, strict=True):
        for choice in question.choices:
            tokens = next(ids)
            labels = tokens[len(start) :]
            if not labels or (window is not None and len(labels) > window):
                raise ValueError(f"mmlu: {question.subject}, question {question.number}: the choice {choice!r} has "
                                 f"{len(labels)} tokens after the prompt; it needs 1 to {window}")  # fmt: skip
            is_cut = window is not None and len(tokens) > window + 1
            yield _Row(tokens[-window - 1 : -1] if window is not None and is_cut else tokens[:-1], labels, is_cut)


@torch.no_grad()
def _score(encoder: DualViewLM, rows: Sequence[_Row], batch_tokens: int, logit_memory_mib: int) -> NDArray[np.float64]:
    """Log-probability of each row's labels, (rows,); what is read for several of them is read once."""
    device = next(encoder.parameters()).device
    labels = RaggedArray.from_rows([row.labels for row in rows])
    read = RaggedArray.from_rows([row.read for row in rows])
    distinct, place_of = read.distinct(np.arange(len(rows)))
    readers = np.argsort(place_of, kind="stable")  # rows, by what they read
    first_reader = np.searchsorted(place_of[readers], np.arange(len(distinct) + 1))
    scores = np.empty(len(rows))
    for batch in batches_by_cost(read.lengths_of(distinct), batch_tokens):
        padded = pad_rows(*read.take(distinct[batch]))
        chosen = readers[run_positions(first_reader[batch], first_reader[batch + 1] - first_reader[batch])]
        counts = labels.lengths_of(chosen)
        row_of = np.repeat(np.arange(len(batch)), first_reader[batch + 1] - first_reader[batch])
        sources = _last_positions(row_of * padded.shape[1] + read.lengths_of(chosen), counts)
        used, source_of = np.unique(sources, return_inverse=True)
        states = encoder.states(padded.to(device)).flatten(0, 1)[torch.from_numpy(used).to(device)]
        steps = next_token_log_probabilities(encoder, states, source_of, labels.take(chosen)[0], logit_memory_mib)
        scores[chosen] = np.add.reduceat(steps, counts.cumsum() - counts)
    check_finite(scores)
    return scores


def _last_positions(ends: Ids, counts: Ids) -> Ids:
    """The last `counts[i]` positions before `ends[i]`, for each i."""
    return run_positions(ends - counts, counts)


def correct(exam: Sequence[Subject], answered: Sequence[Answered]) -> NDArray[np.bool_]:
    """Whether each question was answered rightly, in the order of `answer_all`."""
    questions = (question for subject in exam for question in subject.questions)
    return np.array([found.chosen == question.answer for found, question in zip(answered, questions, strict=True)])


def summary(exam: Sequence[Subject], systems: dict[str, list[Answered]]) -> dict[str, Any]:
    """Accuracies of base and tuned model, all questions alike; their difference, and McNemar's test; by subject.

    `whole` has the same of the questions whose prompts were not cut, where some were and some were not.
    """
    names = np.repeat([subject.name for subject in exam], [len(subject.questions) for subject in exam])
    right = {system: correct(exam, answered) for system, answered in systems.items()}
    is_cut = np.array([any(found.is_cut for found in both) for both in zip(*systems.values(), strict=True)])
    return {
        **_accuracies(right),
        "whole": _accuracies({system: flags[~is_cut] for system, flags in right.items()})
        if is_cut.any() and not is_cut.all()
        else None,
        "chance": float(np.mean([1 / len(question.choices) for subject in exam for question in subject.questions])),
        "num_cut": int(is_cut.sum()),
        "subjects": {
            subject.name: {
                "count": len(subject.questions),
                **{system: float(flags[names == subject.name].mean()) for system, flags in right.items()},
            }
            for subject in exam
        },
    }


def _accuracies(right: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    each = np.arange(len(right["base"]))
    return {
        **{system: accuracy(flags, each) for system, flags in right.items()},
        "difference": compare_accuracy(right["base"], right["tuned"], each),
    }
