"""Ask every system the same questions, compare them, and leave answers, metrics, a table and sections of pages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kalm.config import Decoding, QaConfig
from kalm.evaluation.loaded_run import load_run, load_untrained
from kalm.evaluation.report import print_section_tables
from kalm.evaluation.sections import Section, Table, publish, section_name
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.kgqa.likelihood import SCORE
from kalm.kgqa.lines import Line
from kalm.kgqa.scoring import Vocabulary
from kalm.model.loading import read_description
from kalm.provenance import environment, file_digest, write_json, write_text
from kalm.qa import report
from kalm.qa.answering import BETA, Examinee
from kalm.qa.known import KnownFacts
from kalm.qa.questions import Item, read_items
from kalm.qa.summary import summarise
from kalm.qa.systems import Member, System, find_folders, group_runs

RESULT, LINES, TABLE = "qa.json", "qa.jsonl", "qa.md"
UNFINISHED = "qa.unfinished.jsonl"  # lines of the LMs asked so far; an earlier evaluation stays until all are


def compare(config: QaConfig) -> dict[str, Any]:
    """Write OUT/qa.jsonl, qa.md and qa.json, print the tables, renew the runs' pages.

    Each LM's answers are on the disk before the next is asked.

    Returns:
        What stands in the JSON.

    Raises:
        ValueError: a folder is no run, the runs are of different graphs or words, a file is missing or bad, or an LM
            cannot be asked so.
    """
    qa, out = _check_files(config)
    folders = find_folders(config.runs)
    systems = group_runs(folders, config.prompts, with_base=config.base)
    _check_names(config, systems)
    _check_graphs(folders)
    exam = Exam(config, qa)
    lines, steps = list[Line](), dict[Path, int]()
    for system in systems:
        for member in system.members:
            found, step = exam.answers(system.name, member)
            _store_lines(out, found, is_first=not lines)
            lines += found
            steps[member.folder] = step
    result = {
        "protocol": exam.protocol(systems),
        **summarise(lines, config.reference, config.known.by),
        "steps": {str(folder): step for folder, step in steps.items()},
        "environment": environment(),
    }
    made = report.tables(result)
    title, words = f"Questions without rationale: {qa.name}", _in_words(result["protocol"])
    _store(out, result, report.as_markdown(title, words, made))
    print(title)
    print_section_tables(made)
    print(f"files: {out / RESULT}, {LINES}, {TABLE}")
    if config.page:
        name = section_name(f"qa-{config.name or qa.stem}")
        parts: list[str | Table] = [words, *made]
        for folder in folders:
            publish(folder, Section(name=name, title=title, step=steps[folder], parts=parts))
    return result


class Exam:
    """The questions, read and linked once, and asked one LM after the other."""

    def __init__(self, config: QaConfig, path: Path) -> None:
        self._config, self._path = config, path
        self._items: list[Item] = []

    def answers(self, system: str, member: Member) -> tuple[list[Line], int]:
        """One line per question, and the step of the run."""
        run = load_run(member.folder)
        if not self._items:
            self._link(run.graph)
        encoder = run.encoder
        if member.is_base:
            encoder.to("meta")  # room for the untrained LM
            encoder = load_untrained(run)
        label = system if member.seed is None else f"{system}, seed {member.seed}"
        print(f"{label}: {len(self._items):,} questions", flush=True)
        lines = Examinee(run, encoder, self._entities, self._config, label).answer(self._items)
        if self._facts is not None:
            known = self._facts.known_by(run, encoder, self._config.ranking, label)
            for line, is_known in zip(lines, known, strict=True):
                line["known"] = is_known
        encoder.to("meta")  # room for the next
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        who = {"system": system, "run": str(member.folder), "seed": member.seed}
        return [{**who, **line} for line in lines], run.description["step"]

    def _link(self, graph: KnowledgeGraph) -> None:
        """Read the questions with the first run's graph, which is that of all."""
        config = self._config
        self._entities = Vocabulary(graph.entity_names)
        self._items = read_items(self._path, graph, self._entities, config.num_questions, config.seed)
        self._facts = KnownFacts(graph, self._items, config.known, config.seed) if config.known.measured else None

    def protocol(self, systems: Sequence[System]) -> dict[str, Any]:
        """How it was asked, scored and ranked."""
        config, facts = self._config, self._facts
        return {
            "questions": self._path.name,
            "questions_digest": file_digest(self._path),
            "sample": {"size": config.num_questions, "seed": config.seed},
            "systems": {
                system.name: [{"run": str(member.folder), "seed": member.seed} for member in system.members]
                for system in systems
            },
            "prompt": config.prompts.questions.ask.replace("{input}", config.prompts.question.input),
            "rationale": False,
            "short_answers": {
                "decoding": config.decoding.value, "num_beams": config.num_beams, "num_answers": config.num_answers,
                "max_new_tokens": config.max_new_tokens if config.decoding is Decoding.free else None,
            },
            "choices": f"{SCORE}, beta {BETA:g}",
            "free_answers": {"num_beams": config.num_beams, "max_new_tokens": config.max_new_tokens},
            "known": None if facts is None else {
                "facts": facts.num_facts, "candidates": facts.num_candidates, "beta": config.known.beta,
                "max_hops": config.known.max_hops, "score": "log p(text | head, relation) / length^beta",
            },
        }  # fmt: skip


