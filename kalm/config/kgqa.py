"""What a run is asked in words, and how its answers are scored."""

from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least, require_folder_name, require_not_negative, slots_of
from kalm.config.evaluation import RankingConfig, Ties


class QaTask(Enum):
    """(?, r, t) by the inverse relation; (h, r, ?); (h, ?, t) among the graph's relations; is (h, r, t) true."""

    head = "head"
    tail = "tail"
    relation = "relation"
    classification = "classification"


class PromptForm(Enum):
    """The run's own template, which it was trained on, or an instruction in words."""

    own = "own"
    instruction = "instruction"


class Decoding(Enum):
    """Any text; names of the graph alone; or paths of training triples from the question's entities."""

    free = "free"
    constrained = "constrained"
    paths = "paths"


class QuestionsFormat(Enum):
    """`question<TAB>answer|answer`, the topic in [brackets]; or SimpleQuestions' four columns of Freebase."""

    answers = "answers"
    simplequestions = "simplequestions"


@dataclass(kw_only=True, slots=True)
class PromptFrame:
    """What stands around questions and answers."""

    start: str  # opens the prompt; {instruction} stands for the task's instruction
    ask: str  # a question up to its answer, with {input}; repeated for each example
    answer: str  # what the LM is to write after it, with {answer}
    between: str  # follows the answer of an example


@dataclass(kw_only=True, slots=True)
class TaskPrompt:
    """How one task is put."""

    instruction: str  # what is to be done; {relations} stands for the names of all relations
    input: str  # what it is to be done with, in slots


@dataclass(kw_only=True, slots=True)
class PromptsConfig:
    """The words of prompt=instruction."""

    name: str  # of these words, for the record
    triples: PromptFrame  # of the four tasks
    questions: PromptFrame  # of questions in natural language
    tail: TaskPrompt  # with {head} and {relation}
    head: TaskPrompt  # with {tail} and {relation}, the inverse relation in words
    relation: TaskPrompt  # with {head} and {tail}
    classification: TaskPrompt  # with {head}, {relation} and {tail}
    question: TaskPrompt  # with {question}
    explained: TaskPrompt  # in training, with {question} and {rationale}; without the latter, an ablation
    inverse_relation: str  # the inverse of a relation that has no text of its own for it, with {relation}
    yes: str  # the answer that takes a triple for true
    no: str  # the answer that takes it for false
    list_separator: str  # between the names of relations

    def __post_init__(self) -> None:
        for name in ("triples", "questions"):
            frame = getattr(self, name)
            require(slots_of(frame.ask) == ["input"], f"prompts.{name}.ask", frame.ask, "a text with {input} once")
            require(slots_of(frame.answer) == ["answer"], f"prompts.{name}.answer", frame.answer,
                    "a text with {answer} once")  # fmt: skip
            require(set(slots_of(frame.start)) <= {"instruction"}, f"prompts.{name}.start", frame.start,
                    "a text with no slot but {instruction}")  # fmt: skip
        slots = {"tail": {"head", "relation"}, "head": {"tail", "relation"}, "relation": {"head", "tail"},
                 "classification": {"head", "relation", "tail"}, "question": {"question"},
                 "explained": {"question", "rationale"}}  # fmt: skip
        for task, wanted in slots.items():
            prompt = getattr(self, task)
            # a rationale may be left out, to see what it is worth
            may_lack = {"rationale"} if task == "explained" else set()
            require(wanted - may_lack <= set(slots_of(prompt.input)) <= wanted, f"prompts.{task}.input", prompt.input,
                    f"a text with the slots {', '.join(sorted(wanted))}")  # fmt: skip
            require(set(slots_of(prompt.instruction)) <= {"relations"}, f"prompts.{task}.instruction",
                    prompt.instruction, "a text with no slot but {relations}")  # fmt: skip
        require(slots_of(self.inverse_relation) == ["relation"], "prompts.inverse_relation", self.inverse_relation,
                "a text with {relation} once")  # fmt: skip
        require(self.yes.strip() != self.no.strip(), "prompts.no", self.no, "another word than prompts.yes")


