"""Every knob: type, unit and meaning here, its value once in `conf/`."""

import math
import re
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from string import Formatter
from typing import Any


class Source(Enum):
    """The layouts of graphs that can be read."""

    umls = "umls"
    wn18rr = "wn18rr"
    fb15k237 = "fb15k237"
    folder = "folder"


class Dtype(Enum):
    """The precision that parameters are held and computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Schedule(Enum):
    """What the learning rate does after warm-up: stay, or go down to 0."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


class Scope(Enum):
    """Whose entities are negatives: those of this process, or of all."""

    rank = "rank"
    all_ranks = "all_ranks"


class Sampling(Enum):
    """Which triples share a batch: any, or those that random walks over the graph meet."""

    uniform = "uniform"
    random_walk = "random_walk"


class Quantization(Enum):
    """How the weights of a frozen base are held (bitsandbytes)."""

    none = "none"
    int8 = "int8"
    nf4 = "nf4"


class Tracking(Enum):
    """Where metrics go beside metrics.jsonl."""

    disabled = "disabled"
    offline = "offline"
    online = "online"


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


class Algorithm(Enum):
    """How a sweep chooses its jobs: all combinations of the values given, or optuna's search among and between them."""

    grid = "grid"
    optuna = "optuna"


class Task(Enum):
    """What a model is asked of a split: (h, r, ?) and (?, r, t); (h, ?, t); whether (h, r, t) is true."""

    entity = "entity"
    relation = "relation"
    classification = "classification"


@dataclass(kw_only=True, slots=True)
class RunConfig:
    root: str  # folder that holds the runs' folders
    name: str | None  # this run's folder in it; null makes a name from data, model, objective and overrides
    overwrite: bool  # start anew in a folder that already holds a run, and delete that run

    def __post_init__(self) -> None:
        require_folder_name("run.name", self.name)

    @property
    def folder(self) -> Path:
        assert self.name is not None, "load_config fills in the name"
        return Path(self.root) / self.name


@dataclass(kw_only=True, slots=True)
class DataConfig:
    source: Source  # layout of the files
    root: str | None  # folder with a named data set's files; null takes the copy inside pykeen
    path: str | None  # a folder of one's own with train/valid/test.txt, entity2text.txt, relation2text.txt
    cache: str  # folder for token tables
    false_negative_rate: float  # share of a query's other entities that are held-out true tails; 0 where few are

    def __post_init__(self) -> None:
        require_share("data.false_negative_rate", self.false_negative_rate)
        require(self.path is None or self.source is Source.folder, "data.path", self.path,
                 "set together with data=folder (a named data set's folder is data.root)")  # fmt: skip
        require(self.source is not Source.folder or self.path is not None, "data.path", self.path,
                 "a folder with train.txt, valid.txt and test.txt")  # fmt: skip

    @property
    def folder(self) -> Path | None:
        """Where the files are; None is the copy inside pykeen."""
        place = self.path or self.root
        return None if place is None else Path(place).expanduser()

    @property
    def cache_folder(self) -> Path:
        return Path(self.cache).expanduser()


