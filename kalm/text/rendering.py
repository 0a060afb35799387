"""Sequences of tokens as text, with the sites and labels marked."""

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerFast

from kalm.graph.knowledge_graph import Triples
from kalm.text.batch import Batch, collate, collate_separately
from kalm.text.token_table import TokenTable

ENTITY, QUERY, LABELS, END = "⟨entity⟩", "⟨query⟩", "⟨written⟩", "⟨/written⟩"


@dataclass(frozen=True, slots=True)
class Rendered:
    """One sequence.

    Args:
        text: what the LM reads and is to write, with a mark behind each site's token and around the labels.
        num_tokens: without the marks.
    """

    text: str
    num_tokens: int


def render(triple: Triples, table: TokenTable, tokenizer: PreTrainedTokenizerFast, *, separate: bool) -> list[Rendered]:
    """The sequences of one directed triple, exactly as training has them.

    Args:
        triple: (1, 3), int64.
        table: the segments.
        tokenizer: that made them.
        separate: query, target and completion as sequences of their own.
    """
    batch: Batch
    everything = np.ones(1, dtype=bool)
    if separate:
        batch = collate_separately(triple, table, is_completed=everything, encode_heads=False, logits_everywhere=False)
    else:
        batch = collate(triple, table, num_groups=1)
    marks: dict[int, list[str]] = {}
    for sites, mark in ((batch.entity_sites, ENTITY), (batch.query_sites, QUERY)):
        for site in sites.tolist():
            marks.setdefault(site, []).append(mark)
    return [_rendered(group, begin, marks, batch, tokenizer) for group, begin in _groups(batch)]


def _groups(batch: Batch) -> list[tuple[list[int], int]]:
    """The tokens of each sequence, and the position of the first; one triple's groups have one row each."""
    groups, begin = [], 0
    for group in batch.input_ids:
        groups.append((group[0].tolist(), begin))
        begin += group.numel()
    return groups


def _rendered(
    tokens: list[int], begin: int, marks: dict[int, list[str]], batch: Batch, tokenizer: PreTrainedTokenizerFast
) -> Rendered:
    # the label after the last position is no input: the sequence ends before it
    written = {
        place - begin: label
        for place, label in zip(batch.label_positions.tolist(), batch.labels.tolist(), strict=True)
        if begin <= place < begin + len(tokens)
    }
    num_read = min(written) + 1 if written else len(tokens)
    whole = [*tokens[:num_read], *(written[place] for place in sorted(written))]
    marked = {place + 1: list(marks[begin + place]) for place in range(num_read) if begin + place in marks}
    if written:
        marked.setdefault(num_read, []).append(LABELS)
        marked.setdefault(len(whole), []).append(END)
    # beginnings are decoded, not pieces, of which some tokenizers cut the leading space
    text, done = "", 0
    for stop in sorted({*marked, len(whole)}):
        decoded = _decode(whole[:stop], tokenizer)
        text += "".join([decoded[done:], *marked.get(stop, ())])
        done = len(decoded)
    return Rendered(text, len(whole))


def _decode(tokens: list[int], tokenizer: PreTrainedTokenizerFast) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))
