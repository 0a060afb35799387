"""How it is optimised, and everything that a training run reads."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kalm.config.checks import (
    require,
    require_at_least,
    require_folder_name,
    require_not_negative,
    require_positive,
    require_share,
)
from kalm.config.data import DataConfig
from kalm.config.evaluation import RankingConfig
from kalm.config.model import ModelConfig
from kalm.config.objective import ObjectiveConfig
from kalm.config.template import TemplateConfig


class Schedule(Enum):
    """What the learning rate does after warm-up: stay, or go down to 0."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


class Sampling(Enum):
    """Which triples share a batch: any, or those that random walks over the graph meet."""

    uniform = "uniform"
    random_walk = "random_walk"


class Tracking(Enum):
    """Where metrics go beside metrics.jsonl."""

    disabled = "disabled"
    offline = "offline"
    online = "online"


class Algorithm(Enum):
    """How a sweep chooses its jobs: all combinations of the values given, or optuna's search among and between them."""

    grid = "grid"
    optuna = "optuna"


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
class TrainingConfig:
    epochs: float  # passes over the training triples
    max_steps: int | None  # optimizer steps instead of epochs
    stop_after_steps: int | None  # leave at this step with a checkpoint; the schedule still spans the whole run
    batch_size: int  # triples per step over all processes; each gives two directed triples
    micro_batch_size: int | None  # triples per process whose activations are held at once, with the loss and gradient
    # of the whole batch for about a third more time (gradient caching); null: all of the process's share; with
    # objective=kale questions, at no cost in time
    sampling: Sampling  # which triples share a batch
    walk_length: int  # triples of one random walk
    learning_rate: float  # at its highest
    warmup_ratio: float  # share of all steps with a rising learning rate
    schedule: Schedule
    weight_decay: float  # of matrices; vectors and the temperature have none
    adam_betas: list[float]  # decay of AdamW's first and second moments
    adam_epsilon: float  # added to the root of the second moment
    max_gradient_norm: float  # longer gradients are scaled down to it; 0 turns clipping off
    seed: int  # of weights, batches and dropout
    resume: bool  # continue from the newest checkpoint of the run
    dry_run: bool  # take a few steps, print what the run will need in time and memory, and write nothing
    log_every_steps: int  # steps between two lines of metrics.jsonl
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

    @property
    def step_size(self) -> int:
        """Triples per step over all processes, or questions where no step is of triples; it is cut in micro-batches."""
        kale = self.objective.kale
        return kale.batch_size if kale is not None and kale.is_alone else self.training.batch_size
