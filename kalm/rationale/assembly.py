"""All that makes rationales, put together as the config says."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from kalm.config import RationalesConfig, Writer
from kalm.distributed import threads_of_process
from kalm.graph.adjacency import build_adjacency
from kalm.graph.knowledge_graph import KnowledgeGraph, Triples
from kalm.graph.landmarks import stored_landmarks
from kalm.graph.path_choice import relation_rarity
from kalm.graph.paths import PathFinder, PathSearch, SearchLimits
from kalm.model.loading import load_saved_tokenizer
from kalm.rationale.embeddings import RunEmbeddings
from kalm.rationale.endpoint import EndpointGenerator
from kalm.rationale.generators import Generator, LocalGenerator, TemplateGenerator
from kalm.rationale.leak import without_facts_of
from kalm.rationale.linking import Linker
from kalm.rationale.maker import Maker
from kalm.rationale.path_chooser import PathChooser
from kalm.rationale.phrases import phrases_of
from kalm.rationale.support import Support
from kalm.rationale.verbaliser import Verbaliser

MAX_THREADS = 8  # of the search; each has 16 bytes per entity of its own


def build_maker(config: RationalesConfig, graph: KnowledgeGraph, out: Path) -> tuple[Maker, int]:
    """All that makes rationales, and how many triples no path may use."""
    count_tokens = None if config.tokenizer is None else _token_counter(config.tokenizer)
    embeddings = None if config.run is None else RunEmbeddings(config.run, graph)
    linker = _linker(config, graph, embeddings)
    triples: Triples = np.concatenate([graph.triples[split] for split in config.paths.splits])
    kept = triples
    if config.leave_out:
        files = [Path(path).expanduser() for path in config.leave_out]
        kept = without_facts_of(triples, files, linker, graph)
    paths = config.paths
    adjacency = build_adjacency(
        kept, num_entities=graph.num_entities, num_relations=graph.num_relations, seed=paths.seed
    )
    landmarks = None
    if paths.num_landmarks:
        landmarks = stored_landmarks(
            adjacency, config.data.cache_folder, num_landmarks=paths.num_landmarks, seed=paths.seed
        )
    search = PathSearch(
        search=paths.search.value, landmarks=landmarks, num_anchors=paths.num_anchors, anchor_hops=paths.anchor_hops,
        seed=paths.seed,
    )  # fmt: skip
    limits = SearchLimits(max_hops=paths.max_hops, max_paths=paths.candidates, max_expansions=paths.max_expansions)
    maker = Maker(
        graph=graph,
        linker=linker,
        finder=PathFinder(adjacency, limits=limits, search=search, num_threads=min(MAX_THREADS, threads_of_process())),
        paths=paths,
        chooser=PathChooser(paths, relation_rarity(adjacency), embeddings),
        verbaliser=Verbaliser(graph.entity_names, phrases_of(graph, config.phrases)),
        support=Support(linker.index, graph.entity_names, linker.ignored),
        generator=_generator(config, out),
        count_tokens=count_tokens,
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
