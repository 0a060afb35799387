"""The examples of docs/graphs.md are read, and hold what is said of them.

In each section the fenced blocks with a file name are written to a folder, `.py` ones are run there, and what
`data.path=...` names is read; the line `N entities, N relations, N triples.` says what is in it, `N named, N
described` how many texts. A section without `data.path` leaves a `labelled` graph in its Python.
"""

import re
import runpy
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir

from kalm.graph.assemble import assemble
from kalm.graph.formats.registry import read_labelled
from kalm.graph.labelled import ReadOptions
from kalm.graph.strings import Strings

TEXT = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
SECTIONS = {section.partition("\n")[0]: section for section in TEXT.split("\n## ")[1:]}
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COUNTS = re.compile(
    r"^(\d+) entities, (\d+) relations, (\d+) triples\.(?: (\d+) named, (\d+) described\.)?$", re.MULTILINE
)
RDF = ("N-Triples and N-Quads", "Turtle and TriG", "RDF/XML", "JSON-LD")  # by an extra
WITH_EXAMPLE = [title for title, section in SECTIONS.items() if COUNTS.search(section)]


def write_blocks(section: str, folder: Path) -> list[Path]:
    paths = []
    for name, content in BLOCK.findall(section):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths


def test_each_section_with_files_says_what_is_in_them():
    assert len(WITH_EXAMPLE) >= 17
    assert {title for title, section in SECTIONS.items() if BLOCK.search(section)} - set(WITH_EXAMPLE) == {
        "A template of one's own"
    }


@pytest.mark.parametrize("title", WITH_EXAMPLE)
def test_an_example_is_what_the_page_says(title, tmp_path, monkeypatch):
    section = SECTIONS[title]
    if title in RDF:
        pytest.importorskip("pyoxigraph")
    monkeypatch.chdir(tmp_path)
    made = {}
    for path in write_blocks(section, tmp_path):
        assert path.stat().st_size
        if path.suffix == ".py":
            made = runpy.run_path(str(path))
    place = re.search(r"data\.path=([\w./-]+)", section)
    labelled = read_labelled(tmp_path / place[1], ReadOptions()) if place else made["labelled"]
    graph = assemble(labelled)
    num_triples = sum(len(rows) for rows in graph.triples.values())
    *counts, named, described = COUNTS.search(section).groups()
    assert (graph.num_entities, graph.num_relations, num_triples) == tuple(map(int, counts))
    if named is not None:
        assert (graph.num_named, Strings(graph.entity_descriptions).num_filled) == (int(named), int(described))
    for account in labelled.accounts:
        assert account.read + account.blank + account.comment == account.lines


def test_a_template_of_ones_own_is_three_lines(tmp_path):
    (path,) = write_blocks(SECTIONS["A template of one's own"], tmp_path)
    assert len(path.read_text().splitlines()) == 3
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        searched = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
        mine, plain = (
            compose("data", ["command=inspect", searched, f"template={name}"]).template for name in ("short", "plain")
        )
    changed = {"description": " ({description})", "max_description_tokens": 10}
    assert mine == {**plain, **changed}
