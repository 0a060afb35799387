"""Folders in the layouts that circulate: small ones, and real copies with all their quirks."""

import bz2
import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import shared

from kalm.config import Source
from kalm.graph.formats.registry import recognise
from kalm.graph.inspection import leaks, only_in, shared_names
from kalm.graph.knowledge_graph import HEAD, SPLITS, TAIL
from kalm.graph.named import NAMED
from kalm.graph.sources import load_graph, load_negatives, load_pykeen

TRIPLES = "a\tr\tb\nb\tr\tc\n"


def write_splits(folder: Path, triples: str = TRIPLES, names=("train.txt", "valid.txt", "test.txt")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(triples)
    return folder


def texts_of(graph) -> dict[str, tuple[str, str]]:
    return dict(zip(graph.entity_labels, zip(graph.entity_names, graph.entity_descriptions, strict=True), strict=True))


def same(one, other) -> bool:
    parts = ("entity_labels", "entity_names", "entity_descriptions", "relation_labels", "relation_names", "num_named")
    return one.digest() == other.digest() and all(getattr(one, part) == getattr(other, part) for part in parts)


def num_accounted(graph) -> int:
    for account in graph.reading.accounts:
        assert account.read + account.refused + account.blank + account.comment == account.lines
    return sum(account.lines for account in graph.reading.accounts)


# WN18RR


@pytest.fixture(scope="module")
def wordnet():
    return load_graph("folder", shared("data/WN18RR"))


def test_wn18rr_is_recognised_and_counted(wordnet):
    assert recognise(shared("data/WN18RR")).name == "simkgc_wordnet"
    assert (wordnet.num_entities, wordnet.num_relations) == (40_943, 11)
    assert [len(wordnet.triples[split]) for split in SPLITS] == [86_835, 3034, 3134]
    assert num_accounted(wordnet) == 86_835 + 3034 + 3134 + 40_943 + 11
    assert set(wordnet.reading.duplicates.values()) == {0}
    loops = {split: int((rows[:, HEAD] == rows[:, TAIL]).sum()) for split, rows in wordnet.triples.items()}
    assert loops == {"train": 7, "valid": 2, "test": 0}
    assert wordnet.relation_names[list(wordnet.relation_labels).index("_has_part")] == "has part"


def test_wn18rr_ids_keep_their_zeros_and_lemmas_their_marks(wordnet):
    texts = texts_of(wordnet)
    assert all(len(label) == 8 for label in texts)
    assert wordnet.num_named == 40_943
    assert all(name and description for name, description in texts.values())
    names = [name for name, _ in texts.values()]
    assert not any(name.startswith("_") or "_" in name for name in names)
    assert any("'" in name for name in names)
    assert any("." in name for name in names)
    assert any("-" in name for name in names)


def test_wn18rr_lemmas_and_definitions_are_shared_by_many(wordnet):
    shares = shared_names(wordnet)
    assert (len(shares), sum(count for _, count in shares)) == (4477, 12_873)
    assert shares[0] == ("run", 33)


def test_wn18rr_joined_glosses_are_cut_and_quotes_mean_nothing(wordnet):
    lines = (shared("data/WN18RR") / "wordnet-mlj12-definitions.txt").read_text().splitlines()
    published = {line.split("\t")[0]: line.split("\t")[2] for line in lines}
    texts = texts_of(wordnet)
    joined = [label for label, definition in published.items() if "  " in definition.strip()]
    assert len(joined) == 232
    assert {"02483564", "01407465"} <= set(joined)
    for label in joined:
        assert texts[label][1] == published[label].strip().split("  ")[0].strip()
    unbalanced = [label for label, definition in published.items() if definition.count('"') % 2]
    assert len(unbalanced) >= 4
    for label in set(unbalanced) - set(joined):
        assert texts[label][1] == published[label].strip()


def test_wn18rr_has_unseen_entities_and_leaks_by_symmetry(wordnet):
    unseen = np.union1d(only_in(wordnet, "valid"), only_in(wordnet, "test"))
    assert (len(unseen), len(only_in(wordnet, "valid")), len(only_in(wordnet, "test"))) == (384, 198, 209)
    found = leaks(wordnet, "test")
    assert (found.same, found.reverse, found.reverse + found.reverse_other, found.unseen) == (0, 1086, 1095, 210)


def test_wn18rr_of_kg_bert_is_the_same_graph_in_other_files(wordnet, tmp_path):
    source = shared("data/WN18RR")
    for old, new in (("train.txt", "train.tsv"), ("valid.txt", "dev.tsv"), ("test.txt", "test.tsv"),
                     ("entity2text.txt",) * 2, ("relation2text.txt",) * 2):  # fmt: skip
        content = (source / old).read_bytes().replace(b"\n", b"\r\n")  # as they circulate, too
        (tmp_path / new).write_bytes(content)
    assert recognise(tmp_path).name == "folder"
    graph = load_graph("folder", tmp_path)
    assert graph.digest() == wordnet.digest()
    assert graph.entity_names == wordnet.entity_names
    assert any("cut at the first comma" in note for note in graph.reading.notes)
    (tmp_path / "entity2text.txt").rename(tmp_path / "plain")
    (tmp_path / "entity2text.txt.gz").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    assert same(load_graph("folder", tmp_path), graph)


# FB15k-237


@pytest.fixture(scope="module")
def freebase():
    return load_graph("folder", shared("data/FB15k-237"))


def test_fb15k237_is_recognised_and_counted(freebase):
    assert recognise(shared("data/FB15k-237")).name == "simkgc_freebase"
    assert (freebase.num_entities, freebase.num_relations) == (14_541, 237)
    assert [len(freebase.triples[split]) for split in SPLITS] == [272_115, 17_535, 20_466]
    assert set(freebase.reading.duplicates.values()) == {0}
    loops = {split: int((rows[:, HEAD] == rows[:, TAIL]).sum()) for split, rows in freebase.triples.items()}
    assert loops == {"train": 1625, "valid": 90, "test": 91}
    found = {split: leaks(freebase, split) for split in ("valid", "test")}
    assert (found["valid"].unseen, found["test"].unseen) == (9, 28)
    assert (found["test"].same, found["test"].reverse + found["test"].reverse_other) == (0, 0)
    unseen = np.union1d(only_in(freebase, "valid"), only_in(freebase, "test"))
    assert len(unseen) == 36


def test_fb15k237_names_and_descriptions(freebase):
    texts = texts_of(freebase)
    assert texts["/m/06rf7"][0] == "Schleswig-Holstein"
    assert freebase.num_named == 14_541
    shares = shared_names(freebase)
    assert (len(shares), sum(count for _, count in shares)) == (223, 499)
    assert dict(shares)["Washington County"] == 7
    assert any(name.endswith("-GB") for name, _ in texts.values())
    assert sum(not description for _, description in texts.values()) == 26
    assert not any("\\" in description for _, description in texts.values())
    assert any(description.endswith('"Rico') for _, description in texts.values()), "cut at an escaped quote"


def test_fb15k237_relations_are_all_told_apart(freebase):
    assert len(set(freebase.relation_names)) == 237
    assert "soccer football team current roster. soccer football roster position position" in freebase.relation_names


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_published_descriptions_of_freebase_are_unquoted(tmp_path, line_end):
    write_splits(tmp_path, "/m/1\t/r/x\t/m/2\n".replace("\n", line_end))
    (tmp_path / "FB15k_mid2name.txt").write_text(f"/m/1\tThe_Perks{line_end}/m/2\tActor-GB{line_end}", newline="")
    (tmp_path / "FB15k_mid2description.txt").write_text(
        f'/m/1\t"The \\"Perks\\" is a 2012 drama\\nby Stephen."@en{line_end}', newline=""
    )
    graph = load_graph("folder", tmp_path)
    assert texts_of(graph) == {
        "/m/1": ("The Perks", 'The "Perks" is a 2012 drama by Stephen.'),
        "/m/2": ("Actor-GB", ""),
    }


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"Gilroy,\tand\r\nmore"@en', "Gilroy, and more"),
        (r'"Andr\u00e9 C:\\new"@en', r"André C:\new"),
        (r'"\ud83d\ude00 \ud800x\udc00"@en', "\U0001f600 \ufffdx\ufffd"),
        (r'"he said \"no\""@en', 'he said "no"'),
        (r'"a\u0000b \u12 \Tea"@en', "a b u12 Tea"),
    ],
)
def test_escapes_of_freebase_become_their_characters(tmp_path, written, text):
    write_splits(tmp_path, "/m/1\t/r/x\t/m/2\n")
    (tmp_path / "FB15k_mid2name.txt").write_text("/m/1\tOne\n")
    (tmp_path / "FB15k_mid2description.txt").write_text(f"/m/1\t{written}\n")
    assert texts_of(load_graph("folder", tmp_path))["/m/1"] == ("One", text)


