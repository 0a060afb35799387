"""Examples before a question: right answers to others, of other entities."""

from collections.abc import Iterable, Sequence

import numpy as np

from kalm.config import QaTask
from kalm.evaluation.corruption import corrupt
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, add_inverses
from kalm.kgqa.asked import SCORED, Asked

NUM_JUDGED = 2000  # training triples, and as many false ones, that examples of classification are drawn from
AT_ONCE = 64  # candidates looked at together


class Shots:
    """Draws examples of one task, the same for the same seed and question.

    An example never holds an entity that the question names, nor one that is its own answer, nor its text.

    Args:
        pool: right answers: each has its `own` one, or a `known` one.
        num_shots: per question.
        seed: of the draws.
    """

    def __init__(self, pool: Sequence[Asked], num_shots: int, seed: int) -> None:
        self._pool, self._num_shots, self._seed = pool, num_shots, seed

    def examples(self, question: Asked) -> list[Asked] | None:
        """As many as are wanted in random order; None where the pool has not so many."""
        rng = np.random.default_rng([self._seed, question.number, int(question.is_true)])
        avoided, chosen = _entities(question), list[Asked]()
        for row in _random_order(len(self._pool), rng) if self._num_shots else ():
            example = self._pool[row]
            is_same_text = bool(question.text) and question.text == example.text
            if not is_same_text and avoided.isdisjoint(_entities(example)):
                chosen.append(example)
            if len(chosen) == self._num_shots:
                return chosen
        return chosen if self._num_shots == 0 else None


class TriplePool(Sequence[Asked]):
    """The distinct training triples as questions with their answers, made when they are asked for.

    Args:
        graph: of the triples.
        task: of the questions.
        seed: of the false triples, and of the true ones beside them.
        with_false: of a classification, as many false triples too; else an example can say of none that it is false.
    """

    def __init__(self, graph: KnowledgeGraph, task: QaTask, seed: int, *, with_false: bool = True) -> None:
        self._task = task
        triples = np.unique(graph.triples["train"], axis=0)
        if task is QaTask.head:
            triples = add_inverses(triples, graph.num_relations)[1::2]
        self._num_true = len(triples)
        if task is QaTask.classification and with_false:
            rng = np.random.default_rng(seed)
            triples = triples[rng.permutation(len(triples))[:NUM_JUDGED]]
            self._num_true = len(triples)
            if len(triples):
                triples = np.concatenate([triples, corrupt(graph, triples, [seed])])
        self._triples = triples

    def __len__(self) -> int:
        return len(self._triples)

    def __getitem__(self, row: int) -> Asked:  # type: ignore[override]
        triple = self._triples[row].tolist()
        own = triple[RELATION if self._task is QaTask.relation else TAIL]
        return Asked(
            task=self._task.value, number=row, triple=tuple(triple), topics=(triple[HEAD],), own=own,
            is_true=row < self._num_true,
        )  # fmt: skip


def question_pool(asked: Iterable[Asked], *, with_topic: bool) -> list[Asked]:
    """The questions of a file that have an answer in the graph, and a topic where the prompt begins with one."""
    return [question for question in asked if question.status == SCORED and (question.topics or not with_topic)]


def _entities(question: Asked) -> set[int]:
    """What an example may not have in common with a question."""
    head, _, tail = question.triple
    known = question.known if question.text else ()
    return {head, tail, *question.topics, *known} - {-1}


def _random_order(size: int, rng: np.random.Generator) -> Iterable[int]:
    """All rows in random order; of a large pool no whole permutation is made before the first are used up."""
    few = rng.choice(size, min(size, AT_ONCE), replace=False).tolist()
    yield from few
    if size > len(few):
        seen = set(few)
        yield from (row for row in rng.permutation(size).tolist() if row not in seen)
