"""Lower bounds of distances for A*, from distances to a few entities."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kalm.graph.adjacency import Adjacency
from kalm.graph.ball import Ball
from kalm.graph.path import PathSearch
from kalm.provenance import whole_file

# raised when landmarks are chosen or stored otherwise
VERSION = 1
UNREACHED = 255  # farther ones are stored as 254


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Distances of all entities to a few landmarks, for any question (ALT: Goldberg and Harrelson, SODA 2005).

    With d the distance in the graph whose triples are walked both ways, a landmark l bounds the distance of an entity e
    to a goal g from below by |d(l, g) - d(l, e)|, since the triangle inequality gives d(l, g) <= d(l, e) + d(e, g) and
    d(l, e) <= d(l, g) + d(g, e), and d(e, g) = d(g, e). For several goals it is how far d(l, e) lies outside of [low,
    high], the least and greatest d(l, g): no goal is nearer. Leaving triples out of a search only makes distances
    longer, so the bound holds there too. Neighbours differ by at most 1 in d(l, .), hence in each bound and in the
    greatest of them: an estimate never falls along a path.

    An infinite distance is stored as 255, a distance from 254 on as 254, which makes no difference greater. If l
    reaches one of e and g and not the other, there is no path from e to g, and any bound is right. If it reaches
    neither, it says nothing: 255 - 255 is 0.

    Args:
        distances: (N, L) uint8, by rank; memory-mapped where it comes from a file.
    """

    distances: NDArray[np.uint8]


def stored_landmarks(adjacency: Adjacency, folder: Path, *, num_landmarks: int = 16, seed: int = 0) -> Landmarks:
    """The landmarks of a graph from their file in the folder, which is made on first use: N times L bytes.

    The first one is drawn, each other is the entity that is farthest from those before, all in the largest connected
    part of the graph. One breadth-first search each, with memory for one entity's distance and place at a time.

    Raises:
        ValueError: the file is damaged.
        OSError: there is no room for it.
    """
    parts = f"{VERSION} {adjacency.digest()} {num_landmarks} {seed}"
    path = folder / f"landmarks-{hashlib.sha256(parts.encode()).hexdigest()[:32]}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            shape = (adjacency.num_entities, num_landmarks)
            mapped = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
            with unfinished.open(
                "r+b"
            ) as file:  # a full disk is an error now, and a crash when mapped memory is written
                os.posix_fallocate(file.fileno(), 0, unfinished.stat().st_size)
            _measure(adjacency, mapped, seed)
            mapped.flush()
    try:
        distances = np.asarray(np.load(path, mmap_mode="r"))  # a plain array of the mapped file, as numba wants it
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a whole array ({error}); delete it, it will be made anew") from error
    if distances.shape != (adjacency.num_entities, num_landmarks) or distances.dtype != np.uint8:
        raise ValueError(f"{path}: {distances.dtype} {distances.shape}, expected uint8 "
                         f"({adjacency.num_entities}, {num_landmarks}); delete it, it will be made anew")  # fmt: skip
    return Landmarks(distances)


def _measure(adjacency: Adjacency, distances: NDArray[np.uint8], seed: int) -> None:
    sizes = np.bincount(adjacency.components)
    part = np.flatnonzero(adjacency.components == sizes.argmax())
    landmark = int(np.random.default_rng(seed).choice(part))
    nearest = np.full(len(part), UNREACHED, np.int32)
    ball = Ball(adjacency)
    for place in range(distances.shape[1]):
        with ball.around(np.array([landmark], np.int32)):
            ball.grow_to(None)
            column = np.minimum(ball.distances, UNREACHED - 1)
            column[ball.distances < 0] = UNREACHED
        distances[:, place] = column
        np.minimum(nearest, column[part], out=nearest)
        landmark = int(part[nearest.argmax()])


def anchor_bound(
    adjacency: Adjacency, goals: NDArray[np.int32], search: PathSearch, room: Ball
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The bound of KALE (arXiv 2601.07430): h(e) = max over anchors a of max(0, d(a, g) - d(a, e)).

    The anchors are sampled at random from the entities within m hops of the answer g. It is one side of the bound of
    `Landmarks`, and admissible for the same reason: d(a, g) <= d(a, e) + d(e, g). As d(a, g) is at most m, the bound
    is above 0 only within m - 1 hops of an anchor, and no search goes farther. Where d(a, e) is infinite it is 0;
    d(a, g) never is. Of several goals the least bound counts, since any of them will do; the paper has one.

    Args:
        goals: distinct ranks, each with a neighbour.
        search: how many anchors, how far away, and the seed.
        room: to search in.

    Returns:
        The entities where h is above 0, ascending, and h.
    """
    entities, bounds = _bound_of_goal(adjacency, goals[0], search, room)
    for goal in goals[1:]:
        if not len(entities):
            break
        others, other_bounds = _bound_of_goal(adjacency, goal, search, room)
        entities, here, there = np.intersect1d(entities, others, assume_unique=True, return_indices=True)
        bounds = np.minimum(bounds[here], other_bounds[there])
    return entities, bounds


def _bound_of_goal(
    adjacency: Adjacency, goal: np.int32, search: PathSearch, room: Ball
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    with room.around(np.array([goal], np.int32)):
        room.grow_to(search.anchor_hops)
        others = room.inside[1:]
        random = np.random.default_rng([search.seed, int(goal)])
        anchors = random.choice(others, min(search.num_anchors, len(others)), replace=False)
        from_goal = room.distances[anchors]
    near, bounds = [], []
    for anchor, distance in zip(anchors, from_goal, strict=True):
        with room.around(np.array([anchor], np.int32)):
            room.grow_to(int(distance) - 1)
            near.append(room.inside.copy())
            bounds.append(distance - room.distances[near[-1]])
    entities, places = np.unique(np.concatenate(near), return_inverse=True)
    best = np.zeros(len(entities), np.int32)
    np.maximum.at(best, places, np.concatenate(bounds))
    return entities, best