def _check_files(config: QaConfig) -> tuple[Path, Path]:
    """What can be seen before anything is loaded."""
    qa, out = Path(config.qa).expanduser(), Path(config.out).expanduser()
    if not qa.is_file():
        raise ValueError(f"qa: there is no file {qa}; expected questions as .jsonl or as lines of `question with the "
                         "[topic]<TAB>answer|answer`")  # fmt: skip
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, got the file {out}")
    if (out / RESULT).exists() and not config.overwrite:
        raise ValueError(f"out: {out} holds an evaluation already; take another folder, or overwrite=true")
    return qa, out


def _check_names(config: QaConfig, systems: Sequence[System]) -> None:
    names = [system.name for system in systems]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"runs: the run called {repeated[0]} has the name of the LM that runs begin with; rename its "
                         "folder, or give base=false")  # fmt: skip
    for key, name in (("reference", config.reference), ("known.by", config.known.by)):
        if name is not None and name not in names:
            raise ValueError(f"{key}={name}: no such system; there are {', '.join(names)}")


def _check_graphs(folders: Sequence[Path]) -> None:
    """That all runs are of one graph, before the first is asked; each run's own is held against it as it is loaded."""
    digests = [read_description(folder / "model")["data"] for folder in folders]
    for folder, found in zip(folders, digests, strict=True):
        if found != digests[0]:
            raise ValueError(f"runs: {folders[0]} and {folder} are of different graphs, so what is right differs; "
                             "compare runs of one graph")  # fmt: skip


def _in_words(protocol: dict[str, Any]) -> str:
    size, short, known = protocol["sample"]["size"], protocol["short_answers"], protocol["known"]
    parts = [
        f"asked: {protocol['questions']}, "
        + ("all" if size is None else f"at most {size:,} (seed {protocol['sample']['seed']})"),
        f"short answers: {short['decoding']}, {short['num_beams']} beams",
        "no rationale is shown to any system",
    ]
    if known is not None:
        parts.append(f"{known['facts']:,} facts ranked among {known['candidates']:,} entities and the answer")
    return "; ".join(parts)


def _store_lines(out: Path, lines: Sequence[Line], *, is_first: bool) -> None:
    """Those of one member."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / UNFINISHED).open("w" if is_first else "a", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _store(out: Path, result: dict[str, Any], table: str) -> None:
    # the JSON goes first and comes last, so that it never stands beside other answers than its own
    (out / RESULT).unlink(missing_ok=True)
    (out / UNFINISHED).replace(out / LINES)
    write_text(out / TABLE, table)
    write_json(out / RESULT, result)
