"""Paths: each search finds what trying all walks finds, in the same order."""

import os
import re
import sys

import numpy as np
import pytest
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph import landmarks
from kalm.graph.adjacency import Adjacency, build_adjacency, graph_adjacency
from kalm.graph.ball import Ball
from kalm.graph.landmarks import Landmarks, anchor_bound, stored_landmarks
from kalm.graph.path_choice import ChoiceWeights, choose_paths, question_cosines, relation_rarity
from kalm.graph.path_kernels import _bound
from kalm.graph.path_search import NO_BOUND
from kalm.graph.paths import Found, Kind, Path, PathFinder, PathQuestion, PathSearch, SearchLimits, Step, find_paths
from kalm.graph.sources import load_graph
from kalm.speed import paths

NUM_RELATIONS = 3


def adjacency_of(triples, num_entities, seed=0) -> Adjacency:
    rows = np.array(triples, np.int64).reshape(-1, 3)
    return build_adjacency(rows, num_entities=num_entities, num_relations=NUM_RELATIONS, seed=seed)


def all_walks(adjacency, triples, starts, max_hops) -> list[Path]:
    """Every walk of 1 to max_hops steps that repeats no entity, in order: the plain way."""
    steps = {(h, r, t) for h, r, t in triples} | {(t, r + NUM_RELATIONS, h) for h, r, t in triples}
    level = [Path((start,), (), NUM_RELATIONS) for start in set(starts)]
    walks = []
    for _ in range(max_hops):
        level = [
            Path((*path.entities, end), (*path.relations, relation), NUM_RELATIONS)
            for path in level for origin, relation, end in steps
            if origin == path.entities[-1] and end not in path.entities
        ]  # fmt: skip
        walks += level
    ranks = adjacency.rank_of.tolist()

    def order(path):
        steps = zip((ranks[entity] for entity in path.entities[1:]), path.relations, strict=True)
        return path.hops, ranks[path.entities[0]], *steps

    return sorted(walks, key=order)


def plain_distances(triples, num_entities, goals) -> list[float]:
    """To the nearest goal."""
    distances = [0.0 if entity in goals else np.inf for entity in range(num_entities)]
    for _ in range(num_entities):
        for head, _, tail in triples:
            distances[head] = min(distances[head], distances[tail] + 1)
            distances[tail] = min(distances[tail], distances[head] + 1)
    return distances


def expected(adjacency, triples, excluded, starts, goals, limits) -> tuple[Kind, list[Path], list[Path]]:
    """Kind, paths and partial paths, from all walks and all distances."""
    left = [triple for triple in triples if triple not in excluded]
    walks = all_walks(adjacency, left, starts, limits.max_hops)
    paths = [path for path in walks if path.entities[-1] in goals]
    if paths:
        return Kind.found, paths[: limits.max_paths], []
    if set(starts) == set(goals) and len(set(starts)) == 1:
        return Kind.start_is_goal, [], []
    pairs = [(start, goal) for start in starts for goal in goals if start != goal]
    between = {goal: plain_distances(left, adjacency.num_entities, [goal]) for goal in goals}
    if all(np.isinf(between[goal][start]) for start, goal in pairs):
        return Kind.disconnected, [], []
    # what is both start and goal is one of them only
    if set(goals) - set(starts):
        goals = set(goals) - set(starts)
    else:
        starts = set(starts) - set(goals)
    walks = [path for path in walks if path.entities[0] in starts]
    to_goal = plain_distances(left, adjacency.num_entities, goals)
    reached = {*starts, *(path.entities[-1] for path in walks)}
    nearest = min((to_goal[entity] for entity in reached), default=np.inf)
    if np.isinf(nearest):
        return Kind.beyond_max_hops, [], []
    partial = [path for path in walks if path.hops == limits.max_hops and to_goal[path.entities[-1]] == nearest]
    return Kind.beyond_max_hops, [], partial[: limits.max_paths]


@st.composite
def questions(draw, max_entities=8):
    num_entities = draw(st.integers(1, max_entities))
    entity, relation = st.integers(0, num_entities - 1), st.integers(0, NUM_RELATIONS - 1)
    triples = draw(st.lists(st.tuples(entity, relation, entity), max_size=16))
    excluded = draw(
        st.lists(st.one_of(st.tuples(entity, relation, entity), *[st.just(t) for t in triples[:4]]), max_size=3)
    )
    ends = st.lists(entity, min_size=1, max_size=3)
    limits = SearchLimits(max_hops=draw(st.integers(1, 4)), max_paths=draw(st.integers(1, 20)))
    return num_entities, triples, excluded, draw(ends), draw(ends), limits, draw(st.integers(0, 3))


