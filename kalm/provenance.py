"""What a result was computed with, and writing it whole."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = ("kalm", "torch", "transformers", "tokenizers", "deepspeed", "peft", "faiss-cpu", "numpy")


def environment() -> dict[str, Any]:
    """Versions, git commit, command and hardware."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": git_commit(),
        "command": sys.argv,
        "hardware": hardware(),
    }


def hardware() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"machine": platform.platform(), "cpu_cores": len(os.sched_getaffinity(0)), "gpus": gpus}


def peak_resident_bytes() -> int:
    """Main memory of this process at its highest."""
    # not ru_maxrss, which a child inherits from its parent
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 2**10


def git_commit() -> str | None:
    """Of the source that runs; None outside a git checkout."""
    source = Path(__file__).parent
    result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none: a reader never meets half of it."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, patterns: Sequence[str]) -> str:
    """The SHA-256 of names and bytes of a folder's own files whose names match one of the patterns, as hex digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(map(path.match, patterns)):
            digest.update(f"{path.name}\0{file_digest(path)}\0".encode())
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file that takes the place of `path` when it is complete; after a fault nothing is left."""
    # a name of this process alone: two that write the same file at once must not write into one
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when it is complete; after a fault nothing is left.

    Raises:
        OSError: it cannot be made, or another process has made it meanwhile.
    """
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        unfinished.chmod(0o755)  # mkdtemp's folders are private, others may read what comes of this one
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
