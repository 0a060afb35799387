"""Beams along paths of the training graph, of which only what may follow is ever made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from kalm.config import TemplateConfig
from kalm.graph.knowledge_graph import RELATION, TAIL, Triples
from kalm.graph.neighbours import OutgoingTriples
from kalm.kgqa.beam_search import Ending
from kalm.kgqa.choices import Choices
from kalm.text.ragged import Ids, RaggedArray, join_rows, run_positions
from kalm.text.token_table import TokenTable, token_ids

Path = tuple[tuple[int, int, int], ...]  # directed triples, each from where the one before it ends

NONE = -1  # the hop before a path's first, and the relation of a path that has none yet


@dataclass(frozen=True, kw_only=True, slots=True)
class PathTexts:
    """How a path is written: relation, entity, separator, relation, entity, and so on to the end.

    Args:
        relations: token rows, one per directed relation.
        entities: token rows, one per entity, without an end token.
        closings: two rows: the separator, and the end token if there is one.
    """

    relations: RaggedArray
    entities: RaggedArray
    closings: RaggedArray

    @classmethod
    def of_template(
        cls, table: TokenTable, tokenizer: PreTrainedTokenizerFast, template: TemplateConfig
    ) -> "PathTexts":
        """As the template writes a relation, and an entity as tail, with what it puts between head and relation."""
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        lengths = table.tails.lengths - len(end)
        return cls(
            relations=table.relations,
            entities=table.tails.select(np.arange(len(lengths)), lengths),
            closings=RaggedArray.from_rows([token_ids([template.head_end], tokenizer, None)[0], end]),
        )

    def max_length(self, max_hops: int) -> int:
        """Tokens of a path of so many hops at most."""
        one = int(self.relations.lengths.max()) + int(self.entities.lengths.max())
        return max_hops * (one + int(self.closings.lengths.max()))


@dataclass(frozen=True, slots=True)
class _Hops:
    """Directed triples as parts of paths, each with the tokens that write it and what follows.

    Args:
        directed: (H, 3), int64.
        before: the hop before each, or NONE, (H,), int64.
        depths: hops of the path so far, (H,), int64; 0 for an entity where a path begins.
        is_last: the path ends with it, (H,); else it goes on.
        rows: the tokens.
    """

    directed: Triples
    before: Ids
    depths: Ids
    is_last: NDArray[np.bool_]
    rows: RaggedArray

    def joined(self, more: "_Hops") -> "_Hops":
        return _Hops(
            np.concatenate([self.directed, more.directed]),
            np.concatenate([self.before, more.before]),
            np.concatenate([self.depths, more.depths]),
            np.concatenate([self.is_last, more.is_last]),
            RaggedArray.stack([self.rows, more.rows]),
        )


class PathWalk:
    """Beams along paths. Several paths may be written by the same tokens so far: a beam holds all of them.

    Args:
        outgoing: of the training graph.
        texts: how a path is written.
        starts: per prompt the entities where a path may begin.
        max_hops: triples of a path at most.
    """

    def __init__(
        self, outgoing: OutgoingTriples, texts: PathTexts, starts: Sequence[Sequence[int]], max_hops: int
    ) -> None:
        self._outgoing, self._texts, self._max_hops = outgoing, texts, max_hops
        entities = np.array([entity for own in starts for entity in dict.fromkeys(own)], dtype=np.int64)
        nothing = np.full(len(entities), NONE)
        self._hops = _Hops(
            np.stack([nothing, nothing, entities], axis=1),
            nothing,
            np.zeros_like(nothing),
            np.zeros(len(entities), dtype=bool),
            RaggedArray.from_rows([[] for _ in entities]),
        )
        owners = np.repeat(np.arange(len(starts)), [len(dict.fromkeys(own)) for own in starts])
        # every path that a beam may stand for: the beam, the last hop, and how many of its tokens are written
        self._beams, self._at = self._expanded(owners, np.arange(len(entities)))
        self._written = np.zeros_like(self._at)
        self._groups = np.zeros(1, dtype=np.int64)  # where the paths of each choice begin, and the last end

    def choices(self) -> Choices:
        order = np.lexsort((self._next_tokens(), self._beams))
        self._beams, self._at, self._written = self._beams[order], self._at[order], self._written[order]
        tokens = self._next_tokens()
        is_new = np.r_[True, (np.diff(self._beams) != 0) | (np.diff(tokens) != 0)][: len(tokens)]
        firsts = np.flatnonzero(is_new)
        self._groups = np.append(firsts, len(tokens))
        ended = self._is_complete() & self._hops.is_last[self._at]
        if len(firsts) == 0:
            return Choices(firsts, firsts, ended, ended)
        return Choices(
            beams=self._beams[firsts],
            tokens=tokens[firsts],
            ends=np.logical_or.reduceat(ended, firsts),
            goes_on=np.logical_or.reduceat(~ended, firsts),
        )

    def advance(self, chosen: Ids) -> None:
        counts = self._groups[chosen + 1] - self._groups[chosen]
        kept = run_positions(self._groups[chosen], counts)
        beams, is_complete = np.repeat(np.arange(len(chosen)), counts), self._is_complete()[kept]
        at, written = self._at[kept], self._written[kept] + 1
        goes_on = is_complete & ~self._hops.is_last[at]
        more_beams, more = self._expanded(beams[goes_on], at[goes_on])
        self._beams = np.concatenate([beams[~is_complete], more_beams])
        self._at = np.concatenate([at[~is_complete], more])
        self._written = np.concatenate([written[~is_complete], np.zeros_like(more)])

    def ending(self, choice: int) -> Ending:
        own = slice(self._groups[choice], self._groups[choice + 1])
        at = self._at[own][self._is_complete()[own]]
        at = at[self._hops.is_last[at]]
        entity_ids = tuple(np.unique(self._hops.directed[at, TAIL]).tolist())
        return Ending(entity_ids, tuple(self._path(hop) for hop in at.tolist()))

    def _is_complete(self) -> NDArray[np.bool_]:
        """With the next token a path's hop is written to its end."""
        return np.asarray(self._written + 1 == self._hops.rows.lengths_of(self._at))

    def _next_tokens(self) -> Ids:
        rows = self._hops.rows
        return np.asarray(rows.values[rows.offsets[self._at] + self._written], dtype=np.int64)

    def _path(self, hop: int) -> Path:
        path = []
        while self._hops.before[hop] != NONE:
            path.append(tuple(self._hops.directed[hop].tolist()))
            hop = int(self._hops.before[hop])
        return tuple(reversed(path))

    def _expanded(self, beams: Ids, hops: Ids) -> tuple[Ids, Ids]:
        """The hops that may follow some hops, as new ones, and their beams."""
        entity_ids = self._hops.directed[hops, TAIL]
        counts = self._outgoing.counts(entity_ids)
        directed = self._outgoing.directed[run_positions(self._outgoing.offsets[entity_ids], counts)]
        before, beams = np.repeat(hops, counts), np.repeat(beams, counts)
        is_new = np.ones(len(directed), dtype=bool)
        onward = self._outgoing.counts(directed[:, TAIL])
        onward -= self._outgoing.counts_between(directed[:, TAIL], directed[:, TAIL])
        for visited in self._visited(before):
            is_new &= directed[:, TAIL] != visited
            onward -= np.where(visited == NONE, 0, self._outgoing.counts_between(directed[:, TAIL], visited))
        depths = self._hops.depths[before] + 1
        lasting, going = np.flatnonzero(is_new), np.flatnonzero(is_new & (onward > 0) & (depths < self._max_hops))
        chosen = np.concatenate([lasting, going])
        is_last = np.arange(len(chosen)) < len(lasting)
        rows, _ = join_rows(
            [
                self._texts.relations.take(directed[chosen, RELATION]),
                self._texts.entities.take(directed[chosen, TAIL]),
                self._texts.closings.take(is_last.astype(np.int64)),
            ]
        )
        first = len(self._hops.before)
        self._hops = self._hops.joined(_Hops(directed[chosen], before[chosen], depths[chosen], is_last, rows))
        return beams[chosen], first + np.arange(len(chosen))

    def _visited(self, hops: Ids) -> list[Ids]:
        """The entities of each hop's path, from its last to where it began; NONE where it is shorter than others."""
        visited = []
        while (hops != NONE).any():
            visited.append(np.where(hops == NONE, NONE, self._hops.directed[hops, TAIL]))
            hops = np.where(hops == NONE, NONE, self._hops.before[hops])
        return visited
