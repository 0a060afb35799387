"""Pictures of a run as SVG text: training curves, ranks, relations, frequencies."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kalm.evaluation.kgc import direction_masks

Column = NDArray[np.float64]
P = ParamSpec("P")

# colours that those who see red and green alike can tell apart (Okabe and Ito)
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442",
)  # fmt: skip
GREY, DARK = "#b8bec6", "#2b3440"
DIRECTION_COLOURS = {"tail": BLUE, "head": ORANGE}
DIRECTION_NAMES = {"tail": "tail (h, r, ?)", "head": "head (?, r, t)"}
WIDTH = 8.4  # inches: the page's column
STYLE: dict[Any, Any] = {
    # text stays text: small, found by a search, and any script is shown in the reader's own fonts
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": DARK,
    "axes.labelcolor": DARK,
    "axes.edgecolor": GREY,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e8ebef",
    "xtick.color": DARK,
    "ytick.color": DARK,
    "legend.frameon": False,
    "savefig.dpi": 150,  # of points that are drawn as one image
}
CURVES = {
    "loss/contrastive": ("contrastive loss", "nats per query"),
    "loss/triple_completion": ("triple-completion loss", "nats per tail token"),
    "loss/retention": ("divergence from the base on raw text", "nats per token"),
    "loss/kale_divergence": ("divergence from the prediction with rationale", "nats per token"),
    "loss/kale_answer": ("next-token loss of answers", "nats per token"),
    "loss/kale_answer_with_rationale": ("the same, with rationale", "nats per token"),
    "loss/kale_rationale": ("next-token loss of rationale and answer", "nats per token"),
    "temperature": ("temperature", "divisor of the cosine"),
    "valid_sample/mrr": ("MRR of a sample of valid", "mean 1 / rank"),
}
MAX_POINTS = 2000  # of a scatter
MAX_RELATIONS = 40
RANK_BOUNDS = tuple(factor * 10**power for power in range(10) for factor in (1, 3))


def picture(draw: Callable[Concatenate[Figure, P], None]) -> Callable[P, str]:
    """A function that draws into a figure, as one that gives SVG text: the same text for the same data."""

    @wraps(draw)
    def as_svg(*args: P.args, **kwargs: P.kwargs) -> str:
        # own ids for what one picture defines, since a page holds several
        style = {**STYLE, "svg.hashsalt": draw.__name__}
        with mpl.rc_context(style), warnings.catch_warnings():
            # only measured with matplotlib's font, which lacks most scripts, and shown in the reader's
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
            draw(figure, *args, **kwargs)
            text = io.StringIO()
            metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(text, format="svg", transparent=True, metadata=metadata)
        return text.getvalue()[text.getvalue().index("<svg") :]  # without the header of a file of its own

    return as_svg


@picture
def training_curves(figure: Figure, logged: Sequence[Mapping[str, Any]]) -> None:
    """Both losses, temperature and valid MRR by step, as far as metrics.jsonl has them."""
    shown = [name for name in CURVES if any(name in line for line in logged)]
    num_columns = 2 if len(shown) == 4 else len(shown)
    num_rows = -(-len(shown) // num_columns)
    figure.set_figheight(2.5 * num_rows)
    for place, name in enumerate(shown, start=1):
        axes = figure.add_subplot(num_rows, num_columns, place)
        rows = [(line["step"], line[name]) for line in logged if name in line]
        is_few = len(rows) < 30
        axes.plot(*zip(*rows, strict=True), color=BLUE, linewidth=1.4, marker="o" if is_few else "", markersize=3)
        title, unit = CURVES[name]
        axes.set(title=title, xlabel="step", ylabel=unit)


@picture
def rank_histogram(figure: Figure, ranks: Column, is_head: NDArray[np.bool_]) -> None:
    """Share of the queries of each direction in ranges of ranks; the first three are those of Hits@1, 3 and 10."""
    axes = figure.add_subplot()
    num_bins = int(np.searchsorted(RANK_BOUNDS, ranks.max())) + 1
    for place, direction in enumerate(("tail", "head")):
        of_direction = ranks[direction_masks(is_head)[direction]]
        if len(of_direction) == 0:
            continue
        shares = np.bincount(np.searchsorted(RANK_BOUNDS, of_direction), minlength=num_bins) / len(of_direction) * 100
        bars = axes.bar(
            np.arange(num_bins) + 0.4 * (place - 0.5), shares, width=0.38,
            color=DIRECTION_COLOURS[direction], label=DIRECTION_NAMES[direction],
        )  # fmt: skip
        labels = [f"{share:.0f}" if share >= 0.5 else "<1" if share else "" for share in shares]
        axes.bar_label(bars, labels, padding=1, fontsize=7.5)
    names = ["1"] + [f"to {compact(bound)}" for bound in RANK_BOUNDS[1:num_bins]]
    axes.set_xticks(np.arange(num_bins), names)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="rank of the answer (1 is best)", ylabel="% of the direction's queries")
    axes.legend()


@picture
def mrr_by_relation(figure: Figure, per_relation: Mapping[str, Mapping[str, Any]]) -> None:
    """MRR of both directions of each relation, best first; those asked most where there are too many."""
    most_asked = sorted(per_relation, key=lambda name: -per_relation[name]["both"]["count"])[:MAX_RELATIONS]
    names = sorted(most_asked, key=lambda name: per_relation[name]["both"]["mrr"])
    figure.set_figheight(1.2 + 0.19 * len(names))
    axes = figure.add_subplot()
    places = np.arange(len(names))
    mrr = {direction: [per_relation[name][direction]["mrr"] for name in names] for direction in ("tail", "head")}
    axes.hlines(places, mrr["tail"], mrr["head"], color=GREY, linewidth=1.5)
    # the second fits into the first, so that both are seen where they are equal
    for direction, marker, size in (("tail", "o", 42), ("head", "D", 13)):
        axes.scatter(
            mrr[direction], places, s=size, marker=marker, color=DIRECTION_COLOURS[direction], zorder=3,
            label=DIRECTION_NAMES[direction],
        )  # fmt: skip
    axes.set_yticks(places, [f"{short_path(name, 44)}  ({per_relation[name]['both']['count']:,})" for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="MRR", xlim=(-0.02, 1.02), ylim=(-0.7, len(names) - 0.3))
    figure.legend(loc="outside upper right", ncols=2)


@picture
def frequency_against_rank(figure: Figure, frequencies: NDArray[np.int64], ranks: Column) -> None:
    """Each query's rank by how often its answer occurs in training; median and deciles of bins that double."""
    axes = figure.add_subplot()
    shown = np.random.default_rng(0).permutation(len(ranks))[:MAX_POINTS]
    axes.scatter(
        frequencies[shown], ranks[shown], s=7, color=SKY, alpha=0.5, linewidths=0, rasterized=True, label="one query"
    )
    doubling = np.floor(np.log2(frequencies + 1)).astype(np.int64)
    bins = [doubling == place for place in np.unique(doubling)]
    middles = [np.median(frequencies[mask]) for mask in bins]
    low, median, high = np.transpose([np.quantile(ranks[mask], [0.1, 0.5, 0.9]) for mask in bins])
    axes.fill_between(middles, low, high, color=BLUE, alpha=0.15, linewidth=0, label="middle 80 %")
    axes.plot(middles, median, color=BLUE, marker="o", markersize=3.5, label="median")
    axes.set_xscale("symlog", linthresh=1)  # has a place for 0
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 or value == 0 else "")
    axes.set_xlim(left=-0.3 if frequencies.min() == 0 else None)
    axes.set_ylim(bottom=0.9)
    axes.set(xlabel="training triples that the answer occurs in", ylabel="rank of the answer (1 is best)")
    figure.legend(loc="outside upper right", ncols=3)


def compact(number: int) -> str:
    """3000 -> 3k."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number // size}{letter}"
    return str(number)


def short(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1].rstrip() + "…"


def short_path(name: str, width: int) -> str:
    """The end of a name, where a relation such as `/people/person/birth_place` says what it is."""
    return name if len(name) <= width else "…" + name[1 - width :].lstrip()
