"""Wikidata's JSON dump: truthy statements, texts in a language, and lines that are wrong."""
# ruff: noqa: E501, a table of faults is read line by line

import bz2
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph.formats.registry import read_labelled, recognise
from kalm.graph.labelled import ReadOptions


def statement(value, rank="normal", **more):
    data = {"value": value, "type": "wikibase-entityid"}
    return {
        "mainsnak": {"snaktype": "value", "property": "P1", "datavalue": data, **more},
        "rank": rank,
        "type": "statement",
    }


def item(number):
    return {"entity-type": "item", "numeric-id": number, "id": f"Q{number}"}


def texts(**by_language):
    return {tag: {"language": tag, "value": text} for tag, text in by_language.items()}


TEXT_STATEMENT = {"mainsnak": {"snaktype": "value", "datavalue": {"value": "x", "type": "string"}}, "rank": "normal"}
ENTITIES = [
    {"type": "item", "id": "Q1", "labels": texts(en="Ann", fr="Anne"), "descriptions": texts(en="a person"), "aliases": {},
     "claims": {
         "P1": [statement(item(2)), statement(item(3), "preferred"), statement(item(4), "deprecated")],
         "P2": [statement(item(2)), statement(item(3))],
         "P3": [TEXT_STATEMENT, statement({"entity-type": "property", "id": "P9"}), {"mainsnak": {"snaktype": "novalue"}, "rank": "normal"}],
         "P4": [statement(item(2), "deprecated")],
     }},
    {"type": "item", "id": "Q2", "labels": texts(de="Zwei", cs="Dva"), "descriptions": {}, "aliases": {"en": [{"value": "Two"}]}, "claims": {}},
    {"type": "item", "id": "Q3", "labels": texts(de="Drei", mul="III"), "descriptions": texts(de="eine Zahl"), "aliases": [], "claims": []},
    {"type": "property", "id": "P1", "labels": texts(en="knows", de="kennt"), "claims": {"P1": [statement(item(5))]}},
    {"type": "lexeme", "id": "L1", "lemmas": {}},
]  # fmt: skip


def dump(*entities):
    return b"[\n" + b",\n".join(json.dumps(entity, separators=(",", ":")).encode() for entity in entities) + b"\n]\n"


def read(path, **options):
    labelled = read_labelled(path, ReadOptions(**options))
    entities, relations = labelled.entities.to_pylist(), labelled.relations.to_pylist()
    triples = [(entities[h], relations[r], entities[t]) for h, r, t in labelled.triples["train"].tolist()]
    names, descriptions, relation_names = (
        dict(zip(found.labels.to_pylist(), found.texts.to_pylist(), strict=True))
        for found in (labelled.entity_names, labelled.entity_descriptions, labelled.relation_names)
    )
    [account] = labelled.accounts
    assert account.is_balanced
    return triples, names, descriptions, relation_names, labelled.notes, account


@pytest.mark.parametrize(("end", "pack"), [(".json", bytes), (".json.gz", gzip.compress), (".json.bz2", bz2.compress)])
def test_truthy_statements_between_items_are_read(tmp_path, end, pack):
    path = tmp_path / f"dump{end}"
    path.write_bytes(pack(dump(*ENTITIES)))
    assert recognise(path).name == "wikidata"
    triples, names, descriptions, relation_names, notes, account = read(path)
    assert triples == [("Q1", "P1", "Q3"), ("Q1", "P2", "Q2"), ("Q1", "P2", "Q3")]
    assert names == {"Q1": "Ann", "Q2": "Two", "Q3": "III"}
    assert descriptions == {"Q1": "a person"}, "no sentence in another language"
    assert relation_names == {"P1": "knows"}
    assert notes == (f"dump{end}: 3 truthy statements left out whose value is no item",)
    assert (account.lines, account.read, account.comment) == (7, 4, 3)


def test_texts_are_in_the_language_asked_for(tmp_path):
    path = tmp_path / "dump.json"
    path.write_bytes(dump(*ENTITIES))
    _, names, _, relation_names, *_ = read(path, language="de")
    assert names == {"Q1": "Ann", "Q2": "Zwei", "Q3": "Drei"}  # Ann: en comes before fr
    assert relation_names == {"P1": "kennt"}
    assert read(path, language="fr")[1] == {"Q1": "Anne", "Q2": "Dva", "Q3": "III"}


def test_a_dump_without_brackets_and_old_ids_are_read(tmp_path):
    path = tmp_path / "dump.jsonl"
    old = {"entity-type": "item", "numeric-id": 7}
    entity = {"type": "item", "id": "Q1", "labels": {}, "claims": {"P1": [statement(old)]}}
    path.write_bytes(json.dumps(entity).encode() + b"\r\n\n" + json.dumps(entity).encode())
    triples, *_, account = read(path)
    assert triples == [("Q1", "P1", "Q7")] * 2
    assert (account.lines, account.read, account.blank) == (3, 2, 1)


