"""How a trained run is ranked."""

import math
from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least, require_not_negative


class Ties(Enum):
    """Where the true entity stands among entities with the same score: first, in the middle, or last."""

    optimistic = "optimistic"
    realistic = "realistic"
    pessimistic = "pessimistic"


class Candidates(Enum):
    """The entities that a query is ranked among: all of the graph, or those that training triples hold."""

    all = "all"
    train = "train"


class IndexKind(Enum):
    """How FAISS finds the nearest entities: by comparing all (exact), or approximately. Ranks are exact in any case."""

    flat = "flat"
    ivf = "ivf"
    hnsw = "hnsw"
    pq = "pq"


class Scores(Enum):
    """What entities are ranked by: cosine alone, or the best of it anew with the likelihood of their texts."""

    embedding = "embedding"
    fused = "fused"


class Task(Enum):
    """What a model is asked of a split: (h, r, ?) and (?, r, t); (h, ?, t); whether (h, r, t) is true."""

    entity = "entity"
    relation = "relation"
    classification = "classification"


@dataclass(kw_only=True, slots=True)
class RankingConfig:
    """How much ranking does at once."""

    batch_tokens: int  # tokens encoded at once, padding included
    score_memory_mib: int  # MiB for scores of queries against entities and their masks, over any number of entities

    def __post_init__(self) -> None:
        require_at_least("ranking.batch_tokens", self.batch_tokens, 1)
        require_at_least("ranking.score_memory_mib", self.score_memory_mib, 1)


@dataclass(kw_only=True, slots=True)
class Protocol:
    """What a rank is; other choices give other numbers for the same model."""

    filter: list[str]  # splits whose triples are known answers, left out of the ranking
    ties: Ties  # of the metrics shown first; all three are written
    candidates: Candidates  # the entities that a query is ranked among
    ask_unseen: bool  # ask triples with an entity that no training triple holds too
    repeat_duplicates: bool  # ask a triple as often as it stands in the split


@dataclass(kw_only=True, slots=True)
class FusedConfig:
    """The order by cosine / temperature + alpha * log p(text | query) / length^beta, of the best entities by cosine."""

    top_k: int  # entities per query in the new order; the others follow them by cosine
    alphas: list[float]  # what alpha is chosen from on valid; 0 leaves the cosine alone, and must be among them
    betas: list[float]  # what beta is chosen from; 0 takes the whole text's likelihood, 1 the mean per token
    num_valid_queries: int  # seeded sample of valid queries on which they are chosen
    seed: int  # of that sample
    neighbour_bonus: float  # added to neighbours of the query's head in the training graph; 0 turns it off
    neighbour_hops: int  # triples to a neighbour at most

    def __post_init__(self) -> None:
        for key, least in (("top_k", 1), ("num_valid_queries", 2), ("neighbour_hops", 1)):
            require_at_least(f"fused.{key}", getattr(self, key), least)
        for key in ("alphas", "betas"):
            values = getattr(self, key)
            require(len(values) > 0 and all(math.isfinite(value) and value >= 0 for value in values),
                    f"fused.{key}", values, "a list of finite numbers >= 0")  # fmt: skip
        require(0 in self.alphas, "fused.alphas", self.alphas, "a list with 0 in it, the cosine alone")
        require_at_least("fused.seed", self.seed, 0)
        require_not_negative("fused.neighbour_bonus", self.neighbour_bonus)


@dataclass(kw_only=True, slots=True)
class KgcConfig:
    """Everything `eval/kgc.py` reads beside the run's own config."""

    run: str | None  # the run's folder
    compare: list[str] | None  # two runs' folders instead, evaluated before: the second less the first, query by query
    split: str  # train, valid or test
    protocol: Protocol
    raw: bool  # metrics without a filter too
    tasks: list[Task]  # entity, and whichever of relation and classification are wanted beside it
    seed: int  # of the false triples made for classification
    scores: Scores  # fused: report ranks by cosine, by generation and by both, side by side
    fused: FusedConfig
    baselines: bool  # rank with the untrained LM and with relation frequencies too
    index: IndexKind  # that finds the predictions; ranks do not depend on it
    num_predictions: int  # best entities written per query
    save_embeddings: bool  # write entities.npy and queries.npy
    page: bool  # write report.html into the run's folder: tables and pictures
    ranking: RankingConfig
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        splits = ("train", "valid", "test")
        require(self.split in splits, "split", self.split, "train, valid or test")
        names = self.protocol.filter
        require(set(names) <= set(splits) and self.split in names, "protocol.filter", list(names),
                 f"a list of splits among train, valid and test, {self.split} being one of them")  # fmt: skip
        require_at_least("num_predictions", self.num_predictions, 1)
        if (self.run is None) == (self.compare is None):
            raise ValueError(
                "give either run=FOLDER, a run to evaluate, or compare=[FOLDER,FOLDER], two evaluated runs"
            )
        require(self.compare is None or len(set(self.compare)) == len(self.compare) == 2, "compare",
                self.compare and list(self.compare), "two runs' folders")  # fmt: skip
        tasks = [task.value for task in self.tasks]
        require(
            Task.entity in self.tasks,
            "tasks",
            tasks,
            "a list with entity in it, and relation and classification if they are wanted",
        )
        require(Task.classification not in self.tasks or self.split != "valid", "split", self.split,
                "train or test with classification, whose thresholds are chosen on valid")  # fmt: skip
        require_at_least("seed", self.seed, 0)
        require(self.scores is Scores.embedding or self.index is IndexKind.flat, "index", self.index.value,
                "flat with scores=fused, whose list of best entities is exact")  # fmt: skip
        require(self.scores is Scores.embedding or self.split != "valid", "split", self.split,
                "train or test with scores=fused, whose weights are chosen on valid")  # fmt: skip
        has_bonus = self.scores is Scores.fused and self.fused.neighbour_bonus > 0
        require(self.split != "train" or not has_bonus, "fused.neighbour_bonus", self.fused.neighbour_bonus,
                "0 with split=train, whose triples are the neighbours' own")  # fmt: skip
