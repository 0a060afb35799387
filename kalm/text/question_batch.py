"""Questions as padded sequences, each without and with its rationale."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kalm.config import Compared
from kalm.text.batch import pad_in_groups
from kalm.text.question_table import QuestionTable
from kalm.text.ragged import Ids, RaggedArray, join_rows, run_positions


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionBatch:
    """B questions with one answer each, as two sequences; int64.

    plain      question, answer
    explained  question, rationale, answer

    Positions are those in the tokens of the groups of one kind laid end to end, padding included; a position predicts
    the token after it.
    """

    plain_ids: tuple[Tensor, ...]  # per group (sequences, longest), padded on the right with any token
    explained_ids: tuple[Tensor, ...]  # the same; empty where nothing reads rationales
    answer_positions: Tensor  # (L,), in the plain sequences
    explained_answer_positions: Tensor  # (L,), of the same tokens in the explained ones
    answers: Tensor  # (L,), the tokens there
    compared_positions: Tensor  # (C,), in the plain sequences
    explained_compared_positions: Tensor  # (C,), the same tokens before them, but for the rationale
    written_positions: Tensor  # (W,), in the explained sequences: rationale and answer
    written: Tensor  # (W,), the tokens there
    num_tokens: int  # without padding

    @property
    def num_padded_tokens(self) -> int:
        return sum(group.numel() for group in (*self.plain_ids, *self.explained_ids))

    def to(self, device: torch.device) -> "QuestionBatch":
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value.to(device, non_blocking=True)
            elif isinstance(value, tuple):
                value = tuple(group.to(device, non_blocking=True) for group in value)
            moved[field.name] = value
        return QuestionBatch(**moved)


def collate_questions(
    table: QuestionTable,
    questions: Ids,
    answers: Ids,
    *,
    num_groups: int,
    reads_rationales: bool,
    compared: Compared,
) -> QuestionBatch:
    """Two sequences per question; the last token of an answer predicts none and stays out.

    Args:
        table: the tokens.
        questions, answers: (B,), rows of the table, which belong together.
        num_groups: of similar length, at most; all ranks with as many questions have as many groups.
        reads_rationales: make the explained sequences.
        compared: which positions are compared; `all` are the prompts' common beginning and end, and the answer.
    """
    plain = _Sequences(table.prompts, table, questions, answers, num_groups)
    nothing = torch.empty(0, dtype=torch.int64)
    if not reads_rationales:
        return QuestionBatch(
            plain_ids=plain.groups, explained_ids=(),
            answer_positions=plain.answer_positions, explained_answer_positions=nothing, answers=plain.answers,
            compared_positions=nothing, explained_compared_positions=nothing,
            written_positions=nothing, written=nothing, num_tokens=plain.num_tokens,
        )  # fmt: skip
    explained = _Sequences(table.explained, table, questions, answers, num_groups)
    begins, ends = _in_common(table, questions)
    if compared is Compared.answer:
        positions = [rows.answer_positions for rows in (plain, explained)]
    else:
        positions = [rows.common_positions(begins, ends) for rows in (plain, explained)]
    written_positions, written = explained.after(begins)
    return QuestionBatch(
        plain_ids=plain.groups, explained_ids=explained.groups,
        answer_positions=plain.answer_positions, explained_answer_positions=explained.answer_positions,
        answers=plain.answers, compared_positions=positions[0], explained_compared_positions=positions[1],
        written_positions=written_positions, written=written, num_tokens=plain.num_tokens + explained.num_tokens,
    )  # fmt: skip


class _Sequences:
    """Prompts with their answers, in padded groups."""

    def __init__(
        self, prompts: RaggedArray, table: QuestionTable, questions: Ids, answers: Ids, num_groups: int
    ) -> None:
        self._prompts, self._answers = prompts.take(questions), table.answers.take(answers)
        read = table.answers.take(answers, self._answers[1] - 1)
        rows, (self._prompt_ends, _) = join_rows([self._prompts, read])
        self.groups, self._starts = pad_in_groups([rows], num_groups)
        self.num_tokens = len(rows.values)

    @property
    def answers(self) -> Tensor:
        return torch.from_numpy(self._answers[0])

    @property
    def answer_positions(self) -> Tensor:
        return torch.from_numpy(run_positions(self._starts + self._prompt_ends - 1, self._answers[1]))

    def common_positions(self, begins: Ids, ends: Ids) -> Tensor:
        """Of the prompts' first `begins` and last `ends` tokens, and of the answers, each (B,); row after row."""
        last = self._starts + self._prompt_ends - ends
        runs = np.stack([self._starts, last], axis=1), np.stack([begins, ends - 1 + self._answers[1]], axis=1)
        return torch.from_numpy(run_positions(runs[0].ravel(), runs[1].ravel()))

    def after(self, begins: Ids) -> tuple[Tensor, Tensor]:
        """Positions that predict all that follows the first `begins` tokens, (B,), and what stands there.

        The first token of all is predicted nowhere.
        """
        begins = np.maximum(1, begins)
        rows, _ = join_rows([self._prompts, self._answers])
        lengths = rows.lengths - begins
        tokens = rows.values[run_positions(rows.offsets[:-1] + begins, lengths)].astype(np.int64)
        return torch.from_numpy(run_positions(self._starts + begins - 1, lengths)), torch.from_numpy(tokens)


def _in_common(table: QuestionTable, questions: Ids) -> tuple[Ids, Ids]:
    """Tokens that both prompts of each question begin with, and others that they end with, at least 1, (B,)."""
    common = np.ones((len(questions), 2), dtype=np.int64)
    for place, question in enumerate(questions.tolist()):
        plain, explained = (
            rows.values[rows.offsets[question] : rows.offsets[question + 1]]
            for rows in (table.prompts, table.explained)
        )
        shorter = min(len(plain), len(explained))
        # the last token is compared as the answer's first position, whatever it is
        first = min(_num_equal(plain[:shorter], explained[:shorter]), shorter - 1)
        last = _num_equal(plain[::-1][: shorter - first], explained[::-1][: shorter - first])
        common[place] = first, max(1, last)
    return common[:, 0], common[:, 1]


def _num_equal(some: NDArray[np.int32], others: NDArray[np.int32]) -> int:
    """How many leading values are equal."""
    differ = np.flatnonzero(some != others)
    return int(differ[0]) if len(differ) else len(some)
