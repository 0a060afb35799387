"""Downloads: resumed, checked, and unpacked without harm; from a server on this machine."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import threading
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kalm.graph.named
from kalm.graph import archives
from kalm.graph.archives import is_archive, unpacked
from kalm.graph.download import RemoteFile, download
from kalm.graph.named import NamedDataSet, find_data_set

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Source:
    """A server of one file, and what it was asked.

    Args:
        cut_after: bytes after which each of the first answers breaks off.
        knows_ranges: whether it gives the rest alone.
        lies: whether it gives another part than was asked for, as if it were that.
    """

    def __init__(self) -> None:
        self.cut_after: list[int] = []
        self.knows_ranges, self.lies, self.status = True, False, 200
        self.asked: list[str | None] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = self.headers.get("Range")
                source.asked.append(wanted)
                if source.status != 200:
                    self.send_error(source.status)
                    return
                begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and source.knows_ranges else 0
                if begin >= len(CONTENT):
                    self.send_error(416)
                    return
                self.send_response(206 if wanted and source.knows_ranges else 200)
                body = CONTENT[begin:]
                self.send_header("Content-Length", str(len(body)))
                if begin:
                    said = begin + 1 if source.lies else begin
                    self.send_header("Content-Range", f"bytes {said}-{len(CONTENT) - 1}/{len(CONTENT)}")
                self.end_headers()
                self.wfile.write(body[: source.cut_after.pop(0)] if source.cut_after else body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def file(self, name: str = "train.txt", sha256: str = DIGEST) -> RemoteFile:
        return RemoteFile(name, f"http://127.0.0.1:{self.server.server_port}/{name}", sha256)


@pytest.fixture
def source():
    source = Source()
    yield source
    source.server.shutdown()
    source.server.server_close()


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_file_is_fetched_once(source, tmp_path):
    folder = tmp_path / "data"
    assert download((source.file(), source.file("b")), folder) == folder
    assert (folder / "train.txt").read_bytes() == (folder / "b").read_bytes() == CONTENT
    assert names(folder) == {"train.txt", "b"}
    download((source.file(), source.file("b")), folder)
    assert source.asked == [None, None]


def test_a_broken_connection_goes_on_where_it_was_cut_off(source, tmp_path):
    source.cut_after = [1000, 500_000]
    download((source.file(),), tmp_path)
    assert (tmp_path / "train.txt").read_bytes() == CONTENT
    assert source.asked == [None, "bytes=1000-", "bytes=501000-"]


def test_an_interrupted_run_goes_on_too(source, tmp_path):
    source.cut_after = [1000] * 3
    with pytest.raises(ValueError, match="the connection was cut off"):
        download((source.file(),), tmp_path)
    assert names(tmp_path) == {"train.txt.part"}
    download((source.file(),), tmp_path)
    assert (tmp_path / "train.txt").read_bytes() == CONTENT
    assert source.asked[-1] == "bytes=3000-"


def test_a_whole_part_is_taken_as_it_is(source, tmp_path):
    (tmp_path / "train.txt.part").write_bytes(CONTENT)
    download((source.file(),), tmp_path)
    assert (tmp_path / "train.txt").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["knows no ranges", "sends another part"])
def test_a_server_without_ranges_begins_again(source, tmp_path, fault):
    source.cut_after = [1000]
    source.knows_ranges, source.lies = fault != "knows no ranges", fault == "sends another part"
    download((source.file(),), tmp_path)
    assert (tmp_path / "train.txt").read_bytes() == CONTENT
    assert len(source.asked) == (2 if fault == "knows no ranges" else 3)


def test_another_digest_is_refused_and_nothing_of_the_file_is_kept(source, tmp_path):
    with pytest.raises(ValueError, match=f"the file has SHA-256 {DIGEST}, expected 000"):
        download((source.file(sha256="0" * 64),), tmp_path)
    assert names(tmp_path) == set()


def test_processes_that_want_the_same_wait_for_the_first(source, tmp_path):
    threads = [threading.Thread(target=download, args=((source.file(),), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.asked == [None]


@pytest.mark.parametrize("status", [404, 503])
def test_without_the_source_the_message_says_which_files_are_needed_where(source, tmp_path, monkeypatch, status):
    source.status = status
    data_set = NamedDataSet(read=lambda folder, builder: None, files="train.txt and texts", remote=(source.file(),))
    monkeypatch.setitem(kalm.graph.named.NAMED, "toy", data_set)
    with pytest.raises(
        ValueError, match=r"data=toy could not be downloaded .* set data\.root to the folder that holds"
    ) as e:
        find_data_set("toy", tmp_path)
    assert "train.txt and texts" in str(e.value)
    assert "\n" not in str(e.value)


def test_without_a_network_the_message_is_one_line(tmp_path, source, monkeypatch):
    source.server.shutdown()
    source.server.server_close()
    data_set = NamedDataSet(read=lambda folder, builder: None, files="train.txt", remote=(source.file(),))
    monkeypatch.setitem(kalm.graph.named.NAMED, "toy", data_set)
    with pytest.raises(ValueError, match=r"Connection refused.*data\.root"):
        find_data_set("toy", tmp_path)


# archives


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = content.decode() if kind != tarfile.REGTYPE else ""
            tar.addfile(info, io.BytesIO(content))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


FILES = [("graph/train.txt", b"a\tr\tb\n"), ("graph/texts/entity2text.txt", b"a\tA\n")]


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_an_archive_is_unpacked_once(tmp_path, ending):
    path = tmp_path / f"graph.{ending}"
    if ending == "zip":
        make_zip(path, FILES)
    else:
        mode = {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(ending, "w:gz")
        make_tar(path, [(name, content, tarfile.REGTYPE) for name, content in FILES], mode)
    assert is_archive(path)
    folder = unpacked(path, tmp_path / "cache")
    assert (folder / "train.txt").read_bytes() == b"a\tr\tb\n"
    assert (folder / "texts" / "entity2text.txt").read_bytes() == b"a\tA\n"
    (folder / "mark").touch()
    assert (unpacked(path, tmp_path / "cache") / "mark").exists()
    assert len(list((tmp_path / "cache").iterdir())) == 1


EVIL = {
    "parent": ("../evil.txt", b"x", tarfile.REGTYPE),
    "parent within": ("a/../../evil.txt", b"x", tarfile.REGTYPE),
    "absolute": ("/tmp/evil.txt", b"x", tarfile.REGTYPE),
    "symbolic link": ("link", b"/etc/passwd", tarfile.SYMTYPE),
    "link within": ("link", b"train.txt", tarfile.SYMTYPE),
    "hard link": ("link", b"/etc/passwd", tarfile.LNKTYPE),
    "device": ("device", b"", tarfile.CHRTYPE),
    "pipe": ("pipe", b"", tarfile.FIFOTYPE),
    "backslash": ("..\\evil.txt", b"x", tarfile.REGTYPE),
    "drive": ("C:\\evil.txt", b"x", tarfile.REGTYPE),
    "twice": ("graph/train.txt", b"x", tarfile.REGTYPE),
    "a file as folder": ("graph/train.txt/x", b"x", tarfile.REGTYPE),
}


@pytest.mark.parametrize("case", EVIL)
def test_an_evil_tar_writes_nothing(tmp_path, case):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = make_tar(
        inside / "evil.tar.gz", [(name, content, tarfile.REGTYPE) for name, content in FILES] + [EVIL[case]]
    )
    with pytest.raises(ValueError, match=r"evil\.tar\.gz") as error:
        unpacked(path, inside / "cache")
    assert "\n" not in str(error.value)
    assert {found.name for found in inside.iterdir()} == {"evil.tar.gz", "cache"}
    assert not list((inside / "cache").iterdir())
    assert {found.name for found in tmp_path.iterdir()} == {"inside"}


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "C:/evil.txt"])
def test_an_evil_zip_writes_nothing(tmp_path, name):
    path = make_zip(tmp_path / "evil.zip", [*FILES, (name, b"x")])
    with pytest.raises(ValueError, match="would lie outside the folder"):
        unpacked(path, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as packed:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="link is a link"):
        unpacked(path, tmp_path / "cache")


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
def test_a_bomb_is_refused_when_the_limit_is_reached(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(archives, "MIN_UNPACKED_LIMIT", 2**20)
    content, path = bytes(5 * 2**20), tmp_path / f"bomb.{ending}"
    make_zip(path, [("x", content)]) if ending == "zip" else make_tar(path, [("x", content, tarfile.REGTYPE)])
    with pytest.raises(ValueError, match="unpacks to more than 100 times its size"):
        unpacked(path, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_header_of_a_tar_is_refused_before_it_is_read(tmp_path, kind):
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2**26
    path = tmp_path / "long.tar.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(header.tobuf(tarfile.GNU_FORMAT) + b"0" * header.size)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"long\.tar\.gz: .* says more than 16 KiB about one file"):
        unpacked(path, tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_headers_of_a_tar_count_as_what_it_unpacks_to(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_UNPACKED_LIMIT", 2**18)
    path = make_tar(
        tmp_path / "empty.tar.gz", [("x" * 90 + "/" + str(place), b"", tarfile.DIRTYPE) for place in range(3000)]
    )
    with pytest.raises(ValueError, match="unpacks to more than 100 times its size"):
        unpacked(path, tmp_path / "cache")


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
def test_folders_count_as_files(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    path = tmp_path / f"many.{ending}"
    names = [f"{place}/" for place in range(4)]
    make_zip(path, [(name, b"") for name in names]) if ending == "zip" else make_tar(
        path, [(name, b"", tarfile.DIRTYPE) for name in names]
    )
    with pytest.raises(ValueError, match="holds more than 3 files"):
        unpacked(path, tmp_path / "cache")


def test_one_file_stands_for_the_archive_and_what_macos_adds_does_not_count(tmp_path):
    one = unpacked(make_zip(tmp_path / "one.zip", [("my.tsv", b"a\tr\tb\n")]), tmp_path / "cache")
    assert one.read_bytes() == b"a\tr\tb\n"
    assert "one.zip" in str(one)  # messages about it name the archive
    mac = [*FILES, ("__MACOSX/graph/._train.txt", b"x"), (".DS_Store", b"x")]
    folder = unpacked(make_zip(tmp_path / "mac.zip", mac), tmp_path / "cache")
    assert folder.name == "graph"


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    path = make_zip(tmp_path / "many.zip", [(str(place), b"") for place in range(4)])
    with pytest.raises(ValueError, match="holds more than 3 files"):
        unpacked(path, tmp_path / "cache")


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no tar", mtime=0), b"PK\3\4"], ids=["empty", "text", "gzip", "zip"]
)
@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.xz"])
def test_what_is_no_archive_is_refused(tmp_path, content, ending):
    path = tmp_path / f"x.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\."):
        unpacked(path, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.fixture(scope="module")
def whole_tar(tmp_path_factory):
    content = os.urandom(3000)
    path = make_tar(tmp_path_factory.mktemp("whole") / "g.tar.gz", [("train.txt", content, tarfile.REGTYPE)])
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255), is_torn=st.booleans())
def test_a_damaged_archive_is_refused_or_whole_and_never_half(whole_tar, tmp_path_factory, place, flip, is_torn):
    folder = tmp_path_factory.mktemp("damaged")
    place %= len(whole_tar)
    damaged = (
        whole_tar[:place] if is_torn else whole_tar[:place] + bytes([whole_tar[place] ^ flip]) + whole_tar[place + 1 :]
    )
    (folder / "g.tar.gz").write_bytes(damaged)
    try:
        unpacked(folder / "g.tar.gz", folder / "cache")
    except ValueError:
        assert not list((folder / "cache").iterdir())
