"""Measurements that compare kalm with another way to the same result, both in one run."""

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kalm.config import NegativesConfig, ObjectiveConfig, Scope, TemplateConfig
from kalm.graph.knowledge_graph import Triples, add_inverses, triple_keys
from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.joint import JointObjective
from kalm.objective.negatives import ContrastiveObjective
from kalm.provenance import git_commit, hardware, peak_resident_bytes
from kalm.text.batch import Batch, collate, collate_separately
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import TokenTable

NUM_ENTITIES, NUM_RELATIONS, VOCABULARY = 400, 8, 32_000
NAME_TOKENS, DESCRIPTION_TOKENS, RELATION_TOKENS = 3, 30, 4


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
        directed = add_inverses(triples, NUM_RELATIONS)
        self.device = device
        self.batch = SYSTEMS[name](directed, table).to(device)
        torch.manual_seed(0)
        keys = np.unique(triple_keys(directed, NUM_RELATIONS, NUM_ENTITIES))
        contrastive = ContrastiveObjective(
            OBJECTIVE, torch.from_numpy(keys).to(device), num_relations=NUM_RELATIONS, num_entities=NUM_ENTITIES
        )
        self.module = JointObjective(DualViewLM(_llama_15m(), dropout=0.0), OBJECTIVE, contrastive).to(device)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4)

    def step(self) -> float:
        """Seconds of forward, backward and update."""
        start = time.perf_counter()
        (labels,) = self.module.count_labels([self.batch])
        encoded = self.module(self.batch, labels)
        contrastive = self.module.contrastive(encoded.sites, self.batch.ids)
        self.module.total(contrastive.loss, encoded.triple_completion).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


OBJECTIVE = ObjectiveConfig(
    name="speed", separate=None, inverse_view=True, contrastive_weight=1.0, triple_completion_weight=0.3,
    completion_share=1.0, temperature=0.05, learn_temperature=True, additive_margin=0.02, target_to_query_weight=0.0,
    false_negative_rate=0.0, query_chunk=1024, logit_chunk_tokens=4096,
    negatives=NegativesConfig(
        scope=Scope.all_ranks, self_negatives=True, mask_known=True, queue_batches=0, queue_weight=0.5,
        hard_per_triple=0, mine_every_steps=1,
    ),
)  # fmt: skip


def _separately(directed: Triples, table: TokenTable, *, as_published: bool) -> Batch:
    everywhere = np.ones(len(directed), dtype=bool)
    return collate_separately(
        directed, table, is_completed=everywhere, encode_heads=False, logits_everywhere=as_published
    )


SYSTEMS: dict[str, Callable[[Triples, TokenTable], Batch]] = {
    "one_pass": partial(collate, num_groups=1),
    "three_forwards": partial(_separately, as_published=True),
    "three_forwards_logits_at_labels": partial(_separately, as_published=False),
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

    heads = rows(NUM_ENTITIES, NAME_TOKENS + DESCRIPTION_TOKENS + 1)
    relations = rows(2 * NUM_RELATIONS, RELATION_TOKENS + 1)
    tails = rows(NUM_ENTITIES, NAME_TOKENS + 1)
    return triples, TokenTable(
        heads=heads, relations=relations, tails=tails, targets=heads, completion_heads=heads,
        completion_relations=relations,
    )  # fmt: skip


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
    return peak_resident_bytes() / 2**20


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
