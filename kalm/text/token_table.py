"""Every segment of a graph, tokenised once and kept as memory-mapped arrays."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from kalm.config import TemplateConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.strings import Strings
from kalm.provenance import whole_folder
from kalm.text.ragged import RaggedArray
from kalm.text.template import (
    Segments,
    head_segments,
    prompt_segments,
    relation_segments,
    tail_segments,
    target_segments,
)

# raised when the way text becomes tokens changes, so that no cached table of the old way is found
TABLE_VERSION = 2

# parts that are another part itself where the template gives them no text of their own
SAME_AS = {"targets": "heads", "completion_heads": "heads", "completion_relations": "relations"}
TEXTS_AT_ONCE = 100_000  # whose tokens are Python's lists together; the tokenizer's own threads share them
ENTITY_PARTS = ("heads", "tails", "targets", "completion_heads")  # those with a row per entity


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenTable:
    """Token ids of all segments of one graph under one tokenizer and template.

    In one pass a sequence is heads[h] + relations[r] + tails[t]. With separate forwards the query is heads[h] +
    relations[r], the target targets[t], and the completion completion_heads[h] + completion_relations[r] + tails[t].
    The start-of-text token, where the tokenizer has one, opens heads and targets, or the prompt alone where the
    completion has one; the end-of-text token closes the tails.
    """

    heads: RaggedArray  # one row per entity; in one pass the last token is the entity site
    relations: RaggedArray  # one row per directed relation; the last token is the query site
    tails: RaggedArray  # one row per entity
    targets: RaggedArray  # one row per entity, the last token is the entity site; mostly the heads themselves
    completion_heads: RaggedArray  # one row per entity; the heads unless the template has a prompt
    completion_relations: RaggedArray  # one row per directed relation; the relations unless the template has a prompt

    def with_entities(self, more: "TokenTable") -> "TokenTable":
        """A table with the entities of another one after its own, and its own relations."""
        parts = {name: RaggedArray.stack([getattr(self, name), getattr(more, name)]) for name in ENTITY_PARTS}
        return replace(self, **parts)

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence that the graph could give."""
        return max(
            int(self.targets.lengths.max()),
            _longest(self.heads, self.relations, self.tails),
            _longest(self.completion_heads, self.completion_relations, self.tails),
        )

    @property
    def max_token(self) -> int:
        """The highest token id."""
        return max(int(getattr(self, part.name).values.max()) for part in fields(self))


def build_token_table(
    graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast, template: TemplateConfig
) -> TokenTable:
    """Tokenise all segments.

    Raises:
        ValueError: a segment has no token, so that it would have no site or no label.
    """
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    before_heads = start if template.completion is None else []
    heads = _tokenise(head_segments(graph, template), "head", tokenizer, template, before=before_heads)
    relations = _tokenise(relation_segments(graph, template), "relation", tokenizer, template)
    targets, completion_heads, completion_relations = heads, heads, relations
    if template.target is not None:
        targets = _tokenise(target_segments(graph, template), "target", tokenizer, template, before=before_heads)
    if template.completion is not None:
        prompts, responses = prompt_segments(graph, template)
        completion_heads = _tokenise(prompts, "completion", tokenizer, template, before=start)
        completion_relations = _tokenise(responses, "completion", tokenizer, template)
    return TokenTable(
        heads=heads,
        relations=relations,
        tails=_tokenise(tail_segments(graph, template), "tail", tokenizer, template, after=end),
        targets=targets,
        completion_heads=completion_heads,
        completion_relations=completion_relations,
    )