def measured(adjacency, num_landmarks, seed) -> Landmarks:
    distances = np.zeros((adjacency.num_entities, num_landmarks), np.uint8)
    landmarks._measure(adjacency, distances, seed)
    distances.flags.writeable = False
    return Landmarks(distances)


def searches(adjacency, seed) -> list[PathSearch]:
    return [
        PathSearch(), PathSearch(search="breadth_first"),
        PathSearch(search="astar", num_anchors=2, anchor_hops=3, seed=seed),
        PathSearch(search="astar", landmarks=measured(adjacency, 2, seed)),
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(questions())
def test_each_search_finds_what_trying_all_walks_finds(question):
    num_entities, triples, excluded, starts, goals, limits, seed = question
    adjacency = adjacency_of(triples, num_entities, seed)
    kind, paths, partial = expected(adjacency, triples, excluded, starts, goals, limits)
    left_out = np.array(excluded, np.int64).reshape(-1, 3)
    for search in searches(adjacency, seed):
        found = find_paths(adjacency, starts, goals, excluded=left_out, limits=limits, search=search)
        assert found.is_complete
        if set(starts) & set(goals) and excluded and kind is Kind.disconnected:
            kind = found.kind  # what is both start and goal may hide that the rest is cut off
            assert kind in (Kind.disconnected, Kind.beyond_max_hops)
        assert (found.kind, list(found.paths), list(found.partial)) == (kind, paths, partial)


def test_no_search_is_led_astray_by_hubs():
    """Larger graphs, where what is looked up in hubs is searched for instead of walked through."""
    random = np.random.default_rng(0)
    triples = np.stack([60 * random.random(400) ** 3, 3 * random.random(400), 60 * random.random(400)], 1).astype(
        np.int64
    )
    adjacency = adjacency_of(triples, 60)
    plain = [tuple(triple) for triple in triples.tolist()]
    for start, goal in ((50, 0), (55, 3), (0, 1), (59, 58)):
        for max_paths in (1, 7, 10_000):
            limits = SearchLimits(max_hops=3, max_paths=max_paths)
            kind, paths, partial = expected(adjacency, plain, [], [start], [goal], limits)
            for search in searches(adjacency, 0):
                found = find_paths(adjacency, [start], [goal], limits=limits, search=search)
                assert (found.kind, list(found.paths), list(found.partial)) == (kind, paths, partial)


@settings(max_examples=40, deadline=None)
@given(questions())
def test_bounds_never_exceed_the_distance_and_change_by_at_most_one_a_step(question):
    num_entities, triples, excluded, _, goals, _, seed = question
    adjacency = adjacency_of(triples, num_entities, seed)
    left = [triple for triple in triples if triple not in excluded]
    ranks = np.unique(adjacency.rank_of[goals])
    to_goal = plain_distances(left, num_entities, goals)
    distances = measured(adjacency, 3, seed).distances
    low, high = distances[ranks].min(0).astype(np.int32), distances[ranks].max(0).astype(np.int32)
    by_landmarks = [_bound(int(rank), NO_BOUND, distances, low, high) for rank in adjacency.rank_of]
    goals_with_neighbours = ranks[np.diff(adjacency.offsets)[ranks] > 0]
    by_anchors = np.zeros(num_entities, np.int32)
    if len(goals_with_neighbours) == len(ranks):
        near, values = anchor_bound(
            adjacency, ranks, PathSearch(num_anchors=3, anchor_hops=4, seed=seed), Ball(adjacency)
        )
        by_anchors[near] = values
    for found in (by_landmarks, by_anchors[adjacency.rank_of]):
        bounds = [0 if entity in goals else int(bound) for entity, bound in enumerate(found)]
        assert all(bound <= distance for bound, distance in zip(bounds, to_goal, strict=True))
        assert all(abs(bounds[head] - bounds[tail]) <= 1 for head, _, tail in triples)


def test_the_bound_of_kale_is_that_of_its_formula():
    adjacency = adjacency_of([(i, 0, i + 1) for i in range(7)], 8)
    goal = adjacency.rank_of[[3]]
    search = PathSearch(num_anchors=100, anchor_hops=3)  # all of them
    near, bounds = anchor_bound(adjacency, goal, search, Ball(adjacency))
    found = dict(zip(adjacency.entity_of[near].tolist(), bounds.tolist(), strict=True))
    formula = {e: max(max(0, abs(a - 3) - abs(a - e)) for a in (0, 1, 2, 4, 5, 6)) for e in range(8)}
    assert found == {entity: bound for entity, bound in formula.items() if bound > 0}
    fewer = anchor_bound(adjacency, goal, PathSearch(num_anchors=2, anchor_hops=3, seed=1), Ball(adjacency))
    assert len(fewer[0]) < len(near)
    again = anchor_bound(adjacency, goal, PathSearch(num_anchors=2, anchor_hops=3, seed=1), Ball(adjacency))
    assert [part.tolist() for part in fewer] == [part.tolist() for part in again]


def test_a_star_reads_fewer_entities_the_more_its_bound_knows():
    """A comb: a line of entities, each with leaves; breadth-first search walks away from the goal too."""
    triples = [(i, 0, i + 1) for i in range(40)] + [(i, 1, 41 + 3 * i + leaf) for i in range(41) for leaf in range(3)]
    adjacency = adjacency_of(triples, 41 + 3 * 41)
    limits = SearchLimits(max_hops=12, max_paths=1)
    reads = {}
    for search in searches(adjacency, 0):
        found = find_paths(adjacency, [20], [30], limits=limits, search=search)
        assert [path.entities for path in found.paths] == [tuple(range(20, 31))]
        reads[search.search, search.landmarks is None] = found.expansions
    assert reads["astar", False] == 10  # the landmarks are the two ends of the line: their bound is the distance
    assert reads["astar", False] < reads["astar", True] <= reads["breadth_first", True]


def test_a_path_tells_its_triples_and_which_way_they_are_walked(toy_graph):
    adjacency = graph_adjacency(toy_graph, ["train"])
    ann, bob, hen = (toy_graph.entity_labels.index(label) for label in ("ann", "bob", "hen"))
    likes, eats = (toy_graph.relation_labels.index(label) for label in ("likes", "eats"))
    found = find_paths(adjacency, [hen], [bob], limits=SearchLimits(max_hops=2))
    (dog,) = {path.entities[1] for path in found.paths}
    assert found.paths[0].steps == (Step(dog, eats, hen, "head"), Step(bob, likes, dog, "head"))
    back = find_paths(adjacency, [bob], [hen], limits=SearchLimits(max_hops=2))
    assert back.paths[0].steps == (Step(bob, likes, dog, "tail"), Step(dog, eats, hen, "tail"))
    assert back.paths[0].triples == ((bob, likes, dog), (dog, eats, hen))
    for path in find_paths(adjacency, [ann], [hen]).paths:
        assert set(path.triples) <= set(map(tuple, toy_graph.triples["train"].tolist()))
        assert all(step.direction in ("tail", "head") for step in path.steps) and path.hops == len(path.steps)


def test_what_is_left_out_of_one_question_is_there_for_the_next():
    adjacency = adjacency_of([(0, 0, 1), (0, 1, 1), (1, 0, 2)], 4)
    finder = PathFinder(adjacency, excluded=np.array([[0, 1, 1]]), num_threads=2)
    both = PathQuestion([0], [1]), PathQuestion([1], [0], np.array([[0, 0, 1]])), PathQuestion([0], [1])
    kinds = [(found.kind, len(found.paths)) for found in finder.find_all(both)]
    assert kinds == [(Kind.found, 1), (Kind.disconnected, 0), (Kind.found, 1)]
    # not a triple of the graph, and one that only stands the other way round
    others = np.array([[0, 2, 1], [1, 0, 0]])
    assert len(find_paths(adjacency, [0], [1], excluded=others).paths) == 2
    with pytest.raises(ValueError, match="tail 4 of a triple to leave out is not in the graph, which has 0 to 3"):
        find_paths(adjacency, [0], [1], excluded=np.array([[0, 0, 4]]))


CHAIN = [(i, 0, i + 1) for i in range(9)]  # 0 to 9; 10 alone; 11 and 12 apart


@pytest.mark.parametrize(
    ("starts", "goals", "kind"),
    [
        ([], [1], Kind.no_start), ([1], [], Kind.no_goal), ([4], [4, 4], Kind.start_is_goal),
        ([0], [10], Kind.disconnected), ([0, 10], [11], Kind.disconnected), ([0], [9], Kind.beyond_max_hops),
        ([0, 11], [9, 10, 3], Kind.found),
    ],
)  # fmt: skip
def test_the_kind_tells_why_there_is_no_path(starts, goals, kind):
    adjacency = adjacency_of([*CHAIN, (11, 0, 12)], 13)
    for search in searches(adjacency, 0):
        found = find_paths(adjacency, starts, goals, search=search)
        assert found.kind is kind and bool(found.paths) is (kind is Kind.found)
        partial = [(0, 1, 2, 3)] if kind is Kind.beyond_max_hops else []
        assert [path.entities for path in found.partial] == partial


@pytest.mark.parametrize("way", ["bidirectional", "breadth_first", "astar"])
def test_expansions_are_limited(way):
    adjacency = adjacency_of([(i, 0, j) for i in range(12) for j in range(i)], 13)
    few = find_paths(
        adjacency,
        [0],
        [11],
        limits=SearchLimits(max_hops=4, max_paths=10**6, max_expansions=60),
        search=PathSearch(search=way),
    )
    all_of_them = find_paths(
        adjacency, [0], [11], limits=SearchLimits(max_hops=4, max_paths=10**6), search=PathSearch(search=way)
    )
    assert all_of_them.is_complete and not few.is_complete and few.expansions <= 60
    assert few.kind is Kind.found and few.paths == all_of_them.paths[: len(few.paths)]
    chain = adjacency_of(CHAIN, 10)
    limits = SearchLimits(max_hops=9, max_expansions=3)
    assert find_paths(chain, [0], [9], limits=limits, search=PathSearch(search=way)) == Found(
        Kind.expansions_exhausted, (), (), 3, False
    )
    beyond = find_paths(
        chain, [0], [9], limits=SearchLimits(max_hops=2, max_expansions=4), search=PathSearch(search=way)
    )
    assert (beyond.kind, beyond.partial, beyond.is_complete) == (Kind.beyond_max_hops, (), False)


def test_threads_answer_in_order_as_one_does():
    random = np.random.default_rng(1)
    adjacency = adjacency_of(
        np.stack([random.integers(80, size=300), random.integers(3, size=300), random.integers(80, size=300)], 1), 80
    )
    asked = [PathQuestion([int(s)], [int(g)]) for s, g in random.integers(80, size=(300, 2))]
    one = PathFinder(adjacency)
    results = [one.find(question) for question in asked]
    assert list(PathFinder(adjacency, num_threads=3).find_all(iter(asked))) == results
    assert {found.kind for found in results} >= {Kind.found}
    with pytest.raises(ValueError, match="entity 80 is not in the graph, which has 0 to 79"):
        list(PathFinder(adjacency, num_threads=2).find_all([*asked, PathQuestion([80], [1])]))
    assert one.find(asked[0]) == results[0]


def test_ties_go_to_entities_with_few_neighbours_then_by_seed():
    fan = [(0, 0, middle) for middle in range(2, 8)] + [(middle, 0, 1) for middle in range(2, 8)]
    adjacency = adjacency_of([*fan, (2, 1, 8), (2, 1, 9)], 10)
    order = [path.entities[1] for path in find_paths(adjacency, [0], [1], limits=SearchLimits(max_hops=2)).paths]
    assert order[-1] == 2 and sorted(order) == [2, 3, 4, 5, 6, 7]
    orders = [find_paths(adjacency_of(fan, 8, seed), [0], [1], limits=SearchLimits(max_hops=2)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_landmarks_are_computed_once_and_stored(tmp_path, monkeypatch):
    adjacency = adjacency_of([*CHAIN, (11, 0, 12)], 13)
    first = stored_landmarks(adjacency, tmp_path / "cache", num_landmarks=2)
    (path,) = (tmp_path / "cache").iterdir()
    chain = np.array([[abs(e - end) for end in (0, 9)] for e in range(10)])
    # the second is an end of the line, whichever is farther from the first
    assert first.distances[adjacency.rank_of[:10], 1].tolist() in chain.T.tolist()
    assert (first.distances[adjacency.rank_of[10:]] == 255).all()
    other = stored_landmarks(adjacency_of(CHAIN, 13), tmp_path / "cache", num_landmarks=2)
    assert len(list((tmp_path / "cache").iterdir())) == 2 and other.distances.shape == (13, 2)
    with monkeypatch.context() as patch:
        patch.setattr(landmarks, "_measure", lambda *_: pytest.fail("measured again"))
        assert (stored_landmarks(adjacency, tmp_path / "cache", num_landmarks=2).distances == first.distances).all()
    with monkeypatch.context() as patch:
        patch.setattr(landmarks.os, "posix_fallocate", lambda *_: os.close(-1))
        with pytest.raises(OSError, match="Bad file descriptor"):
            stored_landmarks(adjacency, tmp_path / "full")
        assert list((tmp_path / "full").iterdir()) == []  # nothing is half written
    path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(ValueError, match=re.escape(f"{path}: not a whole array (")):
        stored_landmarks(adjacency, tmp_path / "cache", num_landmarks=2)


def test_distances_beyond_a_byte_are_stored_as_the_largest():
    line = adjacency_of([(i, 0, i + 1) for i in range(299)], 301)
    distances = measured(line, 2, 0).distances[:, 1][line.rank_of]
    ends = [min(abs(e - end), 254) for end in (0, 299) for e in range(300)]
    assert distances[:300].tolist() in (ends[:300], ends[300:]) and distances[300] == 255
    found = find_paths(line, [299], [0], limits=SearchLimits(max_hops=299),
                       search=PathSearch(search="astar", landmarks=measured(line, 2, 0)))  # fmt: skip
    assert [path.hops for path in found.paths] == [299]


def test_without_numba_the_extra_is_named(monkeypatch):
    adjacency = adjacency_of(CHAIN, 10)
    for name in ("path_search", "path_kernels", "ball", "landmarks"):
        monkeypatch.delitem(sys.modules, f"kalm.graph.{name}")
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ValueError, match=re.escape("path search needs numba: pip install 'kalm[kale]'")):
        find_paths(adjacency, [0], [1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SearchLimits(max_hops=0), "max_hops must be at least 1, got 0"),
        (
            lambda: PathSearch(search="dijkstra"),
            "search must be one of bidirectional, breadth_first, astar, got dijkstra",
        ),
        (lambda: PathFinder(adjacency_of(CHAIN, 10), num_threads=0), "num_threads must be at least 1, got 0"),
        (lambda: PathSearch(anchor_hops=0), "anchor_hops must be at least 1, got 0"),
        (lambda: ChoiceWeights(rarity=float("nan")), "the weight rarity must be a number >= 0, got nan"),
    ],
)
def test_values_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def chosen_plainly(paths, num_paths, rarity, weights, cosines):
    left, chosen = list(range(len(paths))), []
    while left and len(chosen) < num_paths:
        told = {triple for place in chosen for triple in paths[place].triples}

        def score(place, told=told):
            path = paths[place]
            shared = sum(triple in told for triple in path.triples) / path.hops
            rare = sum(rarity[relation] for _, relation, _ in path.triples) / path.hops
            return (
                -weights.hops * path.hops
                + weights.rarity * rare
                + weights.cosine * cosines[place]
                - weights.diversity * shared
            )

        best = max(left, key=lambda place: (round(score(place), 9), -place))
        left.remove(best)
        chosen.append(best)
    return tuple(paths[place] for place in chosen)


@settings(max_examples=40, deadline=None)
@given(questions(), st.integers(0, 6), st.randoms(use_true_random=False))
def test_the_choice_is_that_of_a_plain_loop(question, num_paths, random):
    num_entities, triples, _, starts, goals, limits, seed = question
    adjacency = adjacency_of(triples, num_entities, seed)
    paths = find_paths(adjacency, starts, goals, limits=limits).paths
    weights = ChoiceWeights(
        hops=random.random(), diversity=random.random(), rarity=random.random(), cosine=random.random()
    )
    cosines = np.array([random.uniform(-1, 1) for _ in paths])
    rarity = relation_rarity(adjacency)
    chosen = choose_paths(paths, num_paths, rarity=rarity, weights=weights, cosines=cosines)
    assert chosen == chosen_plainly(paths, num_paths, rarity, weights, cosines)


def test_a_choice_is_short_diverse_rare_and_near_the_question():
    triples = [(0, 0, 1), (0, 0, 2), (2, 0, 1), (0, 0, 3), (3, 1, 4), (4, 0, 1), (2, 0, 4)] + [
        (5, 0, e) for e in range(6, 20)
    ]
    adjacency = adjacency_of(triples, 20)
    paths = find_paths(adjacency, [0], [1]).paths
    rarity = relation_rarity(adjacency)
    assert rarity[1] > rarity[0] >= 0 and rarity[2] == rarity[1] == 1  # relations 1 and 2 have one triple and none
    by_hops = [path.hops for path in choose_paths(paths, 9, rarity=rarity)]
    assert by_hops == sorted(by_hops) and len(by_hops) == len(paths) == 4
    only = {"hops": 0.0, "diversity": 0.0, "rarity": 0.0, "cosine": 0.0}
    (rare,) = choose_paths(paths, 1, rarity=rarity, weights=ChoiceWeights(**{**only, "rarity": 1.0}))
    assert 1 in [relation for _, relation, _ in rare.triples]
    diverse = choose_paths(paths, 3, rarity=rarity, weights=ChoiceWeights(**{**only, "diversity": 1.0}))
    assert len({triple for path in diverse for triple in path.triples}) == sum(path.hops for path in diverse)
    embeddings = np.zeros((20, 3), np.float32)
    embeddings[[1, 2, 3, 4]] = [[1, 0, 0], [0, 5, 0], [0, 0, 1], [0, 0, 2]]
    cosines = question_cosines(paths, np.array([0, 2, 0], np.float32), embeddings)
    (near,) = choose_paths(paths, 1, rarity=rarity, weights=ChoiceWeights(**{**only, "cosine": 1.0}), cosines=cosines)
    assert near.entities == (0, 2, 1) and cosines[paths.index(near)] == pytest.approx(0.5**0.5)
    assert all(0 <= cosine <= 1 for cosine in cosines)
    with pytest.raises(ValueError, match=re.escape("cosines must be one for each of the 4 paths, got (2,)")):
        choose_paths(paths, 1, rarity=rarity, cosines=np.zeros(2))


def test_networkx_finds_paths_of_the_same_lengths(toy_graph):
    pytest.importorskip("networkx")
    adjacency = graph_adjacency(toy_graph)
    asked = [PathQuestion([start], [goal]) for start in range(10) for goal in range(10) if start != goal]
    asked += [PathQuestion([0, 3], [3, 5, 6]), PathQuestion([1], [2, 4, 8])]
    rows = paths.compare_with_networkx(toy_graph, adjacency, asked, repeats=1)  # refuses other lengths
    assert [row["name"] for row in rows] == [
        "92_questions_vs_networkx_shortest_simple_paths", "92_questions_vs_networkx_all_simple_edge_paths",
    ]  # fmt: skip


def test_searches_and_a_large_graph_are_measured(toy_graph, monkeypatch):
    monkeypatch.setattr(paths, "NUM_QUERIES", 4)
    adjacency = graph_adjacency(toy_graph)
    ways = paths.searches(measured(adjacency, 2, 0))
    rows = paths.compare_searches(adjacency, [PathQuestion([0], [5])], ways, "questions", repeats=1)
    assert len(rows) == 8 and all(row["value"] > 0 for row in rows)
    rows = paths.measure_large(repeats=1, num_triples=200, num_entities=50)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names) == 14 and "walked_pairs_up_to_3_hops_among_50_median" in names


def test_questions_of_metaqa_are_linked_by_their_brackets():
    folder = shared("data/MetaQA")
    graph = load_graph("metaqa", folder)
    questions = paths.read_questions(folder / "1-hop" / "dev.txt", graph)
    assert len(questions) == 9992
    assert sum(bool(question.starts and question.goals) for question in questions) == 9936
    answers = {graph.entity_names[goal] for goal in questions[0].goals}
    assert answers == {"Once Were Warriors", "Tracker", "River Queen"}
    found = list(PathFinder(graph_adjacency(graph), num_threads=2).find_all(questions[:200]))
    assert all(result.kind in (Kind.found, Kind.no_start, Kind.no_goal) for result in found)
    # the first paths of a question of one hop are the facts that answer it
    assert {path.entities for path in found[0].paths[:3]} == {
        (questions[0].starts[0], goal) for goal in questions[0].goals
    }
