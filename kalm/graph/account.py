"""Where each line of each file went, so that none is lost in silence."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

NUM_EXAMPLES = 5  # of refused lines, kept for each file


class Fault(NamedTuple):
    """A line that gives no triple."""

    line: int  # the first of its lines, from 1
    reason: str
    remedy: str
    num_lines: int = 1


class Ledger:
    """The accounts of all files of a graph, and how many of their lines may be refused.

    Args:
        max_bad_lines: of all files together; one more stops the reading. None is 0 that no key can raise.
        key: what raises it, for messages.
    """

    def __init__(self, max_bad_lines: int | None = 0, key: str = "data.max_bad_lines") -> None:
        self.max_bad_lines = max_bad_lines
        self.key = key
        self.accounts: list[Account] = []

    def open(self, path: Path | str, unit: str = "lines") -> "Account":
        """An account for one more file, whose parts are lines or, say, rows."""
        self.accounts.append(Account(file=str(path), unit=unit, ledger=self))
        return self.accounts[-1]

    @property
    def refused(self) -> int:
        return sum(account.refused for account in self.accounts)

    def close(self) -> None:
        """Every line has been counted, and counted once."""
        for account in self.accounts:
            assert account.is_balanced, account


@dataclass(kw_only=True, slots=True)
class Account:
    """The lines of one file: read + refused + blank + comment == lines.

    Args:
        file: as messages name it.
        unit: what is counted; `lines` but for files that have none.
        lines: of the file.
        read: lines that gave something; a record may have several.
        refused: lines that gave nothing and should have.
        blank: lines of spaces and separators alone.
        comment: lines that say something else by the rules of the format, such as comments and a header.
        examples: the first refused lines, each as `file:line: reason`.
    """

    file: str
    unit: str
    ledger: Ledger = field(repr=False)
    lines: int = 0
    read: int = 0
    refused: int = 0
    blank: int = 0
    comment: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_balanced(self) -> bool:
        return self.read + self.refused + self.blank + self.comment == self.lines

    def refuse(self, fault: Fault) -> None:
        """Count a line that cannot be read.

        Raises:
            ValueError: with it there are more than may be.
        """
        place = f"{self.file}:{fault.line}: {fault.reason}"
        limit, key = self.ledger.max_bad_lines, self.ledger.key
        if self.ledger.refused + fault.num_lines > (limit or 0):
            reached = f" ({key}={limit}, and this is one too many)" if limit else ""
            others = "" if limit is None else f", or leave out and count up to N such {self.unit}: {key}=N"
            raise ValueError(f"{place}{reached}; {fault.remedy}{others}")
        self.refused += fault.num_lines
        if len(self.examples) < NUM_EXAMPLES:
            self.examples.append(place)

    def refuse_all(self, faults: Iterable[Fault]) -> None:
        """`refuse` each, the first line first."""
        for fault in sorted(faults):
            self.refuse(fault)

    def __str__(self) -> str:
        rest = {"refused": self.refused, "blank": self.blank, "header or comment": self.comment}
        others = [f"{count:,} {what}" for what, count in rest.items() if count]
        counts = ", ".join([f"{self.read:,} of {self.lines:,} {self.unit} read", *others])
        examples = f" ({'; '.join(self.examples)}{'; ...' if self.refused > len(self.examples) else ''})"
        return f"{self.file}: {counts}{examples if self.examples else ''}"

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("lines", "read", "refused", "blank", "comment")}
        return {"file": self.file, "unit": self.unit, **counts, "examples": self.examples}
