"""Collects what a reader finds into a `LabelledGraph`, in blocks of Arrow columns."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kalm.graph.account import Account, Fault, Ledger
from kalm.graph.labelled import NO_TEXTS, Codes, LabelledGraph, LabelledTexts, ReadOptions

MERGE_AT = 2**23  # labels of single blocks kept before they become one dictionary

EncodedTriples = tuple[pa.DictionaryArray, pa.DictionaryArray]  # heads then tails, and relations
TextKind = Literal["entity_names", "entity_descriptions", "relation_names", "inverse_names"]


class GraphBuilder:
    """Takes blocks of triples and texts in any order.

    Labels are strings, whatever they look like: `00260622` keeps its zeros. White space around a label is cut off and
    counted; what is left must be something, without a NUL.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.ledger = Ledger(options.max_bad_lines)
        self._entities, self._relations = _Dictionary(), _Dictionary()
        self._blocks: dict[str, list[tuple[Codes, Codes]]] = {}  # ends (heads, then tails) and relations
        self._texts: dict[TextKind, dict[int, list[tuple[pa.Array, pa.Array]]]] = {}  # by rank
        self._notes: dict[str, None] = {}  # in order, each once
        self._num_trimmed = 0

    def start_split(self, split: str) -> None:
        """Make a split known, even if no triple comes for it."""
        self._blocks.setdefault(split, [])

    def add(
        self,
        split: str,
        heads: Any,
        relations: Any,
        tails: Any,
        *,
        account: Account,
        lines: Sequence[int] | NDArray[np.int64],
        num_lines: Sequence[int] | NDArray[np.int64] | None = None,
        faults: Iterable[Fault] = (),
    ) -> None:
        """Add a block of triples, refuse those with a bad label, and count both on the account.

        Args:
            split: of the block.
            heads, relations, tails: n labels each, as an Arrow array of strings or a list; None is no label.
            account: of the file they come from.
            lines: the first line of each triple.
            num_lines: how many lines each takes; 1 each where it is None.
            faults: lines of the same block that the reader could not take apart, refused in one order with the others.

        Raises:
            ValueError: more lines are bad than may be.
        """
        columns = [_strings(column) for column in (heads, relations, tails)]
        numbers = np.asarray(lines, dtype=np.int64)
        sizes = np.ones_like(numbers) if num_lines is None else np.asarray(num_lines, dtype=np.int64)
        is_bad = np.logical_or.reduce([bad_labels(column) for column in columns])
        found = list(faults)
        for row in np.flatnonzero(is_bad)[: self.options.max_bad_lines + 1].tolist():
            labels = [column[row].as_py() for column in columns]
            reason = "a NUL byte in a label" if "\0" in "".join(labels) else "an empty column"
            found.append(
                Fault(int(numbers[row]), f"{reason}; expected head, relation, tail", "mend the line", int(sizes[row]))
            )
        account.refuse_all(found)
        if is_bad.any():
            columns = [column.filter(pa.array(~is_bad)) for column in columns]
        account.read += int(sizes[~is_bad].sum())
        self.add_good(split, encode(columns[0], columns[2]), encode(columns[1]))

    def add_good(self, split: str, ends: pa.DictionaryArray, relations: pa.DictionaryArray) -> None:
        """Add a block of n triples whose labels are known to be good; the caller counts them.

        Args:
            split: of the block.
            ends: the n heads, then the n tails.
            relations: the n relations.
        """
        self.start_split(split)
        self._blocks[split].append((self._codes(self._entities, ends), self._codes(self._relations, relations)))

    def add_texts(self, kind: TextKind, labels: Any, texts: Any, *, rank: int = 0) -> None:
        """Add a text for each of n labels.

        Of several texts of one label, those of the highest rank that are not empty count, and of these the last.
        """
        columns = [pc.utf8_trim_whitespace(_strings(column)) for column in (labels, texts)]
        is_filled = pc.not_equal(columns[1], "")
        parts = self._texts.setdefault(kind, {}).setdefault(rank, [])
        parts.append((columns[0].filter(is_filled), columns[1].filter(is_filled)))

    def note(self, text: str) -> None:
        """Say something about the reading that the user should know; the same text is shown once."""
        self._notes[text] = None

    def finish(self, format_name: str) -> LabelledGraph:
        """What was added.

        Args:
            format_name: what was read, in words.
        """
        self.ledger.close()
        entities, relations = self._entities.settle(), self._relations.settle()
        if self._num_trimmed:
            self.note(f"{self._num_trimmed:,} labels had white space around them, which was cut off")
        return LabelledGraph(
            format=format_name,
            entities=entities,
            relations=relations,
            triples={split: _stacked(self._blocks.pop(split)) for split in list(self._blocks)},
            entity_names=self._joined("entity_names"),
            entity_descriptions=self._joined("entity_descriptions"),
            relation_names=self._joined("relation_names"),
            inverse_names=self._joined("inverse_names"),
            accounts=tuple(self.ledger.accounts),
            notes=tuple(self._notes),
        )

    def _codes(self, dictionary: "_Dictionary", column: pa.DictionaryArray) -> Codes:
        codes = column.indices.to_numpy().astype(np.int32)
        labels = _strings(column.dictionary)
        trimmed = pc.utf8_trim_whitespace(labels)
        if not trimmed.equals(labels):
            is_changed = pc.not_equal(trimmed, labels).to_numpy(zero_copy_only=False)
            self._num_trimmed += int(is_changed[codes].sum())
            distinct = trimmed.dictionary_encode()
            codes, labels = distinct.indices.to_numpy()[codes], distinct.dictionary
        return dictionary.add(codes, labels)

    def _joined(self, kind: TextKind) -> LabelledTexts:
        ranks = self._texts.pop(kind, None)
        if ranks is None:
            return NO_TEXTS
        parts = [part for rank in sorted(ranks) for part in ranks[rank]]
        labels, texts = (pa.concat_arrays(columns) for columns in zip(*parts, strict=True))
        return LabelledTexts(labels, texts)


