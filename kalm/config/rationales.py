"""Rationales from the graph for questions with their answers."""

from dataclasses import dataclass, fields
from enum import Enum

from kalm.config.checks import require, require_at_least, require_not_negative, require_positive, slots_of
from kalm.config.data import DataConfig
from kalm.config.model import Dtype


class Writer(Enum):
    """Who writes rationales."""

    template = "template"
    local = "local"
    endpoint = "endpoint"


class PathsBy(Enum):
    """How paths are searched; each way finds the same."""

    bidirectional = "bidirectional"
    breadth_first = "breadth_first"
    astar = "astar"


@dataclass(kw_only=True, slots=True)
class Phrase:
    """What a relation is in words; {head} and {tail} are the entities' names."""

    forward: str  # the fact as a sentence, walked from head to tail
    backward: str  # the same fact, walked from tail to head
    ask_tail: list[str]  # phrases for the tails, asked from {head}: `the director of {head}`
    ask_head: list[str]  # phrases for the heads, asked from {tail}: `the films directed by {tail}`

    def __post_init__(self) -> None:
        for key in ("forward", "backward"):
            require_places(f"phrases.{key}", getattr(self, key), {"head", "tail"})
        for key, place in (("ask_tail", "head"), ("ask_head", "tail")):
            require(bool(getattr(self, key)), f"phrases.{key}", getattr(self, key), "at least one phrase")
            for phrase in getattr(self, key):
                require_places(f"phrases.{key}", phrase, {place})


@dataclass(kw_only=True, slots=True)
class LinkingConfig:
    """How texts are linked to entities; links that stand in the data are used as they are."""

    aliases: str | None  # file of further names: lines `label<TAB>name|name`
    ignored: list[str]  # words that are no mention of an entity, whatever the graph calls so; in any case
    linker: str | None  # a function of one's own instead of names: package.module:function, see docs/kale.md
    min_cosine: float | None  # with `run`: texts that nothing else links go to the nearest entity, if it is as near

    def __post_init__(self) -> None:
        good = self.min_cosine is None or -1 <= self.min_cosine <= 1
        require(good, "linking.min_cosine", self.min_cosine, "a number in [-1, 1], or null")


@dataclass(kw_only=True, slots=True)
class ChoiceConfig:
    """What counts how much where one path is chosen after the other; see kalm/graph/path_choice.py."""

    hops: float  # taken off for each step
    diversity: float  # taken off times the share of its triples that are told already
    rarity: float  # added times the mean rarity of its relations
    cosine: float  # added times its cosine with the question under `run`; 0 without one

    def __post_init__(self) -> None:
        for field in fields(self):
            require_not_negative(f"paths.choice.{field.name}", getattr(self, field.name))


@dataclass(kw_only=True, slots=True)
class PathsConfig:
    """Which paths are searched, from the question's entities to each answer."""

    search: PathsBy  # the paths are the same; astar is the paper's
    num_landmarks: int  # with astar: entities that all distances are measured from, once for a graph; 0: anchors
    num_anchors: int  # with astar without landmarks: entities near an answer that distances are measured from
    anchor_hops: int  # how near
    splits: list[str]  # of the graph, whose triples may be walked
    max_hops: int  # steps of a path
    candidates: int  # paths searched for each answer, the shortest ones
    max_detour: int  # steps that a path may have beyond the shortest of its answer
    per_answer: int  # paths chosen among them for each answer
    choice: ChoiceConfig
    max_answers: int  # answers of a question that paths are searched for, the first ones
    max_paths: int  # of a question, for its rationale: the best of each answer first
    max_expansions: int  # entities whose neighbours one search reads
    partial: bool  # where no path is whole, take those that come nearest to the answer; false: no rationale
    seed: int  # of the order among paths of equal length, and of anchors and landmarks

    def __post_init__(self) -> None:
        for key in (
            "num_anchors",
            "anchor_hops",
            "max_hops",
            "candidates",
            "per_answer",
            "max_answers",
            "max_paths",
            "max_expansions",
        ):
            require_at_least(f"paths.{key}", getattr(self, key), 1)
        require_at_least("paths.num_landmarks", self.num_landmarks, 0)
        require(self.num_landmarks == 0 or self.search is PathsBy.astar, "paths.num_landmarks", self.num_landmarks,
                "0 with another search than astar")  # fmt: skip
        require_at_least("paths.max_detour", self.max_detour, 0)
        require_at_least("paths.seed", self.seed, 0)
        known = ["train", "valid", "test"]
        require(bool(self.splits) and set(self.splits) <= set(known) and len(set(self.splits)) == len(self.splits),
                "paths.splits", self.splits, f"some of {known}, each once")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class LocalConfig:
    """An LM on this machine, by transformers."""

    path: str | None  # folder or hub name; needed with generator.kind=local
    dtype: Dtype  # of its weights
    batch_size: int  # prompts together
    max_new_tokens: int  # of a rationale

    def __post_init__(self) -> None:
        require_at_least("generator.local.batch_size", self.batch_size, 1)
        require_at_least("generator.local.max_new_tokens", self.max_new_tokens, 1)


