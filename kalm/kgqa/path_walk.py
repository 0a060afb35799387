"""Answers at the end of a path through the training graph, which is written down relation by relation.

Source: the idea of Graph-Constrained Reasoning (arXiv 2410.13080), which fills a trie of tokens with all paths from a
question's entities before it decodes. Here only what follows the present beams is ever made, so the number of paths
does not matter; and a path is followed both ways along a triple, never to an entity twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.neighbours import OutgoingTriples
from kalm.kgqa.beam_search import Hypothesis, SearchLimits, beam_search
from kalm.kgqa.decoding import Answer
from kalm.kgqa.path_beams import Path, PathTexts, PathWalk
from kalm.model.dual_view_lm import DualViewLM
from kalm.text.ragged import RaggedArray


@dataclass(frozen=True, kw_only=True, slots=True)
class PathAnswer(Answer):
    """An entity at the end of a path; `text` is its name.

    Args:
        written: the path as the LM wrote it.
        paths: the paths so written; several where names are shared.
    """

    written: str
    paths: tuple[Path, ...]


def walk_paths(
    encoder: DualViewLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: RaggedArray,
    starts: Sequence[Sequence[int]],
    graph: KnowledgeGraph,
    *,
    outgoing: OutgoingTriples,
    texts: PathTexts,
    max_hops: int,
    num_beams: int,
    num_answers: int,
    batch_tokens: int,
    logit_memory_mib: int,
) -> list[list[PathAnswer]]:
    """The likeliest paths of training triples from each question's entities, best first; see `beam_search`.

    Each answer brings an entity that no better one has. A prompt has no answer if no training triple holds its
    entities, and fewer than `num_answers` if its beams end in fewer entities.

    Args:
        encoder, tokenizer: the LM.
        prompts: token rows.
        starts: per prompt the entities where a path may begin.
        graph: for the names.
        outgoing: its training triples, both ways, which are what a path is made of.
        texts: how a path is written.
        max_hops: triples of a path at most.
        num_beams, num_answers, batch_tokens, logit_memory_mib: see `decode`.

    Raises:
        ValueError: see `beam_search`; or the numbers of prompts and starts differ.
    """
    if len(starts) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts and {len(starts)} lists of entities to start from do not match")
    if max_hops < 1:
        raise ValueError(f"max_hops must be at least 1, got {max_hops}")
    limits = SearchLimits(
        num_beams=num_beams,
        num_answers=num_answers,
        max_new_tokens=texts.max_length(max_hops),
        batch_tokens=batch_tokens,
        logit_memory_mib=logit_memory_mib,
    )
    found = beam_search(
        encoder, prompts, lambda rows: PathWalk(outgoing, texts, [starts[row] for row in rows], max_hops), limits
    )
    return [[_answer(hypothesis, graph, tokenizer) for hypothesis in row] for row in found]


def _answer(hypothesis: Hypothesis, graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast) -> PathAnswer:
    assert hypothesis.ending is not None, "paths are walked"
    written = tokenizer.decode(list(hypothesis.tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return PathAnswer(
        text=graph.entity_names[hypothesis.ending.entity_ids[0]],
        entity_ids=hypothesis.ending.entity_ids,
        log_probability=hypothesis.log_probability,
        num_tokens=len(hypothesis.tokens),
        is_complete=hypothesis.is_complete,
        written=str(written).strip(),
        paths=hypothesis.ending.sources,
    )
