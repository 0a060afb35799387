"""Reading rows: Arrow's way, the exact way and a plain reference agree on whatever bytes there are."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph import files, rows
from kalm.graph.account import Ledger
from kalm.graph.formats.registry import read_labelled
from kalm.graph.labelled import LabelledGraph, ReadOptions
from kalm.graph.rows import read_rows, read_texts

WHITE = b" \t\r\n\v\f"
MANY = 10**6
PIECES = [b"a", b"bc", b"\t", b"\t", b"\n", b"\n", b"\r\n", b" ", b"\r", b"\0", b"\xff", b'"', b",", "é".encode(),
          "\u2028".encode(), "\u00a0".encode(), b"\xef\xbb\xbf", b"\x1c", b"a\tr\tb\n", b"b\tr\ta\r\n",
          b"#", b"\v"]  # fmt: skip
contents = st.one_of(st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join), st.binary(max_size=40))
options = ReadOptions(header=False, max_bad_lines=MANY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(params=[files.BLOCK_BYTES, 7])
def block_bytes(request, monkeypatch) -> int:
    """Blocks hold whole files, or hardly a line."""
    monkeypatch.setattr(files, "BLOCK_BYTES", request.param)
    return int(request.param)


def labelled_triples(graph: LabelledGraph, split: str = "train") -> list[tuple[str, str, str]]:
    entities, relations = graph.entities.to_pylist(), graph.relations.to_pylist()
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.triples[split].tolist()]


def counts(account) -> tuple[int, ...]:
    return account.lines, account.read, account.refused, account.blank, account.comment


def reference(content: bytes, num_columns=range(3, 4), num_labels=3):
    """Rows, and lines, read, refused, blank and comment: one line after the other, nothing clever.

    Of each row the first `num_labels` cells must be labels.
    """
    raw_lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if raw_lines[-1] == b"":
        raw_lines.pop()
    found, num_refused, num_blank = [], 0, 0
    for raw in raw_lines:
        if not raw.strip(WHITE):
            num_blank += 1
            continue
        try:
            cells = [cell.strip() for cell in raw.removesuffix(b"\r").decode("utf-8").split("\t")]
        except UnicodeDecodeError:
            num_refused += 1
            continue
        if len(cells) not in num_columns or not all(cells[:num_labels]) or "\0" in "".join(cells[:num_labels]):
            num_refused += 1
            continue
        found.append(tuple(cells))
    return found, (len(raw_lines), len(found), num_refused, num_blank, 0)


@pytest.mark.parametrize("is_quick", [True, False])
def test_whatever_bytes_a_file_holds_its_triples_are_those_of_the_reference(folder, block_bytes, is_quick, monkeypatch):
    if not is_quick:
        monkeypatch.setattr(rows, "parse_quickly", lambda content, dialect: None)

    @given(contents)
    @settings(max_examples=150, deadline=None)
    def check(content):
        path = folder / "a.tsv"
        path.write_bytes(content)
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            with pytest.raises(ValueError, match="UTF-16"):
                read_labelled(path, options)
            return
        expected, expected_counts = reference(content)
        found = read_labelled(path, options)
        assert labelled_triples(found) == expected
        assert counts(found.accounts[0]) == expected_counts
        assert set(found.entities.to_pylist()) == {end for head, _, tail in expected for end in (head, tail)}

    check()


def test_well_formed_blocks_take_the_quick_way(folder, block_bytes, monkeypatch):
    monkeypatch.setattr(rows, "parse_exactly", lambda block, dialect: pytest.fail("the exact way was taken"))
    path = folder / "quick.tsv"
    path.write_bytes(b'\xef\xbb\xbfann\tlikes\t"cat\r\n\r\nbob\tlikes\tdog \n\n ann\tlikes\t\xe2\x80\xa8x')
    found = read_labelled(path, ReadOptions())
    assert labelled_triples(found) == [("ann", "likes", '"cat'), ("bob", "likes", "dog"), ("ann", "likes", "x")]
    assert counts(found.accounts[0]) == (5, 3, 0, 2, 0)
    assert found.notes == ("3 labels had white space around them, which was cut off",)


def test_texts_are_those_of_the_reference_too(folder, block_bytes):
    @given(contents)
    @settings(max_examples=150, deadline=None)
    def check(content):
        path = folder / "text.txt"
        path.write_bytes(content)
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return
        expected, expected_counts = reference(content, range(2, 4), num_labels=1)
        account = Ledger(MANY).open(path)
        found = []
        for columns in read_texts(path, account, range(2, 4)):
            lists = [column.to_pylist() for column in columns]
            found += zip(*lists, strict=True)
        assert [tuple(cell.strip() for cell in row) for row in found] == [(*row, "")[:3] for row in expected]
        assert counts(account) == expected_counts

    check()


LABELS = st.text("ab ,;\"'\n\té#", min_size=1, max_size=5).map(str.strip).filter(bool)


def test_csv_that_python_writes_is_read_as_it_was(folder, block_bytes):
    @given(st.lists(st.tuples(LABELS, LABELS, LABELS), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]),
           st.sampled_from(",;|"), st.booleans())  # fmt: skip
    @settings(max_examples=150, deadline=None)
    def check(triples, line_end, separator, quote_all):
        text = io.StringIO()
        quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
        writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting)
        writer.writerows([["head", "relation", "tail"], *triples])
        path = folder / "a.csv"
        path.write_bytes(text.getvalue().encode())
        found = read_labelled(path, ReadOptions())
        assert labelled_triples(found) == triples
        account = found.accounts[0]
        assert (account.comment, account.refused, account.blank) == (1, 0, 0)
        assert account.lines == text.getvalue().count("\n")

    check()


def test_a_quoted_field_may_be_long(folder):
    path = folder / "long.csv"
    path.write_text(f'ann,likes,"{"x" * 200_000}"\n')
    assert labelled_triples(read_labelled(path, ReadOptions())) == [("ann", "likes", "x" * 200_000)]


def test_a_quote_that_is_never_closed_costs_its_own_line_alone(folder, block_bytes):
    path = folder / "open.csv"
    path.write_text('a,r,b\n"a,r,b\nb,r,a\n')
    found = read_labelled(path, ReadOptions(max_bad_lines=1))
    assert labelled_triples(found) == [("a", "r", "b"), ("b", "r", "a")]
    assert found.accounts[0].examples == [f"{path}:2: a quote that is never closed"]


def test_lines_that_are_too_long_are_refused_wherever_blocks_end(folder, block_bytes, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 12)

    @given(st.lists(st.integers(1, 20), max_size=12), st.booleans())
    @settings(max_examples=150, deadline=None)
    def check(lengths, is_ended):
        path = folder / "long.txt"
        lines = [chr(97 + place).encode() * length for place, length in enumerate(lengths)]
        path.write_bytes(b"\n".join(lines) + b"\n" * is_ended)
        account = Ledger(MANY).open(path)
        found = {}
        for block in files.read_blocks(path, account):
            for number, line in enumerate(block.content.split(b"\n")[: block.num_lines], start=block.first_line):
                found[number] = line
        expected = {number: line for number, line in enumerate(lines, start=1) if len(line) <= 12}
        if not lengths and is_ended:
            expected = {1: b""}
        assert found == expected
        assert (account.lines, account.refused) == (
            max(len(lines), int(is_ended)),
            len(lines) - sum(map(bool, expected.values())),
        )

    check()


def test_only_line_feeds_end_a_line(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a\tone\u2028two\x0cthree\n", encoding="utf-8")
    assert list(read_rows(path, range(2, 3))) == [(1, ["a", "one\u2028two\x0cthree"])]
