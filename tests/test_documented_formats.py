"""The examples of docs/graphs.md that have a file name are read, and hold what the line under them says."""

import re

import pytest
from conftest import ROOT

from kalm.graph.assemble import assemble
from kalm.graph.formats.registry import read_labelled
from kalm.graph.labelled import ReadOptions

SECTIONS = {
    section.partition("\n")[0]: section
    for section in (ROOT / "docs" / "graphs.md").read_text("utf-8").split("\n## ")[1:]
}
FILE = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COUNTS = re.compile(r"^(\d+) entities, (\d+) relations, (\d+) triples\. (\d+) named, (\d+) described\.$", re.MULTILINE)
RDF = {"N-Triples and N-Quads", "Turtle and TriG", "RDF/XML", "JSON-LD"}
FORMATS = [*RDF, "Neo4j: JSON lines of APOC", "Neo4j: CSV of neo4j-admin", "Wikidata"]


@pytest.mark.parametrize("title", FORMATS)
def test_an_example_is_what_the_page_says(title, tmp_path):
    if title in RDF:
        pytest.importorskip("pyoxigraph")
    section = SECTIONS[title]
    for name, content in FILE.findall(section):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, "utf-8")
    place = re.search(r"`data\.path=([\w./-]+)`", section)[1]
    graph = assemble(read_labelled(tmp_path / place, ReadOptions()))
    found = (graph.num_entities, graph.num_relations, len(graph.triples["train"]), graph.num_named,
             sum(map(bool, graph.entity_descriptions)))  # fmt: skip
    assert found == tuple(map(int, COUNTS.search(section).groups()))
