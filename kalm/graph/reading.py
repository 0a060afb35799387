"""How a graph came out of its files: format, accounts and notes, to be shown and stored."""

from dataclasses import dataclass, field
from typing import Any

from kalm.graph.account import Account


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What happened while a graph was read.

    Args:
        format: what was found, in words.
        accounts: one for each file.
        notes: what else a user should know, each a line.
        duplicates: split -> how many of its triples repeat an earlier one of the same split.
    """

    format: str
    accounts: tuple[Account, ...]
    notes: tuple[str, ...]
    duplicates: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What is shown: the format, files of which not every line was read, repeated triples, notes."""
        total = sum(account.read for account in self.accounts)
        partly = [str(account) for account in self.accounts if account.read != account.lines]
        repeated = [f"{count:,} of the {split} triples repeat an earlier one; they are kept"
                    for split, count in self.duplicates.items() if count]  # fmt: skip
        read = f"{self.format}: {total:,} lines read from {len(self.accounts)} files"
        return [read, *partly, *repeated, *self.notes]

    def as_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "files": [account.as_json() for account in self.accounts],
            "notes": list(self.notes),
            "duplicates": self.duplicates,
        }
