"""Pictures of some entities' embeddings: a map, and their similarities before and after training."""

from collections.abc import Sequence

import numpy as np
import scipy.cluster.hierarchy
import scipy.linalg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kalm.evaluation.drawn import Vectors
from kalm.evaluation.pictures import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, YELLOW, picture, short, short_path
from kalm.graph.knowledge_graph import HEAD, RELATION, KnowledgeGraph
from kalm.text.ragged import Ids

NUM_LABELS = 14
KINDS = ((BLUE, "o"), (ORANGE, "D"), (GREEN, "s"), (PINK, "^"), (RED, "v"), (SKY, "P"), (YELLOW, "X"))


@picture
def embedding_map(figure: Figure, vectors: Vectors, ids: Ids, graph: KnowledgeGraph) -> None:
    """The two directions in which the entities differ most, coloured by each one's most frequent relation.

    Args:
        vectors: (n, D), n > 2.
        ids: (n,), whose they are.
        graph: gives names, and relations in training.
    """
    places, shares = principal_components(vectors)
    relations = most_frequent_relations(graph)[ids]
    figure.set_figheight(6)
    axes = figure.add_subplot()
    kinds, counts = np.unique(relations[relations >= 0], return_counts=True)
    most_common = kinds[np.argsort(-counts, kind="stable")][: len(KINDS)]
    groups = [(~np.isin(relations, most_common), "other", (GREY, "o"))]
    groups += [
        (relations == relation, short_path(relation_in_words(graph, int(relation)), 40), kind)
        for relation, kind in zip(most_common, KINDS, strict=False)
    ]
    size = 22 if len(ids) <= 500 else 9
    for mask, label, (colour, marker) in groups:
        if mask.any():
            axes.scatter(
                places[mask, 0], places[mask, 1], s=size, color=colour, marker=marker, linewidths=0, alpha=0.75,
                rasterized=True, label=label,
            )  # fmt: skip
    middle = (places[:, 0].min() + places[:, 0].max()) / 2
    for place in spread(places, NUM_LABELS):
        is_left = places[place, 0] < middle  # names are written towards the middle, where there is room
        axes.annotate(
            short(graph.entity_names[ids[place]], 30), places[place], xytext=(4 if is_left else -4, 3),
            textcoords="offset points", ha="left" if is_left else "right", fontsize=7.5,
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[], xlabel=f"first principal component ({shares[0]:.0%} of the variance)",
             ylabel=f"second ({shares[1]:.0%})")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=3)


@picture
def similarity_matrices(figure: Figure, untrained: Vectors | None, trained: Vectors, names: Sequence[str]) -> None:
    """Cosines of some entities with one another, near ones side by side in the trained model's order.

    Args:
        untrained: (n, D) unit vectors of the LM before its first step; None: not shown.
        trained: (n, D) unit vectors.
        names: n.
    """
    order = clustered(trained)
    shown = (
        [("after training", trained)]
        if untrained is None
        else [("before training", untrained), ("after training", trained)]
    )
    figure.set_figheight(4.3 if len(shown) == 2 else 6.4)
    columns = figure.subplots(1, len(shown), squeeze=False)[0]
    for place, (axes, (title, vectors)) in enumerate(zip(columns, shown, strict=True)):
        cosines = vectors[order] @ vectors[order].T
        image = axes.imshow(cosines, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none")
        away = cosines[~np.eye(len(order), dtype=bool)]
        axes.set_title(f"{title}: cosine {away.mean():.2f} ± {away.std():.2f}")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        labels = [short(names[entity], 24) for entity in order] if place == 0 else []
        axes.set_yticks(np.arange(len(labels)), labels, fontsize=6.8)
        axes.tick_params(length=0)
    figure.colorbar(image, ax=columns, location="bottom", label="cosine", shrink=0.4, aspect=40)


def principal_components(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places on the first two principal components, (n, 2), and the share of the variance of each."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    products = centred @ centred.T  # n is bounded, the embedding size is not
    size = len(products)
    values, directions = scipy.linalg.eigh(products, subset_by_index=[size - 2, size - 1])
    values = values[::-1].clip(min=0)
    return directions[:, ::-1] * np.sqrt(values), values / max(np.trace(products), np.finfo(float).tiny)


def most_frequent_relations(graph: KnowledgeGraph) -> Ids:
    """The directed relation that each entity is the head of most often in training, (N,); -1 for none."""
    train = graph.directed("train")
    keys, counts = np.unique(train[:, HEAD] * 2 * graph.num_relations + train[:, RELATION], return_counts=True)
    found = np.full(graph.num_entities, -1)
    # of equal entities the last is kept, which has the highest count
    order = np.argsort(counts, kind="stable")
    found[keys[order] // (2 * graph.num_relations)] = keys[order] % (2 * graph.num_relations)
    return found


def relation_in_words(graph: KnowledgeGraph, relation: int) -> str:
    name = graph.relation_names[relation % graph.num_relations]
    return name if relation < graph.num_relations else f"inverse of {name}"


def spread(places: NDArray[np.float64], num: int) -> list[int]:
    """Points far from one another: each next one is farthest from those chosen."""
    chosen = [int(np.argmax(np.linalg.norm(places - places.mean(axis=0), axis=1)))]
    distance = np.full(len(places), np.inf)
    while len(chosen) < min(num, len(places)):
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return chosen


def clustered(vectors: Vectors) -> Ids:
    """An order with near vectors side by side."""
    # of unit vectors: distance and cosine order alike
    tree = scipy.cluster.hierarchy.linkage(vectors, "average", optimal_ordering=True)
    return np.asarray(scipy.cluster.hierarchy.leaves_list(tree))
