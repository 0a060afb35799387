"""One training step against other ways to train on the same text, and against the model's own matrix products."""

from collections.abc import Callable
from functools import partial

import torch

from kalm.speed.measure import Row, peak_memory, rates, ratio_row, seconds_of, take_turns, value_row
from kalm.speed.sentence_trainer import SentenceTraining, missing_packages
from kalm.speed.task import LLAMA_15M, MIXED_LENGTHS, Size, Training
from kalm.speed.utilisation import measure_utilisation

SEPARATELY = "objective.separate={encode_heads: %s, logits_everywhere: %s}"
OTHERS = {
    # the published code also encodes the heads, for nothing
    "published_forwards": [SEPARATELY % ("true", "true")],
    "three_forwards": [SEPARATELY % ("false", "true")],
    "three_forwards_logits_at_labels": [SEPARATELY % ("false", "false")],
}


def measure_step(*, batch_size: int, repeats: int, sizes: tuple[Size, Size] = (LLAMA_15M, MIXED_LENGTHS)) -> list[Row]:
    """The table of comparisons: separate forwards, the bare model, sentence-transformers.

    A 15 M Llama with a vocabulary of 32,000, float32 on a CPU or on the GPU if there is one. Every system starts from
    the same text; kalm's step is the trainer's: batch from the token table, forward, both losses, backward, update.

    Args:
        batch_size: triples per step; each gives two directed triples.
        repeats: timed steps of each system, after one that is not counted.
        sizes: of the task with entities of 3 name and 30 description tokens, and with mixed lengths.
    """
    rows = _one_pass(sizes[0], batch_size, repeats) + measure_utilisation(repeats)
    if missing_packages():
        return rows
    for name, size in zip(("", "_mixed_lengths"), sizes, strict=True):
        rows += _against_sentence_transformers(f"one_pass_vs_sentence_transformers{name}", size, batch_size, repeats)
    return rows


def _one_pass(size: Size, batch_size: int, repeats: int) -> list[Row]:
    batch = [f"training.batch_size={batch_size}"]
    own = Training(size, batch)
    others = {name: Training(size, [*batch, *overrides]) for name, overrides in OTHERS.items()}
    bare, no_engine = Training(size, batch), Training(size, batch)
    optimizer = torch.optim.AdamW(no_engine.objective.parameters(), lr=1e-3, fused=True)
    seconds = take_turns(
        {
            "one_pass": own.step,
            **{name: other.step for name, other in others.items()},
            "bare": partial(_bare_step, bare),
            "no_engine": partial(_step_without_engine, no_engine, optimizer),
        },
        repeats,
    )
    mine = seconds["one_pass"]
    speeds = {name: rates(batch_size, times) for name, times in seconds.items()}
    rows = [
        ratio_row(f"one_pass_vs_{name}", "triples/s", speeds["one_pass"], speeds[name], more_is_better=True)
        for name in OTHERS
    ]
    rows += [
        # here the bare model is the bound: 1 / ratio is how many times its time a step takes
        ratio_row("step_vs_bare_forward_and_backward", "s", mine, seconds["bare"], more_is_better=False),
        ratio_row("step_vs_step_without_engine", "s", mine, seconds["no_engine"], more_is_better=False),
        value_row("share_of_clipping_and_update", "share of the step",
                  [update / step for update, step in zip(own.update_seconds[1:], mine, strict=True)]),
    ]  # fmt: skip
    for name, training in {"one_pass": own, **others}.items():
        num_tokens = training.batches.of_step(0, training.objective.encoder)[0].num_tokens
        rows.append(value_row(f"{name}_seconds_per_step", "s", seconds[name]))
        rows.append(value_row(f"{name}_tokens_per_second", "tokens/s", rates(num_tokens, seconds[name])))
        peak, _ = peak_memory(_first_step, size, [*batch, *OTHERS.get(name, [])])
        rows.append(value_row(f"{name}_peak_memory", "MiB", [peak]))
    return rows


def _bare_step(training: Training) -> None:
    """Forward and backward of what a step cannot do without: the body on its tokens, the head at its labels."""
    lm = training.objective.encoder.causal_lm
    (batch,) = training.batches.of_step(training.num_steps, training.objective.encoder)
    training.num_steps += 1
    states = torch.cat(
        [lm.base_model(input_ids=group, use_cache=False).last_hidden_state.flatten(0, 1) for group in batch.input_ids]
    )
    logits = lm.get_output_embeddings()(states[batch.label_positions])
    (states.sum() + logits.sum()).backward()
    lm.zero_grad()


def _step_without_engine(training: Training, optimizer: torch.optim.Optimizer) -> None:
    """The same step in plain torch."""
    objective = training.objective
    batches = training.batches.of_step(training.num_steps, objective.encoder)
    training.num_steps += 1
    (labels,) = objective.count_labels(batches)
    encoded = objective(batches[0], labels)
    contrastive = objective.contrastive(encoded.sites, batches[0].ids)
    assert encoded.triple_completion is not None
    total = objective.total(contrastive.loss, encoded.triple_completion)
    assert bool(torch.isfinite(total))
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _against_sentence_transformers(name: str, size: Size, batch_size: int, repeats: int) -> list[Row]:
    """The joint step, and MultipleNegativesRankingLoss alone in the other's trainer."""
    own = Training(size, [f"training.batch_size={batch_size}"])
    mine: list[float] = []
    theirs = SentenceTraining(size, batch_size, repeats + 1, None).run(lambda: mine.append(seconds_of(own.step)))
    speeds = (rates(batch_size, seconds[1:]) for seconds in (mine, theirs))
    return [ratio_row(name, "triples/s", *speeds, more_is_better=True)]


def _first_step(size: Size, overrides: list[str]) -> Callable[[], object]:
    return Training(size, overrides).step
