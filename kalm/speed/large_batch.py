"""Batches too large for one forward: gradient caching here and in sentence-transformers."""

from collections.abc import Callable

from kalm.speed.measure import Row, peak_memory, rates, ratio_row, seconds_of
from kalm.speed.sentence_trainer import SentenceTraining, missing_packages
from kalm.speed.task import LLAMA_2M, Size, Training

MINI_BATCH = 32  # sequences that are encoded at once


def measure_large_batch(*, batch_size: int, repeats: int, size: Size = LLAMA_2M) -> list[Row]:
    """The joint loss by `training.micro_batch_size`, and CachedMultipleNegativesRankingLoss alone.

    A Llama of 2 M parameters with a vocabulary of 8,000, so that a repeat takes seconds on one core.

    Args:
        batch_size: triples per step; each gives two directed triples.
        repeats: timed steps of each system, in turns, after one that is not counted.
        size: of the task.
    """
    if missing_packages():
        return []
    overrides = [f"training.batch_size={batch_size}", f"training.micro_batch_size={MINI_BATCH // 2}"]
    own = Training(size, overrides)
    mine: list[float] = []
    other = SentenceTraining(size, batch_size, repeats + 1, MINI_BATCH)
    theirs = other.run(lambda: mine.append(seconds_of(own.step)))
    speeds = (rates(batch_size, seconds[1:]) for seconds in (mine, theirs))
    name = f"gradient_caching_vs_sentence_transformers_{2 * batch_size}_directed"
    memory = [peak_memory(_first_step, size, overrides), peak_memory(_their_first_step, size, batch_size)]
    return [
        ratio_row(name, "triples/s", *speeds, more_is_better=True),
        *(
            ratio_row(f"{name}_{what}", "MiB", [memory[0][place]], [memory[1][place]], more_is_better=False)
            for place, what in enumerate(("peak_memory", "memory_added_by_a_step"))
        ),
    ]


def _first_step(size: Size, overrides: list[str]) -> Callable[[], object]:
    return Training(size, overrides).step


def _their_first_step(size: Size, batch_size: int) -> Callable[[], object]:
    return SentenceTraining(size, batch_size, 1, MINI_BATCH).run
