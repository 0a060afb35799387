"""RDF in all its forms: rules, fast path, accounts, and files that are wrong."""
# ruff: noqa: E501, a table of faults is read line by line

import bz2
import gzip
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.graph.formats import rdf_documents, rdf_lines
from kalm.graph.formats.guards import JsonGuard, TurtleGuard
from kalm.graph.formats.registry import read_labelled, recognise
from kalm.graph.labelled import ReadOptions
from kalm.graph.readable import readable

pyoxigraph = pytest.importorskip("pyoxigraph")

E = "http://example.org/"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
COMMENT = "http://www.w3.org/2000/01/rdf-schema#comment"
TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
RDF_XML = ('<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://example.org/" '
           'xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#">')  # fmt: skip
# the same graph in each form: two triples, a name, a description, a literal, a blank node
SAME = {
    "graph.nt": f"""# people
<{E}ann> <{E}knows> <{E}bob> .

<{E}ann> <{TYPE}> <{E}Person> .
<{E}ann> <{LABEL}> "Ann"@en .
<{E}bob> <{COMMENT}> "A \\"friend\\"\\nof Ann" .
<{E}ann> <{E}age> "5"^^<http://www.w3.org/2001/XMLSchema#integer> .
<{E}ann> <{E}knows> _:someone .
""",
    "graph.nq": f"""<{E}ann> <{E}knows> <{E}bob> <{E}g> .
<{E}ann> <{TYPE}> <{E}Person> .
<{E}ann> <{LABEL}> "Ann"@en <{E}g> .
<{E}bob> <{COMMENT}> "A \\"friend\\"\\nof Ann" <{E}g> .
<{E}ann> <{E}age> "5" <{E}g> .
<{E}ann> <{E}knows> _:someone _:g .
""",
    "graph.ttl": f"""@prefix e: <{E}> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
e:ann e:knows e:bob, [] ; a e:Person ; rdfs:label "Ann"@en ; e:age 5 .
e:bob rdfs:comment '''A "friend"
of Ann''' .
""",
    "graph.trig": f"""@prefix e: <{E}> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
e:g {{ e:ann e:knows e:bob, [] ; a e:Person ; rdfs:label "Ann"@en ; e:age 5 }}
e:bob rdfs:comment 'A "friend" of Ann' .
""",
    "graph.rdf": f"""<?xml version="1.0"?>
{RDF_XML}
<e:Person rdf:about="{E}ann"><e:knows rdf:resource="{E}bob"/><e:knows rdf:nodeID="x"/>
<rdfs:label xml:lang="en">Ann</rdfs:label><e:age>5</e:age></e:Person>
<rdf:Description rdf:about="{E}bob"><rdfs:comment>A "friend"
of Ann</rdfs:comment></rdf:Description></rdf:RDF>
""",
    "graph.jsonld": json.dumps({
        "@graph": [
            {"@id": "ann", "@type": "Person", "knows": [{"@id": "bob"}, {"@id": "_:x"}], "age": 5,
             "label": {"@value": "Ann", "@language": "en"}},
            {"@id": "bob", "comment": 'A "friend" of Ann'},
        ],
        "@context": {"@vocab": E, "@base": E, "label": LABEL, "comment": COMMENT},
    }),
}  # fmt: skip


def read(path, **options):
    """The graph at a path in plain lists: triples of labels, names and descriptions; and what was read."""
    labelled = read_labelled(path, ReadOptions(**options))
    entities, relations = labelled.entities.to_pylist(), labelled.relations.to_pylist()
    triples = [(entities[h], relations[r], entities[t]) for h, r, t in labelled.triples["train"].tolist()]
    names, descriptions, relation_names = (
        dict(zip(texts.labels.to_pylist(), texts.texts.to_pylist(), strict=True))
        for texts in (labelled.entity_names, labelled.entity_descriptions, labelled.relation_names)
    )
    for account in labelled.accounts:
        assert account.read + account.refused + account.blank + account.comment == account.lines
    return labelled, triples, names, descriptions, relation_names


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", SAME)
def test_every_form_gives_the_same_graph(tmp_path, name):
    labelled, triples, names, descriptions, relation_names = read(written(tmp_path, name, SAME[name]))
    assert sorted(triples) == [(E + "ann", E + "knows", E + "bob"), (E + "ann", TYPE, E + "Person")]
    assert names == {E + "ann": "Ann"} == relation_names
    assert descriptions == {E + "bob": 'A "friend" of Ann'}
    account = labelled.accounts[0]
    expected = {"graph.nt": ("lines", 8, 4, 1, 3)}.get(name, ("lines" if name == "graph.nq" else "triples", 6, 4, 0, 2))
    assert (account.unit, account.lines, account.read, account.blank, account.comment) == expected
    assert [note.partition(": ")[2] for note in labelled.notes] == [
        "triples left out: 1 with a blank node (an IRI, @id or rdf:about, makes it an entity)",
        "triples left out: 1 with a literal that is no name or description",
    ]


