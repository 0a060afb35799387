"""What `launch/rationales.py` does: questions in, one record each out, from where an earlier run stopped."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from kalm.config import RationalesConfig, Writer
from kalm.data import read_graph
from kalm.graph.adjacency import build_adjacency
from kalm.graph.knowledge_graph import KnowledgeGraph, Triples
from kalm.graph.path_choice import relation_rarity
from kalm.graph.paths import PathFinder, PathSearch, SearchLimits
from kalm.model.loading import load_saved_tokenizer
from kalm.provenance import environment, file_digest, write_json
from kalm.rationale.cost import Estimate, estimate
from kalm.rationale.embeddings import RunEmbeddings
from kalm.rationale.endpoint import EndpointGenerator
from kalm.rationale.generators import Generator, LocalGenerator, TemplateGenerator
from kalm.rationale.leak import without_facts_of
from kalm.rationale.line_file import LineFile
from kalm.rationale.linking import Linker
from kalm.rationale.maker import Maker
from kalm.rationale.path_chooser import PathChooser
from kalm.rationale.phrases import phrases_of
from kalm.rationale.progress import Progress
from kalm.rationale.question import read_questions
from kalm.rationale.record import as_record
from kalm.rationale.summary import print_summary, summarise
from kalm.rationale.support import Support
from kalm.rationale.verbaliser import Verbaliser

NUM_SAMPLED = 500  # questions that the cost is estimated from
# sections that change no record: what they name is known by its digest, or is no matter of content
NO_CONTENT = ("data", "qa", "out", "overwrite", "at_once", "debug")


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
    digests = {"graph": graph.digest()[:16], "questions": file_digest(qa)[:16], "config": config_digest(config)}
    file = _open(out, digests, config.overwrite)
    try:
        num_done = sum(1 for _ in file)
        maker, num_left_out = _maker(config, graph, out)
        generator = maker.generator
        if isinstance(generator, EndpointGenerator):
            told = _estimate(config, maker, generator, qa, num_done, num_questions)
            print(told, flush=True)
            if config.generator.endpoint.estimate_only:
                return {"estimate": asdict(told)}
        _write(config, maker, file, qa, num_done, num_questions, digests)
        summary = {
            **summarise(file),
            "questions_in_this_run": num_questions - num_done,
            "seconds": time.monotonic() - started,
            "triples_left_out": num_left_out,
            "generator": generator.description,
            "endpoint": _paid(generator),
            "digests": digests,
            "environment": environment(),
        }
    finally:
        file.close()
    write_json(out.with_name(f"{out.name}.summary.json"), summary)
    print_summary(summary, str(out))
    return summary


def config_digest(config: RationalesConfig) -> str:
    """Of all that a record depends on beside graph and questions; files are known by their bytes."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    content: dict[str, Any] = {str(key): value for key, value in plain.items() if key not in NO_CONTENT}
    content["leave_out"] = [file_digest(Path(path).expanduser()) for path in config.leave_out]
    linking = content["linking"]
    if config.linking.aliases is not None:
        linking["aliases"] = file_digest(Path(config.linking.aliases).expanduser())
    endpoint = content["generator"]["endpoint"]
    # how it is asked, not what
    content["generator"]["endpoint"] = {key: endpoint[key] for key in ("model", "temperature", "max_new_tokens")}
    content["generator"]["local"].pop("batch_size")
    for key in ("search", "num_anchors", "anchor_hops"):  # the paths are the same
        content["paths"].pop(key)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _check_files(config: RationalesConfig, qa: Path, out: Path) -> int:
    """Read all questions once, so that a bad line stops the run before anything is paid for; how many there are."""
    if not out.absolute().parent.is_dir():
        raise ValueError(f"out: there is no folder {out.parent} for {out.name}")
    if out.is_dir():
        raise ValueError(f"out must be a file, got the folder {out}")
    if out.exists() and qa.exists() and out.samefile(qa):
        raise ValueError(f"out and qa are both {out}: rationales take a file of their own")
    for key, paths in (("qa", [config.qa]), ("leave_out", config.leave_out)):
        for path in map(Path, paths):
            if not path.expanduser().is_file():
                raise ValueError(f"{key}: there is no file {path}")
    if config.linking.aliases is not None and not Path(config.linking.aliases).expanduser().is_file():
        raise ValueError(f"linking.aliases: there is no file {config.linking.aliases}")
    num_questions = sum(1 for _ in read_questions(qa))
    if num_questions == 0:
        raise ValueError(f"{qa}: the file has no question")
    return num_questions


