"""Files that give entities and relations their texts."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalm.graph.building import GraphBuilder
from kalm.graph.files import find_file, require_file
from kalm.graph.formats.json_text import one_line
from kalm.graph.rows import read_texts

NUM_SHOWN = 3  # labels with two texts, in a note
_ESCAPE = re.compile(r"\\(?:u(?P<code>[0-9a-fA-F]{4})|(?P<other>.?))")
SYNSET_OFFSET = r"^[0-9]{8}$"  # how WordNet's files call an entity


def read_entity_texts(folder: Path, builder: GraphBuilder) -> None:
    """`entity2text.txt`: id, name and, as a third column, a description; else from `entity2textlong.txt`.

    WordNet's copy of kg-bert has `name, definition` in one column, which is cut at the first comma.
    """
    long = find_file(folder, "entity2textlong.txt")
    if long:
        labels, texts = read_columns(long, builder, range(2, 3))
        builder.add_texts("entity_descriptions", labels, texts)
    if path := find_file(folder, "entity2text.txt"):
        labels, names, texts = read_columns(path, builder, range(2, 4))
        if long is None and _are_names_with_definitions(labels, names, texts):
            cut = [name.partition(", ") for name in names.to_pylist()]
            names, texts = ([parts[place] for parts in cut] for place in (0, 2))
            builder.note(f"{path.name}: the texts of WordNet's entities are `name, definition`, cut at the first comma")
        builder.add_texts("entity_names", labels, names)
        builder.add_texts("entity_descriptions", labels, texts)


def read_relation_texts(folder: Path, builder: GraphBuilder) -> None:
    """`relation2text.txt`: id and text; `relation_inverse.txt`: id and text of the inverse."""
    if path := find_file(folder, "relation2text.txt"):
        builder.add_texts("relation_names", *read_columns(path, builder, range(2, 3)))
    if path := find_file(folder, "relation_inverse.txt"):
        builder.add_texts("inverse_names", *read_columns(path, builder, range(2, 3)))


def read_wordnet_texts(folder: Path, builder: GraphBuilder) -> None:
    """`wordnet-mlj12-definitions.txt`: id, `__lemma_words_POS_n`, definition."""
    path = require_file(folder, "wordnet-mlj12-definitions.txt")
    labels, senses, definitions = read_columns(path, builder, range(3, 4))
    lemmas = [sense.strip().removeprefix("__").rsplit("_", 2)[0].replace("_", " ") for sense in senses.to_pylist()]
    builder.add_texts("entity_names", labels, lemmas)
    # a run of spaces is where two different glosses were joined by mistake: keep the first
    first = [re.split(r"\s{2,}", definition.strip())[0] for definition in definitions.to_pylist()]
    builder.add_texts("entity_descriptions", labels, first)


def read_freebase_texts(folder: Path, builder: GraphBuilder) -> None:
    """Names from `FB15k_mid2name.txt`, else `entity2text.txt`; descriptions from whichever file is there."""
    path = require_file(folder, "FB15k_mid2name.txt", "entity2text.txt")
    labels, names = read_columns(path, builder, range(2, 3))
    builder.add_texts("entity_names", labels, pc.replace_substring(names, "_", " "))
    if long := find_file(folder, "FB15k_mid2description.txt"):
        labels, texts = read_columns(long, builder, range(2, 3))
        bare = [text.removesuffix("@en").removeprefix('"').removesuffix('"') for text in texts.to_pylist()]
        builder.add_texts("entity_descriptions", labels, [_unescape(text) for text in bare])
    elif long := find_file(folder, "fb-entity2text-new.txt"):
        labels, texts = read_columns(long, builder, range(2, 3))
        # lines without the separator hold a name only
        after = [text.partition(" -- ")[2] for text in texts.to_pylist()]
        builder.add_texts("entity_descriptions", labels, [_unescape(text) for text in after])


def read_columns(path: Path, builder: GraphBuilder, widths: range) -> list[pa.Array]:
    """The columns of a file by tabs, as many as a line may have. Of a label that comes again the first line counts.

    Raises:
        ValueError: more lines are bad than may be.
    """
    parts = list(read_texts(path, builder.ledger.open(path), widths))
    if not parts:
        return [pa.array([], pa.large_string())] * widths[-1]
    columns = [pc.utf8_trim_whitespace(pa.concat_arrays(column)) for column in zip(*parts, strict=True)]
    _, first, code = np.unique(
        columns[0].dictionary_encode().indices.to_numpy(), return_index=True, return_inverse=True
    )
    if len(first) == len(code):
        return columns
    of_first = pa.array(first[code])
    is_other = np.zeros(len(code), bool)
    for column in columns[1:]:
        is_other |= pc.not_equal(column, column.take(of_first)).to_numpy(zero_copy_only=False)
    if others := np.flatnonzero(is_other).tolist():
        shown = ", ".join(f"{columns[0][row]} ({columns[1][row]})" for row in others[:NUM_SHOWN])
        more = ", ..." if len(others) > NUM_SHOWN else ""
        builder.note(f"{path.name}: {len(others):,} lines give another text to what an earlier line names; the earlier "
                     f"counts: {shown}{more}")  # fmt: skip
    return [column.take(pa.array(np.sort(first))) for column in columns]


def _are_names_with_definitions(labels: pa.Array, names: pa.Array, texts: pa.Array) -> bool:
    def hold(test: pa.Array) -> bool:
        return bool(pc.all(test).as_py())

    return (
        len(labels) > 0
        and hold(pc.match_substring_regex(labels, SYNSET_OFFSET))
        and hold(pc.match_substring(names, ", "))
        and hold(pc.equal(texts, ""))
    )


def _unescape(text: str) -> str:
    """Freebase dumps escape line ends, tabs, quotes and characters beyond ASCII by backslashes, as N-Triples does.

    A text that was cut may end in a backslash, which is left out.
    """
    plain = _ESCAPE.sub(_meaning, text)
    # two halves of a surrogate pair become their character, a lone one becomes U+FFFD
    return one_line(plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _meaning(escape: re.Match[str]) -> str:
    if escape["code"]:
        return chr(int(escape["code"], 16))
    return " " if escape["other"] in {"n", "r", "t"} else str(escape["other"])
