"""Fixtures: a toy graph with several true tails, equal names and a self-loop, and a tiny LM with random weights."""

import os
from pathlib import Path

import pytest
import torch

from kalm.config import ScratchConfig, TemplateConfig
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.graph.sources import load_graph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.scratch import build_llama, train_tokenizer
from kalm.text.token_table import TokenTable, build_token_table

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
def tokenizer(toy_graph, template):
    return train_tokenizer(toy_graph, template, vocab_size=320)


@pytest.fixture(scope="session")
def table(toy_graph, tokenizer, template) -> TokenTable:
    return build_token_table(toy_graph, tokenizer, template)


@pytest.fixture
def encoder(tokenizer) -> DualViewLM:
    torch.manual_seed(0)
    scratch = ScratchConfig(
        vocab_size=320, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2, max_length=64
    )
    return DualViewLM(build_llama(scratch, tokenizer, torch.float32), dropout=0.0)


@pytest.fixture(scope="session")
def offline_environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
