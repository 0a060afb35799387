"""The section of a run's page about what its LM knows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kalm.evaluation.knowledge_summary import SYSTEMS, in_words, relation_table, share_table
from kalm.evaluation.pictures import BLUE, GREY, ORANGE, picture
from kalm.evaluation.sections import Picture, Section, Table

COLOURS = {"base_text": GREY, "text": BLUE, "embedding": ORANGE}


def knowledge_section(result: Mapping[str, Any]) -> Section:
    """Shares over all, by frequency and by relation.

    Args:
        result: the content of knowledge.json.
    """
    overall, by_frequency = (share_table(dict(result), grouping) for grouping in ("overall", "by_frequency"))
    relations = relation_table(dict(result))
    return Section(
        name="knowledge",
        title="What the model knows",
        step=result["step"],
        parts=[
            "Share of training facts whose answer is ranked first: as text, which the model could write, and by "
            "embedding, with which it searches.",
            Table(*overall, caption=f"{in_words(dict(result))}."),
            Picture(
                svg=recall_by_frequency(result["by_frequency"]),
                title="Frequency of the answer",
                caption="Share of the facts that are known, by the number of training triples that the answer occurs "
                "in, with 95 % intervals.",
            ),
            Table(*by_frequency),
            Table(*relations, title="Relations"),
        ],
    )


@picture
def recall_by_frequency(figure: Figure, by_frequency: Mapping[str, Mapping[str, Any]]) -> None:
    """Share known of each system, by how often the answer occurs in training."""
    axes = figure.add_subplot()
    systems = [name for name in SYSTEMS if name in next(iter(by_frequency.values()))]
    places, width = np.arange(len(by_frequency)), 0.8 / len(systems)
    for number, name in enumerate(systems):
        shares = [found[name] for found in by_frequency.values()]
        values = np.array([share["value"] for share in shares])
        # one fact has no interval
        low, high = np.transpose([share["interval"] or [share["value"]] * 2 for share in shares])
        away = np.clip([values - low, high - values], 0, None) * 100
        at = places + (number - (len(systems) - 1) / 2) * width
        axes.bar(at, values * 100, width=width * 0.92, color=COLOURS[name], label=SYSTEMS[name],
                 yerr=away, error_kw={"linewidth": 1, "capsize": 2})  # fmt: skip
    axes.set_xticks(places, [f"{name}\n({found['count']:,})" for name, found in by_frequency.items()])
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="training triples that the answer occurs in (questions)", ylabel="% known", ylim=(0, 100))
    figure.legend(loc="outside upper right", ncols=3)
