"""The tables of a comparison: printed, on the runs' pages, and as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kalm.evaluation.markdown import markdown_table
from kalm.evaluation.report import low_high
from kalm.evaluation.sections import Table
from kalm.rationale.question import Kind

Result = Mapping[str, Any]

MEASURE = {
    Kind.short_answer.value: ("accuracy", "the first answer is a name of any right entity"),
    Kind.multiple_choice.value: ("accuracy", "the choice that is likeliest per token is the right one"),
    Kind.free_answer.value: ("F1", "words that answer and right answer share"),
}


def tables(result: Result) -> list[Table]:
    made = [*_kinds(result["kinds"]), *_known(result.get("known")), *_set_apart(result["kinds"])]
    return [table for table in made if table.rows]


def as_markdown(title: str, words: str, made: Sequence[Table]) -> str:
    parts = [f"# {title}\n", f"{words}\n"]
    for table in made:
        rows = [[str(cell) for cell in row] for row in table.rows]
        parts.append(f"## {table.title}\n")
        parts.append(markdown_table(table.header, rows, left=table.header[:1]))
        if table.caption:
            parts.append(f"{table.caption}\n")
    return "\n".join(parts)


def _kinds(kinds: Mapping[str, Result]) -> Iterator[Table]:
    for kind, found in kinds.items():
        if "systems" not in found:
            continue
        measure, meaning = MEASURE[kind]
        words = kind.replace("_", " ")
        is_short = kind == Kind.short_answer.value
        rows = [
            [name, str(len(system["runs"])), f"{system['mean']:.3f}", low_high(system["interval"]),
             low_high((system["lowest"], system["highest"])) if len(system["runs"]) > 1 else "–",
             *(f"{system[key]:.3f}" for key in (("any", "recall", "f1", "invalid") if is_short else ()))]
            for name, system in found["systems"].items()
        ]  # fmt: skip
        header = ["system", "runs", measure, "95 %", "lowest - highest run",
                  *(["any", "recall", "F1", "no name"] if is_short else [])]  # fmt: skip
        caption = f"{found['scored']:,} questions; {measure}: {meaning}; 95 %: bootstrap over questions"
        yield Table(header, rows, caption, f"{words}, without rationale")
        yield _differences(found, measure, words)


def _differences(found: Result, measure: str, words: str) -> Table:
    rows = []
    for name, less in found["differences"].items():
        by_seed, test = less["by_seed"], less["mcnemar"]
        spread = "–" if by_seed is None or len(by_seed) < 2 else low_high((min(by_seed), max(by_seed)), sign="+")
        rows.append([name, f"{less['difference']:+.3f}", low_high(less["interval"], sign="+"), spread,
                     low_high(less["interval_over_seeds"], sign="+"),
                     "–" if test is None else f"{test['p_value']:.2g}"])  # fmt: skip
    header = ["system", measure, "95 % over questions", "lowest - highest seed", "95 % over seeds", "p"]
    caption = (
        "over questions: bootstrap, runs as they are; over seeds: Student's t of the seeds' differences; p: McNemar's "
        "exact test, of single runs"
    )
    return Table(header, rows, caption, f"{words}: less {found['reference']}")


def _known(known: Result | None) -> Iterator[Table]:
    if known is None or "systems" not in known:
        return
    header = ["system", "known", "of them wrong", "95 %", "others right"]
    if known["by"] is not None:
        header += [f"known by {known['by']}: wrong", "95 %"]
    rows = []
    for name, found in known["systems"].items():
        wrong, right = found["wrong_of_known"], found["right_of_unknown"]
        row = [name, f"{found['known']:.3f}", *_share(wrong), _share(right)[0]]
        rows.append(row + (list(_share(found["wrong_of_known_by"])) if known["by"] is not None else []))
    caption = (
        f"{known['with_facts']:,} questions whose facts the graph tells; known: all facts that lead to some answer are \
ranked first as triples, as text"
    )
    if known["by"] is not None:
        caption += f"; {known['by']} knows {known['known_by']:,} in most of its runs"
    yield Table(header, rows, caption, "known and incorrect")


def _set_apart(kinds: Mapping[str, Result]) -> Iterator[Table]:
    rows = []
    for kind, found in kinds.items():
        words = kind.replace("_", " ")
        rows += [[words, reason, f"{count:,} of {found['asked']:,}"] for reason, count in found["set_apart"].items()]
        if found["answers_lost"]:
            rows.append([words, "right answers that are no entity", f"{found['answers_lost']:,}"])
    yield Table(["kind", "set apart", "questions"], rows, "", "never scored as right")


def _share(found: Result | None) -> tuple[str, str]:
    return ("–", "–") if found is None else (f"{found['value']:.3f}", low_high(found["interval"]))