@dataclass(kw_only=True, slots=True)
class ScratchConfig:
    """A Llama with random weights and a byte-level BPE tokenizer trained on the graph's texts."""

    vocab_size: int  # tokens, at most; a small graph gives fewer
    hidden_size: int  # D, the size of embeddings
    intermediate_size: int  # width of the MLPs
    num_layers: int
    num_heads: int
    max_length: int  # tokens, the longest sequence

    def __post_init__(self) -> None:
        require_at_least("model.scratch.vocab_size", self.vocab_size, 300)
        for key in ("hidden_size", "intermediate_size", "num_layers", "num_heads", "max_length"):
            require_at_least(f"model.scratch.{key}", getattr(self, key), 1)
        require(self.hidden_size % (2 * self.num_heads) == 0, "model.scratch.hidden_size", self.hidden_size,
                 f"a multiple of 2 x num_heads = {2 * self.num_heads}")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class LoraConfig:
    enabled: bool  # train low-rank adapters (peft) instead of the whole model
    rank: int
    alpha: float  # the update is scaled by alpha / rank
    dropout: float  # share of the adapter's inputs set to 0 in training
    target: str  # `all-linear`, or a regular expression that module names match in full

    def __post_init__(self) -> None:
        require_at_least("model.lora.rank", self.rank, 1)
        require_positive("model.lora.alpha", self.alpha)
        require_share("model.lora.dropout", self.dropout)
        try:
            re.compile(self.target)
        except re.error as error:
            raise ValueError(f"model.lora.target must be all-linear or a regular expression, got {self.target!r}: "
                             f"{error}") from error  # fmt: skip


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    name: str  # stands in the run's name
    path: str | None  # folder or hub name of a pretrained causal LM
    dtype: Dtype
    dropout: float  # share of token embeddings and of read-out states set to 0 in training
    scratch: ScratchConfig | None  # the model to make where there is no path
    lora: LoraConfig | None  # null where there are no pretrained weights to keep
    quantization: Quantization  # of the base under adapters in training, needs a GPU; evaluated on the whole base
    gradient_checkpointing: bool  # keep one activation per layer and compute the rest again: less memory, more time

    def __post_init__(self) -> None:
        require_share("model.dropout", self.dropout)
        require(self.quantization is Quantization.none or (self.lora is not None and self.lora.enabled),
                "model.quantization", self.quantization, "none without model.lora.enabled=true, "
                "since quantized weights cannot be trained")  # fmt: skip
        require(self.quantization is Quantization.none or self.dtype is Dtype.bfloat16, "model.dtype", self.dtype,
                "bfloat16 with model.quantization")  # fmt: skip
        require((self.path is None) != (self.scratch is None), "model.path", self.path,
                 "a folder or hub name with model=pretrained, and null with model=tiny")  # fmt: skip
        if self.lora is not None and self.path is None:
            raise ValueError("model.lora must be null without model.path: there are no pretrained weights to keep")


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
            require(_slots(text) == [slot], f"template.{key}", text, f"a text with {{{slot}}} once")
        require_at_least("template.max_name_tokens", self.max_name_tokens, 1)
        require_at_least("template.max_description_tokens", self.max_description_tokens, 0)


@dataclass(kw_only=True, slots=True)
class NegativesConfig:
    scope: Scope  # whose entities are negatives
    self_negatives: bool  # a query's own head is one of its negatives
    mask_known: bool  # leave out other known tails of the query; false leaves out nothing but the own tail
    queue_batches: int  # earlier batches whose targets stay as negatives, without gradient
    queue_weight: float  # multiplies the similarity with those, as they are stale
    hard_per_triple: int  # entities near the tail, encoded as further targets, per directed triple
    mine_every_steps: int  # steps between two searches for them with the model as it is then

    def __post_init__(self) -> None:
        for key in ("queue_batches", "hard_per_triple"):
            require_at_least(f"objective.negatives.{key}", getattr(self, key), 0)
        require_at_least("objective.negatives.mine_every_steps", self.mine_every_steps, 1)
        require(math.isfinite(self.queue_weight) and 0 < self.queue_weight <= 1, "objective.negatives.queue_weight",
                self.queue_weight, "a number in (0, 1]")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class SeparateConfig:
    """Query, target and completion as sequences of their own."""

    encode_heads: bool  # heads as targets too, a forward more; of use only without the inverse view
    logits_everywhere: bool  # a logit at each position of a completion, though only the tail's count


