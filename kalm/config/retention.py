"""What a trained run must not have forgotten."""

from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least


class Answers(Enum):
    """How multiple choice is answered: the letter of a listed choice, or a choice's text."""

    letters = "letters"
    texts = "texts"


@dataclass(kw_only=True, slots=True)
class HarnessConfig:
    """What lm-evaluation-harness is told beside models and tasks."""

    shots: int | None  # examples before each question; null: as the task says
    limit: int | None  # the first so many questions of each task; null: all
    include: str | None  # folder with task files of your own
    batch_size: int  # questions read at once

    def __post_init__(self) -> None:
        for key, least in (("shots", 0), ("limit", 1), ("batch_size", 1)):
            value = getattr(self, key)
            require(value is None or value >= least, f"harness.{key}", value, f"a whole number >= {least}, or null")


@dataclass(kw_only=True, slots=True)
class RetentionConfig:
    """Everything `eval/retention.py` reads beside the run's own config."""

    run: str  # the run's folder
    text: str | None  # file of plain text, or folder of them, to measure bits per byte on
    window: int | None  # tokens of text read at once; null: what the LM takes, at most 2048
    stride: int | None  # tokens from one window to the next; null: half a window
    mmlu: str | None  # folder with test/SUBJECT_test.csv, and dev/SUBJECT_dev.csv for examples
    subjects: list[str] | None  # of mmlu; null: all
    shots: int  # examples before each question of mmlu, the first of its subject's dev file
    num_questions: int | None  # the first so many of each subject; null: all
    answers: Answers  # what follows a question of mmlu
    tasks: list[str]  # of lm-evaluation-harness
    harness: HarnessConfig
    batch_tokens: int  # tokens read at once, padding included
    logit_memory_mib: int  # MiB for logits over the vocabulary
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        if self.text is None and self.mmlu is None and not self.tasks:
            raise ValueError("give what to measure: text=FILE-OR-FOLDER, mmlu=FOLDER, tasks=[NAME,...], or several")
        for key in ("window", "stride", "num_questions"):
            if (value := getattr(self, key)) is not None:
                require_at_least(key, value, 1)
        for key in ("batch_tokens", "logit_memory_mib"):
            require_at_least(key, getattr(self, key), 1)
        require_at_least("shots", self.shots, 0)
        require(self.subjects is None or len(self.subjects) > 0, "subjects", self.subjects, "a list of names, or null")
