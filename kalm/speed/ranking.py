"""Exact filtered ranks against the bare matrix product and against pykeen's evaluator, and top-10 answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from kalm.config import IndexKind
from kalm.evaluation import cosine_ranks
from kalm.evaluation.cosine_ranks import rank_by_cosine
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.questions import Questions
from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, KnowledgeGraph
from kalm.speed.measure import Row, peak_memory, peak_of_call, rates, ratio_row, take_turns, value_row

# of WN18RR's test split, and vectors of a small LM
NUM_ENTITIES, NUM_TRIPLES, NUM_TEST, SIZE = 40_943, 93_003, 3_134, 768
NUM_RELATIONS = 11
MEMORY_MIB = 256
PYKEEN_BATCH = 128
MANY_ENTITIES, MANY_TEST = 5_000_000, 128
# entities per kind of index: HNSW takes hours to build over millions
INDEXES = {IndexKind.flat: 5_000_000, IndexKind.ivf: 5_000_000, IndexKind.hnsw: 300_000}
INDEXED_SIZE = 256
CPU = torch.device("cpu")


def measure_ranking(*, repeats: int) -> list[Row]:
    """Ranks of both directions of 3,134 triples among 40,943 entities, filtered, with ties."""
    task = _task()
    systems = {"kalm": _kalm(*task), "product": _product(*task), "pykeen": _pykeen(*task)}
    ours, theirs = systems["kalm"](), systems["pykeen"]()
    if not np.isclose(
        (1 / ours.realistic.numpy()).mean(), theirs.get_metric("both.realistic.inverse_harmonic_mean_rank")
    ):
        raise ValueError("kalm and pykeen find different ranks for the same scores")
    seconds = take_turns(systems, repeats)
    speeds = {name: rates(len(task[1]), times) for name, times in seconds.items()}
    rows = [
        ratio_row(f"ranking_vs_{name}", "queries/s", speeds["kalm"], speeds[name], more_is_better=True)
        for name in ("pykeen", "product")
    ]
    added = [peak_memory(_prepared, name)[1] for name in ("kalm", "pykeen")]
    return [*rows, ratio_row("memory_added_by_ranking_vs_pykeen", "MiB", added[:1], added[1:], more_is_better=False)]


def measure_many_entities(*, repeats: int) -> list[Row]:
    """Ranks of 256 queries among 5 million entities of 768 dimensions, in bounded memory, and the ten best for one."""
    index, questions, queries = _task(MANY_ENTITIES, 3 * MANY_TEST, MANY_TEST)
    seconds = take_turns({"kalm": _kalm(index, questions, queries), "product": _product(index, questions, queries),
                          "top 10": lambda: index.search(queries[:1], 10)}, repeats)  # fmt: skip
    speeds = {name: rates(len(questions), seconds[name]) for name in ("kalm", "product")}
    _, added = peak_of_call(_kalm(index, questions, queries))
    return [
        ratio_row("ranking_5m_vs_product", "queries/s", speeds["kalm"], speeds["product"], more_is_better=True),
        value_row("memory_added_by_ranking_5m", "MiB", [added]),
        value_row("top_10_of_5m_exact", "seconds per query", seconds["top 10"]),
    ]


def measure_indexes(*, repeats: int) -> list[Row]:
    """Top-10 answers for one query, exact and by approximate indexes tuned to a recall@10 of 0.95."""
    rows = []
    for kind, num_entities in INDEXES.items():
        vectors = _clustered(num_entities)
        index = EntityIndex(vectors, kind)
        recall = 1.0 if kind is IndexKind.flat else index.tune()
        asked = iter(vectors[:: num_entities // (repeats + 2)])
        seconds = take_turns({"search": lambda: index.search(next(asked)[None], 10)}, repeats)["search"]  # noqa: B023
        rows += [value_row(f"top_10_of_{num_entities}_by_{kind.value}", "seconds per query", seconds),
                 value_row(f"recall_at_10_of_{num_entities}_by_{kind.value}", "share", [recall])]  # fmt: skip
    return rows


def _clustered(num_entities: int) -> Tensor:
    """Unit vectors in clusters of about a hundred, since evenly spread ones have no neighbours to find."""
    generator = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(num_entities // 100, INDEXED_SIZE, generator=generator), dim=1)
    vectors = torch.empty(num_entities, INDEXED_SIZE)
    for start in range(0, num_entities, 2**16):
        block = vectors[start : start + 2**16].normal_(generator=generator).mul_(0.7 / INDEXED_SIZE**0.5)
        block += centres[torch.randint(len(centres), (len(block),), generator=generator)]
        F.normalize(block, dim=1, out=block)
    return vectors


def _task(
    num_entities: int = NUM_ENTITIES, num_triples: int = NUM_TRIPLES, num_test: int = NUM_TEST
) -> tuple[EntityIndex, Questions, Tensor]:
    """Random triples over random vectors, some of them equal, in the sizes of a graph."""
    random = np.random.default_rng(0)
    limits = (num_entities, NUM_RELATIONS, num_entities)
    triples = np.unique(np.stack([random.integers(limit, size=num_triples) for limit in limits], axis=1), axis=0)
    triples = random.permutation(triples)
    labels = range(num_entities)
    graph = KnowledgeGraph(
        entity_labels=labels, entity_names=labels, entity_descriptions=labels,  # type: ignore[arg-type]
        relation_labels=range(NUM_RELATIONS), relation_names=range(NUM_RELATIONS), num_named=0,  # type: ignore[arg-type]
        triples=dict(zip(SPLITS, np.split(triples, [-2 * num_test, -num_test]), strict=True)),
    )  # fmt: skip
    questions = Questions(graph, graph.directed("test"), SPLITS)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.empty(num_entities, SIZE)
    for start in range(0, num_entities, 2**16):
        block = vectors[start : start + 2**16]
        F.normalize(block.normal_(generator=generator), dim=1, out=block)
    vectors[1::100] = vectors[0::100][: len(vectors[1::100])]  # equal texts
    # a query that is asked twice has one vector
    _, first = np.unique(questions.directed[:, [HEAD, RELATION]], axis=0, return_inverse=True)
    queries = F.normalize(torch.randn(int(first.max()) + 1, SIZE, generator=generator), dim=1)[first]
    return EntityIndex(vectors), questions, queries


def _kalm(index: EntityIndex, questions: Questions, queries: Tensor) -> Callable[[], Any]:
    return lambda: rank_by_cosine(index, queries, questions, MEMORY_MIB, CPU)


def _product(index: EntityIndex, questions: Questions, queries: Tensor) -> Callable[[], Any]:
    """The scores alone, in the same tiles, which are the fastest of those tried; each is thrown away."""
    at_once = min(cosine_ranks.QUERIES_AT_ONCE, len(questions))
    width = cosine_ranks.tile_width(MEMORY_MIB, CPU, at_once)

    def multiply() -> None:
        for first in range(0, len(queries), at_once):
            for start in range(0, len(index.vectors), width):
                queries[first : first + at_once] @ index.vectors[start : start + width].T

    return multiply


def _pykeen(index: EntityIndex, questions: Questions, queries: Tensor) -> Callable[[], Any]:
    """The evaluator of pykeen with a model whose scores are the same products."""
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.models import Model
    from pykeen.triples import CoreTriplesFactory

    graph = questions.graph
    first_of = {tuple(query): row for row, query in enumerate(questions.directed[:, :2].tolist())}

    class Products(Model):  # type: ignore[no-untyped-call]
        def __init__(self, factory: CoreTriplesFactory) -> None:
            super().__init__(triples_factory=factory, random_seed=0)
            self.anchor = torch.nn.Parameter(torch.zeros(1))  # says on which device the model is

        def _scores(self, pairs: list[tuple[int, int]]) -> Tensor:
            return queries[[first_of[pair] for pair in pairs]] @ index.vectors.T

        def score_t(self, hr_batch: Tensor, **_: Any) -> Tensor:
            return self._scores([(head, relation) for head, relation in hr_batch.tolist()])

        def score_h(self, rt_batch: Tensor, **_: Any) -> Tensor:
            return self._scores([(tail, relation + graph.num_relations) for relation, tail in rt_batch.tolist()])

        def score_hrt(self, *_: Any, **__: Any) -> Tensor:
            raise NotImplementedError

        def score_r(self, *_: Any, **__: Any) -> Tensor:
            raise NotImplementedError

        def _get_entity_len(self, **_: Any) -> int:
            return graph.num_entities

        def _reset_parameters_(self) -> None: ...

        def collect_regularization_term(self) -> Tensor:
            return torch.zeros(1)

    triples = {split: torch.from_numpy(graph.triples[split]) for split in SPLITS}
    factory = CoreTriplesFactory(triples["train"], graph.num_entities, graph.num_relations)
    model = Products(factory)
    return lambda: RankBasedEvaluator(filtered=True).evaluate(
        model, triples["test"], batch_size=PYKEEN_BATCH, use_tqdm=False,
        additional_filter_triples=[triples["train"], triples["valid"]], do_time_consuming_checks=False,
    )  # fmt: skip


def _prepared(name: str) -> Callable[[], Any]:
    """For a process of its own."""
    call = {"kalm": _kalm, "pykeen": _pykeen}[name](*_task())
    call()  # libraries and buffers of a first call are not counted
    return call
