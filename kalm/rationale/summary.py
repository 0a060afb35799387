"""What a file of rationales holds, counted by kind."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kalm.evaluation.report import print_columns, print_facts
from kalm.rationale.status import Status


def summarise(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and means over all lines of the file."""
    statuses, kinds, hops, found_by, answers = Counter(), Counter(), Counter(), Counter(), Counter()  # type: ignore[var-annotated]
    num_paths = num_naming = num_partial = num_characters = num_ambiguous = num_answers = num_told = 0
    for record in records:
        statuses[record["status"]] += 1
        kinds[record["kind"]] += 1
        found_by.update(link["how"] for link in record["links"])
        num_ambiguous += any(len(link["entities"]) > 1 for link in record["links"])
        answers.update(_fate(link["entities"]) for link in record["answer_links"])
        if record["status"] != Status.ok.value:
            continue
        num_paths += len(record["paths"])
        hops.update(len(path["relations"]) for path in record["paths"])
        num_naming += record["names_answer"]
        num_partial += record["is_partial"]
        num_answers += len(record["answers"])
        num_told += len(record["told_answers"])
        num_characters += len(record["rationale"])
    num_ok = statuses[Status.ok.value]
    return {
        "questions": sum(statuses.values()),
        "ok": num_ok,
        "statuses": {status.value: statuses[status.value] for status in Status if statuses[status.value]},
        "kinds": dict(sorted(kinds.items())),
        "links": {"found_by": dict(sorted(found_by.items())), "questions_with_ambiguous_names": num_ambiguous},
        "answers": dict(sorted(answers.items())),
        "answers_of_ok": num_answers,
        "told_answers": num_told,
        "paths_per_rationale": num_paths / max(1, num_ok),
        "hops": {str(length): count for length, count in sorted(hops.items())},
        "share_naming_answer": num_naming / max(1, num_ok),
        "share_with_partial_paths": num_partial / max(1, num_ok),
        "characters_per_rationale": num_characters / max(1, num_ok),
    }


def print_summary(summary: Mapping[str, Any], out: str) -> None:
    """The summary as two tables."""
    total = max(1, summary["questions"])
    rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in summary["statuses"].items()]
    print_columns(f"rationales: {out}", ("status", "questions", "share"), rows,
                  f"{summary['questions']:,} questions; what is not ok has its reason in the file, and is not trained "
                  "on")  # fmt: skip
    hops = ", ".join(f"{count:,} of {length}" for length, count in summary["hops"].items())
    facts = [
        ("paths per rationale", f"{summary['paths_per_rationale']:.2f}"),
        ("paths by hops", hops or "none"),
        (
            "answers that they tell of",
            f"{summary['told_answers']:,} of {summary['answers_of_ok']:,}; the others are not trained on",
        ),
        ("rationales that name an answer", f"{summary['share_naming_answer']:.1%}"),
        ("rationales from partial paths", f"{summary['share_with_partial_paths']:.1%}"),
        ("questions with a name of several entities", f"{summary['links']['questions_with_ambiguous_names']:,}"),
        ("all answers", ", ".join(f"{count:,} {fate}" for fate, count in summary["answers"].items()) or "none"),
        ("triples left out of the search", f"{summary['triples_left_out']:,}"),
        ("seconds", f"{summary['seconds']:.1f} for {summary['questions_in_this_run']:,} questions"),
    ]
    if summary["endpoint_in_this_run"] is not None:
        asked = summary["endpoint_in_this_run"]
        cost = "" if asked["dollars"] is None else f", {asked['dollars']:.2f} US dollars"
        tokens = f"{asked['prompt_tokens']:,} + {asked['completion_tokens']:,} tokens"
        facts.append(("asked of the endpoint in this run", f"{asked['requests']:,} requests, {tokens}{cost}"))
    print_facts("what they are made of", facts)


def _fate(entities: list[str]) -> str:
    if not entities:
        return "no entity"
    return "one entity" if len(entities) == 1 else "several entities"