@dataclass(kw_only=True, slots=True)
class ObjectiveConfig:
    name: str  # stands in the run's name
    separate: SeparateConfig | None  # null: one pass gives all views
    inverse_view: bool  # train (t, inverse of r, ?) beside (h, r, ?)
    contrastive_weight: float  # of the contrastive term; 0: measured, not trained
    triple_completion_weight: float  # of the language-model term; 0: measured, not trained
    completion_share: float  # share of the directed triples with a language-model loss
    temperature: float  # divides the cosine similarity, at the start
    learn_temperature: bool  # let the optimizer change it
    additive_margin: float  # subtracted from the positive's similarity before the division
    target_to_query_weight: float  # of each target against all queries; the rest of 1 is each query against all targets
    false_negative_rate: float  # share of a query's unmasked negatives taken to be true tails, mostly that of the data
    negatives: NegativesConfig
    query_chunk: int  # queries whose similarities with all targets are held at once
    logit_chunk_tokens: int  # tail tokens whose logits over the vocabulary are held at once

    def __post_init__(self) -> None:
        require_positive("objective.temperature", self.temperature)
        require_not_negative("objective.additive_margin", self.additive_margin)
        require_share("objective.false_negative_rate", self.false_negative_rate)
        require_share("objective.target_to_query_weight", self.target_to_query_weight)
        require_not_negative("objective.contrastive_weight", self.contrastive_weight)
        require_not_negative("objective.triple_completion_weight", self.triple_completion_weight)
        require(self.contrastive_weight + self.triple_completion_weight > 0, "objective.contrastive_weight",
                 self.contrastive_weight, "> 0 when objective.triple_completion_weight is 0")  # fmt: skip
        require(0 < self.completion_share <= 1, "objective.completion_share", self.completion_share,
                "a number in (0, 1]; objective.triple_completion_weight=0 turns the term off")  # fmt: skip
        require(self.separate is None or not self.negatives.hard_per_triple, "objective.negatives.hard_per_triple",
                self.negatives.hard_per_triple, "0 with separate forwards")  # fmt: skip
        require_at_least("objective.query_chunk", self.query_chunk, 1)
        require_at_least("objective.logit_chunk_tokens", self.logit_chunk_tokens, 1)


@dataclass(kw_only=True, slots=True)
class TrainingConfig:
    epochs: float  # passes over the training triples
    max_steps: int | None  # optimizer steps instead of epochs
    stop_after_steps: int | None  # leave at this step with a checkpoint; the schedule still spans the whole run
    batch_size: int  # triples per step over all processes; each gives two directed triples
    micro_batch_size: int | None  # triples per process whose activations are held at once, with the loss and gradient
    # of the whole batch for about a third more time (gradient caching); null: all of the process's share
    sampling: Sampling  # which triples share a batch
    walk_length: int  # triples of one random walk
    learning_rate: float  # at its highest
    warmup_ratio: float  # share of all steps with a rising learning rate
    schedule: Schedule
    weight_decay: float  # of matrices; vectors and the temperature have none
    adam_betas: list[float]  # decay of AdamW's first and second moments
    adam_epsilon: float
    max_gradient_norm: float  # longer gradients are scaled down to it; 0 turns clipping off
    seed: int  # of weights, batches and dropout
    resume: bool  # continue from the newest checkpoint of the run
    dry_run: bool  # take a few steps, print what the run will need in time and memory, and write nothing
    log_every_steps: int
    checkpoint_every_steps: int  # 0: only at the end and when told to stop

    def __post_init__(self) -> None:
        require_positive("training.epochs", self.epochs)
        for key in ("max_steps", "stop_after_steps"):
            if getattr(self, key) is not None:
                require_at_least(f"training.{key}", getattr(self, key), 1)
        require_at_least("training.batch_size", self.batch_size, 1)
        if self.micro_batch_size is not None:
            require_at_least("training.micro_batch_size", self.micro_batch_size, 1)
        require_at_least("training.walk_length", self.walk_length, 1)
        require_positive("training.learning_rate", self.learning_rate)
        require_share("training.warmup_ratio", self.warmup_ratio)
        require_not_negative("training.weight_decay", self.weight_decay)
        require(len(self.adam_betas) == 2 and all(0 <= beta < 1 for beta in self.adam_betas),
                 "training.adam_betas", self.adam_betas, "two numbers in [0, 1)")  # fmt: skip
        require_positive("training.adam_epsilon", self.adam_epsilon)
        require_not_negative("training.max_gradient_norm", self.max_gradient_norm)
        require_at_least("training.seed", self.seed, 0)
        require_at_least("training.log_every_steps", self.log_every_steps, 1)
        require_at_least("training.checkpoint_every_steps", self.checkpoint_every_steps, 0)