@pytest.mark.parametrize(("pack", "end"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
@pytest.mark.parametrize("name", SAME)
def test_a_packed_file_and_a_byte_order_mark_do_not_change_the_graph(tmp_path, name, pack, end):
    plain = read(written(tmp_path, name, SAME[name]))
    packed = read(written(tmp_path, name + end, pack(b"\xef\xbb\xbf" + SAME[name].encode())))
    assert plain[1:] == packed[1:]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("graph.xml", SAME["graph.rdf"]),
        ("graph.owl", SAME["graph.rdf"]),
        ("graph.json", SAME["graph.jsonld"]),
        ("GRAPH.TTL", SAME["graph.ttl"]),
    ],
)
def test_other_names_of_the_same_forms_are_recognised(tmp_path, name, content):
    assert len(read(written(tmp_path, name, content))[1]) == 2


def test_the_language_asked_for_comes_first_then_its_varieties_then_none_then_any(tmp_path):
    texts = ['"none"', '"late"@fr', '"Britain"@en-GB', '"exact"@de', '"any"@it']
    lines = [f"<{E}a> <{E}p> <{E}b> .", *(f"<{E}a> <{LABEL}> {text} ." for text in texts)]
    path = written(tmp_path, "graph.nt", "\n".join(lines))

    def name(language):
        return (
            read_labelled(path, ReadOptions(language=language))
            .entity_names.of(read_labelled(path, ReadOptions()).entities)[0]
            .as_py()
        )

    assert [name(language) for language in ("en", "DE", "it", "es")] == ["Britain", "exact", "any", "none"]
    path.write_text("\n".join([lines[0], lines[3], lines[2]]))
    assert name("es") == "late", "of equal ones the last"


def test_label_comes_before_preferred_label_before_name_but_language_before_all(tmp_path):
    path = written(tmp_path, "graph.ttl", f"""@prefix e: <{E}> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix s: <http://schema.org/> .
e:a rdfs:label "label"@en ; skos:prefLabel "preferred"@en ; s:name "name"@en ; e:p e:b, e:c .
e:b skos:prefLabel "preferred"@en ; s:name "name"@en ; rdfs:label "Schild"@de .
e:c <https://schema.org/name> "name" ; s:description "says schema" ; rdfs:comment "says rdfs" .""")  # fmt: skip
    labelled = read_labelled(path, ReadOptions())
    of = {label: i for i, label in enumerate(labelled.entities.to_pylist())}
    names = labelled.entity_names.of(labelled.entities).to_pylist()
    assert [names[of[E + end]] for end in "abc"] == ["label", "preferred", "name"]
    assert labelled.entity_descriptions.of(labelled.entities)[of[E + "c"]].as_py() == "says rdfs"


def test_iris_that_are_relative_do_not_depend_on_where_the_file_is(tmp_path):
    (tmp_path / "sub").mkdir()
    content = "<#a> <p> <../b%20c> ."
    graphs = [read(written(folder, "graph.ttl", content))[1] for folder in (tmp_path, tmp_path / "sub")]
    assert graphs == [[("file:///#a", "file:///p", "file:///b%20c")]] * 2


