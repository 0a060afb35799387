"""Tasks made ready: what is asked, in which tokens, and what may be answered. The same for every system."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from kalm.config import Decoding, KgqaConfig, PromptForm, QaTask
from kalm.data import read_negatives
from kalm.evaluation.corruption import corrupt
from kalm.evaluation.loaded_run import LoadedRun
from kalm.graph.account import Account
from kalm.graph.aliases import read_aliases
from kalm.graph.knowledge_graph import SPLITS, Triples
from kalm.graph.neighbours import OutgoingTriples
from kalm.kgqa.asked import (
    NO_TOPIC,
    SCORED,
    TOO_FEW_SHOTS,
    TOO_LONG,
    Asked,
    ask_entities,
    ask_relations,
    ask_truth,
    sample_triples,
)
from kalm.kgqa.beam_search import beyond_window
from kalm.kgqa.likelihood import num_ranked
from kalm.kgqa.options import Options, own_entities, worded
from kalm.kgqa.path_beams import PathTexts
from kalm.kgqa.prompts import InstructionPrompts, OwnPrompts, PromptWriter
from kalm.kgqa.question_files import QuestionFile, read_questions, sample_questions
from kalm.kgqa.scoring import Vocabulary
from kalm.kgqa.shots import Shots, TriplePool, question_pool
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray
from kalm.text.token_table import TokenTable, cached_token_table, token_ids


@dataclass(kw_only=True, slots=True)
class Job:
    """One task with its questions.

    Args:
        task: its name.
        asked: the questions.
        prompts: tokens of each; none for a question that is set apart.
        options: what may be answered; None where triples are judged.
        thresholds_from: judgements of valid that thresholds are chosen on; None where the answer is a word.
    """

    task: str
    asked: list[Asked]
    prompts: RaggedArray
    options: Options | None
    thresholds_from: "Job | None" = None

    @property
    def scored(self) -> Ids:
        """The questions that are not set apart."""
        return np.array([row for row, question in enumerate(self.asked) if question.status == SCORED], dtype=np.int64)

    def prompts_of(self, rows: Ids) -> RaggedArray:
        return self.prompts.select(rows)


class Tasks:
    """Makes the jobs of a config.

    Args:
        run: that is asked.
        config: what it is asked, and how.

    Raises:
        ValueError: a file is missing or bad, the split is empty, or the tokenizer has no end-of-text token.
    """

    def __init__(self, run: LoadedRun, config: KgqaConfig) -> None:
        self._run, self._config = run, config
        graph = run.graph
        self.num_unknown_aliases = 0
        aliases: dict[int, list[str]] = {}
        if config.aliases is not None:
            path = Path(config.aliases).expanduser()
            aliases, self.num_unknown_aliases = read_aliases(path, graph, config.max_bad_lines)
        self.entities = Vocabulary(graph.entity_names, aliases)
        self.relations = Vocabulary(graph.relation_names)
        self.accounts: list[Account] = []
        self._questions = None if config.questions is None else self._read(config.questions)
        self._shots_file = None if config.shots_from is None else self._read(config.shots_from)

    @property
    def is_own(self) -> bool:
        return self._config.prompt is PromptForm.own

    @cached_property
    def table(self) -> TokenTable:
        """The run's, or one without descriptions in prompts; what the LM is to write stays what it was trained on."""
        run = self._run
        if self._config.descriptions:
            return run.table
        template = replace(run.template, max_description_tokens=0)
        bare = cached_token_table(run.graph, run.tokenizer, template, run.config.data.cache_folder)
        return replace(bare, tails=run.table.tails)

    @cached_property
    def writer(self) -> PromptWriter:
        run, config = self._run, self._config
        if self.is_own:
            return OwnPrompts(self.table, run.template, run.tokenizer)
        return InstructionPrompts(
            run.graph, config.prompts, run.template, run.tokenizer, descriptions=config.descriptions
        )

    @cached_property
    def tails(self) -> PrefixTree:
        """What the run's template writes of each entity."""
        return PrefixTree.from_rows(self._run.table.tails)

    @cached_property
    def path_texts(self) -> PathTexts:
        """How a path is written."""
        return PathTexts.of_template(self._run.table, self._run.tokenizer, self._run.template)

    @cached_property
    def outgoing(self) -> OutgoingTriples:
        """What paths are made of."""
        return OutgoingTriples.of(self._run.graph)

    def jobs(self) -> Iterator[Job]:
        """One per task, or one for the file's questions."""
        config, graph = self._config, self._run.graph
        if self._questions is not None:
            asked = sample_questions(self._questions.asked, config.num_questions, config.seed)
            examples = question_pool(self._shots_file.asked, with_topic=self.is_own) if self._shots_file else []
            yield self._job("question", asked, Shots(examples, config.shots, config.seed), self._entity_options)
            return
        triples = sample_triples(graph, config.split, config.num_questions, config.seed)
        for task in config.tasks:
            pool: Sequence[Asked] = ()
            if config.shots:  # sorts all of train
                pool = TriplePool(graph, task, config.seed, with_false=not self.is_own)
            shots = Shots(pool, config.shots, config.seed)
            if task in {QaTask.head, QaTask.tail}:
                asked = ask_entities(graph, triples, task, config.filter)
                yield self._job(task.value, asked, shots, self._entity_options)
            elif task is QaTask.relation:
                asked = ask_relations(graph, triples, config.filter)
                yield self._job(task.value, asked, shots, self._relation_options())
            else:
                yield self._judging(triples, shots)

    def _judging(self, triples: Triples, shots: Shots) -> Job:
        config, graph = self._config, self._run.graph
        job = self._job("classification", ask_truth(triples, self._false(config.split, triples)), shots, None)
        if self.is_own:
            if len(graph.triples["valid"]) == 0:
                raise ValueError("tasks: classification with prompt=own chooses thresholds on valid, which is empty; "
                                 "take prompt=instruction, or leave classification out")  # fmt: skip
            valid = sample_triples(graph, "valid", config.num_questions, config.seed)
            asked = ask_truth(valid, self._false("valid", valid))
            job.thresholds_from = self._job("classification", asked, shots, None)
        return job

    def _false(self, split: str, true: Triples) -> Triples:
        """As many false triples as true ones: the data set's own, or made of the true ones."""
        negatives = read_negatives(self._run.config.data, self._run.graph, split)
        seed = [self._config.seed, SPLITS.index(split)]
        if negatives is None or len(negatives) < len(true):
            return corrupt(self._run.graph, true, seed)
        chosen = np.random.default_rng(seed).choice(len(negatives), len(true), replace=False)
        return np.asarray(negatives[np.sort(chosen)])

    @cached_property
    def _entity_options(self) -> Options:
        run, config = self._run, self._config
        if self.is_own:
            return own_entities(run.graph, self.entities, run.table, run.template, run.tokenizer)
        frame = config.prompts.triples if config.questions is None else config.prompts.questions
        return worded(run.graph.entity_labels, self.entities, run.tokenizer, frame, shots=config.shots)

    def _relation_options(self) -> Options:
        run, config = self._run, self._config
        return worded(
            run.graph.relation_labels, self.relations, run.tokenizer, config.prompts.triples, shots=config.shots
        )

    def _job(self, task: str, asked: list[Asked], shots: Shots, options: Options | None) -> Job:
        rows: list[list[int]] = []
        # the template begins with an entity, and so does a path
        needs_topic = self.is_own or self._config.decoding is Decoding.paths
        for question in asked:
            examples = shots.examples(question) if question.status == SCORED else []
            if examples is None:
                question.status = TOO_FEW_SHOTS
            elif needs_topic and question.text and not question.topics:
                question.status = NO_TOPIC
            rows.append(self.writer.tokens(question, examples or []) if question.status == SCORED else [])
        prompts = RaggedArray.from_rows(rows)
        for row in beyond_window(self._run.encoder, prompts, self._room(task, options)).tolist():
            if asked[row].status == SCORED:
                asked[row].status = TOO_LONG
        return Job(task=task, asked=asked, prompts=prompts, options=options)

    def _room(self, task: str, options: Options | None) -> int:
        """Tokens that may follow a prompt."""
        config = self._config
        if self.is_own and task in {"relation", "classification"}:  # a relation and the tail, which are tried
            return int(self.table.completion_relations.lengths.max()) + int(self.table.tails.lengths.max())
        if options is None:
            return int(self.words.lengths.max())
        is_named = config.decoding is Decoding.constrained or num_ranked(config.rank_questions, options.trie) > 0
        written = config.max_new_tokens if config.decoding is Decoding.free else 1
        if config.decoding is Decoding.paths:
            written = self.path_texts.max_length(config.max_hops)
        return max(written, options.trie.tree.max_length if is_named else 1)

    @cached_property
    def words(self) -> RaggedArray:
        """The answers yes and no, as tokens, with no end, which says nothing about either."""
        prompts = self._config.prompts
        texts = [prompts.triples.answer.format(answer=word) for word in (prompts.yes, prompts.no)]
        return RaggedArray.from_rows(token_ids(texts, self._run.tokenizer, None))

    def _read(self, path: str) -> QuestionFile:
        config = self._config
        found = read_questions(
            Path(path).expanduser(), config.questions_format, self._run.graph, self.entities, config.max_bad_lines
        )
        self.accounts.append(found.account)
        return found
