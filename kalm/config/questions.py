"""Questions made from a graph by template."""

from dataclasses import dataclass

from kalm.config.checks import require, require_at_least, require_positive
from kalm.config.data import DataConfig
from kalm.config.rationales import Phrase, require_places


@dataclass(kw_only=True, slots=True)
class QuestionsConfig:
    """Everything `launch/questions.py` reads."""

    data: DataConfig
    out: str  # folder for train.txt, valid.txt, test.txt and about.json
    overwrite: bool  # replace that folder's files
    splits: list[str]  # of the graph, whose triples answer the questions
    hops: int  # triples that lead from a question's topic to its answers: 1 or 2
    num_train: int  # questions of the training split
    num_valid: int  # questions to choose a model by, in wordings of their own
    num_test: int  # questions in wordings of their own too
    max_answers: int  # of a question; and entities on its way
    frames: list[str]  # how a question begins; {asked} is what it asks for
    phrases: dict[str, Phrase]  # relation name or label -> its words; the others follow from the relation's own
    held_out: float  # share of frames, and of what phrases make of each kind of question, that test alone has; so valid
    seed: int  # of every draw
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        require(self.hops in (1, 2), "hops", self.hops, "1 or 2")
        for key in ("num_train", "num_valid", "num_test", "max_answers"):
            require_at_least(key, getattr(self, key), 1)
        require_at_least("seed", self.seed, 0)
        require(bool(self.frames), "frames", self.frames, "at least one")
        for frame in self.frames:
            require_places("frames", frame, {"asked"})
        require_positive("held_out", self.held_out)
        require(self.held_out < 0.5, "held_out", self.held_out, "less than 0.5, since valid and test each take it")
        known = ["train", "valid", "test"]
        require(bool(self.splits) and set(self.splits) <= set(known), "splits", self.splits, f"some of {known}")
