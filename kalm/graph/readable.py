"""Names for entities and relations that have none, made from their ids; and relations told apart."""

import re
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from kalm.graph.iris import last_parts
from kalm.graph.wikidata_properties import PROPERTIES

# what re calls white space (RE2's \\s is that of ASCII), and what stands for it in ids
_BETWEEN_WORDS = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}_/.]+"
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])([a-z]*)")


def readable(label: str) -> str:
    """One entity's id in readable form, see `readable_entities`."""
    return str(readable_entities(pa.array([label], pa.large_string()))[0].as_py())


def readable_entities(labels: pa.Array) -> pa.Array:
    """Ids in readable form: `birth_place` -> `birth place`, `/m/people/Ada_L` -> `m people Ada L`; never empty.

    Of an IRI the last part counts: `http://example.org/birth_place` -> `birth place`. What has a space is a name as it
    stands, and slashes and dots part words in paths alone: `J.R.R._Tolkien` -> `J.R.R. Tolkien`.
    """
    ends = last_parts(labels)
    words = pc.utf8_trim(pc.replace_substring_regex(ends, "_+", " "), " ")
    made = pc.if_else(pc.starts_with(ends, "/"), _parted(ends), words)
    is_name = pc.or_(pc.match_substring(labels, " "), pc.equal(made, ""))
    return pc.if_else(is_name, labels, made)


def readable_relations(labels: pa.Array) -> pa.Array:
    """Like entities; beside that `person.age` -> `person age`, `wasBornIn` -> `was born in`, `P106` -> `occupation`."""
    parted = _parted(last_parts(labels))
    texts = pc.if_else(pc.or_(pc.match_substring(labels, " "), pc.equal(parted, "")), labels, parted)
    made = [PROPERTIES.get(text) or _CAMEL_HUMP.sub(_next_word, text) for text in texts.to_pylist()]
    return pa.array(made, pa.large_string())


def told_apart(texts: pa.Array, labels: pa.Array) -> tuple[pa.Array, int]:
    """The texts of relations, with the relation's label behind those that several share; empty ones stay.

    Returns:
        The texts, and how many were changed.
    """
    made, names = texts.to_pylist(), labels.to_pylist()
    num_changed = 0
    while shared := {text for text, count in Counter(made).items() if count > 1 and text}:
        num_changed = max(num_changed, sum(text in shared for text in made))
        made = [f"{text} ({name})" if text in shared else text for text, name in zip(made, names, strict=True)]
    return pa.array(made, pa.large_string()), num_changed


def _parted(labels: pa.Array) -> pa.Array:
    return pc.utf8_trim(pc.replace_substring_regex(labels, _BETWEEN_WORDS, " "), " ")


def _next_word(hump: re.Match[str]) -> str:
    """` born` for the `Born` of `wasBorn`; ` ISBN` for that of `hasISBN`."""
    capital, rest = hump.groups()
    return f" {capital.lower() if rest else capital}{rest}"
