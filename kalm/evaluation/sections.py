"""The page about a run, in sections: each evaluation stores its own, and the page is written anew from all of them.

The page is one file that needs no network and runs no script. All text in it is escaped; pictures and markup are kalm's
own.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kalm.provenance import environment, write_json, write_text

# how sections follow one another; a section's kind is its name up to the first hyphen
KINDS = ("kgc", "kgqa", "qa", "retention", "geometry", "knowledge")
NUMBER = re.compile(r"[-+–<>≤±]?\s*\d[\d,.]*( ?%| ?[-–±] [-+]?\d[\d,.]*)?|–|")

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header. Whole numbers get commas, other numbers three places, None is a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """SVG text as `kalm.evaluation.pictures` makes it; it goes into the page as it is."""

    svg: str
    caption: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """HTML that a template of kalm has made, with all names in it escaped; it goes into the page as it is."""

    html: str


Part = str | Table | Picture | Rendered
PARTS: dict[str, type[Table | Picture | Rendered]] = {"table": Table, "picture": Picture, "rendered": Rendered}


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """What one evaluation has to show.

    Args:
        name: KIND or KIND-WHAT, such as `kgqa-test`; an earlier section of the same name makes room.
        title: its heading.
        step: of the model that was evaluated.
        parts: paragraphs (plain text), tables and pictures, one after another.
    """

    name: str
    title: str
    step: int
    parts: Sequence[Part] = field(default_factory=list)


def section_name(text: str) -> str:
    """The text as a section's name, with a hyphen for what no name has."""
    return re.sub(r"[^\w.]+|__+", "-", text, flags=re.ASCII).strip("-")


def publish(folder: Path, section: Section) -> None:
    """Store a section in the run's folder and write report.html anew from all sections of the same step.

    Sections of another step are of a model that is no more; they and damaged files are named in a line and left out.

    Args:
        folder: of the run.
        section: takes the place of one with the same name.

    Raises:
        ValueError: the section's name is no file name.
    """
    if re.fullmatch(r"[a-z0-9]+(-[\w.]+)*", section.name, re.ASCII) is None:
        raise ValueError(f"section {section.name!r}: a name has letters, digits, _ and . between single hyphens")
    stored = folder / "eval" / "sections"
    stored.mkdir(parents=True, exist_ok=True)
    write_json(stored / f"{section.name}.json", _as_json(section))
    sections, notes = read_sections(stored, section.step)
    for note in notes:
        print(note)
    write_text(folder / "report.html", render(folder.resolve().name, sections))
    print(f"tables and pictures: {folder / 'report.html'}")


def read_sections(stored: Path, step: int) -> tuple[list[Section], list[str]]:
    """The stored sections of this step in the page's order, and a line about each that is left out."""
    sections, notes = [], []
    for path in sorted(stored.glob("[!.]*.json")):
        try:
            section = _from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError):
            notes.append(f"not on the page: {path} is damaged; evaluate again, or delete it")
            continue
        if section.step == step:
            sections.append(section)
        else:
            notes.append(f"not on the page: {section.name} is of step {section.step:,}, and the model of step {step:,};"
                         " evaluate again")  # fmt: skip
    return sorted(sections, key=_place), notes


def render(name: str, sections: Sequence[Section]) -> str:
    """The page about a run of this name."""
    return templates().get_template("page.html").render(name=name, sections=sections, environment=environment())


def templates() -> Environment:
    """The templates beside this file; they escape all text but what is marked as safe."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"number": number, "cell": _cell, "safe_part": Markup, "align": _align}
    found.tests["kind"] = _is_kind
    return found


def number(value: float, places: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:,.{places}f}"


def _is_kind(part: Part, kind: str) -> bool:
    return isinstance(part, PARTS[kind])


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else number(value)


def _align(table: Table) -> list[str]:
    """The class of each column: numbers stand on the right."""
    columns = [[_cell(row[place]) for row in table.rows] for place in range(len(table.header))]
    return ["number" if all(NUMBER.fullmatch(cell) for cell in column) else "word" for column in columns]


def _place(section: Section) -> tuple[int, str]:
    kind = section.name.split("-")[0]
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), section.name)


def _as_json(section: Section) -> dict[str, Any]:
    kind_of = {of: kind for kind, of in PARTS.items()}
    parts = [part if isinstance(part, str) else {"kind": kind_of[type(part)], **asdict(part)} for part in section.parts]
    return {"name": section.name, "title": section.title, "step": section.step, "parts": parts}


def _from_json(content: Mapping[str, Any]) -> Section:
    """Raises ValueError, TypeError or KeyError for what no section looks like."""
    parts = [part if isinstance(part, str) else _part(**part) for part in content["parts"]]
    name, title, step = content["name"], content["title"], content["step"]
    if not (isinstance(name, str) and isinstance(title, str) and isinstance(step, int)):
        raise TypeError(name)
    return Section(name=name, title=title, step=step, parts=parts)


def _part(*, kind: str, **values: Any) -> Part:
    part = PARTS[kind](**values)
    if isinstance(part, Table):
        if any(len(row) != len(part.header) for row in part.rows):
            raise ValueError(part.title)
        _align(part)  # every cell can be written
    elif not all(isinstance(value, str) for value in values.values()):
        raise TypeError(kind)
    return part
