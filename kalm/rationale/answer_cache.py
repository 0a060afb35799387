"""What an endpoint has answered, kept so that nothing is paid for twice."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from kalm.rationale.line_file import LineFile

BEGINNING = b'{"key": "'  # of each line


class Answer(NamedTuple):
    """What came back, as it came."""

    text: str
    finish_reason: str | None
    refusal: str | None
    prompt_tokens: int
    completion_tokens: int


class AnswerCache:
    """Answers by a digest of all that was asked: model, prompt and settings, not the place of the endpoint.

    In memory are digests and places alone, about 150 bytes per answer.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path, BEGINNING)
        self._places: dict[bytes, int] = {}
        for place, row in self._file.with_places():
            self._places[bytes.fromhex(row["key"])] = place

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: bytes) -> Answer | None:
        place = self._places.get(key)
        if place is None:
            return None
        row = self._file.at(place)
        return Answer(*(row[name] for name in Answer._fields))

    def put(self, key: bytes, answer: Answer) -> None:
        """The answer is on the disk afterwards."""
        self._places[key] = self._file.append([{"key": key.hex(), **answer._asdict()}])

    def close(self) -> None:
        self._file.close()


def request_key(request: dict[str, Any]) -> bytes:
    """128 bits of the SHA-256 of the request's body."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=False).encode()).digest()[:16]
