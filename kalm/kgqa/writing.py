"""Answers as an LM writes them; prompts that are equal are answered once."""

from collections.abc import Callable

import numpy as np
from transformers import PreTrainedTokenizerFast

from kalm.config import KgqaConfig, QaConfig
from kalm.kgqa.decoding import Answer, decode
from kalm.kgqa.lines import Found
from kalm.kgqa.options import Options
from kalm.kgqa.path_beams import Path
from kalm.model.dual_view_lm import DualViewLM
from kalm.progress import Progress
from kalm.text.ragged import Ids, RaggedArray

PROMPTS_AT_ONCE = 256  # answered between two signs of life


def write_answers(
    encoder: DualViewLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: RaggedArray,
    options: Options,
    config: KgqaConfig | QaConfig,
    label: str,
    *,
    is_named: bool,
    num_answers: int,
) -> list[list[Found]]:
    """The likeliest answers to each prompt, best first; see `decode`.

    Args:
        encoder, tokenizer: the LM.
        prompts: token rows.
        options: what answers mean.
        config: the search.
        label: says who answers what.
        is_named: only names among the options are written, else any text.
        num_answers: per prompt.
    """

    def written(rows: Ids) -> list[list[Found]]:
        found = decode(
            encoder,
            tokenizer,
            prompts.select(rows),
            names=options.trie if is_named else None,
            num_beams=config.num_beams,
            num_answers=num_answers,
            max_new_tokens=config.max_new_tokens,
            end_token_ids=options.end_token_ids,
            batch_tokens=config.ranking.batch_tokens,
            logit_memory_mib=config.ranking.score_memory_mib,
        )
        return [[as_found(answer, options) for answer in answers] for answers in found]

    return answer_distinct(prompts, written, label)


def answer_distinct(
    prompts: RaggedArray, answered: Callable[[Ids], list[list[Found]]], label: str
) -> list[list[Found]]:
    """The answers to each prompt; `answered` is asked for the first row of each that differs, a block at a time."""
    first, place_of = prompts.distinct(np.arange(len(prompts)))
    found: list[list[Found]] = []
    with Progress(f"{label}: answers to {len(first):,} prompts", len(first)) as progress:
        for start in range(0, len(first), PROMPTS_AT_ONCE):
            rows = first[start : start + PROMPTS_AT_ONCE]
            found += answered(rows)
            progress.advance(len(rows))
    return [found[place] for place in place_of.tolist()]


def as_found(answer: Answer, options: Options, path: Path | None = None) -> Found:
    """The answer as it is stored: what it may mean, and the path that leads to it, where one was walked."""
    text = options.name_in(answer.text)
    return Found(
        text=text,
        ids=tuple(sorted({*answer.entity_ids, *options.vocabulary.meant_by(text)})),
        log_probability=answer.log_probability,
        num_tokens=answer.num_tokens,
        is_complete=answer.is_complete,
        path=path,
    )
