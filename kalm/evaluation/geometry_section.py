"""The section of a run's page about how its embeddings lie."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kalm.evaluation.embedding_pictures import similarity_matrices
from kalm.evaluation.geometry import BINS
from kalm.evaluation.geometry_run import COLUMNS, SIDES, Shown, in_words, rows_of
from kalm.evaluation.pictures import BLUE, GREY, picture
from kalm.evaluation.sections import Part, Picture, Section, Table

COLOURS = {"before training": GREY, "after training": BLUE}
WIDENED = {GREY: 2.6, BLUE: 1.4}  # the second line is seen on the first


def geometry_section(result: Mapping[str, Any], base: Shown, tuned: Shown, names: Sequence[str]) -> Section:
    """Table, the answer to the published claim, and pictures of both models.

    Args:
        result: the content of geometry.json.
        base, tuned: what is drawn of each.
        names: of the entities in `matrix`.
    """
    models = {"before training": base, "after training": tuned}
    claims = "; ".join(f"{claim}: {answer}" for claim, answer in result["claims"].items())
    parts: list[Part] = [
        f"Published claim, after training against before, by intervals of the difference. {claims}.",
        Table(
            header=COLUMNS,
            rows=rows_of(dict(result)),
            caption=f"{in_words(dict(result['protocol']))}. Alignment alone says little: of a model for which all is "
            "alike it is 0.",
        ),
        Picture(
            svg=cosine_distributions(models),
            title="Cosines of random pairs",
            caption="Share of all pairs of different entities, and of different queries, by their cosine.",
        ),
        Picture(
            svg=spectra(models),
            title="Spectrum",
            caption="Singular values of the sample's vectors as shares of their sum, largest first. Where the "
            "line starts steeply, few directions hold most of the vectors.",
        ),
        Picture(
            svg=hub_sizes(models),
            title="Hubs",
            caption=f"Share of the entities that are among the {result['protocol']['k']} nearest of at least so many "
            "queries. A long tail to the right: some entities are near to whatever is asked.",
        ),
        Picture(
            svg=similarity_matrices(base.matrix, tuned.matrix, names),
            title="Similarity of entities",
            caption="Cosine of entities drawn at random with one another, near ones side by side in the order of the "
            "tuned model.",
        ),
    ]  # fmt: skip
    return Section(name="geometry", title="Geometry of the embeddings", step=result["step"], parts=parts)


@picture
def cosine_distributions(figure: Figure, models: Mapping[str, Shown]) -> None:
    """Pairs by cosine, entities and queries side by side."""
    for place, side in enumerate(SIDES, start=1):
        axes = figure.add_subplot(1, 2, place)
        for label, shown in models.items():
            shares = shown.cosines[side] / shown.cosines[side].sum() * 100
            axes.stairs(shares, BINS, color=COLOURS[label], fill=True, alpha=0.25)
            axes.stairs(shares, BINS, color=COLOURS[label], linewidth=1.4, label=label)
        axes.set(title=side, xlabel="cosine", ylabel="% of the pairs", xlim=(-1, 1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)


@picture
def spectra(figure: Figure, models: Mapping[str, Shown]) -> None:
    """Singular values by their place, entities and queries side by side."""
    for place, side in enumerate(SIDES, start=1):
        axes = figure.add_subplot(1, 2, place)
        for label, shown in models.items():
            values = shown.spectrum[side][shown.spectrum[side] > 0]
            colour = COLOURS[label]
            axes.plot(np.arange(1, len(values) + 1), values / values.sum() * 100, color=colour, label=label,
                      linewidth=WIDENED[colour], marker="o" if len(values) < 30 else "", markersize=3)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(title=side, xlabel="singular value", ylabel="% of their sum")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)


@picture
def hub_sizes(figure: Figure, models: Mapping[str, Shown]) -> None:
    """Share of the entities with at least so many queries near to them."""
    axes = figure.add_subplot()
    for label, shown in models.items():
        sizes, counts = np.unique(shown.occurrences, return_counts=True)
        at_least = counts[::-1].cumsum()[::-1] / counts.sum() * 100
        colour = COLOURS[label]
        axes.step(sizes, at_least, where="pre", color=colour, linewidth=WIDENED[colour], label=label)
        axes.scatter(sizes[-1], at_least[-1], s=18, color=colour, zorder=3)
    axes.set_xscale("symlog", linthresh=1)  # has a place for 0
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set(xlabel="queries that an entity is near to, at least", ylabel="% of the entities")
    axes.set_xlim(left=0)
    figure.legend(loc="outside upper right", ncols=2)