def test_an_iri_without_a_name_is_called_by_its_last_part():
    names = {
        "http://e.org/a/Black%20tea": "Black tea", "http://e.org/a#born_in": "born in", "http://e.org/a/": "a",
        "http://e.org": "e.org", "urn:isbn:123": "123", "http://e.org/%FF": "%FF", "http://e.org/a%00": "a%00",
        "http://e.org/%20": "%20", "12:30": "12:30", "see http://e.org/a": "see http://e.org/a",
    }  # fmt: skip
    assert {label: readable(label) for label in names} == names


def test_lists_that_contain_themselves_end(tmp_path):
    rdf = "@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . "
    cyclic = f"{rdf} _:l rdf:first <{E}a> ; rdf:rest _:l . <{E}a> <{E}p> (<{E}b> (<{E}c>)), <{E}l> . <{E}l> rdf:rest <{E}l> ."
    labelled, triples, *_ = read(written(tmp_path, "graph.ttl", cyclic))
    assert len(triples) == 2  # those without a blank node
    assert labelled.accounts[0].comment == labelled.accounts[0].lines - 2


def test_a_carriage_return_ends_a_line_too_and_the_line_counts_once(tmp_path):
    line = f"<{E}a> <{E}p> <{E}b> ."
    labelled, triples, *_ = read(written(tmp_path, "graph.nt", f"{line}\r{line}\r\n{line}\r\n"))
    assert len(triples) == 3
    assert labelled.accounts[0].lines == labelled.accounts[0].read == 2


def test_triples_behind_a_comment_and_a_carriage_return_are_read(tmp_path):
    text = f"# one\r<{E}a> <{E}p> <{E}b> .\n# two\r# three\n"
    labelled, triples, *_ = read(written(tmp_path, "graph.nt", text))
    assert triples == [(E + "a", E + "p", E + "b")]
    account = labelled.accounts[0]
    assert (account.read, account.comment, account.lines) == (1, 1, 2)


def test_triples_about_triples_are_left_out(tmp_path):
    content = f"<< <{E}a> <{E}b> <{E}c> >> <{E}p> <{E}d> . <{E}x> <{E}q> <<( <{E}a> <{E}b> <{E}c> )>> . <{E}x> <{E}q> <{E}y> ."
    labelled, triples, *_ = read(written(tmp_path, "graph.ttl", content))
    assert triples == [(E + "x", E + "q", E + "y")]
    assert any("about a triple" in note for note in labelled.notes)


def test_splits_in_a_folder_may_be_rdf(tmp_path):
    for split in ("train", "dev", "test"):
        written(tmp_path, f"{split}.nt", SAME["graph.nt"])
    assert set(read_labelled(tmp_path, ReadOptions()).triples) == {"train", "valid", "test"}


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyoxigraph", None)
    for name, content in SAME.items():
        with pytest.raises(ValueError, match=r"pip install 'kalm\[rdf\]'"):
            read_labelled(written(tmp_path, name, content), ReadOptions())


# the fast path against pyoxigraph line by line

IRIS = st.one_of(
    st.sampled_from([f"<{E}a>", f"<{E}b%20c>", f"<{E}é#x>", "<urn:x:y>", f"<{LABEL}>", f"<{COMMENT}>", "<a>", "<http://a b>",
                     "<http://a/%zz>", "<http://a/#x#y>", "<http://a:x/>", "<http://[::1]/>", "<http://a/\\u00e9>", "<>",
                     "<http://a/{>", "<http://a?q=/?>", "<https://a.b>", "<http://a/\ue000>", "<http://a/\x00>", "_:b", "_:b.",
                     "<http://a>#"]),
    st.text("abcé%2F/#?:@[]~'\u2003\ufeff", max_size=8).map(lambda text: f"<http://e/{text}>"),
)  # fmt: skip
LITERALS = st.one_of(
    st.sampled_from(['"x"', '"x"@en', '"x"@en-GB', '"x"@toolonglanguage', '"a\\nb"', '"\\ud800"', '"\\x"', '"x"^^<http://www.w3.org/2001/XMLSchema#int>',
                     '"x"^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#langString>', '"x', "x", "'x'", '"\U0001f600"', '"\x00"', '"\x7f"']),
    st.text(max_size=6).map(lambda text: f'"{text}"'),
)  # fmt: skip
GAPS = st.sampled_from([" "] * 8 + ["\t", "  ", ""])
ENDS = st.sampled_from(
    [" ."] * 8 + ["", ".", " . # c", f" <{E}g> .", f" <{E}g> <{E}h> .", " . x", "\r", " .\r", " . \r"]
)
STATEMENTS = st.tuples(IRIS, GAPS, IRIS, GAPS, st.one_of(IRIS, LITERALS), ENDS).map("".join)
LINES = st.one_of(
    STATEMENTS, STATEMENTS, STATEMENTS, st.sampled_from(["", " ", "#x", "x", "\t\r"]), st.text(max_size=10)
)


