"""Seconds before the first step: starting an entry point, tokenising a graph's texts."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kalm.graph.sources import load_graph
from kalm.model.loading import load_saved_tokenizer
from kalm.speed.measure import Row, value_row
from kalm.speed.task import ROOT, shipped_config
from kalm.text.token_table import cached_token_table


def measure_startup(*, repeats: int) -> list[Row]:
    """Seconds until an entry point, started anew, has done what needs no data: help, or all of its imports."""
    commands = {
        "train_help": [str(ROOT / "launch/train.py"), "--help"],
        "kgc_help": [str(ROOT / "eval/kgc.py"), "--help"],
        "train_imports": ["-c", "import deepspeed, kalm.training.run; from transformers import LlamaForCausalLM"],
        "kgc_imports": ["-c", "import kalm.evaluation.run; from transformers import LlamaForCausalLM"],
    }
    rows = []
    for name, arguments in commands.items():
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
            times.append(time.perf_counter() - start)
        rows.append(value_row(f"startup_{name}", "s", times))
    return rows


def measure_tokens(source: str, folder: Path, tokenizer_folder: Path, *, repeats: int) -> list[Row]:
    """Seconds to tokenise a graph's texts, and to open the finished table."""
    graph = load_graph(source, folder)
    tokenizer = load_saved_tokenizer(str(tokenizer_folder))
    template = shipped_config([]).template
    build: list[float] = []
    reopen: list[float] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            for times in (build, reopen):
                start = time.perf_counter()
                cached_token_table(graph, tokenizer, template, Path(cache))
                times.append(time.perf_counter() - start)
    return [value_row(f"tokenise_{source}", "s", build), value_row(f"open_tokens_{source}", "s", reopen)]
