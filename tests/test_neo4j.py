"""Neo4j's exports: JSON lines by APOC, and the CSV files of neo4j-admin."""
# ruff: noqa: E501, a table of faults is read line by line

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph.formats.registry import read_labelled, recognise
from kalm.graph.labelled import ReadOptions

NODES = [
    {"type": "node", "id": "0", "labels": ["Person", "Actor"], "properties": {"name": "Ann\nLee", "title": "Dr"}},
    {
        "type": "node",
        "id": "1",
        "labels": ["Film"],
        "properties": {"title": "Up", "description": "A film", "year": 2009},
    },
    {"type": "node", "id": "2", "labels": [], "properties": {"label": 7}},
    {"type": "node", "id": "3"},
]
RELATIONSHIPS = [
    {"id": "9", "type": "relationship", "label": "ACTED_IN", "properties": {"role": "Ellie"},
     "start": {"id": "0", "labels": ["Person"]}, "end": {"id": "1", "labels": ["Film"]}},
    {"id": "10", "type": "relationship", "label": "KNOWS", "start": {"id": 3}, "end": {"id": "2"}},
]  # fmt: skip


def read(path, **options):
    """Triples of labels, names and descriptions, notes and the accounts of the files."""
    labelled = read_labelled(path, ReadOptions(**options))
    entities, relations = labelled.entities.to_pylist(), labelled.relations.to_pylist()
    triples = [(entities[h], relations[r], entities[t]) for h, r, t in labelled.triples["train"].tolist()]
    names, descriptions = (
        dict(zip(texts.labels.to_pylist(), texts.texts.to_pylist(), strict=True))
        for texts in (labelled.entity_names, labelled.entity_descriptions)
    )
    for account in labelled.accounts:
        assert account.is_balanced
    return triples, names, descriptions, labelled.notes, labelled.accounts


def lines(*objects):
    return "\n".join(json.dumps(found) for found in objects).encode()


def test_apoc_lines_give_triples_of_ids_and_texts_of_properties(tmp_path):
    path = tmp_path / "all.json"
    path.write_bytes(lines(*NODES, *RELATIONSHIPS) + b"\n\n")
    triples, names, descriptions, notes, [account] = read(path)
    assert triples == [("0", "ACTED_IN", "1"), ("3", "KNOWS", "2")]
    assert names == {"0": "Ann Lee", "1": "Up", "2": "7"}
    assert descriptions == {"0": "Person, Actor", "1": "A film"}
    assert (account.lines, account.read, account.blank) == (7, 6, 1)
    assert notes == ("all.json: 1 relationships have properties, which were left out",)


@pytest.mark.parametrize("name", ["graph.jsonl", "graph.ndjson", "graph.json.gz"])
def test_apoc_lines_are_recognised_by_their_first_line(tmp_path, name):
    path = tmp_path / name
    content = lines(*RELATIONSHIPS, *NODES)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert recognise(path).name == "neo4j_json"
    assert len(read(path)[0]) == 2


GOOD = lines(RELATIONSHIPS[1]) + b"\n"
DEEP = '{"type":"node","id":"1","properties":' + '{"a":' * 100_000 + "1" + "}" * 100_001
FAULTY_LINES = {
    "no JSON": (b"hello", "not JSON (Expecting value, column 1)"),
    "torn JSON": (b'{"type": "node", "id"', "not JSON"),
    "no object": (b"[1]", "neither a node nor a relationship"),
    "another type": (b'{"type": "path"}', "neither a node nor a relationship"),
    "a type that is a list": (b'{"type": ["node"]}', "neither a node nor a relationship"),
    "no id": (b'{"type": "node"}', "an id that is no text or whole number"),
    "an id that is a list": (b'{"type": "node", "id": [1]}', "an id that is no text or whole number"),
    "an id that is true": (b'{"type": "node", "id": true}', "an id that is no text or whole number"),
    "an id of spaces": (b'{"type": "node", "id": "  "}', "an id that is no text or whole number"),
    "an id with NUL": (b'{"type": "node", "id": "a\\u0000"}', "an id that is no text or whole number"),
    "labels that are text": (b'{"type": "node", "id": "1", "labels": "A"}', "labels that are no list of texts"),
    "labels that are numbers": (b'{"type": "node", "id": "1", "labels": [1]}', "labels that are no list of texts"),
    "properties that are a list": (b'{"type": "node", "id": "1", "properties": []}', "properties that are no object"),
    "no start": (b'{"type": "relationship", "label": "R", "end": {"id": 1}}', "a relationship without start"),
    "an end that is text": (b'{"type": "relationship", "label": "R", "start": {"id": 1}, "end": "1"}', "a relationship without end"),
    "an end without id": (b'{"type": "relationship", "label": "R", "start": {"id": 1}, "end": {}}', "an id that is no text"),
    "no label": (b'{"type": "relationship", "start": {"id": 1}, "end": {"id": 2}}', "a relationship without label"),
    "an empty label": (b'{"type": "relationship", "label": "", "start": {"id": 1}, "end": {"id": 2}}', "an empty column"),
    "not UTF-8": (b'{"type": "node", "id": "\xff"}', "not UTF-8 text"),
    "half a character": (b'{"type": "node", "id": "\\ud800"}', "half of a surrogate pair"),
    "nested to no end": (DEEP.encode(), "nested too deeply"),
    "a number of 5,000 digits": (b'{"type": "node", "id": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTY_LINES)
def test_a_faulty_line_is_refused_with_its_place_or_counted(tmp_path, fault):
    content, message = FAULTY_LINES[fault]
    path = tmp_path / "graph.json"
    path.write_bytes(GOOD + content + b"\n" + GOOD)
    with pytest.raises(ValueError) as error:
        read(path)
    assert f"graph.json:2: {message}" in str(error.value)
    assert "\n" not in str(error.value)
    triples, *_, [account] = read(path, max_bad_lines=1)
    assert (len(triples), account.read, account.refused) == (2, 2, 1)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from(["node", "relationship"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["id", "name", "labels"]), inner)),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["type", "id", "labels", "label", "properties", "start", "end"]), VALUES),
        max_size=5,
    )
)
def test_any_json_is_read_or_refused_by_the_line(tmp_path_factory, objects):
    path = tmp_path_factory.mktemp("fuzz") / "graph.json"
    path.write_bytes(GOOD + lines(*objects))
    triples, *_, [account] = read(path, max_bad_lines=10)
    assert account.lines == len(objects) + 1
    assert len(triples) + account.refused <= account.lines


