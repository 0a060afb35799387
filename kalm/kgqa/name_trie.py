"""The names of a graph's entities as one tree of tokens, in which each name ends at a node of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from transformers import PreTrainedTokenizerFast

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.text.prefix_tree import PrefixTree
from kalm.text.ragged import Ids, RaggedArray
from kalm.text.token_table import TokenTable, token_ids

NUM_SHOWN = 3  # names given as examples of a fault


class Fault(StrEnum):
    """Why a name is not written as one of its own."""

    no_token = "no token, so they can never be written"
    unknown_token = "a token that stands for anything unknown, so they may be taken for others"
    no_end = "no end of their own: another name begins with the same tokens, and no end token follows"
    same_tokens = "the tokens of another name, cut or spelled alike, so they are answered together"


@dataclass(frozen=True, kw_only=True, slots=True)
class NameTrie:
    """One row per name: its tokens with the end token, its text, and its entity.

    An entity may have several names, and a name several entities.

    Args:
        tree: of the rows; a row without a token is in it nowhere.
        child_offsets: of the tree, see `PrefixTree.child_offsets`.
        rows_ending: the rows that end at each node; mostly none.
        names: one text per row.
        entity_ids: one entity per row, (rows,), int64.
        faults: the rows with each fault, int64; all but those with no token can be answered.
    """

    tree: PrefixTree
    child_offsets: Ids
    rows_ending: RaggedArray
    names: Sequence[str]
    entity_ids: Ids
    faults: dict[Fault, Ids]

    @classmethod
    def build(
        cls, rows: RaggedArray, names: Sequence[str], entity_ids: Ids, *, unknown_token_id: int | None = None
    ) -> "NameTrie":
        """The trie of token rows that end with the end token, if the tokenizer has one.

        Raises:
            ValueError: their numbers differ, or no row has a token.
        """
        if not len(rows) == len(names) == len(entity_ids):
            raise ValueError(f"{len(rows)} token rows, {len(names)} names and {len(entity_ids)} entities do not match")
        if len(rows.values) == 0:
            raise ValueError("none of the names has a token")
        tree = PrefixTree.from_rows(rows)
        child_offsets = tree.child_offsets()
        written = np.flatnonzero(rows.lengths)
        last_nodes = tree.paths.values[rows.offsets[written + 1] - 1]
        counts = np.bincount(last_nodes, minlength=len(tree.tokens))
        ending = written[np.argsort(last_nodes, kind="stable")].astype(np.int32)
        rows_ending = RaggedArray.from_lengths(ending, counts)
        unknown = np.flatnonzero(rows.values == (-1 if unknown_token_id is None else unknown_token_id))
        has_children = np.diff(child_offsets[1:])[last_nodes] > 0
        faults = {
            Fault.no_token: np.flatnonzero(rows.lengths == 0),
            Fault.unknown_token: np.unique(np.searchsorted(rows.offsets, unknown, side="right") - 1),
            Fault.no_end: written[has_children],
            Fault.same_tokens: _named_differently(rows_ending, names),
        }
        return cls(
            tree=tree,
            child_offsets=child_offsets,
            rows_ending=rows_ending,
            names=names,
            entity_ids=entity_ids.astype(np.int64),
            faults={fault: found for fault, found in faults.items() if len(found)},
        )

    @classmethod
    def of_tails(cls, graph: KnowledgeGraph, table: TokenTable, tokenizer: PreTrainedTokenizerFast) -> "NameTrie":
        """Every entity as the run's template writes it as a tail."""
        return cls.build(
            table.tails, graph.entity_names, np.arange(graph.num_entities), unknown_token_id=tokenizer.unk_token_id
        )

    @classmethod
    def of_names(
        cls,
        names: Sequence[str],
        entity_ids: Ids,
        tokenizer: PreTrainedTokenizerFast,
        *,
        form: str,
        end: Sequence[int],
        max_name_tokens: int | None,
    ) -> "NameTrie":
        """Names and aliases in the form in which a prompt asks for them.

        Args:
            names, entity_ids: one of each per name; an entity comes as often as it has names.
            tokenizer: of the LM.
            form: what stands around a name, such as " {name}".
            end: the tokens that end an answer; none where the tokenizer has none.
            max_name_tokens: longer names are cut; None cuts none.
        """
        tokens = token_ids([form.format(name=name) for name in names], tokenizer, max_name_tokens)
        rows = RaggedArray.from_rows([[*row, *end] if row else [] for row in tokens])
        return cls.build(rows, names, entity_ids, unknown_token_id=tokenizer.unk_token_id)

    @property
    def num_names(self) -> int:
        """Different names that can be written."""
        return int(np.count_nonzero(self.rows_ending.lengths))

    @property
    def num_shared(self) -> int:
        """Names that stand for several entities."""
        return sum(len(self.entities(rows)) > 1 for rows in _several(self.rows_ending))

    def entities(self, rows: Ids) -> tuple[int, ...]:
        """The entities of some rows, each once, ascending."""
        return tuple(np.unique(self.entity_ids[rows]).tolist())

    def describe_faults(self) -> list[str]:
        """One line per kind of fault: how many names, and some of them."""
        lines = []
        for fault, rows in self.faults.items():
            shown = ", ".join(repr(self.names[int(row)]) for row in rows[:NUM_SHOWN])
            more = ", ..." if len(rows) > NUM_SHOWN else ""
            lines.append(f"{len(rows):,} of {len(self.names):,} names have {fault.value}: {shown}{more}")
        return lines


def _several(rows_ending: RaggedArray) -> list[Ids]:
    """The rows of each node at which more than one ends."""
    crowded = np.flatnonzero(rows_ending.lengths > 1)
    rows, lengths = rows_ending.take(crowded)
    return np.split(rows, lengths.cumsum()[:-1]) if len(crowded) else []


def _named_differently(rows_ending: RaggedArray, names: Sequence[str]) -> Ids:
    """Rows that end where a row of another name ends, ascending."""
    groups = [rows for rows in _several(rows_ending) if len({names[int(row)] for row in rows}) > 1]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *groups]))
