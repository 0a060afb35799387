"""One LM's answers to questions without rationale, as the lines that are stored."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kalm.config import Decoding, QaConfig
from kalm.evaluation.generation import check_tree_attention
from kalm.evaluation.loaded_run import LoadedRun
from kalm.kgqa.asked import SCORED, TOO_LONG
from kalm.kgqa.beam_search import beyond_window
from kalm.kgqa.likelihood import Floats, text_scores
from kalm.kgqa.lines import Found, Line, answered_line, question_line
from kalm.kgqa.options import Options, worded
from kalm.kgqa.prompts import InstructionPrompts
from kalm.kgqa.scoring import Vocabulary, normalise, token_f1
from kalm.kgqa.writing import write_answers
from kalm.model.dual_view_lm import DualViewLM
from kalm.progress import Progress
from kalm.qa.questions import Item
from kalm.rationale.question import Kind
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray
from kalm.text.token_table import token_ids

CHOICES_AT_ONCE = 2048  # texts scored between two signs of life
BETA = 1.0  # of a choice's score: the mean per token


class Examinee:
    """Answers questions as they are put in training, without their rationales.

    Short answers are written, best of `num_beams`; of listed choices the likeliest per token is chosen, each read as an
    answer is; free answers are written in any words.

    Args:
        run: whose graph and tokenizer are used.
        encoder: the LM, the run's own or that of before its first step.
        entities: of the graph, by name.
        config: how answers are written.
        label: says who answers.

    Raises:
        ValueError: the LM cannot read a tree of texts, or its tokenizer cannot end an answer.
    """

    def __init__(self, run: LoadedRun, encoder: DualViewLM, entities: Vocabulary, config: QaConfig, label: str) -> None:
        check_tree_attention(encoder, "qa", "eval/kgc.py instead")
        self._run, self._encoder, self._config, self._label = run, encoder, config, label
        self._prompts = InstructionPrompts(run.graph, config.prompts, run.template, run.tokenizer, descriptions=False)
        self._options: Options = worded(
            run.graph.entity_labels, entities, run.tokenizer, config.prompts.questions, shots=0
        )

    def answer(self, items: Sequence[Item]) -> list[Line]:
        """One line per question, in their order; `score` says what the answer is worth, from 0 to 1."""
        lines: dict[int, Line] = {}
        for kind, answer in ((Kind.short_answer, self._short), (Kind.multiple_choice, self._choose),
                             (Kind.free_answer, self._free)):  # fmt: skip
            rows = [row for row, item in enumerate(items) if item.question.kind is kind]
            if rows:
                lines |= dict(zip(rows, answer([items[row] for row in rows]), strict=True))
        return [lines[row] for row in range(len(items))]

    def _short(self, items: list[Item]) -> list[Line]:
        is_named = self._config.decoding is Decoding.constrained
        room = self._options.trie.tree.max_length if is_named else self._config.max_new_tokens
        items, prompts = self._fitting(items, np.full(len(items), room))
        answers = self._written(items, prompts, self._config.num_answers, is_named=is_named)
        lines = [
            answered_line(line, item.asked, found, None, self._options, self._run.graph)
            for line, item, found in zip(self._lines(items), items, answers, strict=True)
        ]
        for line in lines:
            if line["status"] == SCORED:
                line["score"] = float(line["scores"]["known"])
        return lines

    def _free(self, items: list[Item]) -> list[Line]:
        items, prompts = self._fitting(items, np.full(len(items), self._config.max_new_tokens))
        lines = self._lines(items)
        for line, item, answers in zip(lines, items, self._written(items, prompts, 1, is_named=False), strict=True):
            line["right"] = list(item.question.answers)
            if line["status"] == SCORED:
                text = answers[0].text if answers else ""
                line["answer"], line["is_complete"] = text, bool(answers and answers[0].is_complete)
                line["exact"] = normalise(text) in map(normalise, item.question.answers)
                line["score"] = token_f1(text, item.question.answers)
        return lines

    def _choose(self, items: list[Item]) -> list[Line]:
        form, tokenizer = self._config.prompts.questions.answer, self._run.tokenizer
        texts = [form.format(answer=choice) for item in items for choice in item.question.choices]
        rows = RaggedArray.from_rows([[*row, tokenizer.eos_token_id] for row in token_ids(texts, tokenizer, None)])
        ends = np.cumsum([len(item.question.choices) for item in items])
        starts = np.array([0, *ends[:-1]])
        items, prompts = self._fitting(items, np.maximum.reduceat(rows.lengths, starts))
        asked = [np.arange(start, end) if item.asked.status == SCORED else np.empty(0, dtype=np.int64)
                 for item, start, end in zip(items, starts, ends, strict=True)]  # fmt: skip
        scores = self._likelihoods(prompts, asked, rows)
        lines = self._lines(items)
        for line, item, own in zip(lines, items, asked, strict=True):
            line["choices"], line["right"] = list(item.question.choices), list(item.question.answers)
            if len(own):
                found = scores[own]
                line["log_probabilities"] = [round(value, 6) for value in found.tolist()]
                line["answer"] = item.question.choices[int(found.argmax())]
                line["score"] = float(line["answer"] in item.question.answers)
        return lines

    def _likelihoods(self, prompts: RaggedArray, asked: Sequence[Ids], texts: RaggedArray) -> Floats:
        """Log-probability per token of each text after the prompt that asks for it, (texts,); else -inf."""
        prompt_of = np.repeat(np.arange(len(asked)), [len(own) for own in asked])
        places = np.concatenate([*asked, np.empty(0, dtype=np.int64)])
        scores = np.full(len(texts), -np.inf)
        if len(places) == 0:
            return scores
        tree = PrefixTree.from_rows(texts)
        with Progress(f"{self._label}: choices", len(places)) as progress:
            for start in range(0, len(places), CHOICES_AT_ONCE):
                block = slice(start, start + CHOICES_AT_ONCE)
                scores[places[block]] = text_scores(
                    self._encoder, prompts.select(prompt_of[block]), tree, places[block], BETA, self._config.ranking
                )
                progress.advance(len(places[block]))
        return scores

    def _fitting(self, items: list[Item], room: Ids) -> tuple[list[Item], RaggedArray]:
        """The questions with their prompts, those too long for the LM's window set apart."""
        prompts = RaggedArray.from_rows([self._prompts.tokens(item.asked, []) for item in items])
        too_long = set(beyond_window(self._encoder, prompts, room).tolist())
        return [
            item._replace(asked=replace(item.asked, status=TOO_LONG))
            if row in too_long and item.asked.status == SCORED else item
            for row, item in enumerate(items)
        ], prompts  # fmt: skip

    def _lines(self, items: Sequence[Item]) -> list[Line]:
        return [
            {
                "kind": item.question.kind.value,
                "id": item.question.own_id,
                **question_line(item.asked, self._run.graph, self._prompts.text(item.asked, [])),
            }
            for item in items
        ]

    def _written(
        self, items: Sequence[Item], prompts: RaggedArray, num_answers: int, *, is_named: bool
    ) -> list[list[Found]]:
        """Answers to each question, none to one that is set apart."""
        is_asked = [item.asked.status == SCORED for item in items]
        found = iter(write_answers(
            self._encoder, self._run.tokenizer, prompts.select(np.flatnonzero(is_asked)), self._options, self._config,
            self._label, is_named=is_named, num_answers=num_answers,
        ))  # fmt: skip
        return [next(found) if asked else [] for asked in is_asked]
