"""What a run's LM knows of the facts it was trained on: ranked, printed, written, drawn."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kalm.config import KnowledgeConfig
from kalm.evaluation.facts import Facts, draw_facts, rank_as_text
from kalm.evaluation.generation import check_tree_attention
from kalm.evaluation.kgc import embed
from kalm.evaluation.knowledge_summary import (
    SYSTEMS,
    fact_lines,
    in_words,
    relation_table,
    share_table,
    summarise,
)
from kalm.evaluation.loaded_run import LoadedRun, load_run, load_untrained
from kalm.evaluation.ranking import Ranks
from kalm.evaluation.report import low_high, print_columns
from kalm.provenance import environment, write_json, write_text
from kalm.text.prefix_tree import PrefixTree

MAX_RELATIONS = 20  # of the printed table


class Ranked(NamedTuple):
    """Ranks by system, in the order of the queries, and how long the LM took."""

    ranks: dict[str, Ranks]
    seconds_per_query: float


def evaluate_knowledge(config: KnowledgeConfig) -> None:
    """Rank facts as text and by embedding; write eval/knowledge.json and .jsonl and the page's section; print.

    Raises:
        ValueError: the folder is no run, has no model, or its graph has changed since; the LM cannot read a tree of
            texts, or its attention does not reach over query and text.
    """
    run = load_run(Path(config.run).expanduser())
    check_tree_attention(run.encoder, "eval/knowledge.py", "eval/kgc.py")
    facts = draw_facts(run.graph, config)
    print(f"{len(facts.questions):,} questions about {facts.fact_of[-1] + 1:,} facts, "
          f"{len(facts.candidates):,} candidates", flush=True)  # fmt: skip
    ranked = rank(run, facts, config)
    result = {
        "protocol": describe(facts, run, config),
        **summarise(ranked.ranks, facts),
        "seconds_per_query": ranked.seconds_per_query,
        "step": run.description["step"],
        "environment": environment(),
    }
    output = run.folder / "eval"
    output.mkdir(exist_ok=True)
    (output / "knowledge.json").unlink(missing_ok=True)  # comes last: ranks without it are of a broken-off evaluation
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in fact_lines(ranked.ranks, facts))
    write_text(output / "knowledge.jsonl", "".join(lines))
    write_json(output / "knowledge.json", result)
    print_knowledge(result, run.folder)
    if config.page:
        # heavy: loads matplotlib
        from kalm.evaluation.knowledge_section import knowledge_section
        from kalm.evaluation.sections import publish

        publish(run.folder, knowledge_section(result))


def rank(run: LoadedRun, facts: Facts, config: KnowledgeConfig) -> Ranked:
    """By what the tuned LM writes, by its embeddings, and by what the untrained LM writes."""
    tree = PrefixTree.from_rows(run.table.tails)
    started = time.perf_counter()
    how: dict[str, Any] = {"beta": config.beta, "ranking": config.ranking}
    ranks = {"text": rank_as_text(run.encoder, run.table, tree, facts, "facts as text, tuned", **how)}
    num_asked = len(np.unique(facts.questions.directed[:, :2], axis=0))
    seconds = (time.perf_counter() - started) / num_asked
    embedded = embed(run.encoder, run.table, facts.questions, config.ranking)
    ranks["embedding"] = embedded.ranks(facts.questions, config.ranking, run.device)
    del embedded
    run.encoder.to("meta")  # room for the untrained LM
    if config.baselines:
        untrained = load_untrained(run)
        ranks["base_text"] = rank_as_text(untrained, run.table, tree, facts, "facts as text, base", **how)
    return Ranked({name: ranks[name] for name in SYSTEMS if name in ranks}, seconds)


def describe(facts: Facts, run: LoadedRun, config: KnowledgeConfig) -> dict[str, Any]:
    """How the ranks came about, so that nobody has to guess."""
    num_candidates, num_entities = len(facts.candidates), run.graph.num_entities
    is_sample = num_candidates < num_entities
    return {
        "known": "the answer is ranked first: no other candidate's score is as high",
        "score": "log p(text | query) / length^beta, its end included",
        "beta": config.beta,
        "filter": list(config.filter),
        "candidates": f"first of {num_candidates:,} sampled entities and itself" if is_sample else "all entities",
        "num_candidates": num_candidates,
        "directions": [direction.value for direction in config.directions],
        "num_facts": len(np.unique(facts.fact_of)),
        "num_training_triples": len(np.unique(run.graph.triples["train"], axis=0)),
        "num_questions": len(facts.questions),
        "facts": "all" if config.num_facts is None else f"at most {config.num_facts:,} of each relation",
        "weights": "shares over relations count each relation by its training triples",
        "intervals": "95 %, bootstrap over facts",
        "seed": config.seed,
    }


def print_knowledge(result: dict[str, Any], folder: Path) -> None:
    title = f"{folder.name}, training facts that are ranked first, step {result['step']}"
    print_columns(title, *share_table(result, "overall"), in_words(result))
    for name, found in result["differences"].items():
        p_value = found["mcnemar"]["p_value"]
        print(f"{name}: {found['difference']:+.3f} ({low_high(found['interval'], sign='+')}), McNemar p {p_value:.2g}")
    print_columns("by the training triples of the answer", *share_table(result, "by_frequency"))
    columns, rows = relation_table(result)
    shown = "" if len(rows) <= MAX_RELATIONS else f"the {MAX_RELATIONS} with most questions of {len(rows)}; "
    files = f"{folder / 'eval/knowledge.json'}, each fact in knowledge.jsonl"
    caption = f"{shown}{result['seconds_per_query']:.3f} s per query as text; {files}"
    print_columns("by relation", columns, rows[:MAX_RELATIONS], caption)
