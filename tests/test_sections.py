"""The page in sections: each evaluation stores its own, and the page shows all that are of the run's step."""

import json

import pytest
from test_page import HOSTILE, Parsed

from kalm.evaluation.sections import Picture, Rendered, Section, Table, publish, read_sections

SVG = '<svg id="drawn"><text>seen</text></svg>'


def section(name: str, *parts, step: int = 3, title: str = "") -> Section:
    return Section(name=name, title=title or f"about {name}", step=step, parts=list(parts))


def page_of(folder) -> Parsed:
    return Parsed((folder / "report.html").read_text())


def test_sections_follow_one_another_in_one_order_whichever_came_first(tmp_path):
    for name in ("another", "knowledge", "retention", "kgqa-test", "geometry", "kgc-valid", "kgc-test"):
        publish(tmp_path, section(name, "a paragraph"))
    shown, notes = read_sections(tmp_path / "eval" / "sections", 3)
    wanted = ["kgc-test", "kgc-valid", "kgqa-test", "retention", "geometry", "knowledge", "another"]
    assert [part.name for part in shown] == wanted
    assert not notes
    page = page_of(tmp_path)
    assert [link.removeprefix("#") for link in page.links] == wanted
    assert set(wanted) <= page.ids


def test_what_is_stored_is_what_was_published(tmp_path):
    table = Table(header=["", "base", "tuned"], rows=[["x", 0.25, 12345], ["y", None, "-"]], caption="c", title="t")
    whole = section("geometry", "a paragraph", table, Picture(svg=SVG, caption="p"), Rendered("<b>own</b>"))
    publish(tmp_path, whole)
    (found,), _ = read_sections(tmp_path / "eval" / "sections", 3)
    assert found == whole
    page = page_of(tmp_path)
    for words in ("a paragraph", "0.250", "12,345", "seen", "own"):
        assert words in page.text
    assert {"svg", "table", "b"} <= page.tags


def test_all_words_of_a_section_are_escaped(tmp_path):
    words = HOSTILE[0] + HOSTILE[2]
    table = Table(header=[words], rows=[[words]], caption=words, title=words)
    publish(tmp_path, section("kgqa-test", words, table, Picture(svg=SVG, caption=words, title=words), title=words))
    page = page_of(tmp_path)
    assert not page.tags & {"script", "img"}
    assert page.text.count("alert(1)") == 9  # title and its link, paragraph, four of the table, two of the picture


def test_a_new_section_takes_the_place_of_the_old_one(tmp_path):
    publish(tmp_path, section("retention", "before"))
    publish(tmp_path, section("retention", "after"))
    text = page_of(tmp_path).text
    assert "after" in text
    assert "before" not in text


def test_sections_of_another_step_and_damaged_ones_are_named_and_left_out(tmp_path, capsys):
    publish(tmp_path, section("retention", "of old", step=1000))
    stored = tmp_path / "eval" / "sections"
    for place, damaged in enumerate(
        ("{", "[]", "null", '{"name": 1}', b"\xff", '{"name": "a", "title": "b", "step": 3, "parts": [7]}',
         '{"name": "a", "title": "b", "step": 3, "parts": [{"kind": "table", "header": ["x"], "rows": [[]]}]}',
         '{"name": "a", "title": "b", "step": 3, "parts": [{"kind": "table", "header": ["x"], "rows": [[{}]]}]}',
         '{"name": "a", "title": "b", "step": 3, "parts": [{"kind": "picture", "svg": 3}]}',
         '{"name": "a", "title": "b", "step": 3, "parts": [{"kind": "unknown"}]}')
    ):  # fmt: skip
        (stored / f"damaged{place}.json").write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    (stored / ".unfinished-1-kgc.json").write_text("{")
    capsys.readouterr()
    publish(tmp_path, section("geometry", "of now"))
    lines = capsys.readouterr().out.splitlines()
    assert sum("is damaged" in line for line in lines) == 10
    assert sum("retention is of step 1,000, and the model of step 3" in line for line in lines) == 1
    assert len(lines) == 12
    text = page_of(tmp_path).text
    assert "of now" in text
    assert "of old" not in text


def test_a_name_that_is_no_file_name_is_refused(tmp_path):
    for name in ("", "../x", "a/b", "a b", "-a", "a--b", ".a"):
        with pytest.raises(ValueError, match="a name has letters"):
            publish(tmp_path, section(name))
    assert not (tmp_path / "report.html").exists()


def test_columns_of_numbers_stand_on_the_right_and_words_on_the_left(tmp_path):
    rows = [["a", "0.5", "0.1 – 0.2", "1 of 3"], ["b", "–", "-0.1 - +0.2", "12 %"]]
    publish(tmp_path, section("kgqa-test", Table(header=["w", "x", "y", "z"], rows=rows)))
    html = (tmp_path / "report.html").read_text()
    classes = [f'<td class="{kind}">{cell}' for kind, cell in zip(("word", "number", "number", "word"), rows[0],
               strict=True)]  # fmt: skip
    for wanted in classes:
        assert wanted in html


def test_a_section_is_written_as_json_that_others_can_read(tmp_path):
    publish(tmp_path, section("kgqa-test", "words", Picture(svg=SVG)))
    content = json.loads((tmp_path / "eval" / "sections" / "kgqa-test.json").read_text())
    assert content["step"] == 3
    assert content["parts"] == ["words", {"kind": "picture", "svg": SVG, "caption": "", "title": ""}]
