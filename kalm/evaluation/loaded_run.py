"""A trained run, loaded and checked: what every evaluation starts from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from transformers import PreTrainedTokenizerFast

from kalm.composition import of_this_version, read_config
from kalm.config import Config, Quantization, TemplateConfig
from kalm.data import read_graph
from kalm.distributed import choose_device
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import KALM_FILE, build_encoder, load_trained
from kalm.text.token_table import TokenTable, cached_token_table, data_digests

ModelFiles = tuple[tuple[str, int, int, int], ...]  # name, inode, size, time of change


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRun:
    """A run's result together with the graph it was trained on."""

    folder: Path
    config: Config
    description: dict[str, Any]  # the content of kalm.json
    template: TemplateConfig  # the one the model was trained with
    graph: KnowledgeGraph
    tokenizer: PreTrainedTokenizerFast
    table: TokenTable
    encoder: DualViewLM  # on `device`, in evaluation mode
    device: torch.device
    model_files: ModelFiles  # as they were when they were read


def model_files(folder: Path) -> ModelFiles:
    """What tells the files of a run's model from others put in their place, without reading them."""
    found = ((path.name, path.stat()) for path in sorted((folder / "model").iterdir()))
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def load_run(folder: Path) -> LoadedRun:
    """Load the model of a run onto the GPU, where there is one, and its graph.

    Raises:
        ValueError: the folder is no run, has no model, or its graph has changed since.
    """
    config = read_config(folder / "config.yaml")
    device = choose_device()
    files = model_files(folder) if (folder / "model").is_dir() else ()
    encoder, tokenizer, description = load_trained(folder / "model", config.model.dtype)
    graph = read_graph(config.data)
    check_graph(graph, description, folder)
    template = of_this_version(folder / "model" / KALM_FILE, OmegaConf.create(description["template"]), TemplateConfig)
    return LoadedRun(
        folder=folder,
        config=config,
        description=description,
        template=template,
        graph=graph,
        tokenizer=tokenizer,
        table=cached_token_table(graph, tokenizer, template, config.data.cache_folder),
        encoder=encoder.to(device),
        device=device,
        model_files=files,
    )


def load_untrained(run: LoadedRun) -> DualViewLM:
    """The run's LM as it was before the first step, on the run's device, in evaluation mode."""
    # like the trained one, whose adapters are put on the base as it was before quantization
    model = replace(run.config.model, quantization=Quantization.none)
    return build_encoder(model, run.tokenizer, run.config.training.seed).to(run.device).eval()


def check_graph(graph: KnowledgeGraph, description: dict[str, Any], folder: Path) -> None:
    """Refuse a graph that is not the one the model was trained on.

    Raises:
        ValueError: triples or texts have another digest.
    """
    changed = [part for part, digest in data_digests(graph).items() if description["data"][part] != digest]
    if changed:
        raise ValueError(f"{folder}: the graph's {' and '.join(changed)} changed since the run was trained; "
                         "restore the files, or train again")  # fmt: skip