# UMLS, MetaQA


def test_umls_has_readable_ids_and_long_texts():
    graph = load_graph("folder", shared("data/UMLS"))
    assert recognise(shared("data/UMLS")).name == "folder"
    assert same_triples(graph, load_graph("umls", None))
    assert graph.num_named == 135
    described = list(graph.entity_descriptions)
    assert all(described)
    assert sum(count - 1 for count in Counter(described).values() if count > 1) == 4
    assert [len(np.unique(graph.triples[split][:, 1])) for split in SPLITS] == [46, 36, 36]
    found = leaks(graph, "test")
    assert (found.reverse, found.reverse + found.reverse_other) == (97, 270)


def same_triples(one, other) -> bool:
    return one.digest() == other.digest()


def test_metaqa_keeps_the_first_of_two_texts_and_says_so():
    graph = load_graph("folder", shared("data/MetaQA"))
    assert (graph.num_entities, graph.num_relations) == (42_778, 9)
    assert [len(graph.triples[split]) for split in SPLITS] == [129_000, 1000, 19_344]
    texts = texts_of(graph)
    assert texts["22446"][0] == "22446"
    assert texts["29"][0] != "Michèle Mercier"
    assert graph.num_named == 42_777
    assert any("29 (Michèle Mercier)" in note for note in graph.reading.notes)
    assert any(name.islower() for name, _ in texts.values())
    assert "directed by" in graph.relation_names


