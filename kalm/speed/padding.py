"""Share of tokens that are padding, and what groups of similar length cost and gain."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from kalm.graph.sources import load_graph
from kalm.model.loading import load_saved_tokenizer
from kalm.speed.measure import Row, rates, ratio_row, take_turns, value_row
from kalm.speed.task import MIXED_LENGTHS, Size, Training, shipped_config
from kalm.text.batch import Batch
from kalm.text.token_table import build_token_table
from kalm.training.batches import BatchMaker

BATCH_SIZE = 128
NUM_STEPS = 20


def measure_padding(source: str, folder: Path, tokenizer_folder: Path) -> list[Row]:
    """Shares over the first steps of training on a graph's texts, 128 triples each, by groups and micro-batches."""
    graph = load_graph(source, folder)
    config = shipped_config([f"training.batch_size={BATCH_SIZE}"])
    table = build_token_table(graph, load_saved_tokenizer(str(tokenizer_folder)), config.template)
    nowhere = torch.nn.Linear(1, 1)  # stands for the encoder, which only says where the batch goes
    rows = []
    for micro_batch_size, num_groups in [
        *((BATCH_SIZE, n) for n in (1, 2, 4, 8, 12, 16)),
        *((size, None) for size in (BATCH_SIZE, 64, 32, 16, 8)),
    ]:
        config = shipped_config([f"training.batch_size={BATCH_SIZE}", f"training.micro_batch_size={micro_batch_size}"])
        grouping = {} if num_groups is None else {"num_groups": num_groups, "min_group_rows": 1}
        maker = BatchMaker(config, graph, table, rank=0, world_size=1, **grouping)
        steps = [maker.of_step(step, nowhere) for step in range(NUM_STEPS)]  # type: ignore[arg-type]
        shares = [_padding(batches) for batches in steps]
        forwards = sum(len(batch.input_ids) for batch in steps[0])
        rule = "" if num_groups else "_as_trained"
        name = f"padding_{source}_{forwards}_forwards_of_{BATCH_SIZE // micro_batch_size}_micro_batches{rule}"
        rows.append(value_row(name, "share of tokens", shares))
    return rows


def measure_groups(*, batch_size: int, repeats: int, size: Size = MIXED_LENGTHS) -> list[Row]:
    """Tokens per second of the step with more or fewer groups than the trainer's."""
    trainings = {n: Training(size, [f"training.batch_size={batch_size}"], num_groups=n) for n in (1, 2, 4, 8, 12, 16)}
    num_tokens = [trainings[1].batches.of_step(step, trainings[1].objective.encoder)[0].num_tokens
                  for step in range(1, repeats + 1)]  # fmt: skip
    seconds = take_turns({str(n): partial(Training.step, training) for n, training in trainings.items()}, repeats)
    speeds = {name: [rates(n, [s])[0] for n, s in zip(num_tokens, times, strict=True)]
              for name, times in seconds.items()}  # fmt: skip
    return [ratio_row(f"step_with_{name}_groups_vs_one", "tokens/s", speed, speeds["1"], more_is_better=True)
            for name, speed in speeds.items()]  # fmt: skip


def _padding(batches: list[Batch]) -> float:
    num_tokens, num_padded = np.sum([(batch.num_tokens, batch.num_padded_tokens) for batch in batches], axis=0)
    return float(1 - num_tokens / num_padded)
