"""Which steps are of questions, and which of triples."""

from fractions import Fraction
from math import ceil, floor


class Interleaving:
    """Steps of two kinds, spread evenly, by their number alone.

    Of the first s steps floor(s * share) are of questions. Each kind counts its own steps, so that its passes over the
    data have no gaps.

    Args:
        share: of the steps that are of questions, in [0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = Fraction(str(share))  # as it is written: 3 of 100 steps are 0.03, which is less in binary

    def is_of_questions(self, step: int) -> bool:
        return self.num_question_steps(step + 1) > self.num_question_steps(step)

    def num_question_steps(self, step: int) -> int:
        """Before a step."""
        return floor(step * self._share)

    def num_triple_steps(self, step: int) -> int:
        """Before a step."""
        return step - self.num_question_steps(step)

    def num_steps(self, num_triple_steps: int) -> int:
        """The least number of steps with so many of triples; the share is below 1."""
        steps = ceil(num_triple_steps / (1 - self._share))
        # rounding down the questions' part may leave one step too many
        while steps and self.num_triple_steps(steps - 1) >= num_triple_steps:
            steps -= 1
        return steps