# neo4j-admin

PEOPLE = 'id:ID(Person),name,born:int,:LABEL\n1,"Ann ""A"" Lee",1980,Person;Actor\n\n2,Bob,,Person\n'
FILMS = "id:ID(Film){label:Film}|title:string|tags:string[]|description|:IGNORE\n1|Up|a;b|A film|x\n"
ROLES = ":START_ID(Person),role,:END_ID(Film),:TYPE\n1,Ellie,1,ACTED_IN\n2,Carl,1,ACTED_IN\n"
KNOWS = ":START_ID(Person),:END_ID(Person)\n1,2\n"


def folder_of(tmp_path, **files):
    for name, content in files.items():
        path = tmp_path / name.replace("__", "-").replace("_", ".", 1)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


EXPECTED = [("Person/1", "ACTED_IN", "Film/1"), ("Person/2", "ACTED_IN", "Film/1"), ("Person/1", "knows", "Person/2")]


def test_csv_files_of_nodes_and_relationships_are_told_apart_by_their_headers(tmp_path):
    folder = folder_of(tmp_path, people_csv=PEOPLE, films_csv=FILMS, roles_csv=ROLES, knows_csv=KNOWS)
    assert recognise(folder).name == "neo4j_csv"
    triples, names, descriptions, notes, accounts = read(folder)
    assert sorted(triples) == sorted(EXPECTED)
    assert names == {"Person/1": 'Ann "A" Lee', "Person/2": "Bob", "Film/1": "Up"}
    assert descriptions == {"Person/1": "Person, Actor", "Person/2": "Person", "Film/1": "A film"}
    assert notes == ("roles.csv: properties of relationships were left out: role",)
    people = next(account for account in accounts if account.file.endswith("people.csv"))
    assert (people.lines, people.read, people.blank, people.comment) == (4, 2, 1, 1)


def test_headers_may_stand_in_files_of_their_own(tmp_path):
    parts = {
        name: content.partition("\n")
        for name, content in (("people", PEOPLE), ("films", FILMS), ("roles", ROLES), ("knows", KNOWS))
    }
    for name, (header, _, rows) in parts.items():
        (tmp_path / f"{name}-header.csv").write_text(header + "\n")
        first, second = rows.splitlines(keepends=True)[:1], rows.splitlines(keepends=True)[1:]
        (tmp_path / f"{name}-part1.csv").write_text("".join(first))
        (tmp_path / f"{name}-part2.csv.gz").write_bytes(gzip.compress("".join(second).encode()))
    triples, names, *_ = read(tmp_path)
    assert len(names) == 3
    expected = [*EXPECTED[:2], ("Person/1", "knows-part1", "Person/2")]
    assert sorted(triples) == sorted(expected)


def test_a_file_with_its_own_header_is_not_read_under_that_of_another(tmp_path):
    (tmp_path / "person-header.csv").write_text(":ID,name\n")
    (tmp_path / "person.csv").write_text("1,Ann\n2,Bob\n")
    (tmp_path / "person2.csv").write_text("3,Cy\n")
    (tmp_path / "person_knows.csv").write_text(":START_ID,:END_ID\n1,2\n")
    triples, names, *_ = read(tmp_path)
    assert triples == [("1", "person_knows", "2")]
    assert names == {"1": "Ann", "2": "Bob", "3": "Cy"}
    (tmp_path / "persons.csv").write_text("4,Di\n")  # another name, not a part
    with pytest.raises(ValueError, match=r"persons\.csv:1: no header of Neo4j"):
        read(tmp_path)