def cached_token_table(
    graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast, template: TemplateConfig, cache: Path
) -> TokenTable:
    """The table from `cache`, built on first use.

    The folder is named by the digest of texts, tokenizer and template, and appears by one rename, so neither an
    old nor a half-written table is ever read. Processes that build the same one at once do no harm.
    """
    folder = cache / "tokens" / table_digest(graph, tokenizer, template)
    if not folder.is_dir():
        table = build_token_table(graph, tokenizer, template)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with whole_folder(folder) as unfinished:
                for part in fields(TokenTable):
                    rows = getattr(table, part.name)
                    if part.name not in SAME_AS or rows is not getattr(table, SAME_AS[part.name]):
                        rows.save(unfinished, part.name)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    parts = {part.name: RaggedArray.open(folder, part.name) for part in fields(TokenTable)
             if RaggedArray.is_saved(folder, part.name)}  # fmt: skip
    return TokenTable(**{part.name: parts.get(part.name) or parts[SAME_AS[part.name]] for part in fields(TokenTable)})


def table_digest(graph: KnowledgeGraph, tokenizer: PreTrainedTokenizerFast, template: TemplateConfig) -> str:
    """Hex digest of all that the table depends on."""
    parts = (
        str(TABLE_VERSION),
        tokenizer.backend_tokenizer.to_str(),
        json.dumps([tokenizer.bos_token_id, tokenizer.eos_token_id]),
        json.dumps(asdict(template), sort_keys=True),
        text_digest(graph),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def data_digests(graph: KnowledgeGraph) -> dict[str, str]:
    """What tells one graph from another: the digest of its triples, and that of its texts."""
    return {"triples": graph.digest(), "texts": text_digest(graph)}


def text_digest(graph: KnowledgeGraph) -> str:
    """Hex digest of the graph's names and descriptions, in id order."""
    digest = hashlib.sha256()
    for texts in (graph.entity_names, graph.entity_descriptions, graph.relation_names, graph.inverse_names):
        Strings(texts).update(digest)
    return digest.hexdigest()


def _longest(*parts: RaggedArray) -> int:
    return sum(int(part.lengths.max()) for part in parts)


def _tokenise(
    segments: Segments,
    kind: str,
    tokenizer: PreTrainedTokenizerFast,
    template: TemplateConfig,
    *,
    before: list[int] | None = None,
    after: list[int] | None = None,
) -> RaggedArray:
    first, end = token_ids([segments.start, segments.end], tokenizer, max_tokens=None)
    blocks = []
    for at in range(0, len(segments.names), TEXTS_AT_ONCE):
        texts = segments.names[at : at + TEXTS_AT_ONCE]
        names = token_ids(texts, tokenizer, template.max_name_tokens)
        descriptions = token_ids(
            segments.descriptions[at : at + TEXTS_AT_ONCE], tokenizer, template.max_description_tokens
        )
        bodies = [first + name + description + end for name, description in zip(names, descriptions, strict=True)]
        if empty := [text for text, body in zip(texts, bodies, strict=True) if not body]:
            raise ValueError(f"template: the {kind} segment of {empty[0]!r} has no token under this tokenizer")
        blocks.append(RaggedArray.from_rows([(before or []) + body + (after or []) for body in bodies]))
    return RaggedArray.stack(blocks)


def token_ids(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, max_tokens: int | None) -> list[list[int]]:
    """Tokens of texts that are pieces of a sequence: no special token is added, none is read out of a text.

    Args:
        texts: each begins with the space that is to stand before it, if any.
        tokenizer: of the LM.
        max_tokens: the first so many are kept; None keeps all.
    """
    if _adds_leading_space(tokenizer):
        texts = [text.removeprefix(" ") for text in texts]
    # a special token's string inside a text (`<s>`, `<|im_end|>`) must become ordinary text
    # silent about long texts, which are cut here, and whole sequences are checked against the LM
    encoded = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
    ).input_ids
    return [ids[:max_tokens] for ids in encoded]


def _adds_leading_space(tokenizer: PreTrainedTokenizerFast) -> bool:
    """SentencePiece-style tokenizers put a space before every text; the template's own would double it."""
    pieces = tokenizer.tokenize("a")
    return bool(pieces) and pieces[0].startswith("▁")
