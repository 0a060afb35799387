"""Ask a run and the LM that it began with, score both, and leave answers, metrics and a section of the page."""

import json
import re
from pathlib import Path
from typing import Any

from kalm.config import Decoding, KgqaConfig
from kalm.evaluation.loaded_run import LoadedRun, load_run, load_untrained
from kalm.evaluation.report import print_section_tables
from kalm.evaluation.sections import Section, Table, publish, section_name
from kalm.kgqa import report
from kalm.kgqa.answering import Answerer
from kalm.kgqa.likelihood import NUM_RANKED, SCORE, num_ranked
from kalm.kgqa.lines import Line
from kalm.kgqa.summary import summarise
from kalm.kgqa.tasks import Job, Tasks
from kalm.provenance import environment, file_digest, write_json, write_text

BASE, TUNED = "base", "tuned"


def ask(config: KgqaConfig) -> dict[str, Any]:
    """Write eval/kgqa-NAME.jsonl and .json, print the tables, renew the page.

    Returns:
        What stands in the JSON.

    Raises:
        ValueError: the folder is no run, a file is missing or bad, or the LM cannot be asked so.
    """
    for key in ("questions", "shots_from", "aliases"):  # before what takes long
        path = getattr(config, key)
        if path is not None and not Path(path).expanduser().is_file():
            raise ValueError(f"{key}: there is no file {path}")
    run = load_run(Path(config.run).expanduser())
    tasks = Tasks(run, config)
    jobs = list(tasks.jobs())
    notes = _notes(tasks, jobs, config)
    for note in notes:
        print(note)
    lines = _answers(run, tasks, jobs, config)
    result = {
        "protocol": _protocol(run, tasks, jobs, config),
        "tasks": summarise(lines, config.ties),
        "step": run.description["step"],
        "environment": environment(),
    }
    name = file_name(config)
    _store(run.folder / "eval", name, result, lines)
    made = report.tables(result["tasks"], result["protocol"])
    title = f"{run.folder.resolve().name}, {name}, step {result['step']}"
    print(title)
    print_section_tables(made)
    print(f"files: {run.folder / 'eval' / name}.json and .jsonl")
    parts: list[str | Table] = [_in_words(result["protocol"]), *notes, *made]
    asked = f"Questions answered in writing: {name.removeprefix('kgqa-')}"
    publish(run.folder, Section(name=section_name(name), title=asked, step=result["step"], parts=parts))
    return result


def file_name(config: KgqaConfig) -> str:
    """kgqa-NAME: by default what is asked, the prompt, the examples and the decoding."""
    if config.name is not None:
        return f"kgqa-{config.name}"
    asked = config.split
    if config.questions is not None:
        asked = f"questions-{re.sub(r'[^a-zA-Z0-9.]+', '_', Path(config.questions).stem)}"
    bare = [] if config.descriptions else ["bare"]
    return "-".join(["kgqa", asked, config.prompt.value, f"{config.shots}shot", config.decoding.value, *bare])


def _answers(run: LoadedRun, tasks: Tasks, jobs: list[Job], config: KgqaConfig) -> list[Line]:
    """Of the base first, where it is asked."""
    tuned = Answerer(TUNED, run.encoder, run, tasks, config)
    found = [tuned.answer(job) for job in jobs]
    if not config.baseline:
        return [line for lines in found for line in lines]
    run.encoder.to("meta")  # room for the untrained LM
    base = Answerer(BASE, load_untrained(run), run, tasks, config)
    return [line for job, lines in zip(jobs, found, strict=True) for part in (base.answer(job), lines) for line in part]


def _notes(tasks: Tasks, jobs: list[Job], config: KgqaConfig) -> list[str]:
    """What is to be known of files and names before any number."""
    notes = [str(account) for account in tasks.accounts]
    if tasks.num_unknown_aliases:
        notes.append(f"aliases: {tasks.num_unknown_aliases:,} lines are of no entity of the graph")
    notes += [note for job in jobs if (note := _rank_note(job, tasks, config)) is not None]
    tries = {id(job.options.trie): job.options.trie for job in jobs if job.options is not None}
    return [*notes, *dict.fromkeys(line for trie in tries.values() for line in trie.describe_faults())]


def _rank_note(job: Job, tasks: Tasks, config: KgqaConfig) -> str | None:
    """That fewer questions than usual are ranked by default, where that is so."""
    if config.rank_questions is not None or job.options is None or (tasks.is_own and job.task == "relation"):
        return None
    size, usual = num_ranked(None, job.options.trie), min(NUM_RANKED, len(job.scored))
    if size >= usual:
        return None
    return (f"{job.task}: candidates are ranked for {size:,} questions, not {usual:,}, since each reads "
            f"{len(job.options.trie.tree.tokens):,} tokens of names; rank_questions=N ranks N")  # fmt: skip


def _protocol(run: LoadedRun, tasks: Tasks, jobs: list[Job], config: KgqaConfig) -> dict[str, Any]:
    """How it was asked and scored."""
    own = tasks.is_own
    protocol: dict[str, Any] = {
        "asked": config.split if config.questions is None else Path(config.questions).name,
        "questions_digest": None if config.questions is None else file_digest(Path(config.questions).expanduser()),
        "files": [account.as_json() for account in tasks.accounts],
        "sample": {"size": config.num_questions, "seed": config.seed},
        "prompt": "the run's template" if own else config.prompts.name,
        "descriptions": config.descriptions,
        "shots": config.shots,
        "decoding": config.decoding.value,
        "num_beams": config.num_beams,
        "num_answers": config.num_answers,
        "max_new_tokens": config.max_new_tokens if config.decoding is not Decoding.constrained else None,
        "filter": list(config.filter),
        "ties": config.ties.value,
        "candidates": {job.task: len(job.options.labels) for job in jobs if job.options is not None},
        "ranked": {
            "size": {job.task: num_ranked(config.rank_questions, job.options.trie) for job in jobs if job.options},
            "score": SCORE,
        },
        "beta": config.beta,
        "aliases": config.aliases is not None,
    }
    if any(job.task == "classification" for job in jobs):
        by_score = f"by {SCORE} of the tail, beta {config.beta:g}; threshold per relation chosen on valid"
        protocol["classification"] = by_score if own else "true where yes is likelier than no"
    if own and any(job.task == "relation" for job in jobs):
        protocol["relation"] = f"every relation tried; {SCORE} of the tail, beta {config.beta:g}"
    return protocol


def _in_words(protocol: dict[str, Any]) -> str:
    size = protocol["sample"]["size"]
    asked = f"{protocol['asked']}, {'all' if size is None else f'at most {size:,}'}"
    parts = [
        f"asked: {asked} (seed {protocol['sample']['seed']})",
        f"prompt: {protocol['prompt']}, {protocol['shots']} examples",
        f"descriptions: {'yes' if protocol['descriptions'] else 'no'}",
        f"decoding: {protocol['decoding']}, {protocol['num_beams']} beams",
        f"scores: {SCORE}, beta {protocol['beta']:g}",
        f"filtered by {' + '.join(protocol['filter'])}",
        f"ties {protocol['ties']}",
    ]
    return "; ".join(parts)


def _store(folder: Path, name: str, result: dict[str, Any], lines: list[Line]) -> None:
    folder.mkdir(exist_ok=True)
    # the JSON comes last, so that answers without it are known to be of an evaluation that was broken off
    (folder / f"{name}.json").unlink(missing_ok=True)
    write_text(folder / f"{name}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_json(folder / f"{name}.json", result)