@dataclass(kw_only=True, slots=True)
class DeepSpeedConfig:
    zero_stage: int  # what is sharded: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too
    offload_optimizer: bool  # keep optimizer state in main memory; needs a GPU, zero_stage >= 1 and a compiler
    offload_parameters: bool  # keep parameters in main memory too; needs a GPU and zero_stage 3

    def __post_init__(self) -> None:
        require(self.zero_stage in range(4), "deepspeed.zero_stage", self.zero_stage, "0, 1, 2 or 3")
        for key, stages in (("offload_optimizer", "1, 2 or 3"), ("offload_parameters", "3")):
            require(not getattr(self, key) or str(self.zero_stage) in stages, f"deepspeed.{key}", True,
                    f"false at deepspeed.zero_stage={self.zero_stage}, or the stage {stages}")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class RankingConfig:
    """How much ranking does at once."""

    batch_tokens: int  # tokens encoded at once, padding included
    score_memory_mib: int  # MiB for scores of queries against entities and their masks, over any number of entities

    def __post_init__(self) -> None:
        require_at_least("ranking.batch_tokens", self.batch_tokens, 1)
        require_at_least("ranking.score_memory_mib", self.score_memory_mib, 1)


@dataclass(kw_only=True, slots=True)
class EvaluationConfig:
    """Evaluation during training, on a sample of valid queries."""

    every_steps: int  # steps between two of them; the best model is kept as the result; 0: none, keep the last
    num_queries: int  # seeded sample of valid queries, ranked against all entities
    patience: int  # leave after so many in a row without a better MRR; 0: go on to the last step

    def __post_init__(self) -> None:
        require_at_least("evaluation.every_steps", self.every_steps, 0)
        require_at_least("evaluation.num_queries", self.num_queries, 1)
        require_at_least("evaluation.patience", self.patience, 0)
        require(not self.patience or self.every_steps > 0, "evaluation.patience", self.patience,
                "0 without evaluation.every_steps")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    wandb: Tracking
    project: str  # the project's name at wandb


@dataclass(kw_only=True, slots=True)
class SweepConfig:
    """What `--multirun` does; neither a single run nor a job of a sweep has a use for it."""

    algorithm: Algorithm
    name: str | None  # the sweep's folder is run.root/sweep-NAME; null makes a name from the overrides
    num_trials: int | None  # jobs that optuna is to finish, over all calls; null with grid, which runs them all
    seed: int | None  # of optuna's sampler; null with grid
    deepspeed_arguments: list[str]  # for the deepspeed command of each job, like [--num_gpus,2]

    def __post_init__(self) -> None:
        require_folder_name("sweep.name", self.name)
        for key, least in (("num_trials", 1), ("seed", 0)):
            value = getattr(self, key)
            if self.algorithm is Algorithm.grid:
                require(value is None, f"sweep.{key}", value, "null with sweep=grid")
            else:
                require(value is not None and value >= least, f"sweep.{key}", value, f"a whole number >= {least}")


