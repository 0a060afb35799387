"""Every knob: type, unit and meaning here, its value once in `conf/`."""

from kalm.config.checks import (
    in_yaml,
    looks_like_folder,
    require,
    require_at_least,
    require_folder_name,
    require_not_negative,
    require_positive,
    require_share,
    require_whole_characters,
)
from kalm.config.data import DataConfig, Source
from kalm.config.evaluation import (
    Candidates,
    FusedConfig,
    IndexKind,
    KgcConfig,
    Protocol,
    RankingConfig,
    Scores,
    Task,
    Ties,
)
from kalm.config.geometry import GeometryConfig
from kalm.config.knowledge import Direction, KnowledgeConfig
from kalm.config.model import Dtype, LoraConfig, ModelConfig, Quantization, ScratchConfig
from kalm.config.objective import NegativesConfig, ObjectiveConfig, Scope, SeparateConfig
from kalm.config.prediction import PredictConfig, Question, check_question
from kalm.config.preparation import Command, PreparationConfig
from kalm.config.retention import Answers, HarnessConfig, RetentionConfig
from kalm.config.template import CompletionTemplate, TargetTemplate, TemplateConfig
from kalm.config.training import (
    Algorithm,
    Config,
    DeepSpeedConfig,
    EvaluationConfig,
    RunConfig,
    Sampling,
    Schedule,
    SweepConfig,
    Tracking,
    TrackingConfig,
    TrainingConfig,
)

__all__ = [
    "Algorithm",
    "Answers",
    "Candidates",
    "Command",
    "CompletionTemplate",
    "Config",
    "DataConfig",
    "DeepSpeedConfig",
    "Direction",
    "Dtype",
    "EvaluationConfig",
    "FusedConfig",
    "GeometryConfig",
    "HarnessConfig",
    "IndexKind",
    "KgcConfig",
    "KnowledgeConfig",
    "LoraConfig",
    "ModelConfig",
    "NegativesConfig",
    "ObjectiveConfig",
    "PredictConfig",
    "PreparationConfig",
    "Protocol",
    "Quantization",
    "Question",
    "RankingConfig",
    "RetentionConfig",
    "RunConfig",
    "Sampling",
    "Schedule",
    "Scope",
    "Scores",
    "ScratchConfig",
    "SeparateConfig",
    "Source",
    "SweepConfig",
    "TargetTemplate",
    "Task",
    "TemplateConfig",
    "Ties",
    "Tracking",
    "TrackingConfig",
    "TrainingConfig",
    "check_question",
    "in_yaml",
    "looks_like_folder",
    "require",
    "require_at_least",
    "require_folder_name",
    "require_not_negative",
    "require_positive",
    "require_share",
    "require_whole_characters",
]
