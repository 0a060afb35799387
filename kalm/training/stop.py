"""Who may ask a run to stop: Ctrl-C, SIGTERM, and the end of the launcher."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

import psutil


class StopRequest:
    """Remembers that this process was asked to stop, so that the loop can finish its step and save."""

    def __init__(self) -> None:
        self._signalled = False
        self._launcher = _deepspeed_command()

    @property
    def asked(self) -> bool:
        # SIGTERM to the `deepspeed` command ends that command alone; without this check the run would go on unseen
        return self._signalled or (self._launcher is not None and not self._launcher.is_running())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within it SIGINT and SIGTERM no longer end the process."""
        before = {number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True


def _deepspeed_command() -> psutil.Process | None:
    """The `deepspeed` command that this process belongs to: it starts launch.py, which starts this process."""
    try:
        launch = psutil.Process(os.getppid())
        if not any("deepspeed.launcher.launch" in part for part in launch.cmdline()):
            return None
        command = launch.parent()
        is_runner = command is not None and any(part.endswith("/deepspeed") for part in command.cmdline())
        return command if is_runner else None
    except psutil.Error:
        return None
