"""Paths for questions of MetaQA, each search beside the others and beside networkx; and among 5 million entities."""

import re
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice, pairwise, product
from pathlib import Path as File
from typing import Any

import numpy as np

from kalm.graph.adjacency import Adjacency, build_adjacency, graph_adjacency
from kalm.graph.knowledge_graph import KnowledgeGraph, Triples
from kalm.graph.landmarks import stored_landmarks
from kalm.graph.paths import Found, PathFinder, PathQuestion, PathSearch, SearchLimits
from kalm.graph.sources import load_graph
from kalm.speed.measure import Row, peak_of_call, ratio_row, seconds_of, take_turns, value_row

LIMITS = SearchLimits(max_hops=3, max_paths=20)
SAMPLE = 100  # questions that networkx answers too
NUM_TRIPLES, NUM_ENTITIES, NUM_RELATIONS, NUM_QUERIES = 20_000_000, 5_000_000, 200, 200


def measure_questions(folder: File, *, repeats: int, sample: int = SAMPLE) -> list[Row]:
    """All questions of MetaQA's 1-hop/dev.txt, from their topic to their answers; then a sample in each way.

    Args:
        folder: MetaQA's files.
        repeats: timed repeats.
        sample: how many questions are searched in each way and by networkx.

    Raises:
        ValueError: two ways find different paths.
    """
    graph = load_graph("metaqa", folder)
    adjacency = graph_adjacency(graph)
    questions = read_questions(folder / "1-hop" / "dev.txt", graph)
    finder = PathFinder(adjacency, limits=LIMITS, num_threads=2)
    everything = take_turns({"all": lambda: list(finder.find_all(questions))}, repeats, on_the_wall=True)["all"]
    linked = [question for question in questions if question.starts and question.goals]
    random = np.random.default_rng(0)
    some = [linked[place] for place in random.choice(len(linked), min(sample, len(linked)), replace=False)]
    # a question of one hop is easy: also pairs of entities as far apart as may be
    pairs = walked_pairs(adjacency, len(some), LIMITS.max_hops, random)
    rows = [value_row(f"paths_of_{len(questions)}_questions_on_2_threads", "s", everything)]
    with tempfile.TemporaryDirectory() as cache:
        landmarks = stored_landmarks(adjacency, File(cache))
        for name, asked in (("questions", some), ("pairs", pairs)):
            rows += compare_searches(adjacency, asked, searches(landmarks), name, repeats)
    return rows + compare_with_networkx(graph, adjacency, some, repeats)


def searches(landmarks: Any) -> dict[str, PathSearch]:
    return {
        "bidirectional": PathSearch(),
        "breadth_first": PathSearch(search="breadth_first"),
        "astar_of_kale": PathSearch(search="astar"),
        "astar_with_landmarks": PathSearch(search="astar", landmarks=landmarks),
    }


def compare_searches(
    adjacency: Adjacency, asked: Sequence[PathQuestion], ways: dict[str, PathSearch], name: str, repeats: int
) -> list[Row]:
    """Milliseconds and expansions per question of each way, which all find the same paths."""
    finders = {way: PathFinder(adjacency, limits=LIMITS, search=search) for way, search in ways.items()}
    found = {way: [finder.find(question) for question in asked] for way, finder in finders.items()}
    for way, results in found.items():
        if [result.paths for result in results] != [result.paths for result in found["bidirectional"]]:
            raise ValueError(f"{way} and bidirectional search find different paths")
    calls = {way: _answers(finder, asked) for way, finder in finders.items()}
    seconds = take_turns(calls, repeats)
    rows = []
    for way, results in found.items():
        rows.append(value_row(f"{name}_{way}", "ms/question", [1e3 * s / len(asked) for s in seconds[way]]))
        rows.append(value_row(f"{name}_{way}_expansions", "mean", [statistics.mean(r.expansions for r in results)]))
    return rows


