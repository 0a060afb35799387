"""Fixtures: a toy graph with several true tails, equal names and a self-loop, and a tiny LM with random weights."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import settings
from warm import WarmPython

from kalm.config import (
    AdapterInit,
    AnchorConfig,
    Compared,
    CompletionTemplate,
    KaleConfig,
    KlDirection,
    LoraConfig,
    NegativesConfig,
    ObjectiveConfig,
    PromptFrame,
    PromptsConfig,
    RankingConfig,
    Scope,
    ScratchConfig,
    TargetTemplate,
    TaskPrompt,
    Teacher,
    TemplateConfig,
)
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.sources import load_graph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import add_lora
from kalm.model.scratch import build_llama, train_tokenizer
from kalm.objective.joint import JointObjective
from kalm.objective.negatives import ContrastiveObjective
from kalm.text.batch import Batch, collate
from kalm.text.question_batch import QuestionBatch, collate_questions
from kalm.text.question_table import QuestionTable, build_question_table
from kalm.text.text_batch import TextBatch
from kalm.text.token_table import TokenTable, build_token_table

# the same examples in each run, so that what passed here passes elsewhere; the slow fuzz tests look further
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

NAMES = {
    "ann": "Ann", "bob": "Bob", "cat": "a cat", "dog": "a dog", "dog2": "a dog", "elm": "an elm tree",
    "fox": "a fox", "gnu": "a gnu", "hen": "a hen", "ivy": "ivy",
}  # fmt: skip
DESCRIPTIONS = {"ann": "a person who likes animals and trees", "elm": "a tall tree", "dog": 'barks; "woof"'}
TRAIN = """\
ann likes cat
ann likes dog
ann likes fox
bob likes dog
bob likes dog2
bob likes ann
ann knows bob
ann knows ann
cat eats hen
fox eats hen
dog eats hen
gnu eats ivy
gnu eats elm
hen eats ivy
"""
VALID = "bob likes cat\nfox eats cat\n"
TEST = "ann likes gnu\ngnu likes ann\nbob knows ann\nhen eats elm\n"


def shared(path: str) -> Path:
    """A folder of the shared data; skips the test where it is not there."""
    folder = SHARED / path
    if not folder.exists():
        pytest.skip(f"needs {path} beside the checkout, in a folder named shared")
    return folder


def write_toy_graph(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        (folder / f"{split}.txt").write_text(lines.replace(" ", "\t"))
    rows = [f"{label}\t{name}\t{DESCRIPTIONS.get(label, '')}\n" for label, name in NAMES.items()]
    (folder / "entity2text.txt").write_text("".join(rows))
    (folder / "relation2text.txt").write_text("likes\tis fond of\nknows\tknows\n")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """There are as many pytest processes as cores: threads of several would wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def toy_folder(tmp_path: Path) -> Path:
    return write_toy_graph(tmp_path / "toy")


