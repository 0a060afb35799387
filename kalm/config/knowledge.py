"""How it is measured what a run's LM knows."""

from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least, require_not_negative
from kalm.config.evaluation import RankingConfig


class Direction(Enum):
    """What is asked of a triple: (h, r, ?) or (?, r, t)."""

    tail = "tail"
    head = "head"


@dataclass(kw_only=True, slots=True)
class KnowledgeConfig:
    """Everything `eval/knowledge.py` reads beside the run's own config."""

    run: str  # the run's folder
    num_facts: int | None  # seeded sample of each relation's training triples; null: all
    directions: list[Direction]  # what is asked of each
    candidates: int | None  # rank the answer among a seeded sample of so many entities; null: among all
    beta: float  # score: log p(text | query) / length^beta; 1: mean per token, 0: of the whole text
    filter: list[str]  # splits whose triples are known answers, left out of the ranking
    seed: int  # of the samples
    baselines: bool  # rank with the untrained LM too
    page: bool  # add a section to report.html
    ranking: RankingConfig
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        require(self.num_facts is None or self.num_facts > 0, "num_facts", self.num_facts, "a whole number > 0 or null")
        require(self.candidates is None or self.candidates > 0, "candidates", self.candidates,
                "a whole number > 0 or null")  # fmt: skip
        directions = [direction.value for direction in self.directions]
        require(0 < len(directions) == len(set(directions)), "directions", directions, "a list of tail, head or both")
        require_not_negative("beta", self.beta)
        splits = ("train", "valid", "test")
        require("train" in self.filter and set(self.filter) <= set(splits), "filter", list(self.filter),
                "a list of splits among train, valid and test, train being one of them")  # fmt: skip
        require_at_least("seed", self.seed, 0)
