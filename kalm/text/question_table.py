"""Questions with their rationales and answers, tokenised once and kept as memory-mapped arrays."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from transformers import PreTrainedTokenizerFast

from kalm.config import PromptsConfig
from kalm.provenance import whole_folder
from kalm.text.ragged import Ids, RaggedArray
from kalm.text.token_table import token_ids

TABLE_VERSION = 2  # raised when what is read of records or the way it becomes tokens changes, so no old table is found
QUESTIONS_AT_ONCE = 50_000  # whose tokens are Python's lists together
PARTS = ("prompts", "explained", "answers")
ANSWER_OFFSETS, COUNTS = "answer_offsets.npy", "counts.json"


class ExplainedQuestion(Protocol):
    """What is read of a record of rationales."""

    @property
    def question(self) -> str: ...
    @property
    def rationale(self) -> str: ...
    @property
    def answers(self) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionTable:
    """Token ids of n questions under one tokenizer and one form of prompt.

    A sequence is prompts[i] + answers[j], or explained[i] + answers[j], where j is one of i's answers. The
    start-of-text token, where the tokenizer has one, opens the prompts; the end-of-text token closes the answers.

    Args:
        prompts: question i up to its answer, as it is asked in evaluation too.
        explained: the same with the rationale.
        answers: of all questions.
        answer_offsets: answers answer_offsets[i] : answer_offsets[i + 1] are those of question i, (n + 1,).
        counts: questions that are not in the table, by the reason.
    """

    prompts: RaggedArray
    explained: RaggedArray
    answers: RaggedArray
    answer_offsets: Ids
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def num_answers(self) -> Ids:
        """Of each question, (n,)."""
        return np.diff(self.answer_offsets)

    @property
    def longest(self) -> Ids:
        """Tokens of each question's longest sequence, (n,)."""
        longest_answers = np.maximum.reduceat(self.answers.lengths, self.answer_offsets[:-1])
        return np.asarray(np.maximum(self.prompts.lengths, self.explained.lengths) + longest_answers)

    @property
    def max_token(self) -> int:
        return max(int(getattr(self, part).values.max()) for part in PARTS)


def question_prompt(words: PromptsConfig, question: str, rationale: str | None = None) -> str:
    """A question up to its answer, as `prompt=instruction` puts it without examples; with its rationale, if any."""
    if rationale is None:
        asked = words.question.input.format(question=question)
    else:
        asked = words.explained.input.format(question=question, rationale=rationale)
    start = words.questions.start.format(instruction=words.question.instruction)
    return start + words.questions.ask.format(input=asked)


def build_question_table(
    questions: Iterable[ExplainedQuestion], tokenizer: PreTrainedTokenizerFast, words: PromptsConfig
) -> QuestionTable:
    """Tokenise all questions, in bounded memory beside the arrays; those whose answers have no token are left out."""
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    blocks = []
    num_answers: list[int] = []
    num_left_out = 0
    rest = iter(questions)
    while block := list(islice(rest, QUESTIONS_AT_ONCE)):
        texts = [words.questions.answer.format(answer=answer) for asked in block for answer in asked.answers]
        tokens = iter(token_ids(texts, tokenizer, None))
        answers = [[row for row in (next(tokens) for _ in asked.answers) if row] for asked in block]
        kept = [(asked, rows) for asked, rows in zip(block, answers, strict=True) if rows]
        num_left_out += len(block) - len(kept)
        num_answers += [len(rows) for _, rows in kept]
        prompts = [question_prompt(words, asked.question) for asked, _ in kept]
        explained = [question_prompt(words, asked.question, asked.rationale) for asked, _ in kept]
        blocks.append((
            RaggedArray.from_rows([start + row for row in token_ids(prompts, tokenizer, None)]),
            RaggedArray.from_rows([start + row for row in token_ids(explained, tokenizer, None)]),
            RaggedArray.from_rows([row + end for _, rows in kept for row in rows]),
        ))  # fmt: skip
    parts = [RaggedArray.stack(part) for part in zip(*blocks, strict=True)] or [RaggedArray.from_rows([])] * len(PARTS)
    return QuestionTable(
        **dict(zip(PARTS, parts, strict=True)),
        answer_offsets=np.concatenate([[0], np.cumsum(num_answers)]).astype(np.int64),
        counts={"answers without a token": num_left_out} if num_left_out else {},
    )


def cached_question_table(
    read: Callable[[dict[str, int]], Iterator[ExplainedQuestion]],
    source_digest: str,
    tokenizer: PreTrainedTokenizerFast,
    words: PromptsConfig,
    cache: Path,
) -> QuestionTable:
    """The table from `cache`, built on first use; see `cached_token_table`.

    Args:
        read: gives the questions, and adds to the dictionary how many it left out by which reason.
        source_digest: of the file that it reads.
        tokenizer, words: how questions become tokens.
        cache: folder.
    """
    parts = (str(TABLE_VERSION), source_digest, tokenizer.backend_tokenizer.to_str(),
             json.dumps([tokenizer.bos_token_id, tokenizer.eos_token_id]),
             json.dumps(asdict(words), sort_keys=True))  # fmt: skip
    folder = cache / "questions" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    if not folder.is_dir():
        counts: dict[str, int] = {}
        table = build_question_table(read(counts), tokenizer, words)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with whole_folder(folder) as unfinished:
                for part in PARTS:
                    getattr(table, part).save(unfinished, part)
                np.save(unfinished / ANSWER_OFFSETS, table.answer_offsets)
                (unfinished / COUNTS).write_text(json.dumps({**counts, **table.counts}), encoding="utf-8")
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    return QuestionTable(
        **{part: RaggedArray.open(folder, part) for part in PARTS},
        answer_offsets=np.load(folder / ANSWER_OFFSETS),
        counts=json.loads((folder / COUNTS).read_text(encoding="utf-8")),
    )
