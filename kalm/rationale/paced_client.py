"""What the `openai` package sends its requests through, retries included: each waits its turn, and ends in time."""

import asyncio
import time
from typing import Any

import httpx2
import openai


class PacedClient(openai.DefaultAsyncHttpxClient):
    """Differs from the package's own client in what its limits hold for.

    Args:
        requests_per_minute: of all that go out; None sets no limit.
        timeout_seconds: of a request from when it goes out until its answer is read. The package's own limit is one of
            each read, which an answer that drips in never meets.
    """

    def __init__(self, *, requests_per_minute: float | None, timeout_seconds: float) -> None:
        super().__init__(timeout=timeout_seconds)
        self._pace, self._timeout_seconds = Pace(requests_per_minute), timeout_seconds

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        await self._pace.wait()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await super().send(request, **options)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("not answered in time", request=request) from error


class Pace:
    """Lets so many pass in a minute, evenly; None lets all pass."""

    def __init__(self, per_minute: float | None) -> None:
        self._pause = 0.0 if per_minute is None else 60 / per_minute
        self._next = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._pause
        if turn > now:
            await asyncio.sleep(turn - now)
