"""Rationales from any endpoint that speaks OpenAI's chat protocol; base URL and key come from the environment."""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kalm.config import EndpointConfig
from kalm.rationale.answer_cache import Answer, AnswerCache, request_key
from kalm.rationale.cost import Price, num_prompt_tokens
from kalm.rationale.generators import Task, Written
from kalm.rationale.status import Status

BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
# faults of the account, the address or the model's name, which each request would meet
HOPELESS = (401, 402, 403, 404)


class EndpointGenerator:
    """Asks in parallel, at a limited rate, with retries and growing pauses (those of the `openai` package).

    What is answered goes into the cache at once, refusals too; time-outs, faults and rubbish do not, so that another
    run asks for them again. Of equal requests one is sent.

    Raises:
        ValueError: the environment names no key, or the package is missing.
        OSError: the cache cannot be opened.
    """

    def __init__(self, config: EndpointConfig, instruction: str, cache: Path) -> None:
        assert config.model is not None
        self._client = _client(config)
        self._config, self._instruction = config, instruction
        self._cache = AnswerCache(cache)
        self._runner = asyncio.Runner()
        self.price = Price(config.prompt_price, config.completion_price)
        self.prompt_tokens = self.completion_tokens = self.num_requests = self._failures_in_a_row = 0
        self.description: dict[str, Any] = {
            "kind": "endpoint", "model": config.model, "url": str(self._client.base_url),
            "temperature": config.temperature,
        }  # fmt: skip

    def unpaid(self, tasks: Sequence[Task]) -> list[str]:
        """The prompts that the cache has no answer for, each once."""
        requests = {request_key(request): request for request in map(self._request, tasks)}
        return [_prompt(request) for key, request in requests.items() if self._cache.get(key) is None]

    def write(self, tasks: Sequence[Task]) -> list[Written]:
        """Ask for each task, or take what was answered before.

        Raises:
            ValueError: the endpoint refuses the key or model, fails `max_failures` times in a row, or has cost more
                than `max_cost`; what it answered is in the cache.
        """
        requests = [self._request(task) for task in tasks]
        keys = [request_key(request) for request in requests]
        written = self._runner.run(self._all(dict(zip(keys, requests, strict=True))))
        return [written[key] for key in keys]

    @property
    def dollars(self) -> float | None:
        """What this run has paid so far."""
        return self.price.of(self.prompt_tokens, self.completion_tokens)

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()
        self._cache.close()

    def _request(self, task: Task) -> dict[str, Any]:
        return {
            "model": self._config.model,
            "messages": [{"role": "user", "content": task.prompt(self._instruction)}],
            "temperature": self._config.temperature,
            self._config.limit_key: self._config.max_new_tokens,
        }

    async def _all(self, requests: dict[bytes, dict[str, Any]]) -> dict[bytes, Written]:
        """What became of each; after a fault none begins, and those under way, which are paid for, are waited for."""
        waiting, written = deque(requests.items()), {}

        async def work() -> None:
            while waiting:
                key, request = waiting.popleft()
                try:
                    written[key] = await self._one(key, request)
                except Exception:
                    waiting.clear()
                    raise

        ends = await asyncio.gather(*(work() for _ in range(self._config.num_parallel)), return_exceptions=True)
        for fault in filter(None, ends):
            raise fault
        return written

    async def _one(self, key: bytes, request: dict[str, Any]) -> Written:
        answer = self._cache.get(key)
        if answer is None:
            found = await self._ask(request)
            if isinstance(found, Written):
                self._count_failure(found)
                return found
            answer = found
            self._cache.put(key, answer)
            self._count(answer)
        return _as_written(answer)

    async def _ask(self, request: dict[str, Any]) -> Answer | Written:
        import openai

        self._check_cost()
        try:
            completion = await self._client.chat.completions.create(**request)
            return _answer(completion, num_prompt_tokens(_prompt(request)), self._config.max_new_tokens)
        except openai.APITimeoutError:
            return Written("", Status.endpoint_timeout, f"no answer within {self._config.timeout_seconds:g} s, "
                                                        f"{self._config.num_retries} retries included")  # fmt: skip
        except openai.APIStatusError as error:
            return _refusal(error.status_code, error.code, _one_line(error))
        except openai.APIConnectionError as error:
            return Written("", Status.endpoint_failed, f"{_one_line(error)} ({_one_line(error.__cause__)})")
        except (openai.APIError, ValueError, TypeError, AttributeError, LookupError) as error:
            return Written("", Status.endpoint_rubbish, f"no answer by the protocol: {_one_line(error)}")

    def _count(self, answer: Answer) -> None:
        self._failures_in_a_row = 0
        self.num_requests += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    def _count_failure(self, written: Written) -> None:
        self._failures_in_a_row += written.status is not Status.endpoint_refused
        if self._failures_in_a_row >= self._config.max_failures:
            raise ValueError(
                f"the endpoint {self._client.base_url} failed {self._failures_in_a_row} times in a row, at "
                f"last with: {written.reason}. What it answered is kept; mend "
                "it, or wait, and run the same command again"
            )

    def _check_cost(self) -> None:
        dollars, limit = self.dollars, self._config.max_cost
        if limit is not None and dollars is not None and dollars >= limit:
            raise ValueError(f"generator.endpoint.max_cost={limit:g} US dollars are spent in this run ({dollars:.2f}); "
                             "what was answered is kept: run the same command again to go on")  # fmt: skip


