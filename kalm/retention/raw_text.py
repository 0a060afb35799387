"""Raw text from files of any size as windows of tokens, each token scored once."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from kalm.text.ragged import Ids

BYTES_AT_ONCE = 2**18  # of text, that are tokenised together
OVERLAP = 2**12  # characters that two neighbouring pieces share
AGREED_TOKENS = 32  # on either side of a cut


class Tokens(NamedTuple):
    """Some of a text's tokens in a row."""

    ids: NDArray[np.int32]  # (n,)
    starts: Ids  # (n,), byte of the file at which each token's text starts


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Tokens that are read in one forward; the last `num_scored` are predicted from those before them."""

    file: int  # which of the files it is from
    ids: NDArray[np.int32]  # (n,); the last one is predicted only
    num_scored: int
    num_bytes: int  # of the scored tokens' text


def text_files(place: Path) -> list[Path]:
    """The file, or all files of a folder and its subfolders by name; hidden ones are left out.

    Raises:
        ValueError: there is none, or one is empty.
    """
    if place.is_file():
        files = [place]
    elif place.is_dir():
        files = sorted(path for path in place.rglob("*") if path.is_file() and not _is_hidden(path, place))
    else:
        raise ValueError(f"text: there is no file or folder {place}")
    if not files:
        raise ValueError(f"text: {place} holds no file; give a file of plain text, or a folder of them")
    if empty := [path for path in files if path.stat().st_size == 0]:
        raise ValueError(f"text: {empty[0]} is empty; give files that hold text")
    return files


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_pieces(path: Path) -> Iterator[str]:
    """The text of a file piece by piece, its line ends as they are.

    Raises:
        ValueError: it is no UTF-8; the message names the line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    num_lines = 0
    with path.open("rb") as file:
        while True:
            content = file.read(BYTES_AT_ONCE)
            try:
                piece = decoder.decode(content, final=not content)
            except UnicodeDecodeError as error:
                line = num_lines + error.object[: error.start].count(b"\n") + 1
                raise ValueError(f"{path}:{line}: not UTF-8 ({error.reason}); save the text as UTF-8") from None
            num_lines += piece.count("\n")
            if piece:
                yield piece
            if not content:
                return


def tokenise(pieces: Iterator[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[Tokens]:
    """The tokens of a text as if it were tokenised whole, in bounded memory.

    Neighbouring pieces are tokenised with an overlap, and cut in it where a token starts in both and the tokens
    around are the same in both: merges that decide a token do not reach so far. Where they do, so that no such place
    is found, the two pieces are tokenised as one.
    """
    encoded: _Encoded | None = None
    num_bytes = 0  # of the text before this piece's
    for piece in pieces:
        if encoded is None:
            encoded = _Encoded.of(piece, tokenizer)
            continue
        shared = min(OVERLAP, len(encoded.text))
        following = _Encoded.of(encoded.text[-shared:] + piece, tokenizer)
        cut = _cut(encoded, following, shared)
        if cut is None:
            encoded = _Encoded.of(encoded.text + piece, tokenizer, encoded.begin)
            continue
        before, begin = cut
        yield encoded.tokens(before, num_bytes)
        num_bytes += len(encoded.text[:-shared].encode())
        encoded = following.from_character(begin)
    if encoded is not None:
        yield encoded.tokens(len(encoded.ids), num_bytes)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A piece of text, and its tokens from character `begin` on; those before are another piece's."""

    text: str
    begin: int
    ids: NDArray[np.int32]
    starts: Ids  # characters of the text
    ends: Ids

    @classmethod
    def of(cls, text: str, tokenizer: PreTrainedTokenizerFast, begin: int = 0) -> "_Encoded":
        # a special token's string inside a text is ordinary text
        encoding = tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True,
            return_attention_mask=False, verbose=False,
        )  # fmt: skip
        offsets = np.array(encoding.offset_mapping, dtype=np.int64).reshape(-1, 2)
        ids = np.array(encoding.input_ids, dtype=np.int32)
        return cls(text, 0, ids, offsets[:, 0], offsets[:, 1]).from_character(begin)

    def from_character(self, begin: int) -> "_Encoded":
        own = slice(int(np.searchsorted(self.starts, begin)), None)
        return _Encoded(self.text, begin, self.ids[own], self.starts[own], self.ends[own])

    def tokens(self, count: int, first_byte: int) -> Tokens:
        """The first tokens; `first_byte`: of the file, where this piece's text starts."""
        characters = np.frombuffer(self.text.encode("utf-32-le"), dtype=np.uint32)
        sizes = np.ones(len(characters) + 1, dtype=np.int64)
        sizes[0] = 0
        for least in (0x80, 0x800, 0x10000):  # from where on a character takes one byte more
            sizes[1:] += characters >= least
        return Tokens(self.ids[:count], first_byte + sizes.cumsum()[self.starts[:count]])


def _cut(encoded: _Encoded, following: _Encoded, shared: int) -> tuple[int, int] | None:
    """Tokens of the first piece before the cut, and the second's character there; None where they agree nowhere."""
    offset = len(encoded.text) - shared
    places = encoded.starts[np.searchsorted(encoded.starts, offset) :] - offset
    for place in places[np.argsort(np.abs(places - shared // 2), kind="stable")].tolist():
        first, second = (int(np.searchsorted(starts, at)) for starts, at in
                         ((encoded.starts, offset + place), (following.starts, place)))  # fmt: skip
        mine, theirs = (slice(at - AGREED_TOKENS, at + AGREED_TOKENS) for at in (first, second))
        if (
            min(first, second) >= AGREED_TOKENS
            and len(encoded.ids[mine]) == 2 * AGREED_TOKENS
            and encoded.ends[first - 1] <= offset + place
            and np.array_equal(encoded.ids[mine], following.ids[theirs])
            and np.array_equal(encoded.starts[mine] - offset, following.starts[theirs])
        ):
            return first, place
    return None


def windows(
    tokens: Iterator[Tokens], *, file: int, num_bytes: int, first_token: int | None, window: int, stride: int
) -> Iterator[Window]:
    """Windows of at most `window` read tokens, each `stride` further; what one has scored the next ones only read.

    Args:
        tokens: of one text.
        file: the text's number.
        num_bytes: of the whole text.
        first_token: start-of-text token that stands before the text and is not scored; None: the text's first token
            has nothing before it and is not scored.
        window, stride: tokens; 1 <= stride <= window.
    """
    ids = np.array([] if first_token is None else [first_token], dtype=np.int32)
    starts = np.zeros(len(ids), dtype=np.int64)
    num_known = 1  # tokens of `ids` that are scored, or have nothing before them
    for block in tokens:
        ids, starts = np.concatenate([ids, block.ids]), np.concatenate([starts, block.starts])
        # the byte after the last scored token is known when one more token is
        while len(ids) > window + 1:
            scored = int(starts[window + 1] - starts[num_known])
            yield Window(file=file, ids=ids[: window + 1], num_scored=window + 1 - num_known, num_bytes=scored)
            ids, starts = ids[stride:], starts[stride:]
            num_known = window + 1 - stride
    if len(ids) > num_known:
        yield Window(file=file, ids=ids, num_scored=len(ids) - num_known, num_bytes=num_bytes - int(starts[num_known]))