def test_metaqa_leaks_and_repeats():
    graph = load_graph("metaqa", shared("data/MetaQA"))
    assert graph.reading.duplicates["train"] == 1068
    assert (leaks(graph, "valid").same, leaks(graph, "test").same) == (955, 18_028)
    found = leaks(graph, "test")
    # those whose reverse is in train are loops, which are their own
    assert (found.reverse, found.reverse_other, found.unseen) == (0, 0, 90)
    everything = np.unique(np.concatenate([graph.triples[split] for split in SPLITS]), axis=0)
    assert len(everything) == 129_235  # as `sort -u` of the three files
    unseen = np.union1d(only_in(graph, "valid"), only_in(graph, "test"))
    assert len(unseen) == 85
    loops = {split: int((rows[:, HEAD] == rows[:, TAIL]).sum()) for split, rows in graph.triples.items()}
    assert loops == {"train": 11, "valid": 0, "test": 3}


# CoDEx


@pytest.fixture
def codex(tmp_path):
    """The folder `data` of the published repository, small."""
    data = tmp_path / "data"
    triples = "Q1\tP106\tQ2\nQ2\tP27\tQ3\nQ1\tP27\tQ3\n"
    for name in ("codex-s", "codex-m"):
        write_splits(data / "triples" / name, triples + ("Q4\tP27\tQ3\n" if name == "codex-m" else ""))
    (data / "triples" / "codex-s" / "test_negatives.txt").write_text("Q3\tP27\tQ1\n")
    for language, person in (("en", "Ada"), ("de", "Ada (de)")):
        for kind, texts in (
            ("entities", {"Q1": {"label": person, "description": "a mathematician", "wiki": ""},
                          "Q2": {"label": "programmer", "description": "", "wiki": ""},
                          "Q3": {"label": "", "description": "", "wiki": ""}}),
            ("relations", {"P106": {"label": "has the occupation", "description": "of a person"}}),
        ):  # fmt: skip
            folder = data / kind / language
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{kind}.json").write_text(json.dumps(texts))
    return data


def test_codex_by_name_has_texts_in_the_language_asked_for(codex):
    graph = load_graph("codex_s", codex)
    assert texts_of(graph) == {"Q1": ("Ada", "a mathematician"), "Q2": ("programmer", ""), "Q3": ("Q3", "")}
    assert graph.num_named == 2
    assert list(graph.relation_names) == ["has the occupation", "country of citizenship"], "P27 comes from kalm's table"
    assert len(load_graph("codex_m", codex).triples["train"]) == 4
    assert num_accounted(graph) == 9 + 3 + 1


def test_codex_is_recognised_from_each_of_its_folders(codex):
    expected = load_graph("codex_s", codex)
    assert recognise(codex / "triples" / "codex-s").name == "codex"
    assert same(load_graph("folder", codex / "triples" / "codex-s"), expected)
    with pytest.raises(ValueError, match=r"holds codex-m, codex-s; say which is meant with data\.path="):
        load_graph("folder", codex)
    shutil.rmtree(codex / "triples" / "codex-m")
    assert same(load_graph("folder", codex), expected)
    assert same(load_graph("folder", codex.parent), expected)


def test_the_negatives_of_codex_are_found(codex):
    graph = load_graph("codex_s", codex)
    assert load_negatives("codex_s", codex, graph, "test").tolist() == [[2, 1, 0]]
    assert load_negatives("folder", codex / "triples" / "codex-s", graph, "test") is not None
    assert load_negatives("codex_s", codex, graph, "valid") is None


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_codex_packed_is_the_same(codex, pack):
    expected = load_graph("codex_s", codex)
    ending = ".gz" if pack is gzip else ".bz2"
    for path in [*codex.rglob("*.txt"), *codex.rglob("*.json")]:
        path.with_name(f"{path.name}{ending}").write_bytes(pack.compress(path.read_bytes()))
        path.unlink()
    assert same(load_graph("codex_s", codex), expected)


