"""The loops of path search, compiled.

All are in one file: numba keeps the code of a function until its own file changes, whatever becomes of those it calls.

Entities are ranks here and steps are slots of an `Adjacency`: slot s leads to neighbours[s]. `blocked` is (M,) uint8, 1
where a slot may not be walked, or empty; the two slots of a triple are blocked together, so distances are the same both
ways. An expansion is one reading of an entity's slots. Distances that are not known are -1.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
Ints = NDArray[Any]

# columns of a partial path
ENTITY, SLOT, PARENT, HOPS, ESTIMATE = range(5)


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Machine code that is kept beside the file and leaves other Python threads running."""
    made: Callable[P, R] = numba.njit(nogil=True, cache=True)(function)
    return made


@_compiled
def grow_ball(
    offsets: Ints, neighbours: Ints, blocked: Ints, distances: Ints, queue: Ints, begin: int, end: int
) -> tuple[int, int]:
    """One more hop around queue[begin:end], the entities at the largest distance.

    Returns:
        The queue's new end, and how many slots the new entities have.
    """
    last, num_slots = end, 0
    for place in range(begin, end):
        entity = queue[place]
        distance = distances[entity] + 1
        for slot in range(offsets[entity], offsets[entity + 1]):
            other = neighbours[slot]
            if distances[other] < 0 and not (len(blocked) and blocked[slot]):
                distances[other] = distance
                queue[last] = other
                last += 1
                num_slots += offsets[other + 1] - offsets[other]
    return last, num_slots


@_compiled
def mark_shortest(
    offsets: Ints, neighbours: Ints, blocked: Ints, from_start: Ints, to_goal: Ints, queue: Ints, begin: int, end: int,
) -> int:  # fmt: skip
    """Write `to_goal` back from queue[begin:end] along all shortest paths from the starts; returns the queue's new end.

    Those among them that a start has reached are equally far from one. What has a distance to a goal keeps it.
    """
    while begin < end:
        last = end
        for place in range(begin, end):
            entity = queue[place]
            for slot in range(offsets[entity], offsets[entity + 1]):
                other = neighbours[slot]
                is_nearer = from_start[other] == from_start[entity] - 1 and from_start[other] >= 0
                if is_nearer and to_goal[other] < 0 and not (len(blocked) and blocked[slot]):
                    to_goal[other] = to_goal[entity] + 1
                    queue[last] = other
                    last += 1
        begin, end = end, last
    return end


@_compiled
def _longer(rows: Ints) -> Ints:
    """The same rows, and room for as many more."""
    longer = np.empty((2 * rows.shape[0], rows.shape[1]), np.int64)
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            longer[row, column] = rows[row, column]
    return longer


@_compiled
def _longer_list(values: Ints) -> Ints:
    longer = np.empty(2 * len(values), np.int64)
    for place in range(len(values)):
        longer[place] = values[place]
    return longer


