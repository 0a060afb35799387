"""Graphs that are wrong: each is read with the loss counted, or refused with file, line, reason and remedy; quickly."""

import gzip
import io
import os
import re
import resource

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph.assemble import assemble
from kalm.graph.formats.registry import read_labelled
from kalm.graph.labelled import ReadOptions

GOOD = b"ann\tlikes\tcat\n"
MANY = 10**9


def parquet(**columns) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


HRT = {"head": ["ann", "bob"], "relation": ["likes", "likes"], "tail": ["cat", "dog"]}

# file, content, what is said, and what is counted when bad lines may be: read, refused, blank, comment; None where
# no line can be told from another
REFUSED = {
    "one column": ("a.tsv", GOOD + b"ann\n", r":2: 1 tab-separated columns, expected 3: ann; separate", (1, 1, 0, 0)),
    "two columns": ("a.tsv", b"ann\tlikes\n" + GOOD, r":1: 2 tab-separated columns", (1, 1, 0, 0)),
    "a weight": ("a.tsv", b"a\tr\tb\t0.5\n", r":1: 4 .*data\.columns=\[1,2,3\]", (0, 1, 0, 0)),
    "five columns": ("a.tsv", GOOD + b"a\tb\tc\td\te\n", r":2: 5 tab-separated", (1, 1, 0, 0)),
    "spaces for tabs": ("a.tsv", b"ann likes cat\n", r":1: 1 .*look separated by a space", (0, 1, 0, 0)),
    "commas for tabs": ("a.tsv", b"ann,likes,cat\n", r":1: 1 .*look separated by a comma", (0, 1, 0, 0)),
    "mixed separators": ("a.tsv", GOOD + b"ann,likes,cat\n" + GOOD, r":2: 1 .*comma", (2, 1, 0, 0)),
    "a comment": ("a.tsv", b"# a graph\n" + GOOD, r":1: 1 tab-separated columns", (1, 1, 0, 0)),
    "empty head": ("a.tsv", GOOD + b"\tlikes\tcat\n", r":2: an empty column; .*mend the line", (1, 1, 0, 0)),
    "empty relation": ("a.tsv", b"ann\t\tcat\n", r":1: an empty column", (0, 1, 0, 0)),
    "empty tail": ("a.tsv", GOOD + GOOD + b"ann\tlikes\t\n", r":3: an empty column", (2, 1, 0, 0)),
    "tail of spaces": ("a.tsv", b"ann\tlikes\t  \n", r":1: an empty column", (0, 1, 0, 0)),
    "tail of a wide space": ("a.tsv", "ann\tlikes\t\u3000\n".encode(), r":1: an empty column", (0, 1, 0, 0)),
    "tail of a line separator": ("a.tsv", "ann\tlikes\t\u2028\n".encode(), r":1: an empty column", (0, 1, 0, 0)),
    "a NUL in a label": ("a.tsv", GOOD + b"a\0\tlikes\tb\n", r":2: a NUL byte in a label", (1, 1, 0, 0)),
    "NULs alone": ("a.tsv", b"\0" * 1000, r":1: 1 tab-separated", (0, 1, 0, 0)),
    "not UTF-8": ("a.tsv", GOOD + b"\xff\xfeann\tlikes\tcat\n", r":2: not UTF-8 text", (1, 1, 0, 0)),
    "Latin-1": ("a.tsv", "Jos\u00e9\tlikes\tcat\n".encode("latin-1"), r":1: not UTF-8", (0, 1, 0, 0)),
    "a surrogate": ("a.tsv", b"a\xed\xa0\x80\tlikes\tb\n", r":1: not UTF-8", (0, 1, 0, 0)),
    "an overlong encoding": ("a.tsv", b"a\xc0\xaf\tlikes\tb\n", r":1: not UTF-8", (0, 1, 0, 0)),
    "half a letter at the end": ("a.tsv", b"ann\tlikes\tJos\xc3", r":1: not UTF-8", (0, 1, 0, 0)),
    "UTF-16": ("a.tsv", "a\tr\tb\n".encode("utf-16"), r":1: UTF-16 text; save the file as UTF-8", None),
    "big-endian UTF-16": ("a.tsv", b"\xfe\xff" + "a\tr\tb\n".encode("utf-16-be"), r":1: UTF-16", None),
    "UTF-16 without mark": ("a.tsv", "a\tr\tb\n".encode("utf-16-le"), r":1: a NUL byte", (0, 2, 0, 0)),
    "lone CR line ends": ("a.tsv", b"a\tr\tb\rc\tr\td\re\tr\tf\r", r":1: 7 .*lone CR", (0, 1, 0, 0)),
    "a header of four": ("a.tsv", b"head\trelation\ttail\tweight\na\tr\tb\t1\n",
                         r":1: 4 columns.*data\.columns=\[head, relation, tail\]", None),
    "a picture": ("a.tsv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r":1: not UTF-8", (0, 3, 0, 0)),
    "a gzip without its name": ("a.tsv", gzip.compress(GOOD), r":1: not UTF-8", (0, 1, 0, 0)),
    "unclosed quote in CSV": ("a.csv", b'a,r,b\n"c,r,d\n', r":2: a quote that is never closed; close", (1, 1, 0, 0)),
    "text after a quote": ("a.csv", b'a,r,"b"c\n', r":1: the quotes are wrong", (0, 1, 0, 0)),
    "four columns of CSV": ("a.csv", b"a,r,b\na,r,b,c\n", r":2: 4 comma-separated columns", (1, 1, 0, 0)),
    "an unquoted comma": ("a.csv", b"Ann,born in,Paris\nBob,born in,Paris, France\n", r":2: 4 comma", (1, 1, 0, 0)),
    "CSV of empty text": ("a.csv", b'a,r,""\n', r":1: an empty column", (0, 1, 0, 0)),
    "a quote over many lines": ("a.csv", b'"a' + b"\n" * 200 + b'",r,b\n', r":1: a quote that is not closed within",
                                (0, 2, 199, 0)),
    "mixed separators in CSV": ("a.csv", b"a,r,b\na;r;b\n", r":2: 1 .*semicolon", (1, 1, 0, 0)),
    "not JSON": ("a.jsonl", b'["a", "r", "b"]\n{head: 1}\n', r":2: not JSON \(.*column 2\)", (1, 1, 0, 0)),
    "half of JSON": ("a.jsonl", b'{"head": "a", "relation": "r", "ta', r":1: not JSON", (0, 1, 0, 0)),
    "JSON of one array": ("a.jsonl", b'[["a", "r", "b"], ["b", "r", "c"]]\n', r":1: 2 columns, expected 3",
                          (0, 1, 0, 0)),
    "no tail": ("a.jsonl", b'{"head": "a", "relation": "r"}\n', r":1: the keys are head, relation", (0, 1, 0, 0)),
    "a null": ("a.jsonl", b'{"head": "a", "relation": "r", "tail": null}\n', r":1: null is no label", (0, 1, 0, 0)),
    "a number with a point": ("a.jsonl", b'["a", "r", 0.5]\n', r":1: 0\.5 is no label", (0, 1, 0, 0)),
    "a truth value": ("a.jsonl", b'["a", "r", true]\n', r":1: true is no label", (0, 1, 0, 0)),
    "a list for a label": ("a.jsonl", b'["a", "r", ["b", "c"]]\n', r":1: \[.* is no label", (0, 1, 0, 0)),
    "a string for a line": ("a.jsonl", b'"a r b"\n', r":1: neither an object nor an array", (0, 1, 0, 0)),
    "recursive JSON": ("a.jsonl", b"[" * 10**6 + b"\n" + b'["a", "r", "b"]\n', r":1: nested too deeply", (1, 1, 0, 0)),
    "a number of a million digits": ("a.jsonl", b'["a", "r", ' + b"9" * 10**6 + b"]\n", r":1: ", (0, 1, 0, 0)),
    "JSON with a fourth key": ("a.jsonl", b'{"h": "a", "r": "r", "t": "b", "w": 1}\n',
                               r":1: 4 columns.*data\.columns=\[h, r, t\]", (0, 1, 0, 0)),
    "JSON that is not UTF-8": ("a.jsonl", b'["a", "r", "\xff"]\n', r":1: not UTF-8", (0, 1, 0, 0)),
    "JSON with a lone surrogate": ("a.jsonl", b'["a", "r", "\\ud800"]\n', r":1: .*surrogate", (0, 1, 0, 0)),
    "not Parquet": ("a.parquet", GOOD, r"not a whole Parquet file", None),
    "half of Parquet": ("a.parquet", parquet(**HRT)[:200], r"not a whole Parquet file", None),
    "Parquet of floats": ("a.parquet", parquet(head=[1.5], relation=["r"], tail=["b"]), r"'head' holds double", None),
    "Parquet with four columns": ("a.parquet", parquet(**HRT, weight=[1, 2]), r"4 columns.*data\.columns", None),
    "Parquet with a null": ("a.parquet", parquet(head=["a", None], relation=["r", "r"], tail=["b", "b"]),
                            r":2: an empty column", (1, 1, 0, 0)),
    "Parquet with a column of no text": ("a.parquet", parquet(**HRT).replace(b"head", b"\x80ead"),
                                         r"not a whole Parquet", None),
    "gzipped Parquet": ("a.parquet.gz", gzip.compress(parquet(**HRT)), r"unpack the file", None),
    "torn gzip": ("a.tsv.gz", gzip.compress(GOOD * 1000)[:-9], r"not a whole gzip file", None),
    "no gzip": ("a.tsv.gz", GOOD, r"not a whole gzip file", None),
    "broken gzip": ("a.tsv.gz", gzip.compress(os.urandom(500))[:200] + b"\0" * 300, r"not a whole gzip file", None),
    "an unknown name": ("a.dat", GOOD, r"unknown format; a file may be: .*Rename it", None),
    "an archive": ("a.zip", b"PK\3\4", r"an archive; unpack it", None),
}  # fmt: skip

# file, content, triples, and read, refused, blank, comment
READ = {
    "a byte order mark": ("a.tsv", b"\xef\xbb\xbf" + GOOD, ["ann likes cat"], (1, 0, 0, 0)),
    "a byte order mark before a header": ("a.csv", b"\xef\xbb\xbfhead,relation,tail\na,r,b\n", ["a r b"], (1, 0, 0, 1)),
    "a second byte order mark": ("a.tsv", GOOD + b"\xef\xbb\xbf" + GOOD, ["ann likes cat", "\ufeffann likes cat"],
                                 (2, 0, 0, 0)),
    "CRLF": ("a.tsv", b"a\tr\tb\r\nc\tr\td\r\n", ["a r b", "c r d"], (2, 0, 0, 0)),
    "CRLF and LF": ("a.tsv", b"a\tr\tb\r\nc\tr\td\n", ["a r b", "c r d"], (2, 0, 0, 0)),
    "no line feed at the end": ("a.tsv", b"a\tr\tb", ["a r b"], (1, 0, 0, 0)),
    "empty lines": ("a.tsv", b"\n\na\tr\tb\n\n \n\t\t\n", ["a r b"], (1, 0, 5, 0)),
    "CSV of separators alone": ("a.csv", b"a,r,b\n,,\n", ["a r b"], (1, 0, 1, 0)),
    "quotes in TSV": ("a.tsv", b'"a\tr\tb"c\n"\tr\t""\n', ['"a r b"c', '" r ""'], (2, 0, 0, 0)),
    "leading zeros": ("a.tsv", b"00260622\t01\t0\n", ["00260622 01 0"], (1, 0, 0, 0)),
    "words for nothing": ("a.tsv", b"NA\tnull\tNaN\nNone\tN/A\t-\n", ["NA null NaN", "None N/A -"], (2, 0, 0, 0)),
    "spaces around labels": ("a.csv", b"a , r,\tb\n", ["a r b"], (1, 0, 0, 0)),
    "a line separator in a label": ("a.tsv", "a\u2028b\tr\tc\n".encode(), ["a\u2028b r c"], (1, 0, 0, 0)),
    "right-to-left marks": ("a.tsv", "\u200fa\u202e\tr\tb\n".encode(), ["\u200fa\u202e r b"], (1, 0, 0, 0)),
    "special tokens": ("a.tsv", b"<s>\t<|im_end|>\t</s>\n", ["<s> <|im_end|> </s>"], (1, 0, 0, 0)),
    "a self-loop": ("a.tsv", b"a\tr\ta\n", ["a r a"], (1, 0, 0, 0)),
    "an entity called as a relation": ("a.tsv", b"r\tr\tr\n", ["r r r"], (1, 0, 0, 0)),
    "a header alone": ("a.tsv", b"head\trelation\ttail\n", [], (0, 0, 0, 1)),
    "another order in the header": ("a.csv", b"target,source,type\nb,a,r\n", ["a r b"], (1, 0, 0, 1)),
    "an empty file": ("a.tsv", b"", [], (0, 0, 0, 0)),
    "an empty gzip": ("a.tsv.gz", gzip.compress(b""), [], (0, 0, 0, 0)),
    "two gzips in one": ("a.tsv.gz", gzip.compress(b"a\tr\tb\n") * 2, ["a r b", "a r b"], (2, 0, 0, 0)),
    "semicolons": ("a.csv", b'a;r;"b;c"\n', ["a r b;c"], (1, 0, 0, 0)),
    "a line feed between quotes": ("a.csv", b'a,r,"b\nc"\n', ["a r b\nc"], (2, 0, 0, 0)),
    "JSON keys in another order": ("a.jsonl", b'{"t": "b", "h": "a", "r": 7}\n', ["a 7 b"], (1, 0, 0, 0)),
    "Parquet of numbers": ("a.parquet", parquet(s=[1], p=[2], o=[3]), ["1 2 3"], (1, 0, 0, 0)),
    "a capital suffix": ("A.TSV", GOOD, ["ann likes cat"], (1, 0, 0, 0)),
}  # fmt: skip


def triples_of(graph) -> list[str]:
    entities, relations = graph.entities.to_pylist(), graph.relations.to_pylist()
    return [f"{entities[h]} {relations[r]} {entities[t]}" for h, r, t in graph.triples["train"].tolist()]


def counts_of(graph) -> tuple[int, ...]:
    (account,) = graph.accounts
    assert account.is_balanced
    return account.read, account.refused, account.blank, account.comment


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("fault", REFUSED)
def test_a_faulty_file_is_refused_or_its_loss_is_counted(tmp_path, fault):
    name, content, message, counts = REFUSED[fault]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_labelled(path, ReadOptions())
    assert str(error.value).startswith(str(path)), "the file comes first"
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    if counts is None:
        with pytest.raises(ValueError, match=message):
            read_labelled(path, ReadOptions(max_bad_lines=MANY))
        return
    assert re.search(r":\d+: .*; .*data\.max_bad_lines=N", str(error.value)), "line, reason and remedy"
    found = read_labelled(path, ReadOptions(max_bad_lines=MANY))
    assert counts_of(found) == counts
    assert "refused" in str(found.accounts[0]) and re.search(message.partition(";")[0].partition(".*")[0],
                                                             found.accounts[0].examples[0])  # fmt: skip


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("quirk", READ)
def test_an_odd_file_is_read(tmp_path, quirk):
    name, content, triples, counts = READ[quirk]
    path = tmp_path / name
    path.write_bytes(content)
    found = read_labelled(path, ReadOptions())
    assert triples_of(found) == triples
    assert counts_of(found) == counts


def test_the_limit_of_bad_lines_is_kept_to_the_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(GOOD + b"bad\n\tr\tb\n" + GOOD + b"\xff\n")
    assert counts_of(read_labelled(path, ReadOptions(max_bad_lines=3))) == (2, 3, 0, 0)
    with pytest.raises(ValueError, match=r"a\.tsv:5: not UTF-8 .*data\.max_bad_lines=2, and this is one too many"):
        read_labelled(path, ReadOptions(max_bad_lines=2))
    with pytest.raises(ValueError, match=r"a\.tsv:3: an empty column"):
        read_labelled(path, ReadOptions(max_bad_lines=1))


def test_bad_lines_of_all_files_are_counted_together(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.tsv").write_bytes(GOOD + b"bad\n")
    found = read_labelled(tmp_path, ReadOptions(max_bad_lines=3))
    assert [account.refused for account in found.accounts] == [1, 1, 1]
    with pytest.raises(ValueError, match=r"test\.tsv:2"):
        read_labelled(tmp_path, ReadOptions(max_bad_lines=2))


PLACES = {
    "nothing": (lambda path: None, r"there is no such file"),
    "an empty folder": (lambda path: path.mkdir(), r"there is no file train\.txt .*It holds nothing"),
    "a folder of other things": (lambda path: (path.mkdir(), (path / "notes.md").touch()), r"It holds notes\.md"),
    "a pipe": (os.mkfifo, r"neither a file nor a folder"),
    "a folder in place of a split": (lambda path: [(path / f"{split}.txt").mkdir(parents=True)
                                                   for split in ("train", "test")], r"there is no file train\.txt"),
    "two files for a split": (lambda path: (path.mkdir(), (path / "train.txt").write_bytes(GOOD),
                                            (path / "train.tsv").write_bytes(GOOD)), r"train\.tsv and train\.txt"),
    "no test": (lambda path: (path.mkdir(), (path / "train.txt").write_bytes(GOOD),
                              (path / "dev.txt").write_bytes(GOOD)), r"there is no file test\.txt"),
    "a link to itself": (lambda path: path.symlink_to(path), r"there is no such file"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_place_without_a_graph_is_refused(tmp_path, place):
    path = tmp_path / "graph"
    make, message = PLACES[place]
    make(path)
    with pytest.raises(ValueError, match=message):
        read_labelled(path, ReadOptions())


def test_a_line_of_100_mb_is_refused_in_little_memory(tmp_path):
    path = tmp_path / "long.tsv"
    with path.open("wb") as file:
        file.write(GOOD)
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b"\n" + GOOD)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"long\.tsv:2: a line of more than 16 MiB"):
        read_labelled(path, ReadOptions())
    assert counts_of(read_labelled(path, ReadOptions(max_bad_lines=1))) == (2, 1, 0, 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 90 * 2**10


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("unit", [b"\0", b"\n", GOOD])
def test_a_gzip_bomb_is_stopped(tmp_path, unit):
    path = tmp_path / "bomb.tsv.gz"
    block = gzip.compress(unit * (2**22 // len(unit)))
    path.write_bytes(block * 24)  # of 96 MiB in less than 480 kB
    with pytest.raises(ValueError, match=r"bomb\.tsv\.gz: unpacks to more than 200 times its size; unpack it yourself"):
        read_labelled(path, ReadOptions(max_bad_lines=1))


def test_a_million_duplicates_are_read_and_counted(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(GOOD * 10**6)
    found = read_labelled(path, ReadOptions())
    assert counts_of(found) == (10**6, 0, 0, 0)
    graph = assemble(found)
    assert graph.reading.duplicates == {"train": 10**6 - 1}
    assert "999,999 of the train triples repeat an earlier one; they are kept" in graph.reading.lines()


def test_a_million_bad_lines_are_refused_at_the_first(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"bad\n" * 4 * 10**6)
    with pytest.raises(ValueError, match=r"a\.tsv:1: 1 tab-separated"):
        read_labelled(path, ReadOptions())


COLUMNS = {
    "by name": ("a.csv", b"w,to,from,kind\n1,b,a,r\n", ReadOptions(columns=("from", "kind", "to")), ["a r b"]),
    "by number": ("a.tsv", b"b\tr\ta\n", ReadOptions(columns=("3", "2", "1")), ["a r b"]),
    "by number of four": ("a.tsv", b"a\tr\tb\t1\n", ReadOptions(columns=("1", "2", "3")), ["a r b"]),
    "a header that is told": ("a.tsv", b"x\ty\tz\na\tr\tb\n", ReadOptions(header=True), ["a r b"]),
    "a header that is none": ("a.tsv", b"head\trelation\ttail\n", ReadOptions(header=False), ["head relation tail"]),
    "keys": ("a.jsonl", b'{"x": "a", "y": "r", "z": "b", "w": 1}\n', ReadOptions(columns=("x", "y", "z")), ["a r b"]),
    "of Parquet": ("a.parquet", parquet(**HRT, w=[1, 2]), ReadOptions(columns=("tail", "relation", "head")),
                   ["cat likes ann", "dog likes bob"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_may_be_told(tmp_path, case):
    name, content, options, triples = COLUMNS[case]
    path = tmp_path / name
    path.write_bytes(content)
    assert triples_of(read_labelled(path, options)) == triples


WRONG_COLUMNS = {
    "not three": (ReadOptions(columns=("1", "2")), r"data\.columns must be three columns"),
    "one twice": (ReadOptions(columns=("1", "2", "2")), r"data\.columns must be three columns"),
    "from zero": (ReadOptions(columns=("0", "1", "2")), r"data\.columns counts from 1"),
    "too far": (ReadOptions(columns=("1", "2", "4")), r"a\.tsv:1: 3 columns, and data\.columns=.* wants 4"),
    "an unknown name": (ReadOptions(columns=("a", "r", "z")), r"a\.tsv:1: there is no column 'z'.* are a, r, b"),
    "names without a header": (ReadOptions(columns=("a", "r", "b"), header=False), r"data\.header=false"),
}


@pytest.mark.parametrize("case", WRONG_COLUMNS)
def test_columns_that_are_not_there_are_refused(tmp_path, case):
    options, message = WRONG_COLUMNS[case]
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\tr\tb\n")
    with pytest.raises(ValueError, match=message):
        read_labelled(path, options)


PIECES = [b"a", b"\t", b"\t", b"\n", b"\r\n", b",", b";", b'"', b'""', b"\r", b"\0", b"\xff", "é".encode(), b"head",
          b"relation", b"tail", b"[", b"]", b"{", b"}", b":", b'"h"', b"a\tr\tb\n", b"a,r,b\n", b'["a","r","b"]\n',
          b'{"h":"a","r":"r","t":"b"}\n', b"\xef\xbb\xbf", b" ", b"\xff\xfe", b"1", b"null"]  # fmt: skip
NAMES = ["a.tsv", "a.txt", "a.csv", "a.jsonl", "a.tsv.gz", "a.csv.gz", "a.parquet"]


def fuzz(folder, num_examples):
    valid = parquet(**HRT)

    @given(st.sampled_from(NAMES), st.one_of(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
           st.binary(max_size=60)), st.integers(0, len(valid)), st.sampled_from([0, 1, MANY]))  # fmt: skip
    @settings(max_examples=num_examples, deadline=None, database=None)
    def check(name, content, cut, max_bad_lines):
        path = folder / name
        if name.endswith(".gz"):
            packed = gzip.compress(content)
            content = packed if cut % 3 else packed[: cut % len(packed)]
        if name.endswith(".parquet"):
            content = valid[:cut] + content + valid[cut + len(content) :]
        path.write_bytes(content)
        try:
            found = read_labelled(path, ReadOptions(max_bad_lines=max_bad_lines))
        except ValueError as error:
            assert str(path) in str(error)
            return
        read, refused, _, _ = counts_of(found)
        assert refused <= max_bad_lines
        assert len(found.triples["train"]) <= read
        if read:
            graph = assemble(found)
            assert len(graph.triples["train"]) == len(found.triples["train"])
            assert list(graph.entity_labels) == sorted(set(graph.entity_labels))
            assert all(graph.entity_names) and all(graph.relation_names)

    check()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_whatever_lies_there_nothing_is_lost_in_silence(tmp_path):
    (tmp_path / "in").mkdir()
    fuzz(tmp_path / "in", 300)


@pytest.mark.slow
def test_ten_thousand_of_them(tmp_path):
    (tmp_path / "in").mkdir()
    fuzz(tmp_path / "in", 10_000)
