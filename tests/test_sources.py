"""Reading graphs: real copies with their quirks, and folders that are wrong."""

import bz2
import gzip

import numpy as np
import pytest
from conftest import shared

from kalm.graph.coverage import coverage
from kalm.graph.knowledge_graph import add_inverses
from kalm.graph.readable import readable
from kalm.graph.sources import load_graph


def test_umls_is_the_copy_inside_pykeen():
    graph = load_graph("umls", None)
    assert (graph.num_entities, graph.num_relations) == (135, 46)
    assert {split: len(rows) for split, rows in graph.triples.items()} == {"train": 5216, "valid": 652, "test": 661}
    assert "disease or syndrome" in graph.entity_names


def test_wn18rr_keeps_leading_zeros_and_reads_past_lone_quotes():
    graph = load_graph("wn18rr", shared("data/WN18RR"))
    assert (graph.num_entities, graph.num_relations) == (40_943, 11)
    assert {split: len(rows) for split, rows in graph.triples.items()} == {"train": 86_835, "valid": 3034, "test": 3134}
    names = dict(zip(graph.entity_labels, graph.entity_names, strict=True))
    assert names["00260622"]  # a string, not a number
    assert names["02483564"] == "symphalangus"
    assert graph.num_named == 40_943
    assert all(graph.entity_descriptions)
    assert not any("  " in description for description in graph.entity_descriptions), "joined glosses are cut"


def test_fb15k237_reads_gzip_and_unescapes_descriptions():
    graph = load_graph("fb15k237", shared("data/FB15k-237"))
    assert (graph.num_entities, graph.num_relations) == (14_541, 237)
    assert len(graph.triples["train"]) == 272_115
    descriptions = dict(zip(graph.entity_labels, graph.entity_descriptions, strict=True))
    assert descriptions["/m/06rf7"].startswith("Schleswig-Holstein is the northernmost")
    assert not any("\\" in description for description in descriptions.values())
    assert sum(not description for description in descriptions.values()) == 26
    assert "14,515 (99.8%)" in coverage(graph)


def test_an_entity_without_text_gets_its_id_in_readable_form(toy_folder):
    (toy_folder / "entity2text.txt").write_text("ann\tAnn\n")
    graph = load_graph("folder", toy_folder)
    assert graph.num_named == 1
    assert "dog2" in graph.entity_names
    assert "names for 1 (10.0%)" in coverage(graph)
    assert readable("/people/person/place_of_birth") == "people person place of birth"
    assert readable("___") == "___"


def test_line_ends_do_not_change_the_graph(toy_folder):
    expected = load_graph("folder", toy_folder)
    for path in toy_folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = load_graph("folder", toy_folder)
    assert found.digest() == expected.digest()
    assert found.entity_names == expected.entity_names


def test_a_byte_order_mark_and_gzip_do_not_change_the_graph(toy_folder):
    expected = load_graph("folder", toy_folder).digest()
    train = toy_folder / "train.txt"
    (toy_folder / "train.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + train.read_bytes()))
    train.unlink()
    assert load_graph("folder", toy_folder).digest() == expected


@pytest.mark.parametrize(("pack", "ending"), [(gzip, ".gz"), (bz2, ".bz2")])
def test_packed_texts_beside_the_splits_are_read(toy_folder, pack, ending):
    expected = load_graph("folder", toy_folder)
    assert expected.num_named
    for path in list(toy_folder.iterdir()):
        path.with_name(f"{path.name}{ending}").write_bytes(pack.compress(path.read_bytes()))
        path.unlink()
    found = load_graph("folder", toy_folder)
    assert found.entity_names == expected.entity_names
    assert found.relation_names == expected.relation_names


def test_inverses_stand_beside_their_triples():
    triples = np.array([[0, 1, 2], [3, 0, 3]])
    assert add_inverses(triples, num_relations=2).tolist() == [[0, 1, 2], [2, 3, 0], [3, 0, 3], [3, 2, 3]]


FAULTS = {
    "too few columns": (b"a\tb\n", "train.txt:1: 2 tab-separated columns, expected 3: a\\tb"),
    "too many columns": (b"a\tr\tb\na\tr\tb\tc\n", "train.txt:2: 4 tab-separated columns"),
    "spaces for tabs": (b"a r b\n", "train.txt:1: 1 tab-separated columns"),
    "empty column": (b"a\t \tb\n", "train.txt:1: an empty column"),
    "not text": (b"a\tr\t\xff\xfe\n", "train.txt:1: not UTF-8 text"),
    "empty": (b"", "train.txt: the split is empty"),
    "blank lines only": (b"\n\n \n", "train.txt: the split is empty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_split_is_refused_with_file_and_line(toy_folder, fault):
    content, message = FAULTS[fault]
    (toy_folder / "train.txt").write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_graph("folder", toy_folder)
    assert message in str(error.value)


def test_a_missing_split_and_torn_gzip_are_refused(toy_folder):
    (toy_folder / "valid.txt").unlink()
    with pytest.raises(ValueError, match=r"there is no file valid\.txt"):
        load_graph("folder", toy_folder)
    (toy_folder / "valid.txt.gz").write_bytes(gzip.compress(b"ann\tlikes\tcat\n")[:-9])
    with pytest.raises(ValueError, match=r"valid\.txt\.gz: not a whole gzip file"):
        load_graph("folder", toy_folder)


def test_a_named_data_set_without_its_folder_says_what_is_needed():
    with pytest.raises(ValueError, match=r"set data\.root to the folder that holds train\.txt"):
        load_graph("wn18rr", None)
