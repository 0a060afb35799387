"""Where a graph comes from."""

import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kalm.config.checks import require, require_at_least, require_share


class Source(Enum):
    """The layouts of graphs that can be read."""

    umls = "umls"
    wn18rr = "wn18rr"
    fb15k237 = "fb15k237"
    folder = "folder"


@dataclass(kw_only=True, slots=True)
class DataConfig:
    source: Source  # layout of the files
    root: str | None  # folder with a named data set's files; null takes the copy inside pykeen
    path: str | None  # a graph of one's own: a file of triples, or a folder; docs/graphs.md has the formats
    format: str | None  # of what lies at `path`; null finds it
    columns: list[str] | None  # of head, relation, tail: names in the header or numbers from 1; null finds them
    header: bool | None  # whether the first line of a file names its columns; null finds out
    language: str  # tag of the language that texts are wanted in, where files have several: en, pt-BR
    max_bad_lines: int  # so many lines that cannot be read are left out and counted; one more stops the run
    split: list[float]  # shares of train, valid and test, for a graph that is not split; each > 0
    split_seed: int  # of the draw
    inductive: bool  # whether valid and test of such a split may hold entities that train lacks
    cache: str  # folder for token tables
    false_negative_rate: float  # share of a query's other entities that are held-out true tails; 0 where few are

    def __post_init__(self) -> None:
        require_share("data.false_negative_rate", self.false_negative_rate)
        require(bool(self.language.strip()), "data.language", self.language, "a language's tag, such as en")
        require_at_least("data.max_bad_lines", self.max_bad_lines, 0)
        require_at_least("data.split_seed", self.split_seed, 0)
        require(len(self.split) == 3 and min(self.split) > 0 and math.isclose(sum(self.split), 1, abs_tol=1e-6),
                "data.split", self.split, "three shares above 0 that sum to 1")  # fmt: skip
        require(self.columns is None or len(self.columns) == 3, "data.columns", self.columns,
                "three columns: those of head, relation and tail")  # fmt: skip
        require(self.path is None or self.source is Source.folder, "data.path", self.path,
                 "set together with data=folder (a named data set's folder is data.root)")  # fmt: skip
        require(self.source is not Source.folder or self.path is not None, "data.path", self.path,
                 "a file of triples, or a folder with train.txt and the like")  # fmt: skip

    @property
    def folder(self) -> Path | None:
        """Where the files are; None is the copy inside pykeen."""
        place = self.path or self.root
        return None if place is None else Path(place).expanduser()

    @property
    def cache_folder(self) -> Path:
        return Path(self.cache).expanduser()
