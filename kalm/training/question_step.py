"""One training step on questions."""

from collections.abc import Sequence
from typing import Any

from kalm.objective.joint import JointObjective, QuestionLosses
from kalm.objective.kale import KaleTerms
from kalm.text.question_batch import QuestionBatch
from kalm.text.text_batch import TextBatch
from kalm.training.step import counted_texts, in_words, require_finite, summed


def question_step(engine: Any, batches: Sequence[QuestionBatch], texts: Sequence[TextBatch] = ()) -> QuestionLosses:
    """One optimizer step on this rank's share of the step's questions; see `train_step`.

    Every term is a sum over tokens, divided by their number in the whole step, so micro-batches simply add up.

    Raises:
        FloatingPointError: a loss is not finite on some rank; on all ranks, and the weights are as before.
    """
    objective: JointObjective = engine.module
    counted, parts, retained = counted_texts(objective, texts), [], []
    for place, (batch, counts) in enumerate(zip(batches, objective.count_questions(batches), strict=True)):
        terms = engine(batch, counts)
        retention = summed([engine(text, labels) for text, labels in counted[place : place + 1]])
        parts.append(KaleTerms(*(None if term is None else term.detach() for term in terms)))
        retained += [] if retention is None else [retention.detach()]
        if place == len(batches) - 1:
            kale = KaleTerms(
                *(summed([term for term in found if term is not None]) for found in zip(*parts, strict=True))
            )
            losses = QuestionLosses(objective.question_total(kale, summed(retained)), kale, summed(retained))
            require_finite(in_words(losses.terms()))
        engine.backward(objective.question_total(terms, retention), scale_wrt_gas=False)
        engine.step()  # does nothing before the last micro-batch
    return losses
