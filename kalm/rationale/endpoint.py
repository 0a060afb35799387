"""Rationales from any endpoint that speaks OpenAI's chat protocol; base URL and key come from the environment."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kalm.config import EndpointConfig
from kalm.rationale.answer_cache import Answer, AnswerCache, request_key
from kalm.rationale.cost import Price
from kalm.rationale.generators import Task, Written
from kalm.rationale.status import Status

BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
# faults of the account, the address or the model's name, which each request would meet
HOPELESS = (401, 402, 403, 404)


class EndpointGenerator:
    """Asks in parallel, at a limited rate, with retries and growing pauses (those of the `openai` package).

    What is answered goes into the cache at once, refusals too; time-outs, faults and rubbish do not, so that another
    run asks for them again.

    Raises:
        ValueError: the environment names no key, or the package is missing.
        OSError: the cache cannot be opened.
    """

    def __init__(self, config: EndpointConfig, instruction: str, cache: Path) -> None:
        assert config.model is not None
        self._client = _client(config)
        self._config, self._instruction = config, instruction
        self._cache = AnswerCache(cache)
        self._pace = Pace(config.requests_per_minute)
        self.price = Price(config.prompt_price, config.completion_price)
        self.prompt_tokens = self.completion_tokens = self.num_requests = self._failures_in_a_row = 0
        self._lock = threading.Lock()
        self.description: dict[str, Any] = {
            "kind": "endpoint", "model": config.model, "url": str(self._client.base_url),
            "temperature": config.temperature,
        }  # fmt: skip

    def unpaid(self, tasks: Sequence[Task]) -> list[str]:
        """The prompts of those tasks that the cache has no answer for."""
        requests = map(self._request, tasks)
        return [
            request["messages"][0]["content"] for request in requests if self._cache.get(request_key(request)) is None
        ]

    def write(self, tasks: Sequence[Task]) -> list[Written]:
        """Ask for each task, or take what was answered before.

        Raises:
            ValueError: the endpoint refuses the key or model, fails `max_failures` times in a row, or has cost more
                than `max_cost`; what it answered is in the cache.
        """
        with ThreadPoolExecutor(self._config.num_parallel) as pool:
            futures = [pool.submit(self._one, task) for task in tasks]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:  # after a fault those that have not begun
                    future.cancel()

    @property
    def dollars(self) -> float | None:
        """What this run has paid so far."""
        return self.price.of(self.prompt_tokens, self.completion_tokens)

    def close(self) -> None:
        self._client.close()
        self._cache.close()

    def _request(self, task: Task) -> dict[str, Any]:
        return {
            "model": self._config.model,
            "messages": [{"role": "user", "content": task.prompt(self._instruction)}],
            "temperature": self._config.temperature,
            self._config.limit_key: self._config.max_new_tokens,
        }

    def _one(self, task: Task) -> Written:
        request = self._request(task)
        key = request_key(request)
        answer = self._cache.get(key)
        if answer is None:
            found = self._ask(request)
            if isinstance(found, Written):
                self._count_failure(found)
                return found
            answer = found
            self._cache.put(key, answer)
            self._count(answer)
        return _as_written(answer)

    def _ask(self, request: dict[str, Any]) -> Answer | Written:
        import openai

        self._check_cost()
        self._pace.wait()
        try:
            return _answer(self._client.chat.completions.create(**request))
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
        with self._lock:
            self._failures_in_a_row = 0
            self.num_requests += 1
            self.prompt_tokens += answer.prompt_tokens
            self.completion_tokens += answer.completion_tokens

    def _count_failure(self, written: Written) -> None:
        with self._lock:
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
            raise ValueError(f"generator.endpoint.max_cost={limit:g} US dollars are spent ({dollars:.2f}); what was "
                             "answered is kept: raise it and run the same command again to go on")  # fmt: skip


class Pace:
    """Lets so many pass in a minute, evenly; None lets all pass."""

    def __init__(self, per_minute: float | None) -> None:
        self._pause = 0.0 if per_minute is None else 60 / per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._pause
        if turn > now:
            time.sleep(turn - now)


def _client(config: EndpointConfig) -> Any:
    try:
        import openai
    except ImportError:
        raise ValueError("generator.kind=endpoint needs openai: pip install 'kalm[kale]'") from None
    if not os.environ.get(API_KEY):
        raise ValueError(f"generator.kind=endpoint: set {API_KEY} in the environment (any word for an endpoint that "
                         f"asks for none), and {BASE_URL} for another endpoint than OpenAI's")  # fmt: skip
    return openai.OpenAI(timeout=config.timeout_seconds, max_retries=config.num_retries)


def _answer(completion: Any) -> Answer:
    """What an answer by the protocol holds.

    Raises:
        ValueError, TypeError, AttributeError, LookupError: it is none.
    """
    choice = completion.choices[0]
    text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
    if text is None and refusal is None and choice.finish_reason != "content_filter":
        raise ValueError("a message without content")
    if not isinstance(text, str | None) or not isinstance(refusal, str | None):
        raise TypeError(f"content is {type(text).__name__}")
    usage = completion.usage
    counts = [int(getattr(usage, name, 0) or 0) for name in ("prompt_tokens", "completion_tokens")]
    return Answer(text or "", choice.finish_reason, refusal, *counts)


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
