"""Measurements that compare kalm with another way to the same result, both in one run."""

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import LlamaConfig, LlamaForCausalLM

from kalm.config import ObjectiveConfig, TemplateConfig
from kalm.graph.knowledge_graph import Triples, add_inverses, triple_keys
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.contrastive import info_nce
from kalm.objective.joint import JointObjective
from kalm.provenance import git_commit, hardware
from kalm.text.batch import Batch, collate, pad_rows
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import TokenTable

NUM_ENTITIES, NUM_RELATIONS, VOCABULARY = 400, 8, 32_000
NAME_TOKENS, DESCRIPTION_TOKENS, RELATION_TOKENS = 3, 30, 4
TEMPERATURE, MARGIN, LM_WEIGHT = 0.05, 0.02, 0.3


class SeparateForwards(nn.Module):
    """The usual scheme: query, target and completion are encoded each in a forward of its own.

    Args:
        encoder: the LM.
        table: the same segments that the one-pass step joins.
        all_logits: logits at every position, as a causal LM called with labels gives them; else at labels only.
    """

    def __init__(self, encoder: DualViewLM, table: TokenTable, *, all_logits: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.table = table
        self.all_logits = all_logits

    def forward(self, batch: Batch) -> Tensor:
        (input_ids,) = batch.input_ids
        query_sites = batch.query_sites % input_ids.shape[1]
        queries = self.encoder.embed_last(input_ids[:, : int(query_sites.max()) + 1], query_sites)
        values, lengths = self.table.heads.take(batch.tail_ids.cpu().numpy())
        device = input_ids.device
        targets = self.encoder.embed_last(
            pad_rows(values, lengths).to(device), torch.from_numpy(lengths - 1).to(device)
        )
        similarity = F.normalize(queries, dim=1) @ F.normalize(targets, dim=1).T
        same = batch.tail_ids[:, None] == batch.tail_ids[None, :]
        own = torch.arange(len(similarity), device=device)
        mask = same & ~torch.eye(len(own), dtype=torch.bool, device=device)
        contrastive = info_nce(
            similarity, own, temperature=TEMPERATURE, additive_margin=MARGIN, false_negative_mask=mask
        )
        return contrastive + LM_WEIGHT * self._completion(batch)

    def _completion(self, batch: Batch) -> Tensor:
        (input_ids,) = batch.input_ids
        if self.all_logits:
            labels = torch.full_like(input_ids, -100)
            labels.flatten()[batch.label_positions + 1] = batch.labels
            loss: Tensor = self.encoder.causal_lm(input_ids=input_ids, labels=labels, use_cache=False).loss
            return loss
        states = self.encoder.states(input_ids).flatten(0, 1)[batch.label_positions]
        return F.cross_entropy(self.encoder.logits(states), batch.labels)


def measure_step(*, batch_size: int, repeats: int) -> list[dict[str, Any]]:
    """One training step of the one-pass scheme against separate forwards: same model, triples and texts.

    A 15 M Llama with a vocabulary of 32,000, entities of 3 name and 30 description tokens, float32 on the CPU or on the
    GPU if there is one. The systems take turns, so a busy machine slows them alike.

    Args:
        batch_size: triples per step; each gives two directed triples.
        repeats: timed steps of each system, after one that is not counted.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    systems = {name: _System(name, batch_size, device) for name in SYSTEMS}
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for repeat in range(repeats + 1):
        for name, system in systems.items():
            elapsed = system.step()
            if repeat > 0:
                seconds[name].append(elapsed)
    memory = {name: _peak_memory(name, batch_size) for name in systems}
    own = "one_pass"
    rows = []
    for name, what in (("three_forwards", "one_pass_vs_three_forwards"),
                       ("three_forwards_logits_at_labels", "one_pass_vs_three_forwards_logits_at_labels")):  # fmt: skip
        ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds[own], strict=True)]
        rows.append(_row(what, batch_size / _median(seconds[own]), "triples/s",
                         batch_size / _median(seconds[name]), _median(ratios), ratios))  # fmt: skip
    num_tokens = systems[own].batch.num_tokens
    for name in systems:
        rates = [num_tokens / elapsed for elapsed in seconds[name]]
        rows.append(_row(f"{name}_seconds_per_step", _median(seconds[name]), "s", None, None, seconds[name]))
        rows.append(_row(f"{name}_tokens_per_second", _median(rates), "tokens/s", None, None, rates))
        rows.append(_row(f"{name}_peak_memory", memory[name], "MiB", None, None, [memory[name]]))
    return rows


def measure_startup(*, repeats: int) -> list[dict[str, Any]]:
    """Seconds until an entry point, started anew, has done what needs no data: help, or all of its imports."""
    root = Path(__file__).resolve().parents[2]
    commands = {
        "train_help": [str(root / "launch/train.py"), "--help"],
        "kgc_help": [str(root / "eval/kgc.py"), "--help"],
        "train_imports": ["-c", "import deepspeed, kalm.training.run; from transformers import LlamaForCausalLM"],
        "kgc_imports": ["-c", "import kalm.evaluation.run; from transformers import LlamaForCausalLM"],
    }
    rows = []
    for name, arguments in commands.items():
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=root)
            times.append(time.perf_counter() - start)
        rows.append(_row(f"startup_{name}", _median(times), "s", None, None, times))
    return rows


def measure_tokens(
    source: str, folder: Path, tokenizer_folder: Path, template: TemplateConfig, *, repeats: int
) -> list[dict[str, Any]]:
    """Seconds to tokenise a graph's texts, and to open the finished table."""
    from kalm.graph.sources import load_graph
    from kalm.model.loading import load_saved_tokenizer
    from kalm.text.token_table import cached_token_table

    graph = load_graph(source, folder)
    tokenizer = load_saved_tokenizer(str(tokenizer_folder))
    build: list[float] = []
    reopen: list[float] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            for times in (build, reopen):
                start = time.perf_counter()
                cached_token_table(graph, tokenizer, template, Path(cache))
                times.append(time.perf_counter() - start)
    return [
        _row(f"tokenise_{source}", _median(build), "s", None, None, build),
        _row(f"open_tokens_{source}", _median(reopen), "s", None, None, reopen),
    ]


class _System:
    """A model, its optimizer and one batch, stepped again and again."""

    def __init__(self, name: str, batch_size: int, device: torch.device) -> None:
        triples, table = _synthetic_task(batch_size)
        self.device = device
        self.batch = collate(add_inverses(triples, NUM_RELATIONS), table, num_groups=1).to(device)
        torch.manual_seed(0)
        encoder = DualViewLM(_llama_15m(), dropout=0.0)
        self.module = SYSTEMS[name](encoder, table, triples).to(device)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4)

    def step(self) -> float:
        """Seconds of forward, backward and update."""
        start = time.perf_counter()
        output = self.module(self.batch)
        (output if isinstance(output, Tensor) else output.total).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def _one_pass(encoder: DualViewLM, table: TokenTable, triples: Triples) -> nn.Module:
    config = ObjectiveConfig(
        name="speed", contrastive_weight=1.0, triple_completion_weight=LM_WEIGHT, temperature=TEMPERATURE,
        learn_temperature=True, additive_margin=MARGIN, false_negative_rate=0.0, logit_chunk_tokens=4096,
    )  # fmt: skip
    keys = np.unique(triple_keys(add_inverses(triples, NUM_RELATIONS), NUM_RELATIONS, NUM_ENTITIES))
    return JointObjective(
        encoder, config, torch.from_numpy(keys), num_relations=NUM_RELATIONS, num_entities=NUM_ENTITIES
    )