def _client(config: EndpointConfig) -> Any:
    try:
        import openai

        from kalm.rationale.paced_client import PacedClient
    except ImportError:
        raise ValueError("generator.kind=endpoint needs openai: pip install 'kalm[kale]'") from None
    if not os.environ.get(API_KEY):
        raise ValueError(f"generator.kind=endpoint: set {API_KEY} in the environment (any word for an endpoint that "
                         f"asks for none), and {BASE_URL} for another endpoint than OpenAI's")  # fmt: skip
    client = PacedClient(requests_per_minute=config.requests_per_minute, timeout_seconds=config.timeout_seconds)
    return openai.AsyncOpenAI(timeout=config.timeout_seconds, max_retries=config.num_retries, http_client=client)


def _prompt(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"])


def _answer(completion: Any, prompt_tokens: int, max_new_tokens: int) -> Answer:
    """What an answer by the protocol holds.

    Args:
        completion: of the `openai` package.
        prompt_tokens, max_new_tokens: what it counts for where the endpoint does not tell, as in the estimate.

    Raises:
        ValueError, TypeError, AttributeError, LookupError: it is none.
    """
    choice = completion.choices[0]
    text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
    if text is None and refusal is None and choice.finish_reason != "content_filter":
        raise ValueError("a message without content")
    if not isinstance(text, str | None) or not isinstance(refusal, str | None):
        raise TypeError(f"content is {type(text).__name__}")
    for part in (text, refusal, choice.finish_reason):
        str(part).encode()  # which half of a surrogate pair, being no text, does not pass
    usage = completion.usage
    if usage is not None and usage.prompt_tokens:
        prompt_tokens, max_new_tokens = int(usage.prompt_tokens), int(usage.completion_tokens or 0)
    return Answer(text or "", choice.finish_reason, refusal, prompt_tokens, max_new_tokens)


def _as_written(answer: Answer) -> Written:
    if answer.refusal or answer.finish_reason == "content_filter":
        return Written("", Status.endpoint_refused, answer.refusal or "its content filter stopped the answer")
    if answer.finish_reason == "length":
        return Written(answer.text.strip(), Status.cut_short, "it ends at generator.endpoint.max_new_tokens")
    return Written(answer.text.strip())


def _refusal(status: int, code: str | None, message: str) -> Written:
    """What an HTTP status after the last retry means.

    Raises:
        ValueError: each request would meet it.
    """
    if status in HOPELESS or code == "insufficient_quota":
        raise ValueError(f"the endpoint refuses every request: {message}. Check {API_KEY}, {BASE_URL} and "
                         "generator.endpoint.model")  # fmt: skip
    if status in (400, 422):  # a filter, or a prompt that is too long
        return Written("", Status.endpoint_refused, message)
    return Written("", Status.endpoint_failed, message)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
