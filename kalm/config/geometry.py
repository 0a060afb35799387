"""How the shape of a run's embeddings is measured."""

from dataclasses import dataclass

from kalm.config.checks import require, require_at_least
from kalm.config.evaluation import RankingConfig


@dataclass(kw_only=True, slots=True)
class GeometryConfig:
    """Everything `eval/geometry.py` reads beside the run's own config."""

    run: str  # the run's folder
    split: str  # train, valid or test: whose triples give the queries and the true pairs
    num_vectors: int  # entities, and queries, of which all pairs are compared: a seeded sample of distinct texts
    num_triples: int  # seeded sample of the split's triples, both directions of each
    k: int  # nearest entities of a query, for hubness
    num_parts: int  # parts of a sample that are left out in turn, for intervals of effective rank and hubness
    seed: int  # of the samples
    page: bool  # add a section to report.html
    ranking: RankingConfig
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        splits = ("train", "valid", "test")
        require(self.split in splits, "split", self.split, "train, valid or test")
        for key, least in (("num_vectors", 3), ("num_triples", 2), ("k", 1), ("num_parts", 2), ("seed", 0)):
            require_at_least(key, getattr(self, key), least)