def claims(value):
    return {"type": "item", "id": "Q1", "claims": value}


FAULTY = {
    "no JSON": (b"hello,", "not JSON"),
    "torn": (b'{"type":"item","id":"Q1",', "not JSON"),
    "no object": (b"[1],", "no entity: not an object"),
    "a number": (b"5", "no entity: not an object"),
    "no id": ({"type": "item"}, "an entity without id or type"),
    "no type": ({"id": "Q1"}, "an entity without id or type"),
    "missing": ({"id": "Q1", "missing": ""}, "an entity without id or type"),
    "a type that is a list": ({"type": ["item"], "id": "Q1"}, "an entity without id or type"),
    "an id with leading zeros": ({"type": "item", "id": "Q01"}, "'Q01' is no id of an item such as Q42"),
    "an id that is no id": ({"type": "property", "id": "Q\0"},  "'Q\\x00' is no id of a property such as P31"),
    "labels that are text": ({"type": "item", "id": "Q1", "labels": "x"}, "labels that are no object"),
    "a label that is text": ({"type": "item", "id": "Q1", "labels": {"en": "x"}}, "a label, description or alias without a value"),
    "a label that is a number": ({"type": "item", "id": "Q1", "labels": {"en": {"value": 5}}}, "a label, description or alias without"),
    "aliases that are text": ({"type": "item", "id": "Q1", "aliases": {"en": ["x"]}}, "a label, description or alias without a value"),
    "claims that are text": (claims("x"), "claims that are no object"),
    "claims of no property": (claims({"x": []}), "claims of 'x' that are no list of a property's statements"),
    "statements that are text": (claims({"P1": "x"}), "claims of 'P1' that are no list"),
    "a statement that is text": (claims({"P1": ["x"]}), "a statement of P1 that is no object"),
    "a value that is no id": (claims({"P1": [statement({"entity-type": "item", "id": "x"})]}), "a statement whose value is no id of an item: 'x'"),
    "a value that is a list": (claims({"P1": [statement({"entity-type": "item", "id": [1]})]}), "a statement whose value is no id"),
    "not UTF-8": (b'{"type":"item","id":"\xff"}', "not UTF-8 text"),
    "half a character": (b'{"type":"item","id":"Q1","labels":{"en":{"value":"\\udc00"}}}', "half of a surrogate pair"),
    "nested to no end": (b'{"type":"item","id":"Q1","claims":' + b"[" * 100_000, "nested too deeply"),
    "two entities on a line": (b'{"type":"item","id":"Q1"},{"type":"item","id":"Q2"}', "not JSON (Extra data"),
}  # fmt: skip


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_line_is_refused_with_its_place_or_counted(tmp_path, fault):
    content, message = FAULTY[fault]
    line = content if isinstance(content, bytes) else json.dumps(content).encode()
    path = tmp_path / "dump.json"
    path.write_bytes(dump(ENTITIES[0]).replace(b"\n]", b",\n" + line + b"\n]"))
    with pytest.raises(ValueError) as error:
        read(path)
    assert f"dump.json:3: {message}" in str(error.value)
    assert "\n" not in str(error.value)
    triples, *_, account = read(path, max_bad_lines=1)
    assert (len(triples), account.read, account.refused, account.comment) == (3, 1, 1, 2)


def test_a_torn_dump_is_refused(tmp_path):
    for end, pack in ((".gz", gzip.compress), (".bz2", bz2.compress)):
        path = tmp_path / f"dump.json{end}"
        path.write_bytes(pack(dump(*ENTITIES))[:-9])
        with pytest.raises(ValueError, match=r"not a whole .* file"):
            read_labelled(path, ReadOptions(), "wikidata")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.sampled_from(["item", "Q1", "P1", "value", "wikibase-entityid"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["P1", "en", "value", "mainsnak", "datavalue", "snaktype", "rank", "id", "type"]), inner, max_size=4),
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["labels", "descriptions", "aliases", "claims"]), JSON), max_size=4))
def test_any_entity_is_read_or_refused_by_the_line(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("fuzz") / "dump.json"
    path.write_bytes(dump(ENTITIES[0], *({"type": "item", "id": "Q1", **part} for part in parts)))
    *_, account = read(path, max_bad_lines=10)
    assert account.lines == len(parts) + 3
    assert account.read >= 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_dump_with_some_bytes_changed_is_read_or_refused(tmp_path_factory, data):
    content = bytearray(dump(*ENTITIES))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("fuzz") / "dump.json"
    path.write_bytes(bytes(content))
    try:
        labelled = read_labelled(path, ReadOptions(max_bad_lines=100), "wikidata")
    except ValueError as error:
        assert str(error).startswith(str(path))
    else:
        assert labelled.accounts[0].is_balanced
