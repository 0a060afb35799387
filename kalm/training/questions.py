"""From a step's number to this rank's questions, and where they come from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from kalm.config import Config, KaleConfig
from kalm.distributed import barrier, faults_shared, rank, world_size
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import check_tokens, max_positions
from kalm.provenance import file_digest
from kalm.rationale.record import Rationale, read_rationales
from kalm.rationale.resuming import graph_digest
from kalm.text.question_batch import QuestionBatch, collate_questions
from kalm.text.question_table import QuestionTable, cached_question_table
from kalm.text.ragged import Ids
from kalm.training.batches import MIN_GROUP_ROWS, NUM_LENGTH_GROUPS
from kalm.training.sampler import TripleSampler

KEY = "objective.kale.rationales"


class QuestionBatches:
    """This rank's share of each step's questions, in micro-batches.

    Questions are drawn as triples are: seeded passes over all of them, without a state. Of a question with several
    answers one is drawn each time.

    Args:
        table: the tokens.
        questions: rows of the table that are trained on.
        config: of the run.
        rank, world_size: this process takes the rank-th of world_size equal parts.

    Raises:
        ValueError: there are fewer questions than a step takes.
    """

    def __init__(self, table: QuestionTable, questions: Ids, config: Config, *, rank: int, world_size: int) -> None:
        assert config.objective.kale is not None
        self.kale: KaleConfig = config.objective.kale
        self.table, self.questions = table, questions
        if len(questions) < self.kale.batch_size:
            raise ValueError(f"objective.kale.batch_size={self.kale.batch_size}: {self.kale.rationales} has "
                             f"{len(questions)} questions to train on; lower it, or name another file")  # fmt: skip
        share = self.kale.batch_size // world_size
        self.share = slice(rank * share, (rank + 1) * share)
        step_share = config.step_size // world_size
        # as many as the steps of triples have, since the engine accumulates equally many in all steps
        self.num_micro_batches = step_share // (config.training.micro_batch_size or step_share)
        per_batch = -(-NUM_LENGTH_GROUPS // self.num_micro_batches)
        self.num_groups = max(1, min(per_batch, share // self.num_micro_batches // MIN_GROUP_ROWS))
        self.seed = config.training.seed
        self.sampler = TripleSampler(len(questions), self.kale.batch_size, self.seed)

    @property
    def num_questions(self) -> int:
        return len(self.questions)

    def of_step(self, step: int, device: torch.device) -> list[QuestionBatch]:
        """The micro-batches of the step-th step of questions, from 0; equally many on all ranks.

        Questions of similar length share a micro-batch, which changes neither loss nor gradient.
        """
        rows = self.questions[self.sampler.rows(step)]
        drawn = np.random.default_rng([self.seed, step, 4]).random(len(rows))
        answers = self.table.answer_offsets[rows] + (drawn * self.table.num_answers[rows]).astype(np.int64)
        rows, answers = rows[self.share], answers[self.share]
        prompts = self.table.explained if self.kale.reads_rationales else self.table.prompts
        lengths = prompts.lengths_of(rows) + self.table.answers.lengths_of(answers)
        parts = np.array_split(np.argsort(-lengths, kind="stable"), self.num_micro_batches)
        return [
            collate_questions(
                self.table,
                rows[part],
                answers[part],
                num_groups=self.num_groups,
                reads_rationales=self.kale.reads_rationales,
                compared=self.kale.positions,
            ).to(device)
            for part in parts
        ]


def load_questions(
    config: Config, graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast, encoder: DualViewLM
) -> QuestionBatches | None:
    """The questions of a run, tokenised; says which records are left out and why. None without `objective.kale`.

    Raises:
        ValueError: the file is none of rationales over this graph, or too few of its questions fit the LM.
    """
    kale = config.objective.kale
    if kale is None:
        return None
    with faults_shared():
        if rank() == 0:  # tokenised by one process; the others find it in the cache
            _table(config, kale, graph, tokenizer)
    barrier()
    table = _table(config, kale, graph, tokenizer)
    if len(table) == 0:
        raise ValueError(f"{KEY}: {kale.rationales} has no record with status ok{_in_words(table.counts)}; "
                         "launch/rationales.py says why in its summary")  # fmt: skip
    check_tokens(table.max_token, encoder, of=f" for {kale.rationales}")
    limit = max_positions(encoder)
    # the last token of an answer is not read
    fits = np.flatnonzero(table.longest - 1 <= (np.inf if limit is None else limit))
    counts = {**table.counts, f"longer than the LM's {limit} tokens": len(table) - len(fits)}
    if rank() == 0:
        print(f"rationales: {len(fits):,} of {len(table) + sum(table.counts.values()):,} questions of "
              f"{Path(kale.rationales).name} are trained on{_in_words(counts)}", flush=True)  # fmt: skip
    return QuestionBatches(table, fits, config, rank=rank(), world_size=world_size())


def _table(
    config: Config, kale: KaleConfig, graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast
) -> QuestionTable:
    path, digest = Path(kale.rationales), graph_digest(graph)

    def read(left_out: dict[str, int]) -> Iterator[Rationale]:
        return read_rationales(path, graph_digest=digest, left_out=left_out)

    # the graph's digest too, so that a table of this file does not hide that it is of another graph
    source = f"{file_digest(path)} {digest}"
    return cached_question_table(read, source, tokenizer, kale.prompts, config.data.cache_folder)


def _in_words(counts: dict[str, int]) -> str:
    parts = [f"{count:,} {reason}" for reason, count in sorted(counts.items()) if count]
    return f"; left out: {', '.join(parts)}" if parts else ""
