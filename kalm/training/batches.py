"""From a step's number to this rank's batches."""

import numpy as np
from numpy.typing import NDArray

from kalm.config import Config, Sampling
from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL, KnowledgeGraph, Triples, add_inverses
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.batch import Batch, collate, collate_separately, sequence_lengths
from kalm.text.ragged import Ids
from kalm.text.token_table import TokenTable
from kalm.training.hard_negatives import HardNegatives
from kalm.training.sampler import RandomWalkSampler, TripleSampler

# groups of similar length that a step's sequences are padded in, at most; measured on WN18RR: 1 wastes a third of the
# tokens, 8 a thirtieth; 10 make two of each of 8 micro-batches, where one wastes 5 %
NUM_LENGTH_GROUPS = 10
# and at least so many sequences in each: a group costs a forward, and 4 groups of 64 sequences were faster than 8 or 12
MIN_GROUP_ROWS = 16


class BatchMaker:
    """This rank's share of each global batch, in micro-batches.

    Args:
        config: of the run.
        graph, table: the data, as triples and as tokens.
        rank, world_size: this process takes the rank-th of world_size equal parts.
        num_groups: of similar length, over all micro-batches, at most.
        min_group_rows: sequences in a group, at least.
    """

    def __init__(
        self,
        config: Config,
        graph: KnowledgeGraph,
        table: TokenTable,
        *,
        rank: int,
        world_size: int,
        num_groups: int = NUM_LENGTH_GROUPS,
        min_group_rows: int = MIN_GROUP_ROWS,
    ) -> None:
        training, objective = config.training, config.objective
        self.objective = objective
        self.graph = graph
        self.table = table
        self.rank = rank
        self.seed = training.seed
        self.num_triples = len(graph.triples["train"])
        share = training.batch_size // world_size
        self.share = slice(rank * share, (rank + 1) * share)
        self.num_groups = num_groups
        self.min_group_rows = min_group_rows
        self.num_micro_batches = share // (training.micro_batch_size or share)
        self.sampler = self._sampler(config)
        self.hard_negatives = None
        if objective.negatives.hard_per_triple:
            self.hard_negatives = HardNegatives(
                table, objective.negatives.hard_per_triple, config.ranking, training.seed
            )

    def of_step(self, step: int, encoder: DualViewLM) -> list[Batch]:
        """The micro-batches of a step, on the encoder's device; hard negatives are searched for when that is due.

        Sequences of similar length share a micro-batch, which changes neither loss nor gradient.
        """
        directed = self._directed(self.graph.triples["train"][self.sampler.rows(step)[self.share]])
        entities = self._more_entities(directed, step, encoder)
        is_completed = self._is_completed(len(directed), step)
        device = next(encoder.parameters()).device
        lengths = sequence_lengths(directed, self.table, is_completed)
        triple_parts = np.array_split(np.argsort(-lengths, kind="stable"), self.num_micro_batches)
        entity_order = np.argsort(-self.table.targets.lengths_of(entities), kind="stable")
        entity_parts = np.array_split(entities[entity_order], self.num_micro_batches)
        return [
            self._collate(directed[rows], entities_here, is_completed[rows]).to(device)
            for rows, entities_here in zip(triple_parts, entity_parts, strict=True)
        ]

    def num_tokens(self, triples: Triples) -> int:
        """Tokens that an epoch over these triples gives all ranks, without padding; hard negatives are not counted.

        Exact where all triples are completed; else each counts `completion_share` of a completion.
        """
        directed = self._directed(triples)
        heads, relations, tails = (directed[:, column] for column in (HEAD, RELATION, TAIL))
        table, separate = self.table, self.objective.separate
        targets = table.targets.lengths_of(tails).sum()
        if separate is None:
            queries, whole = (
                int(sequence_lengths(directed, table, np.full(len(directed), is_completed)).sum())
                for is_completed in (False, True)
            )
            num_tokens = queries + round(self.objective.completion_share * (whole - queries))
            return int(num_tokens if self.objective.inverse_view else num_tokens + targets)
        queries = table.heads.lengths_of(heads).sum() + table.relations.lengths_of(relations).sum()
        if separate.encode_heads:
            targets += table.targets.lengths_of(heads).sum()
        completions = (
            table.completion_heads.lengths_of(heads)
            + table.completion_relations.lengths_of(relations)
            + table.tails.lengths_of(tails)
        )
        return int(queries + targets + round(self.objective.completion_share * completions.sum()))

    def _directed(self, triples: Triples) -> Triples:
        return add_inverses(triples, self.graph.num_relations) if self.objective.inverse_view else triples

    def _collate(self, directed: Triples, entities: Ids, is_completed: NDArray[np.bool_]) -> Batch:
        separate = self.objective.separate
        if separate is not None:
            return collate_separately(
                directed,
                self.table,
                is_completed=is_completed,
                encode_heads=separate.encode_heads,
                logits_everywhere=separate.logits_everywhere,
            )
        return collate(
            directed,
            self.table,
            num_groups=self._num_groups(len(directed) + len(entities)),
            more_entities=entities,
            is_completed=is_completed,
        )

    def _num_groups(self, num_rows: int) -> int:
        """Of one micro-batch; the same on all ranks."""
        return max(1, min(-(-self.num_groups // self.num_micro_batches), num_rows // self.min_group_rows))

    def _more_entities(self, directed: Triples, step: int, encoder: DualViewLM) -> Ids:
        """Targets that head no triple of the batch."""
        parts = [np.empty(0, dtype=np.int64)]
        if not self.objective.inverse_view and self.objective.separate is None:
            parts.append(directed[:, TAIL])
        if self.hard_negatives is not None:
            if self.hard_negatives.neighbours is None or step % self.objective.negatives.mine_every_steps == 0:
                self.hard_negatives.mine(encoder)
            parts.append(self.hard_negatives.of(directed, step, self.rank))
        return np.concatenate(parts)

    def _is_completed(self, num_directed: int, step: int) -> NDArray[np.bool_]:
        """Equally many on all ranks; drawn, since directions alternate in a batch and walks follow each other."""
        is_completed = np.zeros(num_directed, dtype=bool)
        num_completed = max(1, round(self.objective.completion_share * num_directed))
        drawn = np.random.default_rng([self.seed, step, self.rank, 3]).permutation(num_directed)
        is_completed[drawn[:num_completed]] = True
        return is_completed

    def _sampler(self, config: Config) -> TripleSampler | RandomWalkSampler:
        training = config.training
        if training.sampling is Sampling.random_walk:
            return RandomWalkSampler(
                self.graph.triples["train"], self.graph.num_entities, training.batch_size, training.walk_length,
                training.seed,
            )  # fmt: skip
        return TripleSampler(self.num_triples, training.batch_size, training.seed)
