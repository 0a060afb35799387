"""The loops of path search, compiled.

All are in one file: numba keeps compiled code until the file of a function changes, not those of the functions it calls.

Entities are ranks here and paths are slots of an `Adjacency`: slot s leads to neighbours[s]. `blocked` is (M,) uint8, 1 where
a slot may not be used, or empty; the two slots of a triple are blocked together, so distances are the same both ways.
An expansion is one reading of an entity's slots. Distances that are not known are -1.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

P, R = ParamSpec("P"), TypeVar("R")
Ints = NDArray[Any]

# columns of a partial path
ENTITY, SLOT, PARENT, HOPS, ESTIMATE = range(5)


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Machine code that is kept beside the file and leaves other Python threads running."""
    made: Callable[P, R] = numba.njit(nogil=True, cache=True)(function)
    return made


@_compiled
def grow_ball(offsets: Ints, neighbours: Ints, blocked: Ints, distances: Ints, queue: Ints, begin: int, end: int) -> int:
    """One more hop around queue[begin:end], the entities at the largest distance; returns the queue's new end."""
    last = end
    for place in range(begin, end):
        entity = queue[place]
        distance = distances[entity] + 1
        for slot in range(offsets[entity], offsets[entity + 1]):
            other = neighbours[slot]
            if distances[other] < 0 and not (len(blocked) and blocked[slot]):
                distances[other] = distance
                queue[last] = other
                last += 1
    return last


