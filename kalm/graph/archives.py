"""Archives of graphs, unpacked without harm: nothing leaves the folder, and nothing grows beyond measure."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from kalm.graph.files import Bounded
from kalm.provenance import file_digest, whole_folder

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
OF_MACOS = ("__MACOSX", ".DS_Store")
MAX_FILES = 100_000  # and folders
MAX_HEADER = (
    2**14
)  # bytes that a tar says of its next file, such as a long name: tarfile's time grows with their square
# an archive may unpack to so much, or to so many times its own size: text packs 3 to 30 times, a bomb 1,000 times
MIN_UNPACKED_LIMIT, MAX_UNPACKING = 2**28, 100


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of an archive."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpacked(archive: Path, cache: Path) -> Path:
    """What is in the archive, in a folder named by the archive and its digest; made on first use, whole or not at all.

    A folder that holds one folder or one file, and nothing else but what macOS adds, stands for that one.

    Raises:
        ValueError: it is no whole archive, holds what would lie outside the folder or is no file, or is too large.
    """
    folder = cache / f"{archive.name[:40]}-{file_digest(archive)[:32]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            with whole_folder(folder) as unfinished:
                _unpack(archive, unfinished)
        except OSError as error:
            if not folder.is_dir():  # else another process was first
                raise ValueError(f"{archive}: could not be unpacked: {error}") from error
    place = folder
    while place.is_dir() and len(inside := [path for path in place.iterdir() if path.name not in OF_MACOS]) == 1:
        place = inside[0]
    return place


def _unpack(archive: Path, folder: Path) -> None:
    left = max(MIN_UNPACKED_LIMIT, MAX_UNPACKING * archive.stat().st_size)
    num_files = 0
    with _faults_of(archive):
        for name, stream in _members(archive, left):
            num_files += 1
            if num_files > MAX_FILES:
                raise ValueError(f"{archive}: holds more than {MAX_FILES:,} files; unpack it yourself")
            if stream is None:
                continue
            target = folder / _safe(name, archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream, target.open("xb") as out:
                bounded = Bounded(stream, archive, left, MAX_UNPACKING)
                while data := bounded.read(2**20):
                    out.write(data)
                left = bounded.left


def _members(archive: Path, limit: int) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Names and contents of the files in an archive, and folders, which have none; all else is refused.

    Args:
        archive: the file.
        limit: bytes that a tar may unpack to, with its headers.
    """
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(
                        f"{archive}: {info.filename} is a link, which may lead anywhere; pack the file itself"
                    )
                yield info.filename, None if info.is_dir() else packed.open(info)
        return
    with _open_packed(archive) as packed_tar:
        stream = Bounded(packed_tar, archive, limit, MAX_UNPACKING)
        # as a stream, of which each byte is read once; what the method wants of a file object is `read`
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=_Header) as tar:
            for member in tar:
                if member.isdir():
                    yield member.name, None
                    continue
                if not member.isreg():
                    raise ValueError(f"{archive}: {member.name} is a link or a device, which may lead anywhere; pack "
                                     "the file itself")  # fmt: skip
                content = tar.extractfile(member)
                assert content is not None
                yield member.name, content


class _LongHeaderError(Exception):
    pass


class _Header(tarfile.TarInfo):
    """Refuses what a tar says of its next file before it is read, if it is long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        is_file = header.isreg() or header.isdir()
        if not is_file and header.size > MAX_HEADER:
            raise _LongHeaderError(f"it says more than {MAX_HEADER // 2**10} KiB about one file")
        return header


def _open_packed(archive: Path) -> IO[bytes]:
    """A tar, unpacked by what its first bytes say."""
    with archive.open("rb") as stream:
        head = stream.read(6)
    for sign, unpack in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
        if head.startswith(sign):
            return cast(IO[bytes], unpack(archive, "rb"))
    return archive.open("rb")


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
        lzma.LZMAError,
        _LongHeaderError,
        zipfile.BadZipFile,
        tarfile.TarError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise ValueError(f"{archive}: not a whole archive that can be read ({error}); pack it again") from None
