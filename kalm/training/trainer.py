"""The training loop."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedTokenizerFast

from kalm.config import Config
from kalm.distributed import all_reduce_sum, broadcast, rank, world_size
from kalm.evaluation.kgc import validation_metrics
from kalm.graph.knowledge_graph import KnowledgeGraph
from kalm.objective.joint import JointObjective
from kalm.text.batch import Batch
from kalm.text.question_batch import QuestionBatch
from kalm.text.token_table import TokenTable, data_digests
from kalm.training.batches import BatchMaker
from kalm.training.checkpoint import RankState, checkpoint_folder, load_checkpoint, save_checkpoint
from kalm.training.engine import initialize
from kalm.training.interleaving import Interleaving
from kalm.training.meter import Meter
from kalm.training.progress import ProgressDisplay, negatives_in_words
from kalm.training.question_step import question_step
from kalm.training.questions import QuestionBatches
from kalm.training.result import Kept, kept_model, save_model
from kalm.training.step import check_weights, train_step
from kalm.training.stop import StopRequest
from kalm.training.text_windows import TextWindows
from kalm.training.tracking import VALID, Tracker


class Trainer:
    """Trains one objective on one graph.

    Args:
        config: of the run; its folder is locked and prepared.
        graph, table, tokenizer: the data, as triples and as tokens.
        objective: what is optimised, on its device.
        texts, questions: beside the graph, if the objective has a use for them.
    """

    def __init__(
        self,
        config: Config,
        graph: KnowledgeGraph,
        table: TokenTable,
        tokenizer: PreTrainedTokenizerFast,
        objective: JointObjective,
        texts: TextWindows | None = None,
        questions: QuestionBatches | None = None,
    ) -> None:
        self.config = config
        self.graph = graph
        self.table = table
        self.tokenizer = tokenizer
        self.objective = objective
        self.texts = texts
        self.questions = questions
        self.interleaving = Interleaving(0 if questions is None else questions.kale.share)
        self.total_steps = num_steps(config, graph, questions)
        self.last_step = min(self.total_steps, config.training.stop_after_steps or self.total_steps)
        self.batches = BatchMaker(config, graph, table, rank=rank(), world_size=world_size())
        # what is drawn after this point (dropout) differs from rank to rank
        torch.manual_seed(config.training.seed + 1000 * rank())
        self.engine = initialize(objective, config, world_size=world_size(), total_steps=self.total_steps)
        self.engine.train()
        self.checkpoints = config.run.folder / "checkpoints"
        self.step = 0  # optimizer steps done
        self.kept: Kept | None = None  # the best model so far, where models are evaluated
        if config.training.resume:
            self.step = load_checkpoint(self.engine, self.state(), self.checkpoints)
            self.kept = kept_model(config)
        self._saved_step = self.step
        self._learning_rate = 0.0  # of the last step
        self._last_batch: Batch | QuestionBatch | None = None  # its first micro-batch
        self._told_negatives = False
        self._validated_step = 0

    def fit(self) -> None:
        """Train to the last step, or until told to stop.

        Ctrl-C and SIGTERM finish the step, save a checkpoint and leave.

        Raises:
            ValueError: a loss is not finite, or the weights to be saved are broken.
        """
        tracker = Tracker(self.config, self.step) if rank() == 0 else None
        display = ProgressDisplay(self.step, self.total_steps) if rank() == 0 else None
        meter = Meter(self.engine.device)
        stop = StopRequest()
        try:
            with stop.listening():
                self._validated_step = broadcast(0 if tracker is None else tracker.last_validated)
                if self.step > self._validated_step and _due(self.step, self.config.evaluation.every_steps):
                    self._validate(tracker, display)  # a kill came between the checkpoint and this
                stopped = False
                while self.step < self.last_step and not stopped and not self._is_patience_over():
                    stopped = self.take_step(self.step, meter, stop)
                    self.step += 1
                    self._after_step(stopped, meter, tracker, display)
                self._save_checkpoint()
                if not self.config.evaluation.every_steps:
                    self._save_model()
                elif self.step == self.last_step and self._validated_step != self.step:
                    self._validate(tracker, display)
                self._say_goodbye(display)
        finally:
            if display is not None:
                display.close()
            if tracker is not None:
                tracker.close()

    def take_step(self, step: int, meter: Meter, stop: StopRequest) -> bool:
        """The optimizer step of a number, on the meter's clock; True if any rank was told to stop.

        Raises:
            ValueError: a loss is not finite.
        """
        meter.start_step()
        fault = f"a loss is not finite at step {step + 1}"
        texts = [] if self.texts is None else self.texts.of_step(step, self.engine.device)
        self._learning_rate = self.engine.get_lr()[0]
        if self.questions is not None and self.interleaving.is_of_questions(step):
            questions = self.questions.of_step(self.interleaving.num_question_steps(step), self.engine.device)
            self._last_batch = questions[0]
            with self._explained(fault):
                of_questions = question_step(self.engine, questions, texts)
            return meter.end_step(of_questions, questions, (self.questions.kale.batch_size, "questions"), stop.asked)
        batches = self.batches.of_step(self.interleaving.num_triple_steps(step), self.objective.encoder)
        self._last_batch = batches[0]
        with self._explained(fault):
            losses = train_step(self.engine, batches, texts)
        return meter.end_step(losses, batches, (self.config.training.batch_size, "triples"), stop.asked)

    @contextmanager
    def _explained(self, fault: str) -> Iterator[None]:
        """Turns numbers that are not finite into a line that says what is left and what to do."""
        try:
            yield
        except FloatingPointError as error:
            saved = "no checkpoint has been saved"
            if self._saved_step:
                saved = f"{checkpoint_folder(self.checkpoints, self._saved_step)} is from before and intact"
            raise ValueError(
                f"{fault} ({error}); {saved}; start anew with run.overwrite=true, or another run.name, and "
                f"training.learning_rate below {self.config.training.learning_rate:g} or a higher objective.temperature"
            ) from error

    def _after_step(
        self, stopped: bool, meter: Meter, tracker: Tracker | None, display: ProgressDisplay | None
    ) -> None:
        """Whatever is due; saved before a long validation."""
        training, every_steps = self.config.training, self.config.evaluation.every_steps
        is_last = self.step == self.last_step or stopped
        if is_last or self.step % training.log_every_steps == 0:
            self._log(meter, tracker, display)
        if display is not None:
            display.step(self.step)
        if _due(self.step, training.checkpoint_every_steps):
            self._save_checkpoint()
        if not stopped and _due(self.step, every_steps):
            self._save_checkpoint()
            self._validate(tracker, display)

    def _save_checkpoint(self) -> None:
        """Unless there is one of this step; a model is saved after it alone, so this check serves both."""
        if self.step > self._saved_step:
            assert self._last_batch is not None
            with self._explained(f"the update of step {self.step} broke the weights, which are not saved"):
                check_weights(self.engine, self._last_batch)
            save_checkpoint(self.engine, self.state(), self.step, self.checkpoints)
            self._saved_step = self.step

    def state(self) -> RankState:
        """What a checkpoint holds of this rank beside the engine."""
        return RankState(queue=self.objective.contrastive.queue, hard_negatives=self.batches.hard_negatives)

    def _log(self, meter: Meter, tracker: Tracker | None, display: ProgressDisplay | None) -> None:
        metrics = {
            "step": self.step,
            "epoch": self._epoch(),
            **meter.read_and_reset(),
            "temperature": float(self.objective.temperature().detach()),
            "lr": self._learning_rate,
        }
        if tracker is not None:
            tracker.log(metrics)
        if display is not None:
            seconds_left = (self.total_steps - self.step) * metrics["seconds_per_step"]
            display.metrics(metrics, seconds_left)
            if not self._told_negatives and "negatives/batch" in metrics:
                display.note(f"negatives per query: {negatives_in_words(metrics)}")
                self._told_negatives = True

    def _epoch(self) -> float:
        """Passes over the training triples so far, or over the questions where no step is of triples."""
        if self.questions is not None and self.questions.kale.is_alone:
            return self.step * self.questions.kale.batch_size / self.questions.num_questions
        triple_steps = self.interleaving.num_triple_steps(self.step)
        return triple_steps * self.config.training.batch_size / self.batches.num_triples

    def valid_metrics(self) -> dict[str, float]:
        """Of the model as it is now, on a sample of valid queries; the same numbers on all ranks."""
        config = self.config
        metrics = validation_metrics(
            self.objective.encoder,
            self.table,
            self.graph,
            config.ranking,
            sample=config.evaluation.num_queries,
            seed=config.training.seed,
        )
        # all ranks take the same decision, whatever the last bit of their own numbers
        mine = torch.tensor(list(metrics.values()), dtype=torch.float64, device=self.engine.device)
        return dict(zip(metrics, (all_reduce_sum(mine) / world_size()).tolist(), strict=True))

    def _validate(self, tracker: Tracker | None, display: ProgressDisplay | None) -> None:
        metrics = self.valid_metrics()
        self._validated_step = self.step
        is_better = self.kept is None or metrics["mrr"] > self.kept.valid_mrr
        if is_better:
            self.kept = Kept(step=self.step, valid_mrr=metrics["mrr"])
            self._save_model()
        if tracker is not None:
            tracker.log({"step": self.step, **{f"{VALID}{name}": value for name, value in metrics.items()}})
        if display is not None:
            assert self.kept is not None
            kept = "best so far, kept" if is_better else f"best {self.kept.valid_mrr:.4f} at step {self.kept.step}"
            display.note(f"step {self.step}/{self.total_steps}  valid MRR {metrics['mrr']:.4f}, Hits@10 "
                         f"{metrics['hits@10']:.4f} on {metrics['count']:.0f} queries ({kept})")  # fmt: skip

    def _is_patience_over(self) -> bool:
        evaluation = self.config.evaluation
        if not evaluation.patience or self.kept is None:
            return False
        return (self.step - self.kept.step) // evaluation.every_steps >= evaluation.patience

    def _save_model(self) -> None:
        description = {
            "step": self.step,
            "valid_mrr": None if self.kept is None else self.kept.valid_mrr,
            "data": data_digests(self.graph),
        }
        save_model(self.objective, self.tokenizer, self.config, description)

    def _say_goodbye(self, display: ProgressDisplay | None) -> None:
        if display is None:
            return
        if self.step == self.total_steps:
            display.note(f"done; the model is in {self.config.run.folder / 'model'}")
        elif self.kept is not None and self._is_patience_over():
            display.note(f"done at step {self.step}: no better valid MRR since step {self.kept.step} "
                         f"(evaluation.patience={self.config.evaluation.patience}), whose model is in "
                         f"{self.config.run.folder / 'model'}")  # fmt: skip
        else:
            display.note(f"stopped at step {self.step} with a checkpoint; continue with "
                         f"run.name={self.config.run.name} training.resume=true")  # fmt: skip


def num_steps(config: Config, graph: KnowledgeGraph, questions: QuestionBatches | None) -> int:
    """Optimizer steps of the whole run: `max_steps`, or `epochs` rounded up to whole steps.

    An epoch is a pass over the training triples, or over the questions where no step is of triples.
    """
    training = config.training
    if training.max_steps is not None:
        return training.max_steps
    is_alone = questions is not None and questions.kale.is_alone
    num_examples = questions.num_questions if questions is not None and is_alone else len(graph.triples["train"])
    steps = max(1, int(-(-training.epochs * num_examples // config.step_size)))
    if questions is None or is_alone:
        return steps
    interleaving = Interleaving(questions.kale.share)
    total = interleaving.num_steps(steps)
    if interleaving.num_question_steps(total) == 0:
        raise ValueError(f"objective.kale.share={questions.kale.share:g}: none of the {total:,} steps is of questions; "
                         "raise it, or training.epochs")  # fmt: skip
    return total


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
