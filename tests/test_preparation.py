"""Looking at a graph and importing it, as users call it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_run import composed

from kalm import __version__
from kalm.command_line import clean_arguments
from kalm.composition import load_preparation
from kalm.config import Command
from kalm.data import read_graph, read_negatives
from kalm.graph.account import Account, Ledger
from kalm.graph.formats import own
from kalm.graph.formats.registry import recognise
from kalm.graph.sources import load_graph, load_negatives
from kalm.graph.splitting import SplitOptions
from kalm.model.loading import load_saved_tokenizer
from kalm.preparation.command import as_overrides
from kalm.preparation.report import print_texts
from kalm.preparation.run import prepare
from kalm.text.rendering import END, ENTITY, LABELS, QUERY, render
from kalm.text.token_table import build_token_table, data_digests

PARTS = ("entity_labels", "entity_names", "entity_descriptions", "relation_labels", "relation_names", "inverse_names")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["inspect", "umls"], ["command=inspect", "data=umls"]),
        (["inspect", "./umls", "num_shown=3"], ["command=inspect", "data.path=./umls", "num_shown=3"]),
        (["import", "my graph.tsv", "to=g"], ["command=import", "data.path=my graph.tsv", "to=g"]),
        (["inspect", "data=umls"], ["command=inspect", "data=umls"]),
        (["inspect", "--help"], ["command=inspect", "--help"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_words_become_keys(arguments, expected):
    assert as_overrides(arguments) == expected


def configured(*arguments: str):
    return load_preparation(composed("data", *clean_arguments(as_overrides(arguments))))


def test_the_keys_of_training_that_data_and_model_bring_do_no_harm():
    config = configured("inspect", "wn18rr", "model.path=.")
    assert (config.command, config.data.source.value, config.num_shown) == (Command.inspect, "wn18rr", 5)


@pytest.mark.parametrize("arguments", [("import", "umls"), ("inspect", "umls", "to=x")])
def test_import_and_it_alone_has_a_place_to_write_to(arguments):
    with pytest.raises(ValueError, match="to must be given with import and with it alone"):
        configured(*arguments)


def test_inspect_shows_what_a_graph_holds(toy_folder, tmp_path, capsys):
    with (toy_folder / "train.txt").open("a") as file:
        file.write("\nann\tlikes\tcat\nbob\tknows\n")
    (toy_folder / "valid.txt").write_text("cat\teats\tcat\nann\tlikes\tcat\nnew\tlikes\tann\n")
    config = configured("inspect", str(toy_folder), f"data.cache={tmp_path / 'cache'}", "data.max_bad_lines=1")
    prepare(config)
    shown = capsys.readouterr().out
    for fragment in (
        r"train\.txt +│ lines +│ +17 +│ +15 +│ +1 +│ +1 +│ +0 ",
        r"train\.txt:17: 2 tab-separated columns",
        r"train +│ +15 +│ +1 +│ +1 +│",
        r"entities with a name +│ 10 \(90\.9%\)",
        r"names of several entities +│ 1: 'a dog' 2x",
        r"valid +│ 1 \(33\.3%\) +│ 0 \(0\.0%\)",
        r"is fond of +│ +11 +│ █",
        r"8-15 +│ +1 +│ █",
        "the first training triples as sequences",
        f"{ENTITY}.*{QUERY}{LABELS}.*{END}",
        r"description +│ +\d+ +│ a person who likes animals and trees",
    ):
        assert re.search(fragment, shown), fragment


def test_a_sequence_is_rendered_as_the_lm_reads_it(toy_graph, table, tokenizer):
    for triple in toy_graph.directed("train"):
        head, relation, tail = triple.tolist()
        (found,) = render(triple[None], table, tokenizer, separate=False)
        rows = (table.heads.take(np.array([head]))[0], table.relations.take(np.array([relation]))[0],
                table.tails.take(np.array([tail]))[0])  # fmt: skip
        texts = [tokenizer.decode(row, skip_special_tokens=False) for row in rows]
        assert found.text == f"{texts[0]}{ENTITY}{texts[1]}{QUERY}{LABELS}{texts[2]}{END}"
        assert found.num_tokens == sum(map(len, rows))


def test_spaces_that_a_tokenizer_cuts_at_the_front_are_shown(toy_graph, template):
    tokenizer = load_saved_tokenizer(str(shared("models/tiny1m")))
    table = build_token_table(toy_graph, tokenizer, template)
    (rendered,) = render(toy_graph.directed("train")[:1], table, tokenizer, separate=False)
    plain = rendered.text
    for mark in (ENTITY, QUERY, LABELS, END):
        assert plain.count(mark) == 1
        plain = plain.replace(mark, "")
    triple = toy_graph.directed("train")[0]
    parts = (table.heads, table.relations, table.tails)
    tokens = [
        token for part, row in zip(parts, triple, strict=True) for token in part.take(np.array([row]))[0].tolist()
    ]
    assert plain == tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def test_names_that_look_like_markup_are_shown(tmp_path, capsys):
    path = tmp_path / "my.jsonl"
    path.write_text("".join(f'{{"head": "{i}", "relation": "r", "tail": "{i + 1}"}}\n' for i in range(30)))
    graph = read_graph(configured("inspect", f"data.path={path}", f"data.cache={tmp_path}", "data.inductive=true").data)
    print_texts(replace(graph, entity_names=["[/b]"] * graph.num_entities), 3)
    assert "[/b]" in capsys.readouterr().out


def test_separate_sequences_are_rendered_one_by_one(toy_graph, paper_table, tokenizer):
    query, target, completion = render(toy_graph.directed("train")[:1], paper_table, tokenizer, separate=True)
    assert query.text == f"[ Ann, a person who likes is fond of ]{QUERY}" or query.text.endswith(f" ]{QUERY}")
    assert target.text.startswith("{ a cat")
    assert target.text.endswith(f" }}{ENTITY}")
    assert completion.text.startswith("Write the tail.\nInput: ")
    assert re.search(rf"Response: {LABELS}.*a cat", completion.text)
    assert completion.text.endswith(END)


# kalm's own form


def same(one, other) -> bool:
    return (
        data_digests(one) == data_digests(other)
        and one.num_named == other.num_named
        and all(getattr(one, part) == getattr(other, part) for part in PARTS)
    )


def test_an_imported_graph_is_the_same_graph(toy_folder, tmp_path, capsys):
    (toy_folder / "relation_inverse.txt").write_text("likes\tis liked by\n")
    (toy_folder / "test_negatives.txt").write_text("cat\teats\tivy\n")
    expected = load_graph("folder", toy_folder)
    prepare(configured("import", str(toy_folder), f"to={tmp_path / 'new' / 'graph'}"))
    folder = tmp_path / "new" / "graph"
    assert f"read it with data.path={folder}" in capsys.readouterr().out
    assert recognise(folder).name == "kalm"
    graph = load_graph("folder", folder)
    assert same(graph, expected)
    false = load_negatives("folder", folder, graph, "test")
    assert np.array_equal(false, load_negatives("folder", toy_folder, expected, "test"))
    assert load_negatives("folder", folder, graph, "valid") is None
    assert [path.name for path in folder.parent.iterdir()] == ["graph"]
    sheet = json.loads((folder / "datasheet.json").read_text())
    assert sheet["kalm"] == __version__
    assert sheet["counts"] == {"entities": 10, "relations": 3, "train": 14, "valid": 2, "test": 4}
    assert sheet["coverage"] == {"named": 10, "described": 3, "inverses": 1}
    assert sheet["digest"] == graph.digest()
    assert {Path(file["file"]).name for file in sheet["source"]["files"]} == {
        path.name for path in toy_folder.iterdir()
    } - {"test_negatives.txt"}
    assert all(len(file["sha256"]) == 64 and file["lines"] for file in sheet["source"]["files"])
    assert set(sheet["files"]) == {path.name for path in folder.iterdir()} - {"datasheet.json"}


labels = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
    lambda text: text == text.strip()
)


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(labels, min_size=3, max_size=6, unique=True), data=st.data())
def test_any_graph_survives_the_import(labels, data, tmp_path_factory):
    labels = sorted(labels)
    num = len(labels)
    ids = st.integers(0, num - 1)
    # each entity is in a triple, as in any graph that was read
    rows = [(i, 0, (i + 1) % num) for i in range(num)]
    folder = tmp_path_factory.mktemp("any")
    base = folder / "base.jsonl"
    base.write_text("".join(json.dumps([labels[h], "r", labels[t]]) + "\n" for h, _, t in rows * 3))
    graph = load_graph("folder", base, split=SplitOptions(shares=(0.4, 0.3, 0.3), seed=0, inductive=True))
    named = data.draw(st.lists(ids, unique=True))
    names = list(graph.entity_names)
    for place in named:
        names[place] = data.draw(st.sampled_from([names[place], "Ann", "x y"]))
    num_named = sum(name != made for name, made in zip(names, graph.entity_names, strict=True))
    num_named += data.draw(st.integers(0, num - num_named))
    graph = replace(graph, entity_names=names, num_named=num_named)
    own.write_graph(graph, folder / "graph", {})
    assert same(load_graph("folder", folder / "graph"), graph)


@pytest.fixture
def imported(toy_graph, tmp_path):
    own.write_graph(toy_graph, tmp_path / "graph", {})
    return tmp_path / "graph"


def test_a_folder_that_is_there_is_left_alone(toy_graph, imported):
    before = {path: path.read_bytes() for path in imported.iterdir()}
    with pytest.raises(ValueError, match="is there already; import writes a new folder"):
        own.write_graph(toy_graph, imported, {})
    assert before == {path: path.read_bytes() for path in imported.iterdir()}


def test_an_import_that_fails_leaves_nothing(toy_graph, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(ValueError, match="cannot be written: no space left"):
        own.write_graph(toy_graph, tmp_path / "graph", {})
    assert not list(tmp_path.iterdir())


def test_a_data_frame_has_no_digest_in_the_sheet(toy_graph, tmp_path):
    account = Account(file="data frame train", unit="rows", ledger=Ledger(), lines=1, read=1)
    graph = replace(toy_graph, reading=replace(toy_graph.reading, accounts=(account,)))
    own.write_graph(graph, tmp_path / "graph", {})
    sheet = json.loads((tmp_path / "graph" / "datasheet.json").read_text())
    assert sheet["source"]["files"] == [{**account.as_json(), "sha256": None}]


DAMAGES = {
    "no split": ("valid.parquet", None, "valid.parquet: the file is missing; import the graph again"),
    "half a table": ("entities.parquet", b"PAR1", "entities.parquet: not whole"),
    "no texts": ("relations.parquet", None, "relations.parquet: the file is missing"),
    "another form": ("datasheet.json", b'{"form": 2}', "written in form 2, and this version reads 1"),
    "a sheet nested to no end": ("datasheet.json", b"[" * 100_000, "datasheet.json: not the data sheet of an imported"),
    "no sheet": ("datasheet.json", b"{", "datasheet.json: not the data sheet of an imported graph"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_import_is_refused_with_its_file(imported, case):
    name, content, message = DAMAGES[case]
    (imported / name).unlink()
    if content is not None:
        (imported / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_graph("folder", imported)
    assert message in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["WN18RR", "FB15k-237", "MetaQA"])
def test_real_graphs_survive_the_import(name, tmp_path):
    graph = load_graph("folder", shared(f"data/{name}"))
    own.write_graph(graph, tmp_path / "graph", {})
    assert same(load_graph("folder", tmp_path / "graph"), graph)


@pytest.mark.parametrize("key", ["data.path", "data.root"])
def test_an_archive_is_read_as_the_folder_in_it(key, toy_folder, tmp_path):
    expected = load_graph("folder", toy_folder)
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", toy_folder.parent, toy_folder.name)
    place = (f"data.path={archive}",) if key == "data.path" else ("data=metaqa", f"data.root={archive}")
    config = configured("inspect", *place, f"data.cache={tmp_path / 'cache'}")
    assert same(read_graph(config.data), expected)
    assert read_negatives(config.data, expected, "test") is None


@pytest.fixture
def call(warm_python, offline_environment):
    return lambda *arguments: warm_python.run(
        [ROOT / "launch" / "data.py", *arguments], environment=offline_environment
    )


def test_the_command_works_and_its_faults_are_one_line(toy_folder, tmp_path, call):
    cache = f"data.cache={tmp_path / 'cache'}"
    folder = toy_folder.rename(tmp_path / "my graph, (new)")
    result = call("inspect", str(folder), cache, "num_shown=1")
    assert result.returncode == 0, result.stderr
    assert QUERY in result.stdout
    assert not result.stderr
    missing = call("inspect", str(tmp_path / "nowhere"), cache)
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "data.path must be a file or folder that exists" in missing.stderr
