"""What a paid endpoint will cost, before it is asked, and what it has cost."""

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 4  # of English in the usual vocabularies; other scripts have fewer, so they cost more


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; None where they are not known."""

    prompt: float | None
    completion: float | None

    def of(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        if self.prompt is None or self.completion is None:
            return None
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much is still to be asked, from a sample of prompts.

    Args:
        num_requests: prompts that are not in the cache.
        prompt_tokens: by characters.
        completion_tokens: as many as may be, so that the cost is an upper bound on this side.
        dollars: None without prices.
        num_sampled: questions that it is made from.
    """

    num_requests: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    num_sampled: int

    def __str__(self) -> str:
        cost = "set generator.endpoint.prompt_price and completion_price to see the cost"
        if self.dollars is not None:
            cost = f"at most {self.dollars:,.2f} US dollars"
        return (f"estimate from {self.num_sampled:,} questions: {self.num_requests:,} requests, about "
                f"{self.prompt_tokens:,} tokens of prompts, at most {self.completion_tokens:,} of answers; "
                f"{cost}")  # fmt: skip


def num_prompt_tokens(prompt: str) -> int:
    """By its characters."""
    return round(len(prompt) / CHARACTERS_PER_TOKEN)


def estimate(
    prompts: Sequence[str], *, num_sampled: int, num_questions: int, max_new_tokens: int, price: Price
) -> Estimate:
    """Scale a sample up to all questions.

    Args:
        prompts: those of the sample that would be asked.
        num_sampled: questions of the sample, those that need no request included.
        num_questions: still to be done.
        max_new_tokens: of an answer.
        price: per token.
    """
    scale = num_questions / max(1, num_sampled)
    num_requests = round(len(prompts) * scale)
    prompt_tokens = round(sum(map(len, prompts)) / CHARACTERS_PER_TOKEN * scale)
    completion_tokens = num_requests * max_new_tokens
    return Estimate(
        num_requests, prompt_tokens, completion_tokens, price.of(prompt_tokens, completion_tokens), num_sampled
    )
