"""One system's answers to a job, as the lines that are stored."""

import numpy as np
import torch

from kalm.config import Decoding, KgqaConfig
from kalm.evaluation.generation import check_tree_attention, log_probabilities
from kalm.evaluation.loaded_run import LoadedRun
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.triple_classification import Scored, choose_thresholds
from kalm.graph.knowledge_graph import RELATION, TAIL
from kalm.kgqa.asked import triples_of
from kalm.kgqa.likelihood import Floats, num_ranked, question_ranks, rank_options, text_scores
from kalm.kgqa.lines import Found, Line, answered_line, judged_line, question_line
from kalm.kgqa.options import Options
from kalm.kgqa.path_walk import walk_paths
from kalm.kgqa.tasks import Job, Tasks
from kalm.kgqa.writing import answer_distinct, as_found, write_answers
from kalm.model.dual_view_lm import DualViewLM
from kalm.progress import Progress
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray, join_rows

RELATIONS_AT_ONCE = 2**14  # prompts with a relation to try


class Answerer:
    """Asks one system.

    Args:
        name: of the system.
        encoder: the LM.
        run: whose graph and tokenizer are used.
        tasks: of the run.
        config: how answers are written.

    Raises:
        ValueError: the LM cannot read a tree of texts.
    """

    def __init__(self, name: str, encoder: DualViewLM, run: LoadedRun, tasks: Tasks, config: KgqaConfig) -> None:
        check_tree_attention(encoder, "eval/kgqa.py", "eval/kgc.py")
        self._name, self._encoder, self._run, self._tasks, self._config = name, encoder, run, tasks, config

    def answer(self, job: Job) -> list[Line]:
        """One line per question, in their order; that of a question that is set apart says so alone."""
        if job.task == "classification":
            return self._judge(job)
        assert job.options is not None
        if job.task == "relation" and self._tasks.is_own:
            answers, ranks = self._try_relations(job)
        else:
            answers, ranks = self._write(job, job.options), self._rank(job, job.options)
        return [
            answered_line(self._line(job, row), question, answers.get(row, ()), ranks.get(row), job.options,
                          self._run.graph)
            for row, question in enumerate(job.asked)
        ]  # fmt: skip

    def _line(self, job: Job, row: int) -> Line:
        prompt = self._run.tokenizer.decode(
            job.prompts_of(np.array([row])).values.tolist(), skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )  # fmt: skip
        return {"system": self._name, **question_line(job.asked[row], self._run.graph, str(prompt))}

    def _write(self, job: Job, options: Options) -> dict[int, list[Found]]:
        """Answers as the LM writes them."""
        config, prompts, label = self._config, job.prompts_of(job.scored), f"{self._name}, {job.task}"
        if config.decoding is Decoding.paths:
            found = answer_distinct(prompts, lambda rows: self._walk(job, job.scored[rows], options), label)
        else:
            found = write_answers(
                self._encoder, self._run.tokenizer, prompts, options, config, label,
                is_named=config.decoding is Decoding.constrained, num_answers=config.num_answers,
            )  # fmt: skip
        return dict(zip(job.scored.tolist(), found, strict=True))

    def _walk(self, job: Job, rows: Ids, options: Options) -> list[list[Found]]:
        """Answers at the ends of paths from the questions' entities, with the first path that is written so."""
        config, run = self._config, self._run
        found = walk_paths(
            self._encoder,
            run.tokenizer,
            job.prompts_of(rows),
            [job.asked[row].topics for row in rows.tolist()],
            run.graph,
            outgoing=self._tasks.outgoing,
            texts=self._tasks.path_texts,
            max_hops=config.max_hops,
            num_beams=config.num_beams,
            num_answers=config.num_answers,
            batch_tokens=config.ranking.batch_tokens,
            logit_memory_mib=config.ranking.score_memory_mib,
        )
        return [[as_found(answer, options, answer.paths[0]) for answer in answers] for answers in found]

    def _rank(self, job: Job, options: Options) -> dict[int, Ranks]:
        """Ranks among all options, for a sample of the questions that is the same for every system."""
        size, rows = num_ranked(self._config.rank_questions, options.trie), job.scored
        if size < len(rows):
            rows = np.sort(np.random.default_rng(self._config.seed).choice(rows, size, replace=False))
        if len(rows) == 0:
            return {}
        label = f"{self._name}, {job.task}: {len(options.labels):,} candidates of {len(rows):,} questions"
        ranks = rank_options(
            self._encoder, job.prompts_of(rows), [job.asked[row] for row in rows.tolist()], options.trie,
            len(options.labels), self._config.beta, self._config.ranking, label,
        )  # fmt: skip
        return dict(zip(rows.tolist(), ranks, strict=True))

    def _try_relations(self, job: Job) -> tuple[dict[int, list[Found]], dict[int, Ranks]]:
        """Every relation is put between head and tail; its score is how likely the tail then is."""
        assert job.options is not None
        num_relations = self._run.graph.num_relations
        answers: dict[int, list[Found]] = {}
        ranks: dict[int, Ranks] = {}
        size = max(1, RELATIONS_AT_ONCE // num_relations)
        label = f"{self._name}, {job.task}: {num_relations:,} relations of {len(job.scored):,} pairs"
        with Progress(label, len(job.scored)) as progress:
            for start in range(0, len(job.scored), size):
                rows = job.scored[start : start + size]
                relations = np.tile(np.arange(num_relations), len(rows))
                scores = self._continued(job, np.repeat(rows, num_relations), relations).reshape(len(rows), -1)
                for row, own in zip(rows.tolist(), scores, strict=True):
                    answers[row] = self._best(own, job.options)
                    ranks[row] = question_ranks(torch.from_numpy(own), job.asked[row])
                progress.advance(len(rows))
        return answers, ranks

    def _best(self, scores: Floats, options: Options) -> list[Found]:
        names = options.vocabulary
        best = np.argsort(-scores, kind="stable")[: self._config.num_answers].tolist()
        return [
            Found(text=names.names[place], ids=names.meant_by(names.names[place]),
                  log_probability=float(scores[place]), num_tokens=None, is_complete=True)
            for place in best
        ]  # fmt: skip

    def _judge(self, job: Job) -> list[Line]:
        verdicts = self._judge_by_threshold(job) if self._tasks.is_own else self._judge_by_word(job)
        return [
            judged_line(self._line(job, row), question, verdicts.get(row, {})) for row, question in enumerate(job.asked)
        ]

    def _judge_by_threshold(self, job: Job) -> dict[int, Line]:
        """True from a score on, which is chosen on valid per relation."""
        assert job.thresholds_from is not None
        valid, judged = (self._judged(part) for part in (job.thresholds_from, job))
        if len(judged.scores) == 0:
            return {}
        if len(valid.scores) == 0:
            raise ValueError("split valid has no triple whose prompt fits the model's window, so no threshold can be "
                             "chosen; use prompt=instruction, or leave out the task classification")  # fmt: skip
        thresholds = choose_thresholds(valid, beyond=1 + float(np.abs(valid.scores).max())).of(judged.relations)
        return {
            row: {"score": round(value, 9), "threshold": round(threshold, 9), "says_true": value >= threshold}
            for row, value, threshold in zip(
                job.scored.tolist(), judged.scores.tolist(), thresholds.tolist(), strict=True
            )
        }

    def _judged(self, job: Job) -> Scored:
        asked = [job.asked[row] for row in job.scored.tolist()]
        relations = triples_of(asked)[:, RELATION]
        return Scored(
            relations=relations,
            scores=self._continued(job, job.scored, relations),
            is_true=np.array([question.is_true for question in asked], dtype=bool),
        )

    def _judge_by_word(self, job: Job) -> dict[int, Line]:
        """True where yes is likelier than no."""
        rows, words = job.scored, self._tasks.words
        both = np.tile(np.arange(2, dtype=np.int32), len(rows))
        found = log_probabilities(
            self._encoder, job.prompts_of(rows), PrefixTree.from_rows(words),
            RaggedArray.from_lengths(both, np.full(len(rows), 2)),
            batch_tokens=self._config.ranking.batch_tokens, logit_memory_mib=self._config.ranking.score_memory_mib,
        ).reshape(-1, 2)  # fmt: skip
        return {
            row: {"yes": round(yes, 9), "no": round(no, 9), "says_true": yes > no}
            for row, (yes, no) in zip(rows.tolist(), found.tolist(), strict=True)
        }

    def _continued(self, job: Job, rows: Ids, relations: Ids) -> Floats:
        """How likely the tail of each question is after its prompt and a relation, see `likelihood.SCORE`."""
        if len(rows) == 0:
            return np.empty(0)
        table = self._tasks.table
        prompts, _ = join_rows([job.prompts.take(rows), table.completion_relations.take(relations)])
        tails = triples_of([job.asked[row] for row in rows.tolist()])[:, TAIL]
        return text_scores(self._encoder, prompts, self._tasks.tails, tails, self._config.beta, self._config.ranking)
