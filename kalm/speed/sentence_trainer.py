"""sentence-transformers' own trainer on the same texts with the same LM: the usual way to contrastive training."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast, TrainerCallback

from kalm.graph.knowledge_graph import HEAD, RELATION, TAIL
from kalm.speed.measure import clock
from kalm.speed.task import Size, llama, synthetic_graph
from kalm.text.ragged import Ids, RaggedArray, join_rows

PACKAGES = ("sentence_transformers", "datasets", "accelerate")


def missing_packages() -> list[str]:
    """Those of the extra `speed` that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


class SentenceTraining:
    """Contrastive training of (query, target) pairs, one per directed triple, last-token pooling, unit length.

    The trainer is as it comes: fused AdamW, gradients clipped at 1, its own collator, which tokenises. Evaluation,
    saving and logging are off. Token i of the task is the word `ti`, so both systems read the same tokens.

    Args:
        size: of graph and model.
        batch_size: triples per step, each of them two pairs.
        num_steps: of the run.
        mini_batch_size: pairs that are encoded at once with gradient caching; None encodes all at once.
    """

    def __init__(self, size: Size, batch_size: int, num_steps: int, mini_batch_size: int | None) -> None:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
        from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
        from sentence_transformers.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
        from sentence_transformers.models import Normalize, Pooling, Transformer

        self._folder = tempfile.TemporaryDirectory()
        llama(size).save_pretrained(self._folder.name)
        _tokenizer(size.vocabulary).save_pretrained(self._folder.name)
        transformer = Transformer(self._folder.name)
        model = SentenceTransformer(
            modules=[transformer, Pooling(size.hidden, pooling_mode="lasttoken"), Normalize()],
            device="cuda" if torch.cuda.is_available() else "cpu",
        )
        if mini_batch_size is None:
            loss = MultipleNegativesRankingLoss(model)
        else:
            loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=mini_batch_size)
        arguments = {
            "output_dir": str(Path(self._folder.name) / "run"),
            "per_device_train_batch_size": 2 * batch_size,
            "max_steps": num_steps,
            "learning_rate": 1e-3,
            "eval_strategy": "no",
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": torch.cuda.is_available(),
            "use_cpu": not torch.cuda.is_available(),
        }
        with _alone():
            self.trainer = SentenceTransformerTrainer(
                model=model, args=Arguments(**arguments), train_dataset=Dataset.from_dict(_pairs(size)), loss=loss
            )

    def run(self, between: Callable[[], object] = lambda: None) -> list[float]:
        """Seconds of each step, with the fetching of its batch; `between` is called after each, off the clock."""
        clock = _Clock(between)
        self.trainer.add_callback(clock)
        with _alone():
            self.trainer.train()
        return clock.seconds


class _Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self, between: Callable[[], object]) -> None:
        self.between = between
        self.seconds: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start = clock()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(clock() - self.start)
        self.between()
        self.start = clock()


@contextmanager
def _alone() -> Iterator[None]:
    """Without the variables of a process group, which kalm's engine sets and accelerate would wrap the model for."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    with mock.patch.dict(os.environ):
        for name in names:
            os.environ.pop(name, None)
        yield


def _pairs(size: Size) -> dict[str, list[str]]:
    graph, table = synthetic_graph(size)
    directed = graph.directed("train")
    queries, _ = join_rows([table.heads.take(directed[:, HEAD]), table.relations.take(directed[:, RELATION])])
    return {
        "anchor": _texts(queries, np.arange(len(directed))),
        "positive": _texts(table.targets, directed[:, TAIL]),
    }


def _texts(rows: RaggedArray, ids: Ids) -> list[str]:
    return [" ".join(f"t{token}" for token in rows.values[rows.offsets[i] : rows.offsets[i + 1]]) for i in ids]


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, **{f"t{token}": token for token in range(1, vocabulary)}}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", model_max_length=256)