def compare_with_networkx(
    graph: KnowledgeGraph, adjacency: Adjacency, asked: Sequence[PathQuestion], repeats: int
) -> list[Row]:
    """Beside networkx's two ways to the k shortest simple paths; ratios of seconds.

    The same k best but for ties, whose order networkx leaves open: the lengths are the same.
    """
    ways = {"networkx_shortest_simple_paths": NetworkxPaths(graph).by_yen,
            "networkx_all_simple_edge_paths": NetworkxPaths(graph).by_deepening}  # fmt: skip
    finder = PathFinder(adjacency, limits=LIMITS)
    lengths = [[path.hops for path in finder.find(question).paths] for question in asked]
    for name, way in ways.items():
        if [sorted(way(question)) for question in asked] != lengths:
            raise ValueError(f"{name} finds paths of other lengths")
    calls: dict[str, Callable[[], object]] = {"kalm": _answers(finder, asked)}
    calls |= {name: lambda way=way: [way(question) for question in asked] for name, way in ways.items()}  # type: ignore[misc]
    seconds = take_turns(calls, repeats)
    return [
        ratio_row(f"{len(asked)}_questions_vs_{name}", "s", seconds["kalm"], seconds[name], more_is_better=False)
        for name in ways
    ]


class NetworkxPaths:
    """The lengths of the k best paths, k and the longest length as in LIMITS, by networkx."""

    def __init__(self, graph: KnowledgeGraph) -> None:
        import networkx

        triples = np.unique(np.concatenate(list(graph.triples.values())), axis=0)
        triples = triples[triples[:, 0] != triples[:, 2]]
        self._networkx = networkx
        self._multigraph = networkx.MultiGraph()
        # the key has the direction too: two entities may stand in a relation both ways
        self._multigraph.add_edges_from((h, t, (h, r, t)) for h, r, t in triples.tolist())
        self._simple = networkx.Graph(self._multigraph)  # shortest_simple_paths takes no multigraph

    def by_yen(self, question: PathQuestion) -> list[int]:
        """Paths over distinct entities in order of length; parallel triples make several of one."""
        starts, goals = (set(entities) for entities in (question.starts, question.goals))
        source, sink = -1, -2  # beside the starts and the goals, so that it is one search
        self._simple.add_edges_from((source, start) for start in starts)
        self._simple.add_edges_from((sink, goal) for goal in goals)
        lengths: list[int] = []
        try:
            for entities in self._networkx.shortest_simple_paths(self._simple, source, sink):
                hops = len(entities) - 3
                if hops > LIMITS.max_hops or len(lengths) >= LIMITS.max_paths:
                    break
                parallel = [range(self._multigraph.number_of_edges(*pair)) for pair in pairwise(entities[1:-1])]
                lengths += [hops for _ in product(*parallel)] if hops > 0 else []
        except self._networkx.NetworkXNoPath:
            pass
        finally:
            self._simple.remove_nodes_from([source, sink])
        return lengths[: LIMITS.max_paths]

    def by_deepening(self, question: PathQuestion) -> list[int]:
        """All paths up to a length, which grows until there are enough."""
        found: list[int] = []
        for cutoff in range(1, LIMITS.max_hops + 1):
            paths = (
                len(path)
                for start in set(question.starts)
                for path in self._networkx.all_simple_edge_paths(
                    self._multigraph, start, set(question.goals) - {start}, cutoff=cutoff
                )
            )
            # those of the cutoff itself are all alike, but shorter ones may come after them
            found += islice((hops for hops in paths if hops == cutoff), LIMITS.max_paths - len(found))
            if len(found) == LIMITS.max_paths:
                break
        return found


