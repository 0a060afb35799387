"""Archives of graphs, unpacked without harm: nothing leaves the folder, and nothing grows beyond measure."""

import hashlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_FILES = 100_000
# an archive may unpack to so much, or to so many times its own size: text packs 3 to 30 times, a bomb 1,000 times
MIN_UNPACKED_LIMIT, MAX_UNPACKING = 2**28, 100


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of an archive."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpacked(archive: Path, cache: Path) -> Path:
    """The folder with what is in the archive, named by the archive's digest; made on first use, whole or not at all.

    A folder that holds one folder and nothing else stands for that one.

    Raises:
        ValueError: it is no whole archive, holds what would lie outside the folder or is no file, or is too large.
    """
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    folder = cache / digest
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=cache))
        try:
            _unpack(archive, unfinished)
            unfinished.chmod(0o755)  # mkdtemp's folders are private, a cache may be shared
            unfinished.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # else another process was first
                raise ValueError(f"{archive}: could not be unpacked: {error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    left = max(MIN_UNPACKED_LIMIT, MAX_UNPACKING * archive.stat().st_size)
    num_files = 0
    with _faults_of(archive):
        for name, stream in _files(archive):
            num_files += 1
            if num_files > MAX_FILES:
                raise ValueError(f"{archive}: holds more than {MAX_FILES:,} files; unpack it yourself")
            target = folder / _safe(name, archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream, target.open("xb") as out:
                while data := stream.read(2**20):
                    left -= len(data)
                    if left < 0:
                        raise ValueError(f"{archive}: unpacks to more than {MAX_UNPACKING} times its size; unpack it "
                                         "yourself if that is meant")  # fmt: skip
                    out.write(data)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the files in an archive; folders are left out, all else is refused."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(
                        f"{archive}: {info.filename} is a link, which may lead anywhere; pack the file itself"
                    )
                if not info.is_dir():
                    yield info.filename, packed.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                continue
            if not member.isreg():
                raise ValueError(f"{archive}: {member.name} is a link or a device, which may lead anywhere; pack "
                                 "the file itself")  # fmt: skip
            stream = tar.extractfile(member)
            assert stream is not None
            yield member.name, stream


def _safe(name: str, archive: Path) -> PurePosixPath:
    """The name as a path below the folder.

    Raises:
        ValueError: it leads out of it.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise ValueError(
            f"{archive}: {name!r} would lie outside the folder it is unpacked to; pack it with plain names"
        )
    return path


@contextmanager
def _faults_of(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise ValueError(f"{archive}: holds {error.filename} twice; pack it again") from None
    except (
        EOFError,
        zlib.error,
        LZMAError,
        zipfile.BadZipFile,
        tarfile.TarError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise ValueError(f"{archive}: not a whole archive that can be read ({error}); pack it again") from None
