"""Readable ends of IRIs: `http://example.org/wasBornIn` -> `wasBornIn`."""

import re
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

_IRI = r"^(?:[A-Za-z][A-Za-z0-9+.\-]*://|urn:)\S*$"
# what follows the last slash or number sign that something follows; in a urn, the last colon
_LAST = r"^(?:urn:.*:|.*[/#])(?P<last>[^/#]+)[/#]*$"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def last_parts(labels: pa.Array) -> pa.Array:
    """The last part of each label that is an IRI, its percent signs decoded; other labels as they are; large_string."""
    is_iri = pc.match_substring_regex(labels, _IRI)
    if not pc.any(is_iri).as_py():
        return labels
    last = pc.struct_field(pc.extract_regex(labels, _LAST), "last")
    found = pc.if_else(pc.and_(is_iri, pc.is_valid(last)), last, labels)
    is_encoded = pc.and_(is_iri, pc.match_substring(found, "%"))
    decoded = [_decode(part) for part in found.filter(is_encoded).to_pylist()]
    return pc.replace_with_mask(found, is_encoded, pa.array(decoded, pa.large_string())) if decoded else found


def _decode(part: str) -> str:
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        return part
    return part if _CONTROL.search(text) or not text.strip() else text
