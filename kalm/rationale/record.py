"""One line of the file of rationales: written from what became of a question, and read again for training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from kalm.graph.account import Ledger
from kalm.graph.files import read_blocks
from kalm.graph.formats.json_text import parse_json
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.paths import Path
from kalm.rationale.linking import Link, Linked
from kalm.rationale.question import Kind, Question
from kalm.rationale.status import Status

BEGINNING = b'{"number": '  # of each line


@dataclass(kw_only=True, slots=True)
class Case:
    """A question on its way to a rationale.

    Args:
        question: as read.
        linked: its entities.
        status, reason: `ok` as long as nothing is wrong.
        paths: for the rationale, the best of each answer first.
        is_partial: they end short of the answers.
        told_answers: those that the paths are of; the others' facts are not told.
        rationale: judged good, else empty.
        rejected: what was written and judged otherwise.
        names_answer: whether the rationale holds an answer's name.
        num_tokens: of question, rationale and answers; None where no tokenizer counts.
    """

    question: Question
    linked: Linked
    status: Status = Status.ok
    reason: str = ""
    paths: Sequence[Path] = ()
    is_partial: bool = False
    told_answers: tuple[str, ...] = ()
    rationale: str = ""
    rejected: str = ""
    names_answer: bool = False
    num_tokens: int | None = None

    @property
    def is_ok(self) -> bool:
        return self.status is Status.ok

    def fail(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason


def as_record(
    case: Case, graph: KnowledgeGraph, generator: Mapping[str, Any], digests: Mapping[str, str]
) -> dict[str, Any]:
    """The line's object, with the labels of entities and relations, and names for people to read."""
    question = case.question
    return {
        "number": question.number,
        "line": question.line,
        "id": question.own_id,
        "kind": question.kind.value,
        "question": question.text,
        "choices": list(question.choices),
        "answers": list(question.answers),
        "status": case.status.value,
        "reason": case.reason,
        "links": [_as_json(link, graph) for link in case.linked.question],
        "answer_links": [_as_json(link, graph) for link in case.linked.answers],
        "paths": [_path(path, graph) for path in case.paths],
        "is_partial": case.is_partial,
        "told_answers": list(case.told_answers),
        "rationale": case.rationale,
        "rejected": case.rejected,
        "names_answer": case.names_answer,
        "num_tokens": case.num_tokens,
        "generator": dict(generator),
        "digests": dict(digests),
    }


def _as_json(link: Link, graph: KnowledgeGraph) -> dict[str, Any]:
    return {"text": link.text, "entities": [graph.entity_labels[entity] for entity in link.entity_ids],
            "how": link.how.value}  # fmt: skip


def _path(path: Path, graph: KnowledgeGraph) -> dict[str, Any]:
    """Entities and relations as they are walked; `inverse` where a triple is walked from its tail."""
    return {
        "entities": [graph.entity_labels[entity] for entity in path.entities],
        "names": [graph.entity_names[entity] for entity in path.entities],
        "relations": [graph.relation_labels[step.relation] for step in path.steps],
        "inverse": [step.direction == "head" for step in path.steps],
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Rationale:
    """What a model is tuned with.

    Args:
        number: of the question in its file, from 0.
        kind: how it is answered.
        question, choices: see `Question`.
        answers: of the question, those that the rationale's paths are of; at least one.
        rationale: never empty.
    """

    number: int
    kind: Kind
    question: str
    answers: tuple[str, ...]
    choices: tuple[str, ...]
    rationale: str


def read_rationales(
    path: FilePath, *, graph_digest: str | None = None, left_out: dict[str, int] | None = None
) -> Iterator[Rationale]:
    """The records whose status is `ok`, in bounded memory; all others are left out.

    Args:
        path: of the file.
        graph_digest: of the graph that they must be of, see `resuming.graph_digest`.
        left_out: how many are left out is added to it, by status.

    Raises:
        ValueError: there is no such file, a line is no record, or it is of another graph.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; launch/rationales.py makes it")
    for block in read_blocks(path, Ledger(max_bad_lines=None).open(path)):
        for line, content in block.numbered_lines():
            if not content.strip():
                continue
            try:
                row = parse_json(content)
                status, digest = Status(row["status"]), str(row["digests"]["graph"])
                found = _rationale(row) if status is Status.ok else None
            except (ValueError, TypeError, LookupError) as error:
                raise ValueError(f"{path}:{line}: no record of launch/rationales.py ({error}); cut the file there, or "
                                 "make it anew") from None  # fmt: skip
            if graph_digest is not None and digest != graph_digest:
                raise ValueError(f"{path}:{line}: made from another graph ({digest}, not {graph_digest}); take "
                                 "the graph that it was made from, or make it anew from this one")  # fmt: skip
            if found is not None:
                yield found
            elif left_out is not None:
                left_out[status.value] = left_out.get(status.value, 0) + 1


def _rationale(row: Mapping[str, Any]) -> Rationale:
    if not row["rationale"].strip() or not row["told_answers"]:
        raise ValueError("status ok without rationale or told answer")
    return Rationale(
        number=row["number"], kind=Kind(row["kind"]), question=row["question"], answers=tuple(row["told_answers"]),
        choices=tuple(row["choices"]), rationale=row["rationale"],
    )  # fmt: skip
