"""One writer per folder."""

import fcntl
import os
from pathlib import Path
from typing import IO

LOCK = ".lock"


def lock_folder(folder: Path, key: str) -> IO[str]:
    """Reserve the folder for this process until the returned file is closed or the process ends.

    The kernel drops the lock with the process, so a killed run leaves nothing to clean up.

    Args:
        folder: made if it is missing.
        key: of the config, that names the folder.

    Raises:
        ValueError: another run is writing the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / LOCK).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ValueError(
            f"{key}: {folder} is being written by another run (process {lock.read().strip() or 'unknown'}); "
            f"wait for it, or choose another {key}"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
