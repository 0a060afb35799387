"""Metrics of a run: metrics.jsonl always, wandb when asked for."""

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from kalm.config import Config, Tracking
from kalm.logged import read_logged
from kalm.provenance import write_text

VALID = "valid_sample/"  # before the names of metrics of the sample of valid queries
VALID_MRR = f"{VALID}mrr"


class Tracker:
    """Appends one object per log step to metrics.jsonl and passes it on to wandb.

    Args:
        config: of the run.
        first_step: lines of later steps, left by an interrupted run, are dropped.

    Attributes:
        last_validated: the last step whose metrics on valid are in the file; 0: none.
    """

    def __init__(self, config: Config, first_step: int) -> None:
        path = config.run.folder / "metrics.jsonl"
        kept = _lines_until(first_step, path)
        self.last_validated = max((line["step"] for line in kept if VALID_MRR in line), default=0)
        self._file = path.open("a", encoding="utf-8")
        self._wandb = _start_wandb(config)

    def log(self, metrics: dict[str, Any]) -> None:
        self._file.write(json.dumps(metrics) + "\n")
        self._file.flush()
        if self._wandb is not None:
            _try_wandb(lambda: self._wandb.log(metrics, step=metrics["step"]), timeout_seconds=5)

    def close(self) -> None:
        self._file.close()
        if self._wandb is not None:
            _try_wandb(self._wandb.finish, timeout_seconds=30)


def _lines_until(last_step: int, path: Path) -> list[dict[str, Any]]:
    """The lines up to a step; the file is left with these alone."""
    kept = [line for line in read_logged(path) if line["step"] <= last_step]
    if path.is_file():
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    return kept


def _start_wandb(config: Config) -> Any:
    """A wandb run, or None. It never asks, never waits longer than 5 seconds, and never stops the run."""
    if config.tracking.wandb is Tracking.disabled:
        return None

    def start() -> Any:
        mode = config.tracking.wandb
        if mode is Tracking.online and (obstacle := _obstacle_to_wandb()):
            print(f"tracking.wandb=online: {obstacle}; recording offline instead (upload later with `wandb sync`)")
            mode = Tracking.offline
        import wandb

        return wandb.init(
            project=config.tracking.project,
            name=config.run.name,
            dir=str(config.run.folder),
            mode=mode.value,
            settings=wandb.Settings(init_timeout=4, silent=True, console="off"),
        )

    return _try_wandb(start, timeout_seconds=5)


def _obstacle_to_wandb() -> str | None:
    import netrc

    address = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    host = address.hostname or "api.wandb.ai"
    try:
        has_key = "WANDB_API_KEY" in os.environ or netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        has_key = False
    if not has_key:
        return "no API key (set WANDB_API_KEY or run `wandb login`)"
    try:
        socket.create_connection((host, address.port or 443), timeout=1.5).close()
    except OSError as error:
        return f"{host} cannot be reached ({error})"
    return None


def _try_wandb(action: Callable[[], Any], timeout_seconds: float) -> Any:
    """The action's result; None, and a line that says so, if it fails or takes too long."""
    results: list[Any] = []

    def attempt() -> None:
        try:
            results.append(action())
        except Exception as error:  # a tracker must never stop a run, whatever it raises
            _say_lost(" ".join(str(error).split())[:200])
            results.append(None)

    # in a thread, since neither a name look-up nor wandb's own waits can be bounded from outside
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if not results:
        _say_lost(f"no answer within {timeout_seconds:g} s")
        return None
    return results[0]


def _say_lost(reason: str) -> None:
    print(f"wandb: {reason} (the run goes on; metrics.jsonl has everything)", flush=True)
