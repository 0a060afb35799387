"""Questions of one and two hops from a graph, by template, with wordings held out for valid and test."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kalm.config import QuestionsConfig
from kalm.data import read_graph
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.kgqa.question_lines import without_brackets
from kalm.provenance import write_json, write_text
from kalm.rationale.phrases import phrases_of
from kalm.rationale.tails import Tails
from kalm.rationale.wording import TOPIC, Walk, split_wordings

MAX_VAIN = 5_000  # draws in a row that give no new question, after which the graph has few more


class Asked(NamedTuple):
    """What a question asks."""

    topic: int
    walk: Walk
    answers: tuple[int, ...]  # ascending, without the topic


def make_questions(config: QuestionsConfig) -> dict[str, object]:
    """Write the three files and about.json; say what is in them.

    Returns:
        The content of about.json.

    Raises:
        ValueError: the graph has too few questions or wordings of the kind, or there are such files already.
        OSError: a file cannot be written.
    """
    out = Path(config.out).expanduser()
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, got the file {out}")
    if not config.overwrite and (there := [name for name in SPLITS if (out / f"{name}.txt").exists()]):
        raise ValueError(f"out: {out} has {there[0]}.txt already; take another folder, or overwrite=true")
    graph = read_graph(config.data)
    phrases = phrases_of(graph, config.phrases)
    sizes = {"train": config.num_train, "valid": config.num_valid, "test": config.num_test}
    asked = draw_questions(graph, config)
    wordings = {
        walk: split_wordings(walk, phrases, config.frames, config.held_out, config.seed)
        for walk in {question.walk for question in asked}
    }
    out.mkdir(parents=True, exist_ok=True)
    start = 0
    for split, size in sizes.items():
        lines = [
            _line(question, wordings[question.walk][split], graph, f"{config.seed} {number}")
            for number, question in enumerate(asked[start : start + size], start=start)
        ]
        write_text(out / f"{split}.txt", "".join(lines))
        start += size
    walks = Counter(" / ".join(_walk_in_words(question.walk, graph)) for question in asked)
    about: dict[str, object] = {
        "graph": graph.digest()[:16], "hops": config.hops, "seed": config.seed, "questions": sizes,
        "held_out": config.held_out, "kinds": dict(walks.most_common()),
    }  # fmt: skip
    write_json(out / "about.json", about)
    print(f"{len(asked):,} questions of {config.hops} hops and {len(walks):,} kinds written to {out}")
    return about


def draw_questions(graph: KnowledgeGraph, config: QuestionsConfig) -> list[Asked]:
    """As many questions as the splits need together, each (topic, walk) once.

    All pairs of a topic and its first relation are equally likely, then all second relations that lead on from there.
    Left out are questions with more than `max_answers` answers or entities on the way, without answers, and those
    whose topic or answers share their name with another entity, since their names do not tell what is meant.

    Raises:
        ValueError: the graph has too few.
    """
    num_wanted = config.num_train + config.num_valid + config.num_test
    generator = np.random.default_rng(config.seed)
    tails = Tails(graph, config.splits)
    if len(tails.queries) == 0:
        raise ValueError(f"splits: the graph has no triple in {', '.join(config.splits)}")
    is_clear = _have_clear_names(graph)
    found: dict[tuple[int, Walk], Asked] = {}
    num_vain = 0
    while num_vain < MAX_VAIN:
        if len(found) == num_wanted:
            return list(found.values())
        num_vain += 1
        question = _draw(tails, config.hops, config.max_answers, generator)
        if question is not None and all(is_clear[entity] for entity in (question.topic, *question.answers)):
            num_vain = 0 if (question.topic, question.walk) not in found else num_vain
            found[question.topic, question.walk] = question
    raise ValueError(
        f"the graph has about {len(found):,} questions of {config.hops} hops with at most {config.max_answers} "
        f"answers, and {num_wanted:,} are asked for: lower num_train, or raise max_answers"
    )


def _draw(tails: Tails, hops: int, max_answers: int, generator: np.random.Generator) -> Asked | None:
    topic, first = tails.drawn(generator)
    middle = tails.of(topic, first)
    walk: Walk = (first,)
    answers = set(middle.tolist())
    if hops == 2:
        if len(middle) > max_answers:
            return None
        onward = tails.relations_of(int(generator.choice(middle)))
        walk = (first, int(generator.choice(onward)))
        answers = {entity for step in middle.tolist() for entity in tails.of(step, walk[1]).tolist()}
    answers.discard(topic)
    return Asked(topic, walk, tuple(sorted(answers))) if 1 <= len(answers) <= max_answers else None


def _line(asked: Asked, wordings: Sequence[str], graph: KnowledgeGraph, seed: str) -> str:
    wording = random.Random(seed).choice(wordings)
    question = wording.replace(TOPIC, f"[{graph.entity_names[asked.topic]}]")
    return f"{question}\t{'|'.join(graph.entity_names[entity] for entity in asked.answers)}\n"


def _have_clear_names(graph: KnowledgeGraph) -> Sequence[bool]:
    """Whether each entity's name is its alone in any case, and can be written into a line and read again."""
    folded = [name.casefold() for name in graph.entity_names]
    counts = Counter(folded)
    return [counts[key] == 1 and _can_be_written(name) for key, name in zip(folded, graph.entity_names, strict=True)]


def _can_be_written(name: str) -> bool:
    is_one_line = not any(character in name for character in "\t\n\r|") and name == " ".join(name.split())
    return is_one_line and without_brackets(f"[{name}]") == (name, (name,))


def _walk_in_words(walk: Walk, graph: KnowledgeGraph) -> Iterator[str]:
    for relation in walk:
        name = graph.relation_names[relation % graph.num_relations]
        yield f"inverse of {name}" if relation >= graph.num_relations else name
