"""Where a graph comes from."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kalm.config.checks import require, require_share


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
    path: str | None  # a folder of one's own with train/valid/test.txt, entity2text.txt, relation2text.txt
    cache: str  # folder for token tables
    false_negative_rate: float  # share of a query's other entities that are held-out true tails; 0 where few are

    def __post_init__(self) -> None:
        require_share("data.false_negative_rate", self.false_negative_rate)
        require(self.path is None or self.source is Source.folder, "data.path", self.path,
                 "set together with data=folder (a named data set's folder is data.root)")  # fmt: skip
        require(self.source is not Source.folder or self.path is not None, "data.path", self.path,
                 "a folder with train.txt, valid.txt and test.txt")  # fmt: skip

    @property
    def folder(self) -> Path | None:
        """Where the files are; None is the copy inside pykeen."""
        place = self.path or self.root
        return None if place is None else Path(place).expanduser()

    @property
    def cache_folder(self) -> Path:
        return Path(self.cache).expanduser()