@dataclass(kw_only=True, slots=True)
class EndpointConfig:
    """A chat endpoint of OpenAI's protocol; OPENAI_BASE_URL and OPENAI_API_KEY are its place and key."""

    model: str | None  # its name there; needed with generator.kind=endpoint
    temperature: float  # of sampling
    max_new_tokens: int  # of a rationale
    limit_key: str  # what the endpoint calls that limit: max_tokens, or max_completion_tokens
    num_parallel: int  # requests at once
    requests_per_minute: float | None  # at most, retries included; null sets no limit
    timeout_seconds: float  # of one request, until its answer is read
    num_retries: int  # after time-outs, 408, 409, 429 and 5xx, with growing pauses
    max_failures: int  # questions in a row that fail for good; so many stop the run
    prompt_price: float | None  # US dollars per million tokens of prompts
    completion_price: float | None  # US dollars per million tokens of answers
    max_cost: float | None  # US dollars of one run: refused where the estimate is higher, stopped where it is reached
    estimate_only: bool  # say what it would cost, and stop
    cache: str | None  # file of all answers; null: OUT.answers.jsonl

    def __post_init__(self) -> None:
        section = "generator.endpoint"
        require_not_negative(f"{section}.temperature", self.temperature)
        require(self.limit_key in ("max_tokens", "max_completion_tokens"), f"{section}.limit_key", self.limit_key,
                "max_tokens or max_completion_tokens")  # fmt: skip
        for key in ("max_new_tokens", "num_parallel", "max_failures"):
            require_at_least(f"{section}.{key}", getattr(self, key), 1)
        require_at_least(f"{section}.num_retries", self.num_retries, 0)
        require_positive(f"{section}.timeout_seconds", self.timeout_seconds)
        if self.requests_per_minute is not None:
            require_positive(f"{section}.requests_per_minute", self.requests_per_minute)
        for key in ("prompt_price", "completion_price", "max_cost"):
            if getattr(self, key) is not None:
                require_not_negative(f"{section}.{key}", getattr(self, key))
        has_prices = self.prompt_price is not None and self.completion_price is not None
        require(self.max_cost is None or has_prices, f"{section}.max_cost", self.max_cost,
                "set together with prompt_price and completion_price")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class GeneratorConfig:
    """What writes rationales, and from which prompt."""

    kind: Writer  # template needs no model
    instruction: str  # prompt of the two others; {question}, {answer} and {facts} are filled in
    local: LocalConfig
    endpoint: EndpointConfig

    def __post_init__(self) -> None:
        require_places("generator.instruction", self.instruction, {"question", "answer", "facts"})
        for writer, key, value in ((Writer.local, "local.path", self.local.path),
                                   (Writer.endpoint, "endpoint.model", self.endpoint.model)):  # fmt: skip
            require(self.kind is not writer or value is not None, f"generator.{key}", value,
                    f"set with generator.kind={writer.value}")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class RationalesConfig:
    """Everything `launch/rationales.py` reads."""

    data: DataConfig
    qa: str  # file of questions with answers: .jsonl, or lines as MetaQA has them; docs/kale.md
    out: str  # file of JSON lines, one per question; begun anew, or gone on with
    overwrite: bool  # replace that file, once the new one is whole; what an endpoint has answered is kept
    leave_out: list[str]  # files of questions: no path uses the triples that answer theirs, see docs/kale.md, Leaks
    run: str | None  # a run trained on this graph, whose embeddings help to link and to choose paths
    linking: LinkingConfig
    paths: PathsConfig
    phrases: dict[str, Phrase]  # relation name or label -> its words; the others follow from the relation's own
    generator: GeneratorConfig
    tokenizer: str | None  # folder or hub name of the model to be trained, to count tokens; null counts none
    max_tokens: int | None  # question, rationale and answer together; longer ones are kept, but not trained on
    at_once: int  # questions that are worked on and written together
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        require_at_least("at_once", self.at_once, 1)
        if self.max_tokens is not None:
            require_at_least("max_tokens", self.max_tokens, 1)
        require(self.paths.choice.cosine == 0 or self.run is not None, "paths.choice.cosine", self.paths.choice.cosine,
                "0 without run=runs/NAME, whose embeddings it compares")  # fmt: skip
        require(self.max_tokens is None or self.tokenizer is not None, "max_tokens", self.max_tokens,
                "set together with tokenizer")  # fmt: skip


def require_places(key: str, template: str, places: set[str]) -> None:
    wanted = " and ".join(f"{{{place}}}" for place in sorted(places))
    require(set(slots_of(template)) == places, key, template, f"a text with {wanted}, and no other braces")
