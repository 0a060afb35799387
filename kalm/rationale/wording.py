"""The words of a question that follows relations from its topic, and which split asks with which."""

import random
from collections.abc import Sequence
from itertools import product

from kalm.config import Phrase
from kalm.graph.knowledge_graph import SPLITS

Walk = tuple[int, ...]  # directed relations from the topic to the answers
TOPIC = "\0"  # stands for the topic; no name has it


def phrasings(walk: Walk, phrases: Sequence[Phrase]) -> list[str]:
    """All ways to name what a walk leads to, each once; the phrase of a relation is put into that of the next.

    Args:
        walk: directed relation ids, r + R for the inverse of r.
        phrases: of the R relations.
    """
    asked = [TOPIC]
    for relation in walk:
        phrase = phrases[relation % len(phrases)]
        asks = phrase.ask_tail if relation < len(phrases) else phrase.ask_head
        asked = [ask.format(head=inner, tail=inner) for ask, inner in product(asks, asked)]
    return list(dict.fromkeys(asked))


def split_wordings(
    walk: Walk, phrases: Sequence[Phrase], frames: Sequence[str], held_out: float, seed: int
) -> dict[str, list[str]]:
    """The wordings of one walk for each split; neither a frame nor a phrasing is in two splits.

    Where there are too few phrasings for that, all splits have them all, and only frames are held out, or the other
    way round.

    Args:
        walk, phrases: see `phrasings`.
        frames: how a question begins, with {asked} for what it asks for.
        held_out: the share of frames, and of phrasings, that test has, and as many valid; at least one each.
        seed: of the draw; equal phrasings, as a symmetric relation has both ways, are drawn alike.

    Raises:
        ValueError: there are fewer than three of both.
    """
    found = phrasings(walk, phrases)
    if max(len(found), len(frames)) < len(SPLITS):
        raise ValueError(f"frames: {len(frames)}, and the phrases of a relation make {len(found)} phrasings; at "
                         "least 3 of one are needed, one for each split")  # fmt: skip
    frames_of = _split(list(dict.fromkeys(frames)), held_out, seed)
    phrasings_of = _split(found, held_out, seed)
    return {
        split: [frame.format(asked=asked) for frame, asked in product(frames_of[split], phrasings_of[split])]
        for split in SPLITS
    }


def _split(found: Sequence[str], held_out: float, seed: int) -> dict[str, Sequence[str]]:
    if len(found) < len(SPLITS):
        return dict.fromkeys(SPLITS, found)
    shuffled = random.Random(f"{seed} {sorted(found)}").sample(found, len(found))
    num_held = max(1, int(held_out * len(shuffled)))
    return {"test": shuffled[:num_held], "valid": shuffled[num_held : 2 * num_held], "train": shuffled[2 * num_held :]}