def _open(out: Path, digests: dict[str, str], overwrite: bool) -> LineFile:
    """The file to go on with.

    Raises:
        ValueError: it was made from another graph, other questions or another config, or is something else.
    """
    if overwrite:
        out.unlink(missing_ok=True)
    elif out.exists():
        first = out.open("rb").readline()
        if first.endswith(b"\n") and b'"digests"' not in first:
            raise ValueError(f"out: {out} exists and holds no rationales; take another file, or overwrite=true")
    file = LineFile(out)
    try:
        _check_lines(file, digests)
    except ValueError:
        file.close()
        raise
    if file.was_torn:
        print(f"{out}: the last line was not whole and is cut off; its question is asked again", flush=True)
    return file


def _check_lines(file: LineFile, digests: dict[str, str]) -> None:
    for number, row in enumerate(file):
        if row.get("number") != number:
            raise ValueError(f"{file.path}:{number + 1}: expected the record of question {number}; overwrite=true "
                             "makes the file anew")  # fmt: skip
        if other := [part for part, digest in digests.items() if row["digests"].get(part) != digest]:
            raise ValueError(f"out: {file.path} was made from another {' and '.join(other)}; take another file, or "
                             "overwrite=true")  # fmt: skip


def _maker(config: RationalesConfig, graph: KnowledgeGraph, out: Path) -> tuple[Maker, int]:
    """All that makes rationales, and how many triples no path may use."""
    embeddings = None if config.run is None else RunEmbeddings(config.run, graph)
    linker = _linker(config, graph, embeddings)
    triples: Triples = np.concatenate([graph.triples[split] for split in config.paths.splits])
    kept = triples
    if config.leave_out:
        files = [Path(path).expanduser() for path in config.leave_out]
        kept = without_facts_of(triples, files, linker, graph.num_entities)
    paths = config.paths
    adjacency = build_adjacency(
        kept, num_entities=graph.num_entities, num_relations=graph.num_relations, seed=paths.seed
    )
    search = PathSearch(
        search=paths.search.value, num_anchors=paths.num_anchors, anchor_hops=paths.anchor_hops, seed=paths.seed
    )
    limits = SearchLimits(max_hops=paths.max_hops, max_paths=paths.candidates, max_expansions=paths.max_expansions)
    maker = Maker(
        graph=graph,
        linker=linker,
        finder=PathFinder(adjacency, limits=limits, search=search),
        paths=paths,
        chooser=PathChooser(paths, relation_rarity(adjacency), embeddings),
        verbaliser=Verbaliser(graph.entity_names, phrases_of(graph, config.phrases)),
        support=Support(linker.index, graph.entity_names, linker.ignored),
        generator=_generator(config, out),
        count_tokens=None if config.tokenizer is None else _token_counter(config.tokenizer),
        max_tokens=config.max_tokens,
    )
    return maker, len(triples) - len(kept)


def _linker(config: RationalesConfig, graph: KnowledgeGraph, embeddings: RunEmbeddings | None) -> Linker:
    min_cosine = config.linking.min_cosine
    nearest = None
    if embeddings is not None and min_cosine is not None:
        nearest = partial(embeddings.nearest, min_cosine=min_cosine)
    return Linker(graph, config.linking, nearest)


def _generator(config: RationalesConfig, out: Path) -> Generator:
    kind, instruction = config.generator.kind, config.generator.instruction
    if kind is Writer.local:
        return LocalGenerator(config.generator.local, instruction)
    if kind is Writer.endpoint:
        endpoint = config.generator.endpoint
        cache = (
            out.with_name(f"{out.name}.answers.jsonl") if endpoint.cache is None else Path(endpoint.cache).expanduser()
        )
        return EndpointGenerator(endpoint, instruction, cache)
    return TemplateGenerator()


def _token_counter(path: str) -> Callable[[Sequence[str]], list[int]]:
    try:
        tokenizer = load_saved_tokenizer(path)
    except ValueError as error:
        raise ValueError(str(error).replace("model.path", "tokenizer", 1)) from None
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), verbose=False).input_ids]


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
    with Progress(num_questions, num_done) as progress:
        while block := list(islice(questions, config.at_once)):
            cases = maker.make(block)
            file.append(as_record(case, maker.graph, maker.generator.description, digests) for case in cases)
            progress.advance(len(cases), sum(case.is_ok for case in cases))


def _paid(generator: Generator) -> dict[str, Any] | None:
    if not isinstance(generator, EndpointGenerator):
        return None
    return {"requests": generator.num_requests, "prompt_tokens": generator.prompt_tokens,
            "completion_tokens": generator.completion_tokens, "dollars": generator.dollars}  # fmt: skip