@pytest.mark.parametrize("end", ["nt", "nq"])
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_fast_path_reads_what_pyoxigraph_reads_line_by_line(tmp_path_factory, end, data):
    lines = data.draw(
        st.lists(
            st.one_of(LINES.map(lambda line: line.encode("utf-8", "surrogatepass")), st.binary(max_size=6)), max_size=12
        )
    )
    content = b"\n".join(lines).removeprefix(b"\xef\xbb\xbf")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return
    path = tmp_path_factory.mktemp("fuzz") / f"graph.{end}"
    path.write_bytes(content)
    labelled, triples, names, descriptions, _ = read(path, max_bad_lines=100)
    expected = reference(content, pyoxigraph.RdfFormat.N_TRIPLES if end == "nt" else pyoxigraph.RdfFormat.N_QUADS)
    # the order of triples within a block does not matter
    assert (sorted(triples), names, descriptions) == expected[:3]
    account = labelled.accounts[0]
    assert (account.read, account.refused, account.blank, account.comment) == expected[3:]


def reference(content, form):
    """Triples, names, descriptions, and lines read, refused, blank, comment: line by line, by the rules as told."""
    triples, names, descriptions, counts = [], {}, {}, dict.fromkeys(("read", "refused", "blank", "comment"), 0)
    lines = content.split(b"\n")
    for line in lines[:-1] if not lines[-1] else lines:
        bare = line.strip(b" \t\r")
        if not bare or bare.startswith(b"#"):
            counts["comment" if bare else "blank"] += 1
            continue
        try:
            quads = list(pyoxigraph.parse(bare, format=form))
        except SyntaxError:
            counts["refused"] += 1
            continue
        kinds = []
        for quad in quads:
            parts = (quad.subject, quad.object)
            relation = quad.predicate.value
            if all(isinstance(part, pyoxigraph.NamedNode) for part in parts):
                triples.append((parts[0].value.strip(), relation.strip(), parts[1].value.strip()))
                kinds.append("read")
            elif (
                isinstance(parts[0], pyoxigraph.NamedNode)
                and isinstance(parts[1], pyoxigraph.Literal)
                and relation in (LABEL, COMMENT)
            ):
                text = " ".join(parts[1].value.replace("\0", " ").split())
                rank = {"en": 3, "en-gb": 2, None: 1}.get(parts[1].language, 0)
                texts = names if relation == LABEL else descriptions
                if text and rank >= texts.get(parts[0].value.strip(), (0, ""))[0]:
                    texts[parts[0].value.strip()] = (rank, text)
                kinds.append("read")
            else:
                kinds.append("comment")
        counts[kinds[0] if kinds else "comment"] += 1
    chosen = ({label: text for label, (_, text) in texts.items()} for texts in (names, descriptions))
    return (sorted(triples), *chosen, *counts.values())


def test_the_fast_path_takes_plain_lines_by_itself(tmp_path, monkeypatch):
    lines = [f"<{E}a{i}> <{E}p> <{E}b%20é#{i}> ." for i in range(5)] + [f'<{E}a> <{E}p> "x"@en .'] * 2
    path = written(tmp_path, "graph.nt", "\r\n".join(lines))
    monkeypatch.setattr(rdf_lines, "_parser", None)
    assert len(read(path)[1]) == 5


def test_blocks_do_not_change_the_graph(tmp_path, monkeypatch):
    path = written(tmp_path, "graph.nt", SAME["graph.nt"])
    whole = read(path)[1:]
    monkeypatch.setattr("kalm.graph.files.BLOCK_BYTES", 7)
    assert sorted(read(path)[1]) == sorted(whole[0])
    assert read(path)[2:] == whole[1:]