@pytest.fixture(scope="session")
def toy_graph(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeGraph:
    return load_graph("folder", write_toy_graph(tmp_path_factory.mktemp("toy")))


@pytest.fixture(scope="session")
def template() -> TemplateConfig:
    return TemplateConfig(
        head_start="", head="{name}", description=", {description}", head_end=";", relation=" {relation}",
        inverse_relation=" inverse of {relation}", relation_end=":", tail=" {name}", describe_tail=False,
        target=None, completion=None, max_name_tokens=8, max_description_tokens=5,
    )  # fmt: skip


@pytest.fixture(scope="session")
def ranking() -> RankingConfig:
    return RankingConfig(batch_tokens=64, score_memory_mib=1)


@pytest.fixture(scope="session")
def tokenizer(toy_graph, template):
    return train_tokenizer(toy_graph, template, vocab_size=320)


@pytest.fixture(scope="session")
def table(toy_graph, tokenizer, template) -> TokenTable:
    return build_token_table(toy_graph, tokenizer, template)


@pytest.fixture(scope="session")
def paper_template(template) -> TemplateConfig:
    return replace(
        template, head_start="[ ", head_end="", relation_end=" ]", describe_tail=True,
        target=TargetTemplate(start="{ ", end=" }"),
        completion=CompletionTemplate(prompt="Write the tail.\nInput: ", response="\nResponse: "),
    )  # fmt: skip


@pytest.fixture(scope="session")
def paper_table(toy_graph, tokenizer, paper_template) -> TokenTable:
    return build_token_table(toy_graph, tokenizer, paper_template)


@pytest.fixture
def encoder(tokenizer) -> DualViewLM:
    return make_encoder(tokenizer)


@pytest.fixture
def model_folder(tmp_path, encoder, tokenizer):
    """A tiny LM as transformers saves it."""
    folder = tmp_path / "base"
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_encoder(tokenizer) -> DualViewLM:
    torch.manual_seed(0)
    scratch = ScratchConfig(
        vocab_size=320, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2, max_length=64
    )
    return DualViewLM(build_llama(scratch, tokenizer, torch.float32), dropout=0.0)


def made_decisive(encoder: DualViewLM) -> DualViewLM:
    """The same, its matrices five times as large: fresh weights are so small that every text is as likely."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return encoder


def objective_config(**changes) -> ObjectiveConfig:
    """The graph's terms; `negatives`, `retention` and `kale`, which is off, may be dictionaries of changes."""
    negatives = NegativesConfig(
        **{
            "scope": Scope.all_ranks, "self_negatives": True, "mask_known": True, "queue_batches": 0,
            "queue_weight": 0.5, "hard_per_triple": 0, "mine_every_steps": 1, **changes.pop("negatives", {}),
        }
    )  # fmt: skip
    retention = AnchorConfig(
        **{
            "text": "text.txt", "window_tokens": 8, "tokens_per_step": 96, "direction": KlDirection.teacher_student,
            "temperature": 1.0, "top_k": None, **changes.pop("retention", {}),
        }
    )  # fmt: skip
    kale = None if (changed := changes.pop("kale", None)) is None else kale_config(**changed)
    values = {
        "name": "test", "kale": kale, "separate": None, "inverse_view": True, "contrastive_weight": 1.0,
        "triple_completion_weight": 0.3, "completion_share": 1.0, "retention_weight": 0.0, "temperature": 0.07,
        "learn_temperature": True,
        "additive_margin": 0.02, "target_to_query_weight": 0.3, "false_negative_rate": 0.1, "query_chunk": 1000,
        "logit_chunk_tokens": 5,
    }  # fmt: skip
    return ObjectiveConfig(**{**values, **changes, "negatives": negatives, "retention": retention})


def kale_config(**changes) -> KaleConfig:
    values = {
        "rationales": "rationales.jsonl", "share": 1.0, "batch_size": 6, "teacher": Teacher.self,
        "positions": Compared.answer, "kl_weight": 1.0, "direction": KlDirection.student_teacher, "temperature": 1.0,
        "top_k": None, "answer_weight": 0.0, "answer_with_rationale_weight": 0.0, "rationale_weight": 0.0,
        "prompts": short_prompts(),
    }  # fmt: skip
    return KaleConfig(**{**values, **changes})


def short_prompts(**changes) -> PromptsConfig:
    """Words that leave room in a tiny LM's window."""
    frame = PromptFrame(start="", ask="Q: {input}\nA:", answer=" {answer}", between="\n")
    tasks = {"tail": "{head}, {relation}", "head": "{tail}, {relation}", "relation": "{head}, {tail}",
             "classification": "{head}, {relation}, {tail}", "question": "{question}",
             "explained": "{question}\nF: {rationale}"}  # fmt: skip
    values = {task: TaskPrompt(instruction="", input=text) for task, text in tasks.items()}
    return PromptsConfig(**{
        "name": "short", "triples": frame, "questions": frame, "inverse_relation": "inverse of {relation}",
        "yes": "yes", "no": "no", "list_separator": "; ", **values, **changes,
    })  # fmt: skip


class Asked(NamedTuple):
    """A question with its rationale."""

    question: str
    rationale: str
    answers: tuple[str, ...]


ASKED = [
    Asked("who likes a fox", "Ann is fond of a fox.", ("Ann",)),
    Asked("what eats a hen", "a cat eats a hen. a fox eats a hen.", ("a cat", "a fox", "a dog")),
    Asked("who knows Bob", "Ann knows Bob.", ("Ann",)),
    Asked("gnu?", "a gnu eats ivy.", ("ivy", "an elm tree")),
    Asked("what is the food of a hen", "a hen eats ivy.", ("ivy",)),
    Asked("whom does Bob like", "Bob is fond of Ann.", ("Ann", "a dog")),
    Asked("who is fond of a dog", "Ann is fond of a dog. Bob too.", ("Bob",)),
]


@pytest.fixture(scope="session")
def question_table(tokenizer) -> QuestionTable:
    return build_question_table(ASKED, tokenizer, short_prompts())


def cut_questions(table: QuestionTable, questions, kale: KaleConfig, num_micro_batches: int) -> list[QuestionBatch]:
    """Questions in micro-batches, each with the last of its answers."""
    rows = np.array(questions, dtype=np.int64)
    return [
        collate_questions(table, part, table.answer_offsets[part + 1] - 1, num_groups=2,
                          reads_rationales=kale.reads_rationales, compared=kale.positions)
        for part in np.array_split(rows, num_micro_batches)
    ]  # fmt: skip


def make_objective(
    encoder: DualViewLM, graph: KnowledgeGraph, config: ObjectiveConfig, base: DualViewLM | None = None
) -> JointObjective:
    contrastive = ContrastiveObjective(
        config, torch.from_numpy(graph.known_tail_keys(["train"])), num_relations=graph.num_relations,
        num_entities=graph.num_entities,
    )  # fmt: skip
    return JointObjective(encoder, config, contrastive, base)


def cut(directed, table, num_micro_batches, more_entities=()) -> list[Batch]:
    """Directed triples, and entities beside their heads, in micro-batches."""
    more = np.array(more_entities, dtype=np.int64)
    return [
        collate(rows, table, num_groups=2, more_entities=entities)
        for rows, entities in zip(
            np.array_split(directed, num_micro_batches), np.array_split(more, num_micro_batches), strict=True
        )
    ]


def perturbed_copy(encoder: DualViewLM) -> DualViewLM:
    """A frozen base that the encoder has moved away from."""
    base = encoder.frozen_copy()
    generator = torch.Generator().manual_seed(3)
    for weight in base.parameters():
        weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return base


def loud(encoder: DualViewLM) -> DualViewLM:
    """With weights so large that a rationale changes what is predicted."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return encoder


def raw_windows(num_windows: int) -> np.ndarray:
    """(windows, 8) random tokens that the toy tokenizer has."""
    return np.random.default_rng(4).integers(3, 300, size=(num_windows, 8))


def cut_texts(windows: np.ndarray, num_micro_batches: int) -> list[TextBatch]:
    """Windows in micro-batches, each predicting at its last 1 to 8 positions, so that ranks have unequally many."""
    texts = []
    for rows in np.array_split(windows, num_micro_batches):
        width = rows.shape[1]
        positions = [row * width + place for row, tokens in enumerate(rows)
                     for place in range(width - 1 - tokens[0] % width, width)]  # fmt: skip
        texts.append(TextBatch(input_ids=(torch.from_numpy(rows),), label_positions=torch.tensor(positions)))
    return texts


def lora_config(**changes) -> LoraConfig:
    values = {
        "enabled": True, "rank": 2, "alpha": 4.0, "dropout": 0.0, "target": "all-linear", "init": AdapterInit.default,
        "init_text": None, "init_tokens": 64, "train_first_factor": True,
    }  # fmt: skip
    return LoraConfig(**{**values, **changes})


def with_lora(encoder):
    encoder = DualViewLM(add_lora(encoder.lm, lora_config()), dropout=0.0)
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # zeros would hide the first factors' gradients
    return encoder


@pytest.fixture
def no_hang() -> Iterator[None]:
    """A minute, which tells what hangs from what is slow on a busy machine."""

    def stop(*_: object) -> None:
        raise TimeoutError("takes more than a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory, offline_environment) -> Iterator[WarmPython]:
    warm = WarmPython(tmp_path_factory.mktemp("warm"), offline_environment)
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def offline_environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