@_compiled
def mark_shortest(
    offsets: Ints, neighbours: Ints, blocked: Ints, from_start: Ints, to_goal: Ints, queue: Ints, begin: int, end: int,
) -> int:  # fmt: skip
    """Write `to_goal` back along all shortest paths from queue[begin:end] to where `from_start` is 0; returns the new end.

    All in the queue are as far from a start, and as far from a goal. What has a distance to a goal keeps it.
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
def _first_slot(neighbours: Ints, begin: int, end: int, entity: int) -> int:
    """The first of the slots, which are sorted, that does not lead to a smaller rank."""
    while begin < end:
        middle = (begin + end) // 2
        if neighbours[middle] < entity:
            begin = middle + 1
        else:
            end = middle
    return begin


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
            slot = _first_slot(neighbours, begin, end, entity)
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
def walk(
    offsets: Ints, neighbours: Ints, blocked: Ints, starts: Ints, ends: Ints, to_goal: Ints, radius: int, rest: int,
    hops: int, rows: Ints, count: int, max_paths: int, expansions: int, max_expansions: int,
) -> tuple[Ints, int, int]:  # fmt: skip
    """Paths of exactly `hops` steps from the starts to the ends, in their order, appended to `rows`: start, then slots.

    Depth first; left out is what is too far from a goal: an entity has distance to_goal, or where that is not known more
    than `radius`; the ends have distance `rest`. Stops at max_paths, or when the expansions are more than allowed.
    """
    nodes, slots, last = np.empty(hops, np.int64), np.empty(hops, np.int64), np.empty(8, np.int64)
    for start in starts:
        distance = to_goal[start] if to_goal[start] >= 0 else radius + 1
        if distance > hops + rest or (distance == rest and len(ends) == 1):
            continue
        depth = 0
        nodes[0], slots[0] = start, offsets[start]
        expansions += 1
        while depth >= 0:
            if expansions > max_expansions:
                return rows, count, expansions
            if depth == hops - 1:
                begin, stop = offsets[nodes[depth]], offsets[nodes[depth] + 1]
                last, num_last = _slots_to(neighbours, begin, stop, ends, to_goal, rest, last)
                for choice in range(num_last):
                    slot = last[choice]
                    if (len(blocked) and blocked[slot]) or _is_in(nodes, hops, neighbours[slot]):
                        continue
                    if count == len(rows):
                        rows = _longer(rows)
                    rows[count, 0] = start
                    for place in range(depth):
                        rows[count, place + 1] = slots[place] - 1  # the cursor is one ahead
                    rows[count, hops] = slot
                    count += 1
                    if count == max_paths:
                        return rows, count, expansions
                depth -= 1
                continue
            slot = slots[depth]
            if slot == offsets[nodes[depth] + 1]:
                depth -= 1
                continue
            slots[depth] += 1
            entity = neighbours[slot]
            distance = to_goal[entity] if to_goal[entity] >= 0 else radius + 1
            # no other end lies behind the only one
            if distance > hops + rest - depth - 1 or (distance == rest and len(ends) == 1):
                continue
            if (len(blocked) and blocked[slot]) or _is_in(nodes, depth + 1, entity):
                continue
            depth += 1
            nodes[depth], slots[depth] = entity, offsets[entity]
            expansions += 1
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
def _push(heap: Ints, size: int, item: int, items: Ints) -> None:
    place = size
    while place > 0:
        above = (place - 1) // 2
        if not _is_before(item, heap[above], items):
            break
        heap[place] = heap[above]
        place = above
    heap[place] = item


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
def _write_path(row: Ints, items: Ints, item: int) -> None:
    while items[item, PARENT] >= 0:
        row[items[item, HOPS]] = items[item, SLOT]
        item = items[item, PARENT]
    row[0] = items[item, ENTITY]


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
        to_goal: (N,), all -1, and left so.
        near_anchors, distances, low, high: of `_bound`.

    Returns:
        Paths as rows of start and slots, how many there are of each length, and the number of expansions, which is more
        than allowed where the search was ended: then, or where it would keep more than so many partial paths.
    """
    rows, count, expansions = np.empty((8, max_hops + 1), np.int64), 0, 0
    num_found = np.zeros(max_hops + 1, np.int64)
    items, heap = np.empty((64 + len(starts), 5), np.int64), np.empty(64 + len(starts), np.int64)
    last = np.empty(8, np.int64)
    num_items, size, taken = 0, 0, 0
    for goal in goals:
        to_goal[goal] = 0
    for start in starts:
        bound = 0 if to_goal[start] == 0 else _bound(start, near_anchors, distances, low, high)
        _put(items, num_items, start, num_items, -1, 0, bound)
        if is_informed:
            _push(heap, size, num_items, items)
            size += 1
        num_items += 1
    while count < max_paths and (size > 0 if is_informed else taken < num_items):
        if is_informed:
            item = _pop(heap, size, items)
            size -= 1
        else:
            item, taken = taken, taken + 1
        entity, hops = items[item, ENTITY], items[item, HOPS]
        is_goal = to_goal[entity] == 0
        if is_informed and is_goal and hops > 0:
            if count == len(rows):
                rows = _longer(rows)
            _write_path(rows[count], items, item)
            num_found[hops] += 1
            count += 1
        if hops == max_hops or count == max_paths or (is_goal and len(goals) == 1):
            continue
        if expansions == max_expansions or num_items > max_expansions:
            expansions = max_expansions + 1
            break
        expansions += 1
        first, num_slots = offsets[entity], offsets[entity + 1] - offsets[entity]
        if hops == max_hops - 1:
            last, num_slots = _slots_to(neighbours, first, first + num_slots, goals, to_goal, 0, last)
        for choice in range(num_slots):
            slot = last[choice] if hops == max_hops - 1 else first + choice
            other = neighbours[slot]
            is_goal = to_goal[other] == 0
            bound = 0 if is_goal else _bound(other, near_anchors, distances, low, high)
            estimate = max(items[item, ESTIMATE], hops + 1 + bound)
            if estimate > max_hops or (len(blocked) and blocked[slot]) or _is_on_path(items, item, other):
                continue
            if num_items == len(items):
                items, heap = _longer(items), _longer_list(heap)
            _put(items, num_items, other, slot, item, hops + 1, estimate)
            num_items += 1
            if is_informed:
                _push(heap, size, num_items - 1, items)
                size += 1
            elif is_goal:
                if count == len(rows):
                    rows = _longer(rows)
                _write_path(rows[count], items, num_items - 1)
                num_found[hops + 1] += 1
                count += 1
                if count == max_paths:
                    break
    for goal in goals:
        to_goal[goal] = -1
    return rows[:count], num_found, expansions
