"""What a loss per token of one batch must know of the others."""

from typing import NamedTuple


class LabelCounts(NamedTuple):
    """Of one kind of label."""

    num_tokens: int  # labels of the whole step on all ranks
    num_chunks: int  # of this batch's logits; the same on all ranks


class QuestionCounts(NamedTuple):
    """Of each kind of position of a `QuestionBatch`."""

    answers: LabelCounts
    compared: LabelCounts
    written: LabelCounts
