"""A graph in tables and bars for the terminal."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerFast

from kalm.config import TemplateConfig
from kalm.evaluation.report import print_columns, print_facts
from kalm.graph.coverage import num_covered, share
from kalm.graph.inspection import (
    HELD_OUT,
    LikePair,
    degrees,
    doubling_histogram,
    entities_of,
    leaks,
    like_relations,
    only_in,
    relation_counts,
    shared_names,
)
from kalm.graph.knowledge_graph import HEAD, RELATION, SPLITS, TAIL, KnowledgeGraph
from kalm.graph.strings import Strings
from kalm.text.ragged import RaggedArray
from kalm.text.rendering import render
from kalm.text.token_table import TokenTable

BAR_WIDTH = 50  # characters of the longest bar
NUM_TOKENISED = 1000  # texts of most bytes, among which the one of most tokens is looked for


def print_reading(graph: KnowledgeGraph) -> None:
    """The format, where each line of each file went, and what was noted."""
    reading = graph.reading
    if reading is None:
        return
    rows = [
        (Path(account.file).name, account.unit,
         *map(_count, (account.lines, account.read, account.refused, account.blank, account.comment)))
        for account in reading.accounts
    ]  # fmt: skip
    print_columns(reading.format, ("file", "unit", "all", "read", "refused", "blank", "header, comment"), rows)
    refused = [example for account in reading.accounts for example in account.examples]
    for line in (*refused, *reading.notes):
        print(f"  note: {line}")


def print_splits(graph: KnowledgeGraph) -> None:
    """Triples, entities and relations of each split."""
    duplicates = graph.reading.duplicates if graph.reading is not None else {}
    rows = []
    for split in SPLITS:
        triples = graph.triples[split]
        counts = (
            len(triples), duplicates.get(split, 0), int(np.count_nonzero(triples[:, HEAD] == triples[:, TAIL])),
            len(entities_of(triples)), len(np.unique(triples[:, RELATION])),
        )  # fmt: skip
        rows.append((split, *map(_count, counts)))
    caption = f"{graph.num_entities:,} entities and {graph.num_relations:,} relations in all"
    print_columns(
        "splits", ("", "triples", "that repeat an earlier one", "head = tail", "entities", "relations"), rows, caption
    )


def print_texts(graph: KnowledgeGraph, num_shown: int) -> None:
    """How many entities have texts of their own, and which names are shared."""
    shared = shared_names(graph)
    most = ", ".join(f"{name!r} {count:,}x" for name, count in shared[:num_shown])
    covered = num_covered(graph)
    print_facts("texts", [
        ("entities with a name", share(covered["named"], graph.num_entities)),
        ("entities with a description", share(covered["described"], graph.num_entities)),
        ("entities that share their name", share(sum(count for _, count in shared), graph.num_entities)),
        ("names of several entities", f"{len(shared):,}{': ' if most else ''}{most}"),
        ("relations whose inverse has a text", share(covered["inverses"], graph.num_relations)),
    ], "the others: a name made from the id, no description, `inverse of ...`")  # fmt: skip


def print_leaks(graph: KnowledgeGraph, num_shown: int) -> None:
    """What of valid and test is known from train, what is new there, and relations that say the same."""
    rows = []
    for split in HELD_OUT:
        found = leaks(graph, split)
        counts = (found.same, found.reverse, found.reverse_other, found.same_pair, found.unseen)
        rows.append((split, *(share(count, found.num_triples) for count in counts),
                     _count(len(only_in(graph, split)))))  # fmt: skip
    print_columns(
        "triples that train gives away or has nothing of",
        ("", "the triple itself", "(t, r, h)", "(t, other r, h)", "(h, other r, t)", "unseen entity or relation",
         "entities not in train"),
        rows,
    )  # fmt: skip
    alike = like_relations(graph)
    if alike:
        print_columns(
            "relations with nearly the same pairs of entities",
            ("relation", "", "relation", "pairs in common"),
            [_like_row(pair, graph) for pair in alike[:num_shown]],
            f"{len(alike):,} such pairs" if len(alike) > num_shown else "",
        )


def print_histograms(graph: KnowledgeGraph, num_shown: int) -> None:
    """Degrees of entities in train, and triples of relations."""
    bins = doubling_histogram(degrees(graph))
    _print_bars(
        ("training triples of an entity", "entities"),
        [(f"{low:,}" if low == high else f"{low:,}-{high:,}", count) for low, high, count in bins],
    )
    counts = relation_counts(graph).sum(axis=1)
    order = np.argsort(-counts, kind="stable")
    rest = order[num_shown:]
    _print_bars(
        ("relation", "triples in all splits"),
        [(graph.relation_names[place], int(counts[place])) for place in order[:num_shown].tolist()],
        f"{len(rest):,} other relations have {counts[rest].sum():,}, each at most {counts[rest].max():,}"
        if len(rest)
        else "",
    )


def print_lengths(graph: KnowledgeGraph, table: TokenTable, tokenizer: PreTrainedTokenizerFast, num_shown: int) -> None:
    """The longest texts and segments in tokens, and whether cutting them makes relations equal."""
    rows: list[tuple[str, str, str]] = []
    for kind, texts in (("name", graph.entity_names), ("description", graph.entity_descriptions),
                        ("relation", graph.relation_names)):  # fmt: skip
        rows += [(kind, _count(length), _shortened(text)) for length, text in _longest(texts, tokenizer, num_shown)]
    parts: tuple[tuple[str, RaggedArray], ...] = (
        ("head segment", table.heads), ("relation segment", table.relations), ("tail segment", table.tails)
    )  # fmt: skip
    rows += [(kind, _count(int(part.lengths.max())), "the longest, as the template cuts it") for kind, part in parts]
    print_columns("longest texts in tokens", ("", "tokens", ""), rows,
                  f"longest sequence that the graph could give: {table.max_length:,} tokens")  # fmt: skip
    num_directed = len(table.relations)
    different, _ = table.relations.distinct(np.arange(num_directed))
    if len(different) < num_directed:
        print(f"  note: {num_directed - len(different):,} of the {num_directed:,} directed relations have the tokens "
              "of another one: raise template.max_name_tokens, or give them other texts")  # fmt: skip


def print_sequences(
    graph: KnowledgeGraph,
    table: TokenTable,
    tokenizer: PreTrainedTokenizerFast,
    template: TemplateConfig,
    num_shown: int,
) -> None:
    """The first training triples as the LM gets them, in both directions."""
    is_separate = template.target is not None or template.completion is not None
    directed = graph.directed("train")[: 2 * num_shown]
    rows = []
    for place in range(len(directed)):
        for rendered in render(directed[place : place + 1], table, tokenizer, separate=is_separate):
            rows.append((_count(rendered.num_tokens), rendered.text))
    print_columns("the first training triples as sequences, and their inverses", ("tokens", "sequence"), rows)


def _print_bars(columns: tuple[str, str], rows: Sequence[tuple[str, int]], caption: str = "") -> None:
    largest = max((count for _, count in rows), default=0) or 1
    bars = [(name, _count(count), "█" * -(-count * BAR_WIDTH // largest)) for name, count in rows]
    print_columns("", (*columns, ""), bars, caption)


def _longest(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, num_shown: int) -> list[tuple[int, str]]:
    """Tokens and text of the longest ones, each text once."""
    distinct = pc.unique(Strings(texts).array)
    places = pc.select_k_unstable(pc.binary_length(distinct), min(NUM_TOKENISED, len(distinct)), [("", "descending")])
    most_bytes = distinct.take(places).to_pylist()
    encoded = tokenizer(most_bytes, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids
    lengths = sorted(zip(map(len, encoded), most_bytes, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return [(length, text) for length, text in lengths[:num_shown] if length]


def _like_row(pair: LikePair, graph: KnowledgeGraph) -> tuple[str, str, str, str]:
    first, second = (graph.relation_labels[place] for place in (pair.first, pair.second))
    how = "is its own reverse" if pair.first == pair.second else "is the reverse of" if pair.is_reverse else "is like"
    return first, how, "" if pair.first == pair.second else second, f"{pair.share:.1%}"


def _shortened(text: str) -> str:
    return text if len(text) <= BAR_WIDTH else f"{text[:BAR_WIDTH]}..."


def _count(number: int) -> str:
    return f"{number:>7,}"