def measure_large(*, repeats: int, num_triples: int = NUM_TRIPLES, num_entities: int = NUM_ENTITIES) -> list[Row]:
    """A graph of many entities, a few of which have very many neighbours: landmarks, memory and queries.

    Each repeat asks anew. Pairs that walks join lie within the hops of the search, pairs drawn at random seldom do.
    """
    random = np.random.default_rng(0)
    adjacency = build_adjacency(
        uneven_triples(num_triples, num_entities, random), num_entities=num_entities, num_relations=NUM_RELATIONS
    )
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        measured: dict[str, float] = {}

        def measure() -> None:
            measured["seconds"] = seconds_of(lambda: stored_landmarks(adjacency, File(cache)))

        peak, added = peak_of_call(measure)
        rows += [
            value_row(f"landmarks_of_{num_entities}_entities", "s", [measured["seconds"]]),
            value_row(f"memory_added_by_landmarks_of_{num_entities}_entities", "MiB", [added]),
            value_row(f"peak_memory_with_{num_triples}_triples", "MiB", [peak]),
        ]
        ways = searches(stored_landmarks(adjacency, File(cache)))
        for max_hops in (LIMITS.max_hops, LIMITS.max_hops + 1):
            limits = SearchLimits(max_hops=max_hops, max_paths=LIMITS.max_paths)
            walked = walked_pairs(adjacency, NUM_QUERIES, max_hops, random)
            drawn = [PathQuestion([a], [b]) for a, b in random.integers(num_entities, size=(NUM_QUERIES, 2)).tolist()]
            finder = PathFinder(adjacency, limits=limits, search=ways["bidirectional"])
            for name, asked in (("walked", walked), ("drawn", drawn)):
                times = [_seconds_each(finder, asked) for _ in range(repeats)]
                title = f"{name}_pairs_up_to_{max_hops}_hops_among_{num_entities}"
                rows.append(value_row(f"{title}_median", "ms", [1e3 * statistics.median(each) for each in times]))
                rows.append(value_row(f"{title}_highest", "ms", [1e3 * max(each) for each in times]))
        for way in ("breadth_first", "astar_of_kale", "astar_with_landmarks"):
            finder = PathFinder(adjacency, limits=LIMITS, search=ways[way])
            asked = walked_pairs(adjacency, NUM_QUERIES // 4, LIMITS.max_hops, random)
            times = [_seconds_each(finder, asked) for _ in range(min(2, repeats))]
            rows.append(value_row(f"walked_pairs_up_to_{LIMITS.max_hops}_hops_{way}_median", "ms",
                                  [1e3 * statistics.median(each) for each in times]))  # fmt: skip
    return rows


def read_questions(path: File, graph: KnowledgeGraph) -> list[PathQuestion]:
    """From the entities named as the topic, in brackets, to those named as an answer; some names have no triples."""
    entities: dict[str, list[int]] = {}
    for entity, name in enumerate(graph.entity_names):
        entities.setdefault(name, []).append(entity)
    questions = []
    for line in path.read_text(encoding="utf-8").splitlines():
        question, _, answers = line.partition("\t")
        topics = re.findall(r"\[(.*?)\]", question)
        starts, goals = (
            [e for name in names for e in entities.get(name, [])] for names in (topics, answers.split("|"))
        )
        questions.append(PathQuestion(starts, goals))
    return questions


def walked_pairs(adjacency: Adjacency, num_pairs: int, hops: int, random: np.random.Generator) -> list[PathQuestion]:
    """Pairs of entities that a random walk of so many steps joins."""
    starts = random.choice(np.flatnonzero(np.diff(adjacency.offsets)), num_pairs)
    ends = starts
    for _ in range(hops):
        begin, end = adjacency.offsets[ends], adjacency.offsets[ends + 1]
        ends = adjacency.neighbours[random.integers(begin, end)]
    pairs = adjacency.entity_of[np.stack([starts, ends], 1)].tolist()
    return [PathQuestion([start], [end]) for start, end in pairs]


def uneven_triples(num_triples: int, num_entities: int, random: np.random.Generator) -> Triples:
    triples = np.empty((num_triples, 3), np.int64)
    triples[:, 1] = random.integers(NUM_RELATIONS, size=num_triples)
    for column in (0, 2):
        triples[:, column] = num_entities * random.random(num_triples) ** 2
    return triples


def _answers(finder: PathFinder, asked: Sequence[PathQuestion]) -> Callable[[], list[Found]]:
    return lambda: [finder.find(question) for question in asked]


def _seconds_each(finder: PathFinder, asked: Sequence[PathQuestion]) -> list[float]:
    return [seconds_of(lambda question=question: finder.find(question)) for question in asked]  # type: ignore[misc]
