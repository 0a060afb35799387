"""How ids become text."""

from dataclasses import dataclass

from kalm.config.checks import require, require_at_least, slots_of


@dataclass(kw_only=True, slots=True)
class TargetTemplate:
    """An entity as target, where that is another text than the head of a query."""

    start: str  # opens the target, before template.head
    end: str  # closes it: the entity site is its last token


@dataclass(kw_only=True, slots=True)
class CompletionTemplate:
    """A prompt around head and relation, for completions that are sequences of their own."""

    prompt: str  # opens the sequence, before template.head
    response: str  # stands between relation and tail


@dataclass(kw_only=True, slots=True)
class TemplateConfig:
    head_start: str  # opens the head segment
    head: str  # text of an entity, with {name}
    description: str  # follows it where the entity has one, with {description}
    head_end: str  # closes the head segment: in one pass the entity site is its last token
    relation: str  # text of a relation, with {relation}
    inverse_relation: str  # text of its inverse, with {relation}
    relation_end: str  # closes the relation segment: the query site is its last token
    tail: str  # what the LM is to write, with {name}
    describe_tail: bool  # the LM is to write the tail's description too
    target: TargetTemplate | None  # null: a target is a head segment; anything else needs separate forwards
    completion: CompletionTemplate | None  # null: the same segments; anything else needs separate forwards
    max_name_tokens: int  # longer names and relations are cut
    max_description_tokens: int  # longer descriptions are cut; 0 leaves them out

    def __post_init__(self) -> None:
        slots = {"head": "name", "description": "description", "relation": "relation",
                 "inverse_relation": "relation", "tail": "name"}  # fmt: skip
        for key, slot in slots.items():
            text = getattr(self, key)
            require(slots_of(text) == [slot], f"template.{key}", text, f"a text with {{{slot}}} once")
        require_at_least("template.max_name_tokens", self.max_name_tokens, 1)
        require_at_least("template.max_description_tokens", self.max_description_tokens, 0)
