"""What may be answered to a task: its texts for people, and its token rows for the LM."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerFast

from kalm.config import PromptFrame, TemplateConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.kgqa.name_trie import NameTrie
from kalm.kgqa.scoring import Vocabulary
from kalm.text.token_table import TokenTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """All entities, or all relations.

    Args:
        labels: as the graph's files write them, (N,).
        vocabulary: what each is called.
        trie: how the LM writes each name and alias.
        end_token_ids: what ends an answer that is no name.
        opener: what stands between a name and its description where the LM is to write both; else empty.
    """

    labels: Sequence[str]
    vocabulary: Vocabulary
    trie: NameTrie
    end_token_ids: Sequence[int]
    opener: str = ""

    def name_in(self, text: str) -> str:
        """The name in an answer: the whole of it, or what stands before a description.

        Where names hold what opens a description, the longest beginning that is a name counts, or else the shortest.
        """
        if not self.opener:
            return text
        ends = [place for place in range(len(text)) if text.startswith(self.opener, place)]
        beginnings = [text, *(text[:end] for end in reversed(ends))]
        return next((beginning for beginning in beginnings if self.vocabulary.meant_by(beginning)), beginnings[-1])


def own_entities(
    graph: KnowledgeGraph,
    vocabulary: Vocabulary,
    table: TokenTable,
    template: TemplateConfig,
    tokenizer: PreTrainedTokenizerFast,
) -> Options:
    """Entities as the run's template writes a tail; aliases in its form too, unless it writes descriptions.

    Raises:
        ValueError: the tokenizer has no end-of-text token, so that nothing ends an answer.
    """
    end = _end_of_text(tokenizer)
    trie = NameTrie.of_tails(graph, table, tokenizer)
    if vocabulary.aliases and not template.describe_tail:
        names, places = _all_names(vocabulary)
        trie = NameTrie.of_names(
            names, places, tokenizer, form=template.tail, end=end, max_name_tokens=template.max_name_tokens
        )
    # the literal text before the slot
    opener = template.description.partition("{")[0] if template.describe_tail else ""
    return Options(labels=graph.entity_labels, vocabulary=vocabulary, trie=trie, end_token_ids=end, opener=opener)


def worded(
    labels: Sequence[str], vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerFast, frame: PromptFrame, *, shots: int
) -> Options:
    """Entities or relations in the form in which a prompt in words asks for them.

    A name ends as the prompt shows it: where there are examples, with what follows their answers, else with the end of
    text. An answer in free text ends with either, or with a line feed.

    Raises:
        ValueError: the tokenizer has no end-of-text token.
    """
    end = _end_of_text(tokenizer)
    shown = _after_a_word(frame.between, tokenizer)
    names, places = _all_names(vocabulary)
    form = frame.answer.replace("{answer}", "{name}")
    trie = NameTrie.of_names(
        names, places, tokenizer, form=form, end=shown if shots and shown else end, max_name_tokens=None
    )
    lines = [token for ending in ("\n", "\n\n") for token in _after_a_word(ending, tokenizer)]
    stops = list(dict.fromkeys([*end, *shown, *lines]))
    return Options(labels=labels, vocabulary=vocabulary, trie=trie, end_token_ids=stops)


def _after_a_word(text: str, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The first token of a text behind a word; none where it makes no difference, or is one with the word."""
    alone, together = (tokenizer(words, add_special_tokens=False).input_ids for words in ("a", f"a{text}"))
    return together[len(alone) : len(alone) + 1] if together[: len(alone)] == alone else []


def _end_of_text(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the run's tokenizer has no end-of-text token, so nothing ends an answer; train a run with one"
        )
    return [tokenizer.eos_token_id]


def _all_names(vocabulary: Vocabulary) -> tuple[list[str], np.ndarray]:
    """Every name and alias, and whose it is."""
    pairs = [(text, place) for place in range(len(vocabulary)) for text in dict.fromkeys(vocabulary.texts_of(place))]
    return [text for text, _ in pairs], np.array([place for _, place in pairs], dtype=np.int64)
