"""What a trained run is asked."""

from dataclasses import dataclass, fields

from kalm.config.checks import require, require_at_least, require_whole_characters
from kalm.config.evaluation import RankingConfig


@dataclass(kw_only=True, slots=True)
class Question:
    """A triple with one part left out, which is asked for; entities and relations by label or by name."""

    head: str | None  # label or name of an entity of the graph
    relation: str | None  # label or name
    tail: str | None  # like head
    head_text: str | None  # instead of head: the name of an entity that the graph has never seen
    head_description: str | None  # of that entity
    tail_text: str | None  # instead of tail
    tail_description: str | None  # of that entity


@dataclass(kw_only=True, slots=True)
class PredictConfig(Question):
    """Everything `eval/predict.py` reads beside the run's own config."""

    run: str  # the run's folder
    input: str | None  # questions instead of the one above: a file of JSON lines, - for standard input
    output: str | None  # write the answers to this file as JSON lines; null prints them
    json: bool  # print JSON lines, not a table; answers to `input` always are
    k: int  # answers per question
    candidates: str | None  # entities that may be answers beside the graph's: name, tab, description; or .jsonl
    cache_embeddings: bool  # keep the entities' embeddings in the run's folder
    ranking: RankingConfig
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        require_at_least("k", self.k, 1)
        asked = [field.name for field in fields(Question) if getattr(self, field.name) is not None]
        if self.input is None:
            check_question(self)
        else:
            require(
                not asked, "input", self.input, f"left out, or {' and '.join(asked)}: a file asks, or the command line"
            )


def check_question(question: Question) -> None:
    """Check that one part is asked for.

    Raises:
        ValueError: none or several parts are left out, a part is given twice or is blank, or describes nothing.
    """
    for end in ("head", "tail"):
        label, text, description = (getattr(question, f"{end}{suffix}") for suffix in ("", "_text", "_description"))
        if label is not None and text is not None:
            raise ValueError(f"{end} and {end}_text both name the {end}: give one of them")
        if description is not None and text is None:
            raise ValueError(f"{end}_description needs {end}_text, the name of what it describes")
    given = {key: value for key in ("head", "relation", "tail", "head_text", "tail_text")
             if (value := getattr(question, key)) is not None}  # fmt: skip
    for field in fields(Question):
        require_whole_characters(field.name, getattr(question, field.name) or "")
    for key, value in given.items():
        require(bool(value.strip()), key, value, "a label or name")
    if len(given) != 2:
        found = " and ".join(given) or "none"
        raise ValueError(f"a question gives two of head (or head_text), relation and tail (or tail_text), and asks for "
                         f"the third; got {found}")  # fmt: skip
