"""From questions to records: links, paths, rationale, judgement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm.config import PathsConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.paths import Found, Kind, PathFinder, PathQuestion
from kalm.rationale.generators import Generator, Task, Written
from kalm.rationale.linking import Link, Linker
from kalm.rationale.path_chooser import PathChooser
from kalm.rationale.question import Kind as QuestionKind
from kalm.rationale.question import Question
from kalm.rationale.record import Case
from kalm.rationale.status import Status
from kalm.rationale.support import Support, Verdict, names_entity
from kalm.rationale.verbaliser import Verbaliser

OF_VERDICT = {
    Verdict.empty: Status.empty_rationale,
    Verdict.only_answer: Status.repeats_answer,
    Verdict.foreign_entity: Status.foreign_entity,
    Verdict.no_fact: Status.no_fact,
}
WHY_NO_PATH = {
    Kind.disconnected: "question and answer lie in parts of the graph that no path joins",
    Kind.beyond_max_hops: "each path has more than paths.max_hops steps",
    Kind.start_is_goal: "the question names its own answer, and nothing else",
    Kind.expansions_exhausted: "paths.max_expansions was reached before a path was found",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Maker:
    """What a rationale needs; each part is of the same graph.

    Args:
        graph: its names.
        linker: texts to entities.
        finder: entities to paths.
        paths: how far it goes.
        chooser: which of the paths are told.
        verbaliser: paths to sentences.
        support: judges what is written.
        generator: writes.
        count_tokens: of each text; None counts none.
        max_tokens: of question, rationale and answers; None sets no limit.
    """

    graph: KnowledgeGraph
    linker: Linker
    finder: PathFinder
    paths: PathsConfig
    chooser: PathChooser
    verbaliser: Verbaliser
    support: Support
    generator: Generator
    count_tokens: Callable[[Sequence[str]], list[int]] | None
    max_tokens: int | None

    def make(self, questions: Sequence[Question]) -> list[Case]:
        """What became of each question, in their order."""
        cases = self.prepare(questions)
        written = [case for case in cases if case.is_ok]
        tasks = [self.task(case) for case in written]
        for case, task, text in zip(written, tasks, self.generator.write(tasks), strict=True):
            self._judge(case, task, text)
        self._measure([case for case in cases if case.is_ok])
        return cases

    def prepare(self, questions: Sequence[Question]) -> list[Case]:
        """Links and paths, without a rationale."""
        cases = [Case(question=question, linked=linked)
                 for question, linked in zip(questions, self.linker.link(questions), strict=True)]  # fmt: skip
        for case in cases:
            _check_links(case)
        self._search([case for case in cases if case.is_ok])
        return cases

    def task(self, case: Case) -> Task:
        return Task(case.question, case.told_answers, tuple(self.verbaliser.sentences(case.paths)))

    def _search(self, cases: Sequence[Case]) -> None:
        encoded = self.chooser.encode([case.question.text for case in cases])
        goals = [_goals(case)[: self.paths.max_answers] for case in cases]
        asked = [PathQuestion(_starts(case), [goal]) for case, own in zip(cases, goals, strict=True) for goal in own]
        found = self.finder.find_all(asked)
        for case, own, vector in zip(cases, goals, encoded, strict=True):
            self._choose(case, own, [next(found) for _ in own], vector)

    def _choose(
        self, case: Case, goals: Sequence[int], found: Sequence[Found], vector: NDArray[np.float32] | None
    ) -> None:
        """Whole paths, else partial ones where they are asked for."""
        told = self.chooser.choose([answer.paths for answer in found], vector)
        if not told:
            told = self.chooser.choose([answer.partial for answer in found], vector)
            case.is_partial = bool(told)
        case.paths = [path for _, path in told]
        if told and (self.paths.partial or not case.is_partial):
            case.told_answers = _told_answers(case, {goals[answer] for answer, _ in told})
            return
        kinds = {answer.kind for answer in found}
        stopped = Kind.expansions_exhausted in kinds
        why = Kind.expansions_exhausted if stopped else next(kind for kind in WHY_NO_PATH if kind in kinds)
        case.fail(Status.search_stopped if stopped else Status.no_path, WHY_NO_PATH[why])

    def _judge(self, case: Case, task: Task, written: Written) -> None:
        status, reason = written.status, written.reason
        answers = case.question.answers
        if status is Status.ok:
            given = (case.question.text, *answers, *case.question.choices, *task.facts)
            verdict, reason = self.support.judge(written.text, case.paths, given, answers)
            status = OF_VERDICT.get(verdict, Status.ok)
        if status is Status.ok:
            case.rationale = written.text
            named = [link for link in case.linked.answers if self._names(case, link)]
            case.names_answer = bool(named)
            told = _told_answers(case, {entity for link in named for entity in link.entity_ids})
            # a writer that names some of the answers has left the others out; one that names none may mean all
            case.told_answers = tuple(answer for answer in case.told_answers if answer in told) or case.told_answers
        else:
            case.rejected = written.text
            case.fail(status, reason)

    def _names(self, case: Case, link: Link) -> bool:
        """Whether the rationale has the answer's words, or its entity's name: an answer may be a label or an alias."""
        names = (link.text, *(self.graph.entity_names[entity] for entity in link.entity_ids))
        return any(names_entity(case.rationale, name) for name in names)

    def _measure(self, cases: Sequence[Case]) -> None:
        if self.count_tokens is None or not cases:
            return
        texts = ["\n".join((case.question.text, *case.question.choices, case.rationale, *case.told_answers))
                 for case in cases]  # fmt: skip
        for case, num_tokens in zip(cases, self.count_tokens(texts), strict=True):
            case.num_tokens = num_tokens
            if self.max_tokens is not None and num_tokens > self.max_tokens:
                case.rejected, case.rationale = case.rationale, ""
                case.fail(Status.too_long, f"{num_tokens} tokens, max_tokens is {self.max_tokens}")


def _check_links(case: Case) -> None:
    """Whether there is a start and a goal; an answer that is several entities is no goal, since nothing says which."""
    if not case.question.answers:
        case.fail(Status.no_answer, "the data gives no answer")
    elif not _starts(case):
        texts = ", ".join(repr(link.text) for link in case.linked.question)
        case.fail(Status.no_entity, f"no entity of the graph is called {texts}" if texts else "it names no entity")
    elif not any(link.entity_ids for link in case.linked.answers):
        case.fail(Status.no_answer_entity, "no answer is an entity of the graph")
    elif not _goals(case):
        texts = ", ".join(f"{link.text!r} is {len(link.entity_ids)} entities" for link in case.linked.answers
                          if link.entity_ids)  # fmt: skip
        case.fail(Status.ambiguous_answer, texts)


def _starts(case: Case) -> list[int]:
    return list(dict.fromkeys(entity for link in case.linked.question for entity in link.entity_ids))


def _goals(case: Case) -> list[int]:
    """The answers that are one entity."""
    return list(dict.fromkeys(link.entity_ids[0] for link in case.linked.answers if _is_goal(link)))


def _is_goal(link: Link) -> bool:
    return len(link.entity_ids) == 1


def _told_answers(case: Case, told: set[int]) -> tuple[str, ...]:
    """The answers whose entities are told of; all, where an entity is not that of one answer alone."""
    answers, links = case.question.answers, case.linked.answers
    if case.question.kind is QuestionKind.free_answer or len(links) != len(answers):
        return answers
    return tuple(
        answer for answer, link in zip(answers, links, strict=True) if _is_goal(link) and link.entity_ids[0] in told
    )