@_compiled
def _first_place(values: Ints, begin: int, end: int, value: int) -> int:
    """The first of the places begin .. end, whose values ascend, that holds no smaller value."""
    while begin < end:
        middle = (begin + end) // 2
        if values[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@_compiled
def find_slots(offsets: Ints, neighbours: Ints, relations: Ints, origins: Ints, ends: Ints, walked: Ints) -> Ints:
    """The slot from each origin to each end by a directed relation, (n,); -1 where there is none."""
    slots = np.empty(len(origins), np.int64)
    for place in range(len(origins)):
        stop = offsets[origins[place] + 1]
        begin = _first_place(neighbours, offsets[origins[place]], stop, ends[place])
        stop = _first_place(neighbours, begin, stop, ends[place] + 1)
        slot = _first_place(relations, begin, stop, walked[place])
        slots[place] = slot if slot < stop and relations[slot] == walked[place] else -1
    return slots


@_compiled
def _slots_to(
    neighbours: Ints, begin: int, end: int, ends: Ints, to_goal: Ints, rest: int, found: Ints
) -> tuple[Ints, int]:
    """Those of the slots begin .. end - 1 that lead to an end, ascending: in `found` or a longer list, and how many.

    The ends are sorted; theirs and no other distance to a goal is `rest`.
    """
    count, num_steps = 0, 2
    while end - begin >> num_steps:
        num_steps += 1
    # look each end up among the slots, or each slot up among the ends, whichever is less
    if len(ends) * num_steps < end - begin:
        for entity in ends:
            slot = _first_place(neighbours, begin, end, entity)
            while slot < end and neighbours[slot] == entity:
                if count == len(found):
                    found = _longer_list(found)
                found[count] = slot
                count, slot = count + 1, slot + 1
    else:
        for slot in range(begin, end):
            if to_goal[neighbours[slot]] == rest:
                if count == len(found):
                    found = _longer_list(found)
                found[count] = slot
                count += 1
    return found, count


@_compiled
def _is_in(values: Ints, count: int, value: int) -> bool:
    for place in range(count):  # noqa: SIM110 - numba has no generators here
        if values[place] == value:
            return True
    return False


@_compiled
def _is_near(entity: int, to_goal: Ints, radius: int, rest: int, hops: int, num_ends: int) -> bool:
    """Whether an end can be so many more hops away: to the only end there is no way past it."""
    distance = to_goal[entity] if to_goal[entity] >= 0 else radius + 1
    return bool(distance <= hops + rest and not (distance == rest and num_ends == 1))


@_compiled
def _add_rows(
    neighbours: Ints, blocked: Ints, nodes: Ints, cursors: Ints, lasts: Ints, num_lasts: int, rows: Ints, count: int,
    max_paths: int,
) -> tuple[Ints, int]:  # fmt: skip
    """Append the path over these nodes with each of its last slots that makes it one: a start, then slots."""
    hops = len(nodes)
    for place in range(num_lasts):
        slot = lasts[place]
        if count == max_paths:
            break
        if (len(blocked) and blocked[slot]) or _is_in(nodes, hops, neighbours[slot]):
            continue
        if count == len(rows):
            rows = _longer(rows)
        rows[count, 0], rows[count, hops] = nodes[0], slot
        for depth in range(hops - 1):
            rows[count, depth + 1] = cursors[depth] - 1  # a cursor is one ahead
        count += 1
    return rows, count


@_compiled
def walk(
    offsets: Ints, neighbours: Ints, blocked: Ints, starts: Ints, ends: Ints, to_goal: Ints, radius: int, rest: int,
    hops: int, rows: Ints, count: int, max_paths: int, expansions: int, max_expansions: int,
) -> tuple[Ints, int, int]:  # fmt: skip
    """Append paths of exactly `hops` steps from the starts to the ends to `rows`, in their order: a start, then slots.

    Depth first. What is too far from a goal is left out: an entity is to_goal away, or more than `radius` where that is
    not known; the ends are `rest` away. Stops at max_paths, or when there are more than max_expansions.

    Returns:
        rows, the number of paths in them, and of expansions.
    """
    nodes, cursors, lasts = np.empty(hops, np.int64), np.empty(hops, np.int64), np.empty(8, np.int64)
    for start in starts:
        if not _is_near(start, to_goal, radius, rest, hops, len(ends)):
            continue
        depth = 0
        nodes[0], cursors[0] = start, offsets[start]
        expansions += 1
        while depth >= 0 and count < max_paths and expansions <= max_expansions:
            slot, stop = cursors[depth], offsets[nodes[depth] + 1]
            if depth == hops - 1:
                lasts, num_lasts = _slots_to(neighbours, slot, stop, ends, to_goal, rest, lasts)
                rows, count = _add_rows(neighbours, blocked, nodes, cursors, lasts, num_lasts, rows, count, max_paths)
                depth -= 1
            elif slot == stop:
                depth -= 1
            else:
                cursors[depth] += 1
                entity = neighbours[slot]
                if (
                    _is_near(entity, to_goal, radius, rest, hops - depth - 1, len(ends))
                    and not (len(blocked) and blocked[slot])
                    and not _is_in(nodes, depth + 1, entity)
                ):
                    depth += 1
                    nodes[depth], cursors[depth] = entity, offsets[entity]
                    expansions += 1
        if count == max_paths or expansions > max_expansions:
            break
    return rows, count, expansions


@_compiled
def _bound(entity: int, near_anchors: Ints, distances: Ints, low: Ints, high: Ints) -> int:
    """A lower bound of the distance to the nearest goal, for an entity that is none (see kalm/graph/landmarks.py)."""
    bound = 1
    if len(near_anchors):
        bound = max(bound, near_anchors[entity])
    for place in range(len(low)):
        distance = int(distances[entity, place])
        bound = max(bound, low[place] - distance, distance - high[place])
    return bound


@_compiled
def _is_before(first: int, second: int, items: Ints) -> bool:
    """Whether the first partial path is taken earlier: by estimate, then in the order of paths."""
    if items[first, ESTIMATE] != items[second, ESTIMATE]:
        return bool(items[first, ESTIMATE] < items[second, ESTIMATE])
    first_is_longer = items[first, HOPS] > items[second, HOPS]
    while items[first, HOPS] > items[second, HOPS]:
        first = items[first, PARENT]
    while items[second, HOPS] > items[first, HOPS]:
        second = items[second, PARENT]
    if first == second:
        return not first_is_longer
    while items[first, PARENT] != items[second, PARENT]:
        first, second = items[first, PARENT], items[second, PARENT]
    return bool(items[first, SLOT] < items[second, SLOT])


@_compiled
def _push(heap: Ints, size: int, item: int, items: Ints) -> tuple[Ints, int]:
    if size == len(heap):
        heap = _longer_list(heap)
    place = size
    while place > 0:
        above = (place - 1) // 2
        if not _is_before(item, heap[above], items):
            break
        heap[place] = heap[above]
        place = above
    heap[place] = item
    return heap, size + 1


@_compiled
def _pop(heap: Ints, size: int, items: Ints) -> int:
    top, item, place = heap[0], heap[size - 1], 0
    while 2 * place + 1 < size - 1:
        below = 2 * place + 1
        if below + 1 < size - 1 and _is_before(heap[below + 1], heap[below], items):
            below += 1
        if not _is_before(heap[below], item, items):
            break
        heap[place] = heap[below]
        place = below
    heap[place] = item
    return int(top)


@_compiled
def _put(items: Ints, item: int, entity: int, slot: int, parent: int, hops: int, estimate: int) -> None:
    items[item, ENTITY], items[item, SLOT], items[item, PARENT] = entity, slot, parent
    items[item, HOPS], items[item, ESTIMATE] = hops, estimate


@_compiled
def _is_on_path(items: Ints, item: int, entity: int) -> bool:
    while item >= 0:
        if items[item, ENTITY] == entity:
            return True
        item = items[item, PARENT]
    return False


@_compiled
def _add_path(rows: Ints, count: int, num_found: Ints, items: Ints, item: int) -> tuple[Ints, int]:
    if count == len(rows):
        rows = _longer(rows)
    num_found[items[item, HOPS]] += 1
    while items[item, PARENT] >= 0:
        rows[count, items[item, HOPS]] = items[item, SLOT]
        item = items[item, PARENT]
    rows[count, 0] = items[item, ENTITY]
    return rows, count + 1


@_compiled
def _extend(
    offsets: Ints, neighbours: Ints, blocked: Ints, goals: Ints, to_goal: Ints, near_anchors: Ints, distances: Ints,
    low: Ints, high: Ints, max_hops: int, items: Ints, num_items: int, item: int, lasts: Ints,
) -> tuple[Ints, int, Ints]:  # fmt: skip
    """Append a partial path's continuations that can reach a goal within max_hops."""
    entity, hops = items[item, ENTITY], items[item, HOPS]
    first, num_slots = offsets[entity], offsets[entity + 1] - offsets[entity]
    is_last = hops == max_hops - 1
    if is_last:
        lasts, num_slots = _slots_to(neighbours, first, first + num_slots, goals, to_goal, 0, lasts)
    for place in range(num_slots):
        slot = lasts[place] if is_last else first + place
        other = neighbours[slot]
        bound = 0 if to_goal[other] == 0 else _bound(other, near_anchors, distances, low, high)
        estimate = max(items[item, ESTIMATE], hops + 1 + bound)
        if estimate > max_hops or (len(blocked) and blocked[slot]) or _is_on_path(items, item, other):
            continue
        if num_items == len(items):
            items = _longer(items)
        _put(items, num_items, other, slot, item, hops + 1, estimate)
        num_items += 1
    return items, num_items, lasts


@_compiled
def search_best_first(
    offsets: Ints, neighbours: Ints, blocked: Ints, starts: Ints, goals: Ints, to_goal: Ints, near_anchors: Ints,
    distances: Ints, low: Ints, high: Ints, is_informed: bool, max_hops: int, max_paths: int, max_expansions: int,
) -> tuple[Ints, Ints, int]:  # fmt: skip
    """Partial paths are taken by their estimate: hops so far, and how many are still to come at least.

    The estimate never falls along a path, and equal ones are taken in the order of paths, so whole paths come in order.
    Where nothing is known of what is to come a queue does the same, and a path is found as soon as it is made.

    Args:
        starts, goals: distinct, ascending.
        to_goal: (N,), 0 for the goals and -1 for all others.
        near_anchors, distances, low, high: of `_bound`.

    Returns:
        Paths as rows of a start and slots, how many there are of each length, and the number of expansions: more than
        allowed where the search was ended, which it is too where it would keep more than so many partial paths.
    """
    rows, count, expansions = np.empty((8, max_hops + 1), np.int64), 0, 0
    num_found = np.zeros(max_hops + 1, np.int64)
    items, heap, lasts = np.empty((64, 5), np.int64), np.empty(64, np.int64), np.empty(8, np.int64)
    num_items, size, taken = 0, 0, 0
    for start in starts:
        if num_items == len(items):
            items = _longer(items)
        bound = 0 if to_goal[start] == 0 else _bound(start, near_anchors, distances, low, high)
        _put(items, num_items, start, num_items, -1, 0, bound)
        num_items += 1
    new = 0  # the first of those just made
    while count < max_paths:
        for item in range(new, num_items):
            if is_informed:
                heap, size = _push(heap, size, item, items)
            elif to_goal[items[item, ENTITY]] == 0 and items[item, HOPS] > 0 and count < max_paths:
                rows, count = _add_path(rows, count, num_found, items, item)
        new = num_items
        if count == max_paths or (size == 0 if is_informed else taken == num_items):
            break
        if is_informed:
            item = _pop(heap, size, items)
            size -= 1
        else:
            item, taken = taken, taken + 1
        is_goal = to_goal[items[item, ENTITY]] == 0
        if is_informed and is_goal and items[item, HOPS] > 0:
            rows, count = _add_path(rows, count, num_found, items, item)
        if items[item, HOPS] == max_hops or (is_goal and len(goals) == 1):
            continue
        if expansions == max_expansions or num_items > max_expansions:
            return rows[:count], num_found, max_expansions + 1
        expansions += 1
        items, num_items, lasts = _extend(
            offsets, neighbours, blocked, goals, to_goal, near_anchors, distances, low, high, max_hops, items,
            num_items, item, lasts,
        )  # fmt: skip
    return rows[:count], num_found, expansions
