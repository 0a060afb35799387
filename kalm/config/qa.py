"""What several runs are asked without rationale, and how they are compared."""

from dataclasses import dataclass

from kalm.config.checks import require, require_at_least, require_folder_name, require_not_negative
from kalm.config.evaluation import RankingConfig
from kalm.config.kgqa import Decoding, PromptsConfig


@dataclass(kw_only=True, slots=True)
class KnownConfig:
    """When a run knows the facts that answer a question: it ranks them first as triples."""

    measured: bool  # rank the facts of short-answer questions, by each system
    by: str | None  # show what each system does with the questions whose facts this system knows; null: its own alone
    candidates: int | None  # rank an answer among a seeded sample of so many entities; null: among all
    beta: float  # score: log p(text | query) / length^beta
    max_hops: int  # relations from a topic to the answers, 1 or 2

    def __post_init__(self) -> None:
        require(self.candidates is None or self.candidates > 0, "known.candidates", self.candidates,
                "a whole number > 0 or null")  # fmt: skip
        require_not_negative("known.beta", self.beta)
        require(self.max_hops in (1, 2), "known.max_hops", self.max_hops, "1 or 2")
        require(self.measured or self.by is None, "known.by", self.by, "null with known.measured=false")


@dataclass(kw_only=True, slots=True)
class QaConfig:
    """Everything `eval/qa.py` reads beside the runs' own configs."""

    runs: list[str]  # folders of runs; * stands for any letters of a folder's name
    qa: str  # file of questions: .jsonl, or lines of `question with the [topic]<TAB>answer|answer`
    out: str  # folder for qa.json, qa.jsonl and qa.md
    overwrite: bool  # write into a folder that holds an evaluation already
    name: str | None  # of the section on the runs' pages; null: that of the file of questions
    base: bool  # ask the LMs too that the runs began with
    reference: str | None  # system that the others are compared with; null: the first one
    num_questions: int | None  # seeded sample of the file's questions; null: all
    seed: int  # of the samples
    prompts: PromptsConfig  # how a question is put; must be the words that the runs were trained with
    decoding: Decoding  # of short answers: any text, or names of the graph's entities alone
    num_beams: int  # of the beam search
    num_answers: int  # short answers written per question, best first; at most num_beams
    max_new_tokens: int  # a longer answer in free text is cut
    known: KnownConfig
    page: bool  # add a section to each run's report.html
    ranking: RankingConfig
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        require(len(self.runs) > 0, "runs", list(self.runs), "a list with the folder of at least one run")
        require_folder_name("name", self.name)
        require(self.num_questions is None or self.num_questions >= 1, "num_questions", self.num_questions,
                "a whole number >= 1, or null for all")  # fmt: skip
        for key, least in (("seed", 0), ("num_beams", 1), ("num_answers", 1), ("max_new_tokens", 1)):
            require_at_least(key, getattr(self, key), least)
        require(self.num_answers <= self.num_beams, "num_answers", self.num_answers,
                f"at most num_beams, which is {self.num_beams}")  # fmt: skip
        require(self.decoding is not Decoding.paths, "decoding", self.decoding,
                "free or constrained: an answer at the end of a path comes with its reasons")  # fmt: skip
