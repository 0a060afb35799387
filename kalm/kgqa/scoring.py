"""When a written answer is right."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import punctuation
from typing import Any

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@lru_cache(maxsize=2**16)
def normalise(text: str) -> str:
    """A text as answers are compared: equal texts are the same answer.

    NFKC, case folded; then, as SQuAD's evaluation does (Rajpurkar et al., arXiv 1606.05250), without punctuation and
    without the articles a, an, the, and with single spaces. Differs in taking the punctuation of all scripts, and in
    that a step which would leave nothing is not taken: `!!!` stays itself, and so does the name `The The`.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(letter for letter in folded if not _is_punctuation(letter))
    without_articles = _ARTICLES.sub(" ", bare)
    return next((" ".join(step.split()) for step in (without_articles, bare, folded) if step.strip()), "")


def token_f1(answer: str, truths: Iterable[str]) -> float:
    """The best F1 of the answer's words with those of a true text, both normalised; repeated words count again."""
    words = Counter(normalise(answer).split())
    return max((_f1(words, Counter(normalise(truth).split())) for truth in truths), default=0.0)


def _f1(words: Counter[str], truth: Counter[str]) -> float:
    common = (words & truth).total()
    return 2 * common / (words.total() + truth.total()) if common else 0.0


def _is_punctuation(letter: str) -> bool:
    return letter in punctuation or unicodedata.category(letter).startswith("P")


class Vocabulary:
    """What texts may mean: the things of one kind, by their names and aliases.

    Args:
        names: what each is called, (N,).
        aliases: id -> further names; several things may share one.
    """

    def __init__(self, names: Sequence[str], aliases: Mapping[int, Sequence[str]] | None = None) -> None:
        self.names = names
        self.aliases = aliases or {}
        self._meant_by: dict[str, list[int]] = {}  # lists, since thousands may share a name
        for place, name in enumerate(names):
            for key in {normalise(text) for text in (name, *self.aliases.get(place, ()))} - {""}:
                self._meant_by.setdefault(key, []).append(place)

    def __len__(self) -> int:
        return len(self.names)

    def meant_by(self, text: str) -> tuple[int, ...]:
        """All that have this name or alias, ascending; several for an ambiguous name, none for no name."""
        return tuple(self._meant_by.get(normalise(text), ()))

    def named(self, text: str) -> tuple[int, ...]:
        """Those whose name or alias is written like this; else all that may be meant."""
        meant, text = self.meant_by(text), text.strip()
        return tuple(place for place in meant if text in self.texts_of(place)) or meant

    def texts_of(self, place: int) -> tuple[str, ...]:
        """Its name, then its aliases."""
        return (self.names[place], *self.aliases.get(place, ()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What one question's answers are worth; shares and counts are of the answers given."""

    exact: bool  # the first answer is the name of the question's own answer
    own: bool  # the first answer is its name or an alias
    filtered: bool  # so is the first answer that is not another known answer's; without an own answer: any known one's
    undecided: bool  # all answers are other known ones', so filtered is wrong for want of more answers
    known: bool  # the first answer is a name or alias of any known answer
    f1: float  # words of the first answer, with those of the known answer that fits best
    ambiguous: bool  # known, by a name that something else, which is no answer, has too
    invalid: bool  # there is a first answer, and it is no name at all
    any: bool  # some of the answers is a known answer
    recall: float  # share of the known answers among the answers
    exact_set: bool  # the first m answers are all known ones, of which there are m by name

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SCORES}


SCORES = tuple(Score.__dataclass_fields__)


def score(
    answers: Sequence[str], meant: Sequence[Collection[int]], own: int | None, known: Sequence[int], names: Vocabulary
) -> Score:
    """Score the answers to one question, best first.

    Args:
        answers: what was written.
        meant: per answer the ids that it may mean, see `Vocabulary.meant_by`.
        own: the answer that is asked for; None where all known ones are.
        known: ids of all right answers, `own` among them.
        names: of the things that are asked for.
    """
    first, means = (answers[0], meant[0]) if answers else ("", ())
    is_known = not set(means).isdisjoint(known)
    wanted = [own] if own is not None else list(known)
    # other right answers are left out, as a filtered rank does
    first_decisive = next((ids for ids in meant if own in ids or set(ids).isdisjoint(known)), None)
    found = set().union(*meant) & set(known) if meant else set()
    # known answers of one name are written once
    num_wanted = len({normalise(names.names[place]) for place in known})
    leading = meant[:num_wanted]
    return Score(
        exact=any(normalise(first) == normalise(names.names[place]) for place in wanted),
        own=not set(means).isdisjoint(wanted),
        filtered=is_known if own is None else first_decisive is not None and own in first_decisive,
        undecided=own is not None and bool(answers) and first_decisive is None,
        known=is_known,
        f1=token_f1(first, (text for place in known for text in names.texts_of(place))),
        ambiguous=is_known and not set(means) <= set(known),
        invalid=bool(answers) and not means,
        any=bool(found),
        recall=len(found) / len(known),
        exact_set=len(leading) == num_wanted
        and all(not set(ids).isdisjoint(known) for ids in leading)
        and set(known) <= set().union(*leading),
    )
