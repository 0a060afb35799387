"""What `launch/rationales.py` does: questions in, one record each out, from where an earlier run stopped."""

import time
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from kalm.config import RationalesConfig
from kalm.data import read_graph
from kalm.progress import Progress
from kalm.provenance import environment, file_digest, write_json
from kalm.rationale.assembly import build_maker
from kalm.rationale.cost import Estimate, estimate
from kalm.rationale.endpoint import EndpointGenerator
from kalm.rationale.generators import Generator
from kalm.rationale.line_file import LineFile
from kalm.rationale.maker import Maker
from kalm.rationale.question import read_questions
from kalm.rationale.record import as_record
from kalm.rationale.resuming import config_digest, graph_digest, open_records
from kalm.rationale.summary import print_summary, summarise

NUM_SAMPLED = 500  # questions that the cost is estimated from


def make_rationales(config: RationalesConfig) -> dict[str, Any]:
    """Write a record for each question, then the summary; both are printed or told.

    Returns:
        The content of OUT.summary.json.

    Raises:
        ValueError: a file or the config is at fault, or the endpoint is; what is written stays, to be gone on with.
        OSError: a file cannot be written.
    """
    started = time.monotonic()
    qa, out = Path(config.qa).expanduser(), Path(config.out).expanduser()
    num_questions = _check_files(config, qa, out)
    graph = read_graph(config.data)
    digests = {"graph": graph_digest(graph), "questions": file_digest(qa)[:16], "config": config_digest(config)}
    file, num_done = open_records(out, digests, overwrite=config.overwrite)
    with closing(file):
        maker, num_left_out = build_maker(config, graph, out)
        with closing(maker.generator) as generator:
            if isinstance(generator, EndpointGenerator):
                told = _estimate(config, maker, generator, qa, num_done, num_questions)
                print(told, flush=True)
                if config.generator.endpoint.estimate_only:
                    return {"estimate": asdict(told)}
            _write(config, maker, file, qa, num_done, num_questions, digests)
        if config.overwrite:
            file.move_to(out.resolve())
        summary = {
            **summarise(file),
            "questions_in_this_run": num_questions - num_done,
            "seconds": time.monotonic() - started,
            "triples_left_out": num_left_out,
            "generator": generator.description,
            "endpoint_in_this_run": _paid(generator),
            "digests": digests,
            "environment": environment(),
        }
    write_json(out.with_name(f"{out.name}.summary.json"), summary)
    print_summary(summary, str(out))
    return summary


def _check_files(config: RationalesConfig, qa: Path, out: Path) -> int:
    """Read all questions once, so that a bad line stops the run before anything is paid for; how many there are."""
    if not out.absolute().parent.is_dir():
        raise ValueError(f"out: there is no folder {out.parent} for {out.name}")
    if out.exists() and not out.is_file():
        raise ValueError(f"out must be a file, got {out}")
    aliases = [] if config.linking.aliases is None else [config.linking.aliases]
    for key, paths in (("qa", [config.qa]), ("leave_out", config.leave_out), ("linking.aliases", aliases)):
        for path in (Path(path).expanduser() for path in paths):
            if not path.is_file():
                raise ValueError(f"{key}: there is no file {path}")
            if out.exists() and out.samefile(path):
                raise ValueError(f"out and {key} are both {out}: rationales take a file of their own")
    num_questions = sum(1 for _ in read_questions(qa))
    if num_questions == 0:
        raise ValueError(f"{qa}: the file has no question")
    return num_questions


def _estimate(
    config: RationalesConfig, maker: Maker, generator: EndpointGenerator, qa: Path, num_done: int, num_questions: int
) -> Estimate:
    """What the questions that are left will cost.

    Raises:
        ValueError: it is more than `max_cost`.
    """
    sample = list(islice(read_questions(qa), num_done, num_done + NUM_SAMPLED))
    prompts = generator.unpaid([maker.task(case) for case in maker.prepare(sample) if case.is_ok])
    endpoint = config.generator.endpoint
    told = estimate(
        prompts, num_sampled=len(sample), num_questions=num_questions - num_done,
        max_new_tokens=endpoint.max_new_tokens, price=generator.price,
    )  # fmt: skip
    limit = endpoint.max_cost
    if limit is not None and told.dollars is not None and told.dollars > limit and not endpoint.estimate_only:
        raise ValueError(f"generator.endpoint.max_cost={limit:g}: {told}; raise it, or ask fewer questions")
    return told


def _write(
    config: RationalesConfig, maker: Maker, file: LineFile, qa: Path, num_done: int, num_questions: int,
    digests: dict[str, str],
) -> None:  # fmt: skip
    questions = islice(read_questions(qa), num_done, None)
    if num_done:
        print(f"{num_done:,} of {num_questions:,} questions are done already; going on", flush=True)
    elif file.size:
        print(f"{file.path}, which an interrupted run with other inputs left behind, is begun anew", flush=True)
        file.clear()
    num_ok = 0
    with Progress("rationales", num_questions, num_done) as progress:
        while block := list(islice(questions, config.at_once)):
            cases = maker.make(block)
            file.append(as_record(case, maker.graph, maker.generator.description, digests) for case in cases)
            num_ok += sum(case.is_ok for case in cases)
            progress.advance(len(cases), f"{num_ok:,} ok")


def _paid(generator: Generator) -> dict[str, Any] | None:
    if not isinstance(generator, EndpointGenerator):
        return None
    return {"requests": generator.num_requests, "prompt_tokens": generator.prompt_tokens,
            "completion_tokens": generator.completion_tokens, "dollars": generator.dollars}  # fmt: skip
