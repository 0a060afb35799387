"""Python scripts as processes of their own that start at once, forked from one that has imported what takes seconds.

`python warm.py` is that one: it reads a request per line, forks, and ends with its standard input.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SLOW_IMPORTS = (
    "deepspeed", "setuptools", "transformers.models.llama.modeling_llama", "transformers.conversion_mapping", "peft",
    "faiss", "hydra", "rich.table", "pandas", "pyarrow.compute", "pyarrow.csv", "scipy.stats", "matplotlib.figure",
    "matplotlib.backends.backend_svg",
)  # fmt: skip
# set here as kalm sets them before it imports these
ENVIRONMENT = {"DS_ACCELERATOR": "cpu", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class WarmPython:
    """Starts scripts; `folder` is for what they print."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._num_started = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, text=True, env={**environment, **ENVIRONMENT}
        )

    def start(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path | None = None, stdin: str = ""
    ) -> "Started":
        """Run a script; `arguments` are its path and its own arguments."""
        self._num_started += 1
        place = self._folder / str(self._num_started)
        place.mkdir()
        (place / "stdin").write_text(stdin)
        request = {"arguments": list(map(str, arguments)), "environment": dict(environment),
                   "cwd": str(cwd or Path.cwd()), "place": str(place)}  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Started(request["arguments"], place)

    def run(self, arguments: Sequence[str], **keys) -> subprocess.CompletedProcess:
        return self.start(arguments, **keys).wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


class Started:
    def __init__(self, arguments: list[str], place: Path) -> None:
        self._arguments, self._place = arguments, place

    def wait(self, timeout: float = 180) -> subprocess.CompletedProcess:
        """What it printed and its exit code, minus a signal's number if that ended it."""
        deadline = time.monotonic() + timeout
        while not (self._place / "exit").is_file():
            if time.monotonic() > deadline:
                os.killpg(int((self._place / "group").read_text()), signal.SIGKILL)
                raise TimeoutError(f"{self._arguments} takes more than {timeout} s: {self._place}")
            time.sleep(0.01)
        code, stdout, stderr = ((self._place / name).read_text() for name in ("exit", "stdout", "stderr"))
        return subprocess.CompletedProcess(self._arguments, int(code), stdout, stderr)


def _serve() -> dict:
    """Returns in a forked process, with what it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a script is a fork too
    for line in sys.stdin:
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request = json.loads(line)
        os.setpgid(0, 0)  # killed together with what it starts
        place = Path(request["place"])
        (place / "group").write_text(str(os.getpid()))
        runner = os.fork()
        if runner == 0:
            return request
        code = os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1])
        (place / "unfinished").write_text(str(code))
        (place / "unfinished").rename(place / "exit")
        os._exit(0)
    sys.exit(0)


def _become(request: dict) -> None:
    """Take on the request's environment, folder and streams."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        with (Path(request["place"]) / name).open(mode) as file:
            os.dup2(file.fileno(), descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115, the old one has read ahead
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)


if __name__ == "__main__":
    for name in SLOW_IMPORTS:
        __import__(name)
    # compiles a thousand patterns when a model is first saved or loaded
    sys.modules["transformers.conversion_mapping"].get_checkpoint_conversion_mapping("llama")
    _become(found := _serve())
    runpy.run_path(found["arguments"][0], run_name="__main__")