WRONG_TEXTS = {
    "no JSON": ('{\n"Q1": x}', "entities.json: not JSON (Expecting value, line 2, column 7); download it again"),
    "too deep": ("[" * 100_000, "entities.json: nested too deeply"),
    "half a character": ('{"Q1": {"label": "\\ud800"}}', "entities.json: half of a surrogate pair"),
    "a list": ("[]", "entities.json: expected {"),
    "no text": ('{"Q1": {"label": 1}}', "Q1 has no text label and description"),
    "no entry": ('{"Q1": "Ada"}', "Q1 has no text label and description"),
}


@pytest.mark.parametrize("case", WRONG_TEXTS)
def test_wrong_texts_of_codex_are_refused(codex, case):
    content, message = WRONG_TEXTS[case]
    (codex / "entities" / "en" / "entities.json").write_text(content)
    with pytest.raises(ValueError) as error:
        load_graph("codex_s", codex)
    assert message in str(error.value)


def test_a_language_that_codex_lacks_is_refused(codex):
    shutil.rmtree(codex / "relations" / "en")
    with pytest.raises(ValueError, match=r"relations: no texts in data\.language=en; there are de"):
        load_graph("codex_s", codex)


# Wikidata5M


@pytest.fixture
def wikidata5m(tmp_path):
    names = tuple(f"wikidata5m_transductive_{split}.txt" for split in SPLITS)
    write_splits(tmp_path, "Q1\tP31\tQ2\nQ2\tP9\tQ1\n", names)
    (tmp_path / "wikidata5m_entity.txt").write_text("Q1\tAda\tAda Lovelace\tCountess\n\nQ7\tnobody\n")
    (tmp_path / "wikidata5m_relation.txt").write_text("P31\tinstance of\tis a\r\n")
    (tmp_path / "wikidata5m_text.txt.gz").write_bytes(gzip.compress(b"Q1\tAda was a mathematician.\n"))
    return tmp_path


def test_wikidata5m_takes_the_first_alias(wikidata5m):
    assert recognise(wikidata5m).name == "wikidata5m"
    graph = load_graph("wikidata5m", wikidata5m)
    assert texts_of(graph) == {"Q1": ("Ada", "Ada was a mathematician."), "Q2": ("Q2", "")}
    assert list(graph.relation_names) == ["instance of", "P9"]
    assert num_accounted(graph) == 6 + 3 + 1 + 1
    for split in SPLITS:
        (wikidata5m / f"wikidata5m_transductive_{split}.txt").rename(wikidata5m / f"{split}.txt")
    assert same(load_graph("folder", wikidata5m), graph)


WRONG_ALIASES = [
    (b"Q1\n", "no tab, expected id and text"),
    (b"Q1\t\xff\n", "not UTF-8"),
    (b"\tAda\n", "an empty id"),
    (b"\0\tAda\n", "an empty id, or a NUL byte in it"),
]


@pytest.mark.parametrize(("line", "message"), WRONG_ALIASES)
def test_wrong_aliases_are_refused_with_their_line(wikidata5m, line, message):
    (wikidata5m / "wikidata5m_entity.txt").write_bytes(b"Q2\ttwo\n" + line)
    with pytest.raises(ValueError, match=rf"wikidata5m_entity\.txt:2: {message}"):
        load_graph("folder", wikidata5m)


# named data sets


def test_each_source_is_a_named_data_set_or_says_where_it_lies():
    assert {source.value for source in Source} == {*NAMED, "pykeen", "folder"}


@pytest.mark.parametrize(("source", "counts"), [("nations", (14, 55, 1592)), ("kinships", (104, 25, 8544))])
def test_data_sets_inside_pykeen(source, counts):
    graph = load_graph(source, None)
    assert (graph.num_entities, graph.num_relations, len(graph.triples["train"])) == counts


@pytest.mark.slow
def test_any_data_set_of_pykeen_by_its_name():
    found, expected = load_pykeen("Nations"), load_graph("nations", None)
    assert found.entity_labels == expected.entity_labels
    for split in SPLITS:  # pykeen sorts them
        assert np.array_equal(np.unique(found.triples[split], axis=0), np.unique(expected.triples[split], axis=0))
    with pytest.raises(ValueError, match=r"data\.pykeen=Nationz: pykeen gives no such data set"):
        load_pykeen("Nationz")


@pytest.mark.parametrize("source", ["codex_s", "codex_m", "wikidata5m"])
def test_a_data_set_without_a_known_digest_is_not_downloaded(source, tmp_path):
    from kalm.graph.named import find_data_set

    with pytest.raises(ValueError, match=rf"data={source} needs its files, from http.*: set data\.root to the folder"):
        find_data_set(source, tmp_path)
    assert not list(tmp_path.iterdir())