SYSTEMS: dict[str, Callable[[DualViewLM, TokenTable, Triples], nn.Module]] = {
    "one_pass": _one_pass,
    "three_forwards": lambda encoder, table, _: SeparateForwards(encoder, table, all_logits=True),
    "three_forwards_logits_at_labels": lambda encoder, table, _: SeparateForwards(encoder, table, all_logits=False),
}


def _llama_15m() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6,
            num_key_value_heads=6, max_position_embeddings=256, tie_word_embeddings=True,
        )
    )  # fmt: skip


def _synthetic_task(batch_size: int) -> tuple[Triples, TokenTable]:
    """Random triples over random token ids: what a step costs does not depend on what the tokens say."""
    random = np.random.default_rng(0)
    triples = np.stack(
        [random.integers(limit, size=batch_size) for limit in (NUM_ENTITIES, NUM_RELATIONS, NUM_ENTITIES)], axis=1
    )

    def rows(count: int, length: int) -> RaggedArray:
        return RaggedArray.from_rows(random.integers(VOCABULARY, size=(count, length)).tolist())

    table = TokenTable(
        heads=rows(NUM_ENTITIES, NAME_TOKENS + DESCRIPTION_TOKENS + 1),
        relations=rows(2 * NUM_RELATIONS, RELATION_TOKENS + 1),
        tails=rows(NUM_ENTITIES, NAME_TOKENS + 1),
    )
    return triples, table


def _peak_memory(name: str, batch_size: int) -> float:
    """MiB at the highest over two steps, in a process of its own, since memory once freed is not returned."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_two_steps_memory, (name, batch_size))


def _two_steps_memory(name: str, batch_size: int) -> float:
    if torch.cuda.is_available():
        system = _System(name, batch_size, torch.device("cuda"))
        for _ in range(2):
            system.step()
        return torch.cuda.max_memory_allocated() / 2**20
    system = _System(name, batch_size, torch.device("cpu"))
    for _ in range(2):
        system.step()
    # not ru_maxrss, which a child inherits from its parent
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**10


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _row(
    name: str, value: float, unit: str, baseline: float | None, ratio: float | None, spread: list[float]
) -> dict[str, Any]:
    """One measurement; low and high are the extremes of the ratio, or of the value where there is no ratio."""
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "baseline": baseline,
        "ratio": ratio,
        "low": min(spread),
        "high": max(spread),
        "repeats": len(spread),
        "hardware": hardware(),
        "commit": git_commit(),
    }