def encode(*columns: pa.Array) -> pa.DictionaryArray:
    """The columns, one after the other, as codes and the distinct labels."""
    return (columns[0] if len(columns) == 1 else pa.concat_arrays(columns)).dictionary_encode()


def encode_good(heads: pa.Array, relations: pa.Array, tails: pa.Array) -> EncodedTriples | None:
    """The n triples as `GraphBuilder.add_good` takes them, or None where a label is bad."""
    encoded = encode(heads, tails), encode(relations)
    return None if any(bad_labels(column.dictionary).any() for column in encoded) else encoded


def bad_labels(labels: pa.Array) -> NDArray[np.bool_]:
    """Which labels are empty but for white space, or hold a NUL; (n,)."""
    is_empty = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(labels)), 0)
    return np.asarray(pc.or_(is_empty, pc.match_substring(labels, "\0")).to_numpy(zero_copy_only=False))


class _Dictionary:
    """Labels that grow by blocks, each with a dictionary of its own.

    One dictionary for all would have to be hashed anew for every block; so blocks keep theirs until those together
    outgrow the common one, and their codes are then made codes of the common one in place.
    """

    def __init__(self) -> None:
        self._labels = pa.array([], pa.large_string())
        self._pending: list[tuple[Codes, pa.Array]] = []
        self._num_pending = 0

    def add(self, codes: Codes, labels: pa.Array) -> Codes:
        """The codes in an array that holds those of the common dictionary after `settle`."""
        self._pending.append((codes, labels))
        self._num_pending += len(labels)
        if self._num_pending > max(MERGE_AT, 2 * len(self._labels)):
            self.settle()
        return codes

    def settle(self) -> pa.Array:
        """Each label once, in the order of its first appearance."""
        merged = pa.concat_arrays([self._labels, *(labels for _, labels in self._pending)]).dictionary_encode()
        places = merged.indices.to_numpy()
        start = len(self._labels)
        for codes, labels in self._pending:
            np.take(places[start : start + len(labels)], codes, out=codes)
            start += len(labels)
        self._labels = merged.dictionary
        self._pending, self._num_pending = [], 0
        return self._labels


def _strings(column: Any) -> pa.Array:
    """A column of labels as Arrow strings with 64-bit offsets, nothing where there was nothing."""
    if not isinstance(column, pa.Array):
        column = pa.array(column, pa.large_string())
    if column.type != pa.large_string():
        column = column.cast(pa.large_string())
    return pc.fill_null(column, "") if column.null_count else column


def _stacked(blocks: list[tuple[Codes, Codes]]) -> Codes:
    """(n, 3) of blocks of ends and relations, which are let go one by one."""
    num_triples = sum(len(relations) for _, relations in blocks)
    triples = np.empty((num_triples, 3), np.int32)
    stop = num_triples
    while blocks:
        ends, relations = blocks.pop()
        start = stop - len(relations)
        triples[start:stop, 0], triples[start:stop, 2] = ends.reshape(2, -1)
        triples[start:stop, 1] = relations
        stop = start
    return triples