T = f"<{E}a> <{E}p> <{E}b> ."
DEEP = '{"http://e/p":' * 70_000
LONG = E + "x" * 20_000
NESTED = f"<<( <{E}a> <{E}p>\n" * 30_000 + f"<{E}b>" + ")>>" * 30_000
FAULTY = {  # content and what the message says
    "relative IRI": ("x.nt", T + "\n<a> <p> <b> .", "x.nt:2: No scheme found in an absolute IRI (column 1); write <subject>"),
    "space in an IRI": ("x.nt", f"<{E}a b> <{E}p> <{E}b> .", "x.nt:1: Invalid IRI code point ' '"),
    "percent sign alone": ("x.nt", f"<{E}%zz> <{E}p> <{E}b> .", "x.nt:1: Invalid IRI percent encoding"),
    "no full stop": ("x.nt", f"<{E}a> <{E}p> <{E}b>", "x.nt:1:"),
    "two triples on a line": ("x.nt", f"{T} {T}", "x.nt:1: Only a single triple"),
    "literal as subject": ("x.nt", f'"a" <{E}p> <{E}b> .', "x.nt:1: The subject of a triple"),
    "NUL in an IRI": ("x.nt", f"<{E}\0> <{E}p> <{E}b> .", "x.nt:1: Invalid IRI code point"),
    "not UTF-8": ("x.nt", b'\n<http://a> <http://p> "\xff" .', "x.nt:2: Invalid UTF-8"),
    "UTF-16": ("x.nt", T.encode("utf-16"), "x.nt:1: UTF-16 text; save the file as UTF-8"),
    "UTF-16 Turtle": ("x.ttl", T.encode("utf-16"), "x.ttl:1: UTF-16 text; save the file as UTF-8"),
    "torn gzip": ("x.nt.gz", gzip.compress(T.encode())[:-9], "x.nt.gz: not a whole gzip file"),
    "torn bzip2": ("x.ttl.bz2", bz2.compress(T.encode())[:-9], "x.ttl.bz2: not a whole bzip2 file"),
    "no gzip": ("x.rdf.gz", b"hello", "x.rdf.gz: not a whole gzip file"),
    "gzip bomb": ("x.nt.gz", gzip.compress((b"#" * 4095 + b"\n") * 2**8) * 2**7, "unpacks to more than"),
    "bzip2 bomb": ("x.jsonld.bz2", bz2.compress(b" " * 2**20) * 2**7, "unpacks to more than"),
    "quads in N-Triples": ("x.nt", f"<{E}a> <{E}p> <{E}b> <{E}g> .", "x.nt:1:"),
    "a prefix that is not declared": ("x.ttl", "\n\nx:a x:p x:b .", "x.ttl:3: "),
    "text that never ends": ("x.ttl", f'<{E}a> <{E}p> """x', "x.ttl:1: "),
    "torn Turtle": ("x.ttl", f"{T}\n<{E}a> <{E}p>", "x.ttl:2: "),
    "a term of 20 MiB": ("x.ttl", f'<{E}a> <{E}p> "{"x" * 20 * 2**20}" .', "x.ttl: a single term of more than 16 MiB"),
    "Turtle nested to no end": ("x.ttl", f"<{E}a> <{E}p> " + "[ <p> " * 100_000, "x.ttl:"),
    "no XML": ("x.rdf", "hello", "x.rdf:1: not well-formed XML"),
    "empty XML": ("x.rdf", "", "x.rdf:1: not well-formed XML (no element found)"),
    "torn XML": ("x.rdf", f'{RDF_XML}\n<rdf:Description rdf:about="{E}a"><e:p rdf:resource="{E}b"/>', "x.rdf:2: not well-formed XML"),
    "XML of another kind": ("x.rdf", "<html><body>x</body></html>", "x.rdf:1: XML namespaces are required"),
    "Latin-1 XML": ("x.rdf", f'<?xml version="1.0" encoding="ISO-8859-1"?>{RDF_XML}<e:a>\xe9</e:a></rdf:RDF>'.encode("latin-1"), "Only UTF-8"),
    "entities of entities": ("x.rdf", '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + RDF_XML + "<e:p>&b;</e:p></rdf:RDF>", "x.rdf:1: the entity b is"),
    "an entity from outside": ("x.rdf", '<!DOCTYPE x [\n<!ENTITY a SYSTEM "file:///etc/passwd">]>' + RDF_XML + "</rdf:RDF>", "x.rdf:2: the entity a is outside"),
    "a parameter entity": ("x.rdf", '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://e/x"> %a;]>' + RDF_XML + "</rdf:RDF>", "x.rdf:1: the entity a is outside"),
    "a long entity": ("x.rdf", f'<!DOCTYPE x [<!ENTITY a "{"a" * 300}">]>{RDF_XML}</rdf:RDF>', "longer than 256 characters"),
    "many uses of an entity": ("x.rdf", f'<!DOCTYPE x [<!ENTITY a "{"a" * 200}">]>{RDF_XML}<e:T rdf:about="http://a"><e:p>{"&a;" * 500_000}</e:p></e:T></rdf:RDF>', "x.rdf:1: "),
    "triples within triples to no end": ("x.nt", T + f"\n<{E}a> <{E}p> " + NESTED.replace("\n", " ") + ".", "x.nt:2: more than 256 times <<"),
    "a long prefix": ("x.ttl", f"@prefix e: <{LONG}> .\n" + "e:a e:p e:b .\n" * 70_000, "an IRI of more than 4,096 bytes"),
    "a long base in parts": ("x.ttl", f"@base <{E}> .\n" + f"@base <{'x' * 3000}/> .\n" * 3, "an IRI of more than 4,096 bytes"),
    "a long namespace": ("x.rdf", RDF_XML.replace("e=", f'l="{LONG}" xmlns:e=') + "</rdf:RDF>", "x.rdf:1: a namespace or base of more than 4,096"),
    "a long xml:base": ("x.rdf", RDF_XML + f'<e:a xml:base="{LONG}"/></rdf:RDF>', "x.rdf:1: a namespace or base of more than 4,096"),
    "a long @vocab": ("x.jsonld", json.dumps({"@context": {"@vocab": LONG}, "a": ["b"] * 9}), "x.jsonld:1: a text of more than 4,096 bytes in a @context"),
    "a long @base, escaped": ("x.jsonld", json.dumps({"@context": {"@base": LONG}}).replace("@c", "\\u0040c"), "x.jsonld:1: a text of more than 4,096 bytes in a @context"),
    "a long IRI made of short ones": ("x.ttl", f"@prefix e: <{E}{'x' * 4000}> .\n e:{'y' * 100} e:p e:b .", "x.ttl: an IRI of more than 4,096 characters"),
    "triples within triples in Turtle": ("x.ttl", f"<{E}a> <{E}p> {NESTED}.", "triples nested more than 256 deep"),
    "triples within triples in TriG": ("x.trig", f"{{ <{E}a> <{E}p> {NESTED}. }}", "triples nested more than 256 deep"),
    "XML nested to no end": ("x.rdf", RDF_XML + "<e:a><e:b>" * 100_000, "x.rdf:1: elements nested more than 256 deep"),
    "no JSON": ("x.jsonld", "hello", "x.jsonld:1: "),
    "empty JSON": ("x.jsonld", "", "x.jsonld:1: "),
    "two JSON documents": ("x.jsonld", '{"@id":"a"}\n{"@id":"b"}', "x.jsonld:2: "),
    "a context at an address": ("x.jsonld", '{"@context": "https://schema.org/", "@id": "a"}', "x.jsonld: a @context is at an address"),
    "a context to import": ("x.jsonld", '{"@context": {"@version": 1.1, "@import": "http://x/y"}}', "x.jsonld: a @context is at an address"),
    "a context that is a long chain": ("x.jsonld", '{"@context": {' + ", ".join(f'"a{i}": "a{i + 1}:x"' for i in range(10_000)) + '}, "a0:b": "x"}', "x.jsonld:1: a @context of more than 32,768 bytes"),
    "a context in a circle": ("x.jsonld", '{"@context": {"a": "b:x", "b": "a:y"}, "a": "x"}', "Cyclic IRI mapping"),
    "JSON nested to no end": ("x.jsonld", DEEP + "1" + "}" * 20_000, "x.jsonld:1: nested more than 256 deep"),
    "contexts nested to no end": ("x.jsonld", '{"@context":{"a":"http://a/b"},"a":' * 5000 + "1" + "}" * 5000, "nested more than 256"),
    "arrays nested to no end": ("x.jsonld", "[" * 1_000_000, "x.jsonld:1: nested more than 256 deep"),
}  # fmt: skip


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_file_is_refused_in_one_line_and_at_once(tmp_path, fault):
    name, content, message = FAULTY[fault]
    path = written(tmp_path, name, content)
    with pytest.raises(ValueError) as error:
        read_labelled(path, ReadOptions())
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", [name for name in SAME if name not in ("graph.nt", "graph.nq")])
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_document_with_some_bytes_changed_is_read_or_refused(tmp_path_factory, name, data):
    content = bytearray(SAME[name].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(bytes(content))
    try:
        read(path)
    except ValueError as error:
        assert str(error).startswith(str(path))


def test_bad_lines_are_counted_where_they_may_be(tmp_path):
    path = written(tmp_path, "graph.nt", f"{T}\nx\n{T}\n<a>\n\n# c\n")
    labelled, triples, *_ = read(path, max_bad_lines=2)
    assert len(triples) == 2
    assert labelled.accounts[0].refused == 2
    assert [example.split(":")[1] for example in labelled.accounts[0].examples] == ["2", "4"]


def test_brackets_in_texts_are_no_nesting_and_escapes_may_be_torn(tmp_path):
    guard = JsonGuard(tmp_path)
    text = json.dumps(['[{"\\' * 500, "\\", "[" * 500])
    for byte in text.encode():
        guard.feed(bytes([byte]))
    guard.feed(text.encode())
    with pytest.raises(ValueError, match="nested"):
        guard.feed(b"[" * 257)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_marks_in_texts_comments_and_names_are_no_nesting(tmp_path, size):
    mark = "<<( "
    text = f"""e:a\\'b e:database <x>, "{mark}\\"", '{mark}\\'', \"\"\"{mark}" ""\\\"\"\"\", \'\'\'{mark}\'\'\', "" . # {mark} "\n"""
    document = f"@prefix e: <{E}> .\n" + text * 300
    path = written(tmp_path, "x.ttl", document)
    assert read_labelled(path, ReadOptions()).accounts[0].lines == 1800
    guard = TurtleGuard(path)
    for place in range(0, len(document), size):
        guard.feed(document[place : place + size].encode())
    hidden = f"{mark} # )>>\n ')>>' " * 257
    with pytest.raises(ValueError, match="nested"):
        for place in range(0, len(hidden) + size, size):
            guard.feed(hidden[place : place + size].encode())


def test_a_chunk_ends_by_its_size_too(tmp_path, monkeypatch):
    monkeypatch.setattr(rdf_documents, "CHARACTERS_AT_ONCE", 100)
    quads = list(
        pyoxigraph.parse(
            f"<{E}a> <{E}p> <{E}b>, 'x', <<( <{E}a> <{E}p> <{E}b> )>> .".encode(), format=pyoxigraph.RdfFormat.TURTLE
        )
    )
    assert [len(chunk) for chunk in rdf_documents._chunks(quads * 2, tmp_path)] == [2, 2, 2]


def test_a_long_description_is_no_long_iri(tmp_path):
    node = {
        "@context": {"d": "http://schema.org/description"},
        "@id": E + "a",
        "d": "x" * 10_000,
        E + "p": {"@id": E + "b"},
    }
    assert read_labelled(written(tmp_path, "x.jsonld", json.dumps(node)), ReadOptions()).accounts[0].read == 2


def test_json_that_is_no_rdf_is_not_taken_for_it(tmp_path):
    with pytest.raises(ValueError, match="unknown format"):
        recognise(written(tmp_path, "graph.json", '{"a": 1}'))
