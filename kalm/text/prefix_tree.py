"""Token rows as a tree: rows that begin alike share the nodes of their beginning."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm.text.ragged import Ids, RaggedArray

ROOT = -1  # the parent of a row's first token


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixTree:
    """One node per distinct beginning of a row; a parent has a lower number than its children.

    Nodes are numbered depth by depth, and in each depth by parent and token.

    Args:
        tokens: last token of each beginning, (M,), int64.
        parents: the beginning without that token, (M,), int64; ROOT for a row's first.
        depths: tokens before it, (M,), int64.
        paths: the nodes of each row, from its first token to its last.
    """

    tokens: Ids
    parents: Ids
    depths: Ids
    paths: RaggedArray

    @property
    def max_length(self) -> int:
        """Tokens of the longest row."""
        return int(self.depths.max()) + 1

    def child_offsets(self) -> Ids:
        """The children of node n are those from the (n + 1)st of these to the next, by ascending token, (M + 2,)."""
        # nodes are numbered depth by depth, and in each by parent and token
        return np.searchsorted(self.parents, np.arange(ROOT, len(self.parents) + 1))

    @classmethod
    def from_rows(cls, rows: RaggedArray) -> "PrefixTree":
        """The tree of rows, built one depth at a time; a row without a token has no node, and one row has some."""
        path_values = np.empty(len(rows.values), dtype=np.int32)
        nodes = []  # of one depth each: a number for parent and token
        num_tokens = int(rows.values.max()) + 1
        reached = np.full(len(rows), ROOT, dtype=np.int64)  # the node of each row's beginning
        num_nodes = 0
        for depth in range(int(rows.lengths.max())):
            longer = np.flatnonzero(rows.lengths > depth)
            places = rows.offsets[longer] + depth
            # parent and token as one number: sorting pairs takes ten times as long
            keys = (reached[longer] - ROOT) * num_tokens + rows.values[places]
            distinct, distinct_of = np.unique(keys, return_inverse=True)
            reached[longer] = num_nodes + distinct_of
            path_values[places] = reached[longer]
            nodes.append(distinct)
            num_nodes += len(distinct)
        parents, tokens = np.divmod(np.concatenate(nodes), num_tokens)
        parents += ROOT
        depths = np.repeat(np.arange(len(nodes)), [len(level) for level in nodes])
        return cls(tokens=tokens, parents=parents, depths=depths, paths=RaggedArray(path_values, rows.offsets))


@dataclass(frozen=True, kw_only=True, slots=True)
class Subtrees:
    """Parts of a tree side by side, one per query; what an LM reads to score some of the tree's rows.

    Only nodes with children are read, I of them over all queries: the state at such a node, or at the query itself,
    predicts the children.

    Args:
        counts: nodes to read per query, (B,), int64; a query's are numbered from 0, parents first.
        tokens, depths: of the nodes to read, query by query, (I,), int64.
        descendants, ancestors: (A,), int64: pairs of nodes to read, among the I, a node with itself too.
        sources: where each child is predicted, (C,), int64: the query, or B + the node to read.
        labels: the children's tokens, (C,), int64.
        steps: the children that each row asked for is made of, (T,), int64: row by row.
        starts: where each row begins in `steps`.
    """

    counts: Ids
    tokens: Ids
    depths: Ids
    descendants: Ids
    ancestors: Ids
    sources: Ids
    labels: Ids
    steps: Ids
    starts: Ids


def subtrees(tree: PrefixTree, num_queries: int, owners: Ids, rows: Ids) -> Subtrees:
    """What is to be read for rows[i] after query owners[i]; both (n,), int64, ascending owners."""
    nodes, lengths = tree.paths.take(rows)
    size = len(tree.tokens)
    # a node of one query is one number; sorting them puts queries in order and parents before their children
    asked, steps = np.unique(np.repeat(owners, lengths) * size + nodes, return_inverse=True)
    above = _parents(tree, asked)
    read = np.unique(above[above != ROOT])
    owner, node = np.divmod(read, size)
    sources = np.where(above == ROOT, asked // size, num_queries + np.searchsorted(read, above))
    descendants, ancestors = [np.arange(0)], [np.arange(0)]
    below, current = np.arange(len(read)), read
    while len(current):
        descendants.append(below)
        ancestors.append(np.searchsorted(read, current))
        parents = _parents(tree, current)
        below, current = below[parents != ROOT], parents[parents != ROOT]
    return Subtrees(
        counts=np.bincount(owner, minlength=num_queries),
        tokens=tree.tokens[node],
        depths=tree.depths[node],
        descendants=np.concatenate(descendants),
        ancestors=np.concatenate(ancestors),
        sources=sources,
        labels=tree.tokens[asked % size],
        steps=steps,
        starts=np.cumsum(lengths) - lengths,
    )


def _parents(tree: PrefixTree, keys: Ids) -> NDArray[np.int64]:
    """The same query's parent node of each, or ROOT."""
    owner, node = np.divmod(keys, len(tree.tokens))
    parents = tree.parents[node]
    return np.where(parents == ROOT, ROOT, owner * len(tree.tokens) + parents)
