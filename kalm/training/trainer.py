"""The training loop."""

import time
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from kalm.config import Config
from kalm.distributed import all_reduce_sum, rank, world_size
from kalm.evaluation.kgc import validation_mrr
from kalm.graph.knowledge_graph import KnowledgeGraph, add_inverses
from kalm.objective.joint import JointObjective, Losses
from kalm.text.batch import Batch, collate
from kalm.text.token_table import TokenTable, data_digests
from kalm.training.checkpoint import load_checkpoint, save_checkpoint
from kalm.training.engine import initialize
from kalm.training.progress import ProgressDisplay
from kalm.training.result import kept_valid_mrr, save_model
from kalm.training.sampler import TripleSampler
from kalm.training.stop import StopRequest
from kalm.training.tracking import Tracker

# groups that a batch is padded in; measured on WN18RR: 1 wastes a third of the tokens, 8 a twentieth, and each group
# costs a forward of its own
NUM_LENGTH_GROUPS = 8


class Trainer:
    """Trains one objective on one graph.

    Args:
        config: of the run; its folder is locked and prepared.
        graph, table, tokenizer: the data, as triples and as tokens.
        objective: what is optimised, on its device.
    """

    def __init__(
        self,
        config: Config,
        graph: KnowledgeGraph,
        table: TokenTable,
        tokenizer: PreTrainedTokenizerFast,
        objective: JointObjective,
    ) -> None:
        self.config = config
        self.graph = graph
        self.table = table
        self.tokenizer = tokenizer
        self.objective = objective
        self.total_steps = num_steps(config, graph)
        self.sampler = TripleSampler(
            len(graph.triples["train"]),
            config.training.batch_size,
            config.training.seed,
            rank=rank(),
            world_size=world_size(),
        )
        # what is drawn after this point (dropout) differs from rank to rank
        torch.manual_seed(config.training.seed + 1000 * rank())
        self.engine = initialize(objective, config, world_size=world_size(), total_steps=self.total_steps)
        self.checkpoints = config.run.folder / "checkpoints"
        self.step = 0  # optimizer steps done
        self.best_valid_mrr: float | None = None  # of the model in `model/`
        if config.training.resume:
            self.step = load_checkpoint(self.engine, self.checkpoints)
            self.best_valid_mrr = kept_valid_mrr(config)
        self._saved_step = self.step
        self._learning_rate = 0.0  # of the last step

    def train_step(self, batch: Batch) -> Losses:
        losses: Losses = self.engine(batch)
        self.engine.backward(losses.total)
        self.engine.step()
        return losses

    def fit(self) -> None:
        """Train to the last step, or until told to stop.

        Ctrl-C and SIGTERM finish the step, save a checkpoint and leave.

        Raises:
            ValueError: a loss is not finite.
        """
        training = self.config.training
        last_step = min(self.total_steps, training.stop_after_steps or self.total_steps)
        tracker = Tracker(self.config, self.step) if rank() == 0 else None
        display = ProgressDisplay(self.step, self.total_steps) if rank() == 0 else None
        meter = _Meter(self.engine.device)
        stop = StopRequest()
        try:
            with stop.listening():
                self.engine.train()
                stopped = False
                while self.step < last_step and not stopped:
                    meter.start_step()
                    batch = self._batch(self.step)
                    self._learning_rate = self.engine.get_lr()[0]
                    losses = self.train_step(batch)
                    self.step += 1
                    stopped = meter.end_step(losses, batch, stop.asked)
                    self._after_step(stopped, last_step, meter, tracker, display)
                self._save_checkpoint()
                if not training.validate_every_steps:
                    self._save_model()
                self._say_goodbye(display)
        finally:
            if display is not None:
                display.close()
            if tracker is not None:
                tracker.close()

    def _after_step(
        self,
        stopped: bool,
        last_step: int,
        meter: "_Meter",
        tracker: Tracker | None,
        display: ProgressDisplay | None,
    ) -> None:
        """Whatever is due: losses are checked before anything is saved, and saved before a long validation."""
        training = self.config.training
        meter.check_finite(self.step)
        is_last = self.step == last_step or stopped
        if is_last or self.step % training.log_every_steps == 0:
            self._log(meter, tracker, display)
        if display is not None:
            display.step(self.step)
        if _due(self.step, training.checkpoint_every_steps):
            self._save_checkpoint()
        if not stopped and (
            _due(self.step, training.validate_every_steps) or (is_last and training.validate_every_steps)
        ):
            self._save_checkpoint()
            self._validate(tracker, display)

    def _save_checkpoint(self) -> None:
        if self.step > self._saved_step:
            save_checkpoint(self.engine, self.step, self.checkpoints)
            self._saved_step = self.step

    def _batch(self, step: int) -> Batch:
        triples = self.graph.triples["train"][self.sampler.rows(step)]
        return collate(add_inverses(triples, self.graph.num_relations), self.table, num_groups=NUM_LENGTH_GROUPS).to(
            self.engine.device
        )

    def _log(self, meter: "_Meter", tracker: Tracker | None, display: ProgressDisplay | None) -> None:
        metrics = {
            "step": self.step,
            "epoch": self.step * self.config.training.batch_size / self.sampler.num_triples,
            **meter.read_and_reset(),
            "temperature": float(self.objective.log_temperature.detach().float().exp()),
            "lr": self._learning_rate,
        }
        if tracker is not None:
            tracker.log(metrics)
        if display is not None:
            seconds_left = (self.total_steps - self.step) * metrics["seconds_per_step"]
            display.metrics(metrics, seconds_left)

    def _validate(self, tracker: Tracker | None, display: ProgressDisplay | None) -> None:
        training = self.config.training
        mrr = validation_mrr(
            self.objective.encoder,
            self.table,
            self.graph,
            self.config.evaluation,
            sample=training.num_valid_queries,
            seed=training.seed,
        )
        # all ranks take the same decision, whatever the last bit of their own number
        mrr = float(all_reduce_sum(torch.tensor(mrr, device=self.engine.device))) / world_size()
        best = self.best_valid_mrr
        if best is None or mrr > best:
            self.best_valid_mrr = mrr
            self._save_model()
        if tracker is not None:
            tracker.log({"step": self.step, "valid/mrr": mrr})
        if display is not None:
            kept = "best so far, kept" if self.best_valid_mrr == mrr else f"best {best:.4f}"
            display.note(f"step {self.step}/{self.total_steps}  valid MRR {mrr:.4f} ({kept})")

    def _save_model(self) -> None:
        description = {
            "step": self.step,
            "valid_mrr": self.best_valid_mrr,
            "data": data_digests(self.graph),
        }
        save_model(self.objective, self.tokenizer, self.config, description)

    def _say_goodbye(self, display: ProgressDisplay | None) -> None:
        if display is None:
            return
        if self.step == self.total_steps:
            display.note(f"done; the model is in {self.config.run.folder / 'model'}")
        else:
            display.note(f"stopped at step {self.step} with a checkpoint; continue with "
                         f"run.name={self.config.run.name} training.resume=true")  # fmt: skip


