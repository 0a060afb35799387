"""Known facts counted over all, by frequency and by relation, and each fact for itself."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm.evaluation.facts import Facts
from kalm.evaluation.paired import compare_ratio, mcnemar, ratio
from kalm.evaluation.questions import DIRECTIONS
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.report import describe_query
from kalm.graph.knowledge_graph import TAIL

SYSTEMS = {"base_text": "base, text", "text": "tuned, text", "embedding": "tuned, embedding"}

Flags = NDArray[np.bool_]


def is_first(ranks: Ranks) -> Flags:
    """Whether the answer is ahead of all others; who shares the first place is not."""
    return np.asarray((ranks.pessimistic == 1).numpy())


def summarise(ranks: dict[str, Ranks], facts: Facts) -> dict[str, Any]:
    """Shares of known facts over all, by direction, relation and frequency, and what the systems differ in."""
    known = {name: is_first(of_system) for name, of_system in ranks.items()}
    everything = np.ones(len(facts.questions), dtype=np.bool_)
    graph = facts.questions.graph
    is_head = facts.questions.is_head
    directions = {"tail": ~is_head, "head": is_head}
    names, group_of = facts.frequency_groups
    overall: dict[str, Any] = {"all": everything} | {name: directions[name] for name in DIRECTIONS}
    by_frequency = {names[group]: group_of == group for group in np.unique(group_of)}
    by_relation = {graph.relation_labels[relation]: facts.relations == relation
                   for relation in np.unique(facts.relations)}  # fmt: skip
    return {
        "overall": {name: _shares(known, facts, mask) for name, mask in overall.items() if mask.any()},
        "by_frequency": {name: _shares(known, facts, mask) for name, mask in by_frequency.items()},
        "by_relation": {
            name: {"name": graph.relation_names[int(facts.relations[mask][0])], "count": int(mask.sum()),
                   **{system: float(flags[mask].mean()) for system, flags in known.items()}}
            for name, mask in by_relation.items()
        },
        "differences": {
            f"{SYSTEMS[second]} less {SYSTEMS[first]}": _difference(known[first], known[second], facts)
            for first, second in (("base_text", "text"), ("embedding", "text")) if first in known
        },
        "tied_for_first": {name: int(((of_system.optimistic == 1) & (of_system.pessimistic > 1)).sum())
                           for name, of_system in ranks.items()},
    }  # fmt: skip


def _shares(known: dict[str, Flags], facts: Facts, mask: Flags) -> dict[str, Any]:
    weights, fact_of = facts.weights[mask], facts.fact_of[mask]
    shares = {system: ratio(flags[mask] * weights, weights, fact_of) for system, flags in known.items()}
    return {"count": int(mask.sum()), **shares}


def _difference(first: Flags, second: Flags, facts: Facts) -> dict[str, Any]:
    found = compare_ratio(first * facts.weights, second * facts.weights, facts.weights, facts.fact_of)
    return {**found, "mcnemar": mcnemar(first, second)}


def fact_lines(ranks: dict[str, Ranks], facts: Facts) -> Iterator[dict[str, Any]]:
    """One object per question: the triple as the graph has it, what is asked, realistic ranks, what is known."""
    graph = facts.questions.graph
    realistic = {f"rank_{name}": of_system.realistic.tolist() for name, of_system in ranks.items()}
    known = {f"knows_{name}": is_first(of_system).tolist() for name, of_system in ranks.items()}
    for row, query in enumerate(facts.questions.directed.tolist()):
        anchor, relation, direction = describe_query(query, graph)
        answer = graph.entity_labels[query[TAIL]]
        head, tail = (anchor, answer) if direction == "tail" else (answer, anchor)
        yield {
            "head": head, "relation": relation, "tail": tail, "direction": direction,
            **{name: column[row] for name, column in (realistic | known).items()},
            "candidates": int(ranks["text"].num_candidates[row]), "frequency": int(facts.frequencies[row]),
        }  # fmt: skip


def share_table(result: dict[str, Any], grouping: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows: group, number of questions, share of each system with its interval."""
    systems = [name for name in SYSTEMS if name in result["overall"]["all"]]
    rows = [
        [group, f"{found['count']:,}",
         *(f"{found[name]['value']:.3f} {low_high(found[name]['interval'])}" for name in systems)]
        for group, found in result[grouping].items()
    ]  # fmt: skip
    return ["", "questions", *(SYSTEMS[name] for name in systems)], rows


def relation_table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of all relations, those with most questions first."""
    systems = [name for name in SYSTEMS if name in result["overall"]["all"]]
    found = sorted(result["by_relation"].values(), key=lambda relation: -relation["count"])
    rows = [[of["name"], f"{of['count']:,}", *(f"{of[name]:.3f}" for name in systems)] for of in found]
    return ["", "questions", *(SYSTEMS[name] for name in systems)], rows


def in_words(result: dict[str, Any]) -> str:
    """The protocol and what it left undecided, for the line under a table."""
    protocol = result["protocol"]
    tied = ", ".join(f"{count:,} ({SYSTEMS[name]})" for name, count in result["tied_for_first"].items())
    return (
        f"known: {protocol['known']}; answers that share the first place: {tied}; score: {protocol['score']}, beta "
        f"{protocol['beta']:g}; candidates: {protocol['candidates']}; filtered by {' + '.join(protocol['filter'])}; "
        f"{protocol['num_facts']:,} of {protocol['num_training_triples']:,} training triples, {protocol['facts']}; "
        f"{protocol['weights']}; intervals: {protocol['intervals']}"
    )


def low_high(interval: list[float] | None) -> str:
    return "" if interval is None else f"({interval[0]:.3f} to {interval[1]:.3f})"