@dataclass(kw_only=True, slots=True)
class Config:
    """Everything `launch/train.py` reads."""

    run: RunConfig
    data: DataConfig
    model: ModelConfig
    template: TemplateConfig
    objective: ObjectiveConfig
    training: TrainingConfig
    deepspeed: DeepSpeedConfig
    evaluation: EvaluationConfig
    ranking: RankingConfig
    tracking: TrackingConfig
    sweep: SweepConfig
    debug: bool  # show tracebacks


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
    alphas: list[float]  # what alpha is chosen from; 0 leaves the cosine alone, and must be among them
    betas: list[float]  # what beta is chosen from; 0 takes the whole text's likelihood, 1 the mean per token
    num_valid_queries: int  # seeded sample of valid queries on which they are chosen
    seed: int  # of that sample
    neighbour_bonus: float  # added to neighbours of the query's head in the training graph; 0 turns it off
    neighbour_hops: int  # triples to a neighbour at most

    def __post_init__(self) -> None:
        for key in ("top_k", "num_valid_queries", "neighbour_hops"):
            require_at_least(f"fused.{key}", getattr(self, key), 1)
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
        require((self.run is None) != (self.compare is None), "run", self.run,
                "a run's folder, or null with compare=[FOLDER,FOLDER]")  # fmt: skip
        require(self.compare is None or len(self.compare) == 2, "compare", self.compare, "two runs' folders")
        tasks = [task.value for task in self.tasks]
        require(Task.entity in self.tasks, "tasks", tasks, "a list of entity, relation, classification with entity")
        require(Task.classification not in self.tasks or self.split != "valid", "split", self.split,
                "train or test with classification, whose thresholds are chosen on valid")  # fmt: skip
        require_at_least("seed", self.seed, 0)
        require(self.scores is Scores.embedding or self.index is IndexKind.flat, "index", self.index.value,
                "flat with scores=fused, whose list of best entities is exact")  # fmt: skip
        require(self.split != "train" or self.fused.neighbour_bonus == 0, "fused.neighbour_bonus",
                self.fused.neighbour_bonus, "0 with split=train, whose triples are the neighbours' own")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class Question:
    """A triple with one part left out, which is asked for; entities and relations by label or by name."""

    head: str | None
    relation: str | None
    tail: str | None
    head_text: str | None  # instead of head: the name of an entity that the graph has never seen
    head_description: str | None  # of that entity
    tail_text: str | None  # instead of tail
    tail_description: str | None


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
            require(not asked, "input", self.input, f"left out where {' and '.join(asked)} ask a question")


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
    for key, value in given.items():
        require(bool(value.strip()), key, value, "a label or name")
    if len(given) != 2:
        found = " and ".join(given) or "none"
        raise ValueError(f"a question gives two of head (or head_text), relation and tail (or tail_text), and asks for "
                         f"the third; got {found}")  # fmt: skip


def looks_like_folder(path: str) -> bool:
    """True for what is, or was surely meant as, a folder; hub names have at most one slash."""
    place = Path(path).expanduser()
    return place.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1


def _slots(text: str) -> list[str]:
    try:
        return [slot for _, slot, _, _ in Formatter().parse(text) if slot is not None]
    except ValueError:
        return []


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key} must be {allowed}, got {in_yaml(value)}")


def in_yaml(value: Any) -> str:
    """A value as the command line and config files have it, with quotes around text alone."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list):
        return f"[{', '.join(map(in_yaml, value))}]"
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(repr(value), repr(value))


def require_folder_name(key: str, value: str | None) -> None:
    good = value is None or (re.fullmatch(r"[\w.=,+-]+", value) is not None and value not in (".", ".."))
    require(good, key, value, "letters, digits and any of . _ - = , +")


def require_at_least(key: str, value: int, least: int) -> None:
    require(value >= least, key, value, f"a whole number >= {least}")


def require_positive(key: str, value: float) -> None:
    require(math.isfinite(value) and value > 0, key, value, "a finite number > 0")


def require_not_negative(key: str, value: float) -> None:
    require(math.isfinite(value) and value >= 0, key, value, "a finite number >= 0")


def require_share(key: str, value: float) -> None:
    require(math.isfinite(value) and 0 <= value < 1, key, value, "a number in [0, 1)")