def num_steps(config: Config, graph: KnowledgeGraph) -> int:
    """Optimizer steps of the whole run: `max_steps`, or `epochs` rounded up to whole steps."""
    training = config.training
    if training.max_steps is not None:
        return training.max_steps
    return max(1, int(-(-training.epochs * len(graph.triples["train"]) // training.batch_size)))


class _Meter:
    """Sums over steps and ranks between two log steps; validation and checkpoints are not on its clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reset()

    def start_step(self) -> None:
        self._step_start = time.perf_counter()

    def end_step(self, losses: Losses, batch: Batch, stop_asked: bool) -> bool:
        """Count a step; True if any rank was told to stop, the same answer on all ranks."""
        counts = torch.tensor([batch.num_tokens, len(batch.head_ids) // 2, stop_asked], device=self._device)
        local = torch.stack([losses.contrastive.detach(), losses.triple_completion.detach()])
        sums = all_reduce_sum(torch.cat([local.double(), counts.double()]))
        stop = bool(sums[-1])  # waits for the device, so the step's time is whole
        self._sums += sums
        self._steps += 1
        self._seconds += time.perf_counter() - self._step_start
        return stop

    def check_finite(self, step: int) -> None:
        """Refuse to go on with a loss that is nan or infinite on any rank; the same answer on all ranks."""
        if not bool(self._sums.isfinite().all()):
            contrastive, triple_completion, *_ = self._sums.tolist()
            raise ValueError(
                f"a loss is not finite at step {step} (contrastive {contrastive}, triple completion "
                f"{triple_completion}); the last checkpoint is intact: resume it, or start anew with a lower "
                "training.learning_rate or a higher objective.temperature"
            )

    def read_and_reset(self) -> dict[str, Any]:
        contrastive, triple_completion, tokens, triples, _ = self._sums.tolist()
        metrics = {
            "loss/contrastive": contrastive / self._steps / world_size(),
            "loss/triple_completion": triple_completion / self._steps / world_size(),
            "triples_per_second": triples / self._seconds,
            "tokens_per_second": tokens / self._seconds,
            "seconds_per_step": self._seconds / self._steps,
        }
        self._reset()
        return metrics

    def _reset(self) -> None:
        self._sums = torch.zeros(5, dtype=torch.float64, device=self._device)
        self._steps = 0
        self._seconds = 0.0


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
