"""Files from the network, whole and with the digest that is expected, or not at all."""

import fcntl
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from kalm.provenance import file_digest

TIMEOUT_SECONDS = 30
NUM_ATTEMPTS = 3  # each goes on where the one before was cut off
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a public source.

    Args:
        name: that it gets.
        url: where it is, at a version that does not change.
        sha256: of its bytes, in hex.
    """

    name: str
    url: str
    sha256: str


def download(files: tuple[RemoteFile, ...], folder: Path) -> Path:
    """All files in the folder; what is there already is not fetched again.

    Processes that want the same files at once wait for the first. A file appears by one rename, after its digest has
    been checked; what a broken connection left goes on as `NAME.part`, and so does an interrupted run.

    Returns:
        The folder.

    Raises:
        ValueError: a file could not be fetched, or has another digest.
    """
    if all((folder / file.name).is_file() for file in files):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for file in files:
            path = folder / file.name
            if not path.is_file():
                _fetch(file, path)
    return folder


def _fetch(file: RemoteFile, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    for attempt in range(NUM_ATTEMPTS):
        try:
            _continue(file.url, part)
            break
        except (OSError, HTTPException) as error:
            if attempt == NUM_ATTEMPTS - 1:
                raise ValueError(f"{file.url}: {_reason(error)}") from None
    found = file_digest(part)
    if found != file.sha256:
        part.unlink()  # going on from it could never end well
        raise ValueError(f"{file.url}: the file has SHA-256 {found}, expected {file.sha256}: it is another one or was "
                         "damaged on its way, and has been thrown away")  # fmt: skip
    part.replace(path)


def _continue(url: str, part: Path) -> None:
    """Append to the part what it lacks; start again where the server knows no ranges."""
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == RANGE_NOT_SATISFIABLE:  # all of it is there; its digest will tell
                return
            raise
    with response:
        is_rest = response.status == PARTIAL_CONTENT
        if is_rest and not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            part.unlink()
            raise OSError("the server sent another part than was asked for")
        with part.open("ab" if is_rest else "wb") as stream:
            shutil.copyfileobj(response, stream, 2**20)
            size = response.headers.get("Content-Length")
            if size is not None and stream.tell() != int(size) + (begin if is_rest else 0):
                raise OSError("the connection was cut off")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel drops it with the process
        yield


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__
