"""From files of each kind to a graph of ids, and what is looked up in it."""

import gzip
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from kalm.graph import knowledge_graph, known_tails
from kalm.graph.assemble import assemble
from kalm.graph.building import _Dictionary
from kalm.graph.formats.registry import read_labelled
from kalm.graph.in_memory import from_frames, from_triples_factories
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph, add_inverses, contains, triple_keys
from kalm.graph.labelled import ReadOptions
from kalm.graph.readable import readable
from kalm.graph.sources import load_graph
from kalm.graph.splitting import SplitOptions

SPLIT = SplitOptions(shares=(0.6, 0.2, 0.2), seed=0, inductive=False)


def frames_of(graph: KnowledgeGraph) -> dict[str, pd.DataFrame]:
    entities, relations = np.array(graph.entity_labels), np.array(graph.relation_labels)
    return {
        split: pd.DataFrame(
            {"head": entities[rows[:, 0]], "relation": relations[rows[:, 1]], "tail": entities[rows[:, 2]]}
        )
        for split, rows in graph.triples.items()
    }


WRITERS = {
    "tsv": lambda frame, path: frame.to_csv(path, sep="\t", index=False, header=False),
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.to_csv(None, index=False).encode())),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_of_any_format_gives_the_same_graph(tmp_path, toy_graph, kind):
    for split, frame in frames_of(toy_graph).items():
        WRITERS[kind](frame, tmp_path / f"{'dev' if split == 'valid' else split}.{kind}")
    found = load_graph("folder", tmp_path)
    assert found.digest() == toy_graph.digest()
    assert {split: rows.tolist() for split, rows in found.triples.items()} == {
        split: rows.tolist() for split, rows in toy_graph.triples.items()
    }
    assert all(account.read + account.comment == account.lines for account in found.reading.accounts)


def test_data_frames_and_triples_factories_give_the_same_graph(toy_graph):
    from pykeen.triples import TriplesFactory

    frames = frames_of(toy_graph)
    texts = {"entity_names": {"ann": "Ann"}, "relation_names": {"likes": "is fond of"}}
    found = assemble(from_frames(frames, texts=texts))
    assert found.digest() == toy_graph.digest()
    assert found.entity_names[found.entity_labels.index("ann")] == "Ann" and found.num_named == 1
    assert "is fond of" in found.relation_names
    factories = {split: TriplesFactory.from_labeled_triples(frame.to_numpy(str)) for split, frame in frames.items()}
    again = assemble(from_triples_factories(factories))
    # pykeen sorts the triples of a factory
    assert list(again.entity_labels) == list(found.entity_labels)
    for split in SPLITS:
        assert sorted(map(tuple, again.triples[split].tolist())) == sorted(map(tuple, found.triples[split].tolist()))


def test_a_data_frame_of_mixed_values_is_refused():
    mixed = pd.DataFrame({"head": ["a", 1], "relation": ["r", "r"], "tail": ["b", "c"]})
    with pytest.raises(ValueError, match="data frame train: a column holds values of several kinds"):
        from_frames({"train": mixed})


def test_a_single_file_is_split_and_says_so(tmp_path, toy_graph):
    path = tmp_path / "my.tsv"
    frames = frames_of(toy_graph)
    pd.concat(frames.values()).to_csv(path, sep="\t", index=False)
    with pytest.raises(ValueError, match=r"there is no file valid\.txt"):
        load_graph("folder", path)
    graph = load_graph("folder", path, split=SPLIT)
    assert sum(map(len, graph.triples.values())) == 20
    assert all(len(rows) for rows in graph.triples.values())
    assert set(graph.triples["train"][:, [0, 2]].ravel()) == set(range(graph.num_entities))
    assert "split by relation, data.split=[0.6, 0.2, 0.2]" in graph.reading.lines()[-1]
    assert graph.digest() == load_graph("folder", path, split=SPLIT).digest()
    assert graph.digest() != load_graph("folder", path, split=replace(SPLIT, seed=1)).digest()


def test_a_file_of_ones_own_trains_by_its_path_alone(tmp_path, toy_graph, warm_python, offline_environment):
    path = tmp_path / "my.tsv"
    pd.concat(frames_of(toy_graph).values()).to_csv(path, sep="\t", index=False)
    path.write_text(path.read_text() + "ann likes cat\n")
    command = [ROOT / "launch" / "train.py", f"data.path={path}", "data.max_bad_lines=1",
               f"run.root={tmp_path}", "run.name=x", "training.batch_size=4", "training.max_steps=1",
               f"data.cache={tmp_path}"]  # fmt: skip
    done = warm_python.run(command, environment=offline_environment)
    assert done.returncode == 0, done.stderr
    assert "the graph has no splits of its own" in done.stdout and "20 of 22 lines read, 1 refused" in done.stdout
    reading = json.loads((tmp_path / "x" / "environment.json").read_text())["reading"]
    (file,) = reading["files"]
    assert (file["lines"], file["read"], file["refused"], file["comment"]) == (22, 20, 1, 1)
    assert file["examples"][0].startswith(f"{path}:22: 1 tab-separated columns")