def test_ids_of_one_space_are_labels_as_they_are(tmp_path):
    folder = folder_of(
        tmp_path, nodes_csv=":ID;name\n007;Bond\n8;M\n", edges_csv=":START_ID;:END_ID;:TYPE\n007;8;KNOWS\n"
    )
    triples, names, *_ = read(folder)
    assert triples == [("007", "KNOWS", "8")]
    assert names == {"007": "Bond", "8": "M"}


@pytest.mark.parametrize("quotes", [False, True])
def test_both_ways_of_reading_rows_give_the_same(tmp_path, quotes):
    name = '"Ann"' if quotes else "Ann"
    folder = folder_of(tmp_path, n_csv=f":ID(X),name,:LABEL\n1,{name},A;B\n 2 ,Bob,\n",
                       e_csv=f":START_ID(X),note,:END_ID(X),:TYPE\n1,{name},2,R\n")  # fmt: skip
    triples, names, descriptions, *_ = read(folder)
    assert triples == [("X/1", "R", "X/2")]
    assert (names, descriptions) == ({"X/1": "Ann", "X/2": "Bob"}, {"X/1": "A, B"})


FAULTY_FILES = {
    "a row too short": ({"e_csv": ":START_ID,:END_ID,:TYPE\n1,2\n"}, "e.csv:2: 2 comma-separated columns, expected 3"),
    "a row too long": ({"e_csv": ":START_ID,:END_ID,:TYPE\n1,2,R,x\n"}, "the header in e.csv has 3 columns"),
    "an empty id": ({"e_csv": ":START_ID(A),:END_ID(A),:TYPE\n1,,R\n"}, "e.csv:2: an empty column"),
    "an empty type": ({"e_csv": ":START_ID,:END_ID,:TYPE\n1,2, \n"}, "e.csv:2: an empty column"),
    "a node without id": ({"e_csv": ":START_ID,:END_ID\n1,2\n", "n_csv": ":ID,name\n1,Ann\n ,Bob\n"}, "n.csv:3: an empty id; mend"),
    "a node with NUL": ({"e_csv": ":START_ID,:END_ID\n1,2\n", "n_csv": ":ID(A),name\n1\0,Ann\n"}, "n.csv:2: a NUL byte in an id"),
    "NUL": ({"e_csv": ":START_ID,:END_ID,:TYPE\n1,2\0,R\n"}, "e.csv:2: a NUL byte"),
    "a quote that is open": ({"e_csv": ':START_ID,:END_ID,:TYPE\n1,"2,R\n'}, "e.csv:2: a quote that is never closed"),
    "not UTF-8": ({"e_csv": b":START_ID,:END_ID,:TYPE\n1,\xff,R\n"}, "e.csv:2: not UTF-8"),
    "no header": ({"e_csv": ":START_ID,:END_ID\n1,2\n", "n_csv": "1,Ann\n"}, "n.csv:1: no header of Neo4j, and there is no n-header.csv"),
    "two ids": ({"e_csv": ":START_ID,:END_ID\n1,2\n", "n_csv": "a:ID,b:ID\n1,2\n"}, "n.csv:1: no header of Neo4j"),
    "no end": ({"e_csv": ":START_ID,:TYPE\n1,R\n"}, "e.csv:1: no header of Neo4j"),
    "nodes and relationships at once": ({"e_csv": ":ID,:START_ID,:END_ID\n1,2,3\n"}, "e.csv:1: no header of Neo4j"),
    "an empty file": ({"e_csv": ":START_ID,:END_ID\n1,2\n", "n_csv": ""}, "n.csv:1: no header of Neo4j"),
    "torn gzip": ({"e_csv": ":START_ID,:END_ID\n1,2\n", "n_csv.gz": gzip.compress(PEOPLE.encode())[:-9]}, "n.csv.gz: not a whole gzip file"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTY_FILES)
def test_a_faulty_folder_is_refused_with_the_place(tmp_path, fault):
    files, message = FAULTY_FILES[fault]
    with pytest.raises(ValueError) as error:
        read(folder_of(tmp_path, **files))
    assert message in str(error.value)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet='12,;"\n\r\tR: \0é', max_size=60), st.text(alphabet='12,;"\n\r\tA: \0é', max_size=60))
def test_any_rows_are_read_or_refused_by_the_line(tmp_path_factory, edges, nodes):
    folder = tmp_path_factory.mktemp("fuzz")
    folder_of(folder, e_csv=":START_ID,:END_ID,:TYPE\n" + edges, n_csv=":ID,name\n" + nodes)
    *_, accounts = read(folder, max_bad_lines=200)
    assert len(accounts) == 2
