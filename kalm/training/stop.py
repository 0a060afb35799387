"""Who may ask a run to stop: Ctrl-C, SIGTERM, and the end of the launcher."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import psutil


class StopRequest:
    """Remembers that this process was asked to stop, so that the loop can finish its step and save."""

    def __init__(self) -> None:
        self._signalled = False
        self._launcher_is_gone = _watch_deepspeed_command()

    @property
    def asked(self) -> bool:
        return self._signalled or self._launcher_is_gone()

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


def deepspeed_command() -> psutil.Process | None:
    """The `deepspeed` command, which starts launch.py, which starts this process; None without it."""
    try:
        launch = psutil.Process(os.getppid())
        command = launch.parent()
        is_launched = any("deepspeed.launcher.launch" in part for part in launch.cmdline())
        if command is None or not is_launched or not any(part.endswith("/deepspeed") for part in command.cmdline()):
            return None
    except psutil.Error:
        return None
    return command


def _watch_deepspeed_command() -> Callable[[], bool]:
    """Tells whether the `deepspeed` command has ended.

    SIGTERM to the command ends the command alone; launch.py and this process would go on unseen.
    """
    command, launch_pid = deepspeed_command(), os.getppid()
    if command is None:
        return lambda: False
    command_pid = command.pid

    def is_gone() -> bool:
        try:
            # adopted by another process; holds for a zombie too
            return psutil.Process(launch_pid).ppid() != command_pid
        except psutil.NoSuchProcess:
            return True

    return is_gone