def test_the_inverse_of_a_relation_may_have_a_text_of_its_own(toy_folder):
    plain = load_graph("folder", toy_folder)
    (toy_folder / "relation_inverse.txt").write_text("likes\tis liked by\n")
    graph = load_graph("folder", toy_folder)
    assert graph.inverse_names == ["", "", "is liked by"]
    assert plain.inverse_names == ["", "", ""]


@given(st.text(st.sampled_from("ab_/. é"), min_size=1, max_size=6))
def test_a_readable_label_has_spaces_where_it_had_separators(label):
    separators = "_/. " if label.startswith("/") else "_"
    made = re.sub(f"[{separators}]+", " ", label).strip(" ") or label
    assert readable(label) == (label if " " in label else made)


@pytest.mark.parametrize("frames", [{"train": 1, "valid": 1}, {"training": 1}])
def test_other_splits_than_those_of_a_graph_are_refused(frames, toy_graph):
    frame = frames_of(toy_graph)["train"]
    with pytest.raises(ValueError, match="the splits of a graph are train, valid, test, or train alone, got "):
        from_frames(dict.fromkeys(frames, frame))


def test_a_file_without_a_triple_is_named(tmp_path):
    (tmp_path / "empty.tsv").write_text("\n")
    with pytest.raises(ValueError, match=r"empty.tsv: no triple in it"):
        load_graph(
            "folder", tmp_path / "empty.tsv", split=SplitOptions(shares=(0.8, 0.1, 0.1), seed=0, inductive=False)
        )


def test_an_inverse_is_told_from_a_relation_that_says_the_same(tmp_path):
    (tmp_path / "train.txt").write_text("a\tparent_of\tb\nb\tchild_of\ta\n")
    for split in ("valid", "test"):
        (tmp_path / f"{split}.txt").write_text("a\tparent_of\tb\n")
    (tmp_path / "relation_inverse.txt").write_text("parent_of\tchild of\n")
    graph = load_graph("folder", tmp_path)
    assert list(graph.relation_names) == ["child of (child_of)", "parent of"]
    assert list(graph.inverse_names) == ["", "child of (parent_of)"]
    assert any("share their text" in note for note in graph.reading.notes)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5), max_size=6), st.integers(0, 4))
def test_blocks_share_one_dictionary(blocks, merge_at):
    import pyarrow as pa

    from kalm.graph import building

    before, building.MERGE_AT = building.MERGE_AT, merge_at
    try:
        dictionary, codes = _Dictionary(), []
        for block in blocks:
            encoded = pa.array(block, pa.large_string()).dictionary_encode()
            codes.append(dictionary.add(encoded.indices.to_numpy().astype(np.int32), encoded.dictionary))
        labels = dictionary.settle().to_pylist()
    finally:
        building.MERGE_AT = before
    assert len(labels) == len(set(labels))
    assert [[labels[code] for code in block] for block in codes] == blocks


triples = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 4)), max_size=12)


@given(triples, triples)
def test_known_tail_keys_are_those_of_all_directed_triples(train, valid):
    graph = graph_of(train=train, valid=valid)
    directed = [add_inverses(graph.triples[split], 3) for split in ("train", "valid")]
    expected = np.unique(triple_keys(np.concatenate(directed), 3, 5))
    assert graph.known_tail_keys(["train", "valid"]).tolist() == expected.tolist()
    assert graph.known_tail_keys([]).tolist() == []


@given(triples.filter(bool), triples)
def test_sorted_look_ups_find_what_the_others_do(known, asked):
    graph = graph_of(train=known)
    keys = graph.known_tail_keys(["train"])
    directed = np.array([*known, *asked], np.int64).reshape(-1, 3)
    head, relation = (torch.from_numpy(directed[:, part].copy()) for part in (0, 1))
    found = []
    for sort_from in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(knowledge_graph, "SORT_FROM", sort_from)
            patch.setattr(known_tails, "SORT_FROM", sort_from)
            rows, tails = known_tails.known_tails(
                torch.from_numpy(keys), head, relation, num_relations=3, num_entities=5
            )
            is_known = contains(keys, triple_keys(directed, 3, 5))
            found.append((rows.tolist(), tails.tolist(), is_known.tolist()))
    assert found[0] == found[1]
    assert found[0][2] == [tuple(row) in {*map(tuple, known)} for row in directed.tolist()]


def graph_of(**splits) -> KnowledgeGraph:
    rows = {split: np.array(found, np.int64).reshape(-1, 3) for split, found in splits.items()}
    return KnowledgeGraph(
        entity_labels=list("abcde"), entity_names=list("abcde"), entity_descriptions=[""] * 5,
        relation_labels=list("xyz"), relation_names=list("xyz"), triples=rows, num_named=0,
    )  # fmt: skip


def test_too_many_relations_for_64_bits_are_refused(monkeypatch, tmp_path):
    from kalm.graph import assemble as module

    (tmp_path / "a.tsv").write_text("a\tr\tb\n")
    monkeypatch.setattr(module, "keys_fit", lambda num_relations, num_entities: False)
    with pytest.raises(ValueError, match=r"more than 64-bit keys can tell apart; are the columns"):
        assemble(read_labelled(tmp_path / "a.tsv", ReadOptions()))