@dataclass(kw_only=True, slots=True)
class KgqaConfig:
    """Everything `eval/kgqa.py` reads beside the run's own config."""

    run: str  # the run's folder
    tasks: list[QaTask]  # what is asked of the split's triples; left aside with questions=FILE
    split: str  # train, valid or test
    questions: str | None  # a file of questions in natural language, asked instead of the split
    questions_format: QuestionsFormat  # of that file and of shots_from
    max_bad_lines: int  # lines of these files that may be left out and counted; one more stops the reading
    num_questions: int | None  # seeded sample of the split's triples, or of the file's questions; null: all
    seed: int  # of the sample, of the examples and of the false triples
    prompt: PromptForm  # the run's own template, or an instruction in words
    prompts: PromptsConfig
    descriptions: bool  # entities in prompts with their descriptions
    shots: int  # examples before each question, from training triples or from shots_from
    shots_from: str | None  # a file of questions that examples are taken from
    decoding: Decoding  # how answers are written
    num_beams: int  # of the beam search
    num_answers: int  # answers written per question, best first; at most num_beams
    max_new_tokens: int  # a longer answer is cut
    max_hops: int  # triples in a path, with decoding=paths
    beta: float  # candidates' score: log p(text | prompt) / length^beta; 1: mean per token, 0: of the whole text
    rank_questions: int | None  # questions per task whose candidates are all ranked; null: 100, fewer with many names
    filter: list[str]  # splits whose triples are known answers
    ties: Ties  # where the true answer stands among equal scores
    aliases: str | None  # further names of entities: a file of lines `label<TAB>name|name`
    baseline: bool  # ask the LM as it was before its first step too
    name: str | None  # of the files eval/kgqa-NAME.json and .jsonl; null makes it from what is asked and how
    ranking: RankingConfig
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        splits = ("train", "valid", "test")
        require(self.split in splits, "split", self.split, "train, valid or test")
        require(set(self.filter) <= set(splits) and self.split in self.filter, "filter", list(self.filter),
                f"a list of splits among train, valid and test, {self.split} being one of them")  # fmt: skip
        tasks = [task.value for task in self.tasks]
        require(0 < len(tasks) == len(set(tasks)), "tasks", tasks,
                "a list with head, tail, relation or classification, each once at most")  # fmt: skip
        require(self.num_questions is None or self.num_questions >= 1, "num_questions", self.num_questions,
                "a whole number >= 1, or null for all")  # fmt: skip
        require(self.rank_questions is None or self.rank_questions >= 0, "rank_questions", self.rank_questions,
                "a whole number >= 0, or null for what takes minutes")  # fmt: skip
        require_not_negative("beta", self.beta)
        for key, least in (("seed", 0), ("shots", 0), ("max_bad_lines", 0), ("num_beams", 1), ("num_answers", 1),
                           ("max_new_tokens", 1), ("max_hops", 1)):  # fmt: skip
            require_at_least(key, getattr(self, key), least)
        require(self.num_answers <= self.num_beams, "num_answers", self.num_answers,
                f"at most num_beams, which is {self.num_beams}")  # fmt: skip
        require_folder_name("name", self.name)
        own_triples = self.prompt is PromptForm.own and self.questions is None
        needs_valid = own_triples and QaTask.classification in self.tasks
        require(not needs_valid or self.split != "valid", "split", self.split,
                "train or test with classification and prompt=own, whose thresholds are chosen on valid")  # fmt: skip
        if self.questions is not None:
            require(self.shots == 0 or self.shots_from is not None, "shots", self.shots,
                    "0 with questions=FILE unless shots_from=FILE gives examples")  # fmt: skip
        else:
            require(self.shots_from is None, "shots_from", self.shots_from,
                    "null without questions=FILE: examples are training triples")  # fmt: skip
            require(self.decoding is not Decoding.paths, "decoding", self.decoding,
                    "free or constrained without questions=FILE: paths answer questions in words")  # fmt: skip
