"""The words of a question that follows relations from its topic, and which split asks with which."""

import random
from collections.abc import Sequence
from itertools import product

from kalm.config import Phrase
from kalm.graph.knowledge_graph import SPLITS

Walk = tuple[int, ...]  # directed relations from the topic to the answers
TOPIC = "\0"  # stands for the topic; no name has it


def wordings(walk: Walk, phrases: Sequence[Phrase], frames: Sequence[str]) -> list[str]:
    """All wordings of a walk, each once; the phrase of a relation is put into that of the next.

    Args:
        walk: directed relation ids, r + R for the inverse of r.
        phrases: of the R relations.
        frames: with {asked} for what is asked for.
    """
    asked = [TOPIC]
    for relation in walk:
        phrase = phrases[relation % len(phrases)]
        asks = phrase.ask_tail if relation < len(phrases) else phrase.ask_head
        asked = [ask.format(head=inner, tail=inner) for ask, inner in product(asks, asked)]
    return list(dict.fromkeys(frame.format(asked=words) for frame, words in product(frames, asked)))


def split_wordings(found: Sequence[str], held_out: float, seed: str) -> dict[str, list[str]]:
    """The wordings of one walk, shuffled and shared among the splits, none in two of them.

    Args:
        found: all wordings.
        held_out: the share that test has, and as many valid; at least one each.
        seed: of the shuffle.

    Raises:
        ValueError: there are fewer than three.
    """
    if len(found) < len(SPLITS):
        raise ValueError(f"frames and phrases give {len(found)} wordings of a question, at least 3 are needed: one for "
                         "each split")  # fmt: skip
    shuffled = list(found)
    random.Random(seed).shuffle(shuffled)
    num_held = max(1, int(held_out * len(shuffled)))
    return {"test": shuffled[:num_held], "valid": shuffled[num_held : 2 * num_held], "train": shuffled[2 * num_held :]}
