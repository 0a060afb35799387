"""What is looked at or imported before a training run."""

from dataclasses import dataclass
from enum import Enum

from kalm.config.checks import require, require_at_least
from kalm.config.data import DataConfig
from kalm.config.model import ModelConfig
from kalm.config.template import TemplateConfig

# what `launch/data.py` does; made by a call, since `import` is a word of Python
Command = Enum("Command", {"inspect": "inspect", "import": "import"})


@dataclass(kw_only=True, slots=True)
class PreparationConfig:
    """Everything `launch/data.py` reads."""

    command: Command  # show what a graph holds, or write it in kalm's own form
    to: str | None  # the new folder that import writes
    num_shown: int  # triples shown as sequences, and rows of each list
    data: DataConfig
    template: TemplateConfig
    model: ModelConfig  # its tokenizer alone; no LM is loaded
    debug: bool  # show tracebacks

    def __post_init__(self) -> None:
        require_at_least("num_shown", self.num_shown, 0)
        require((self.to is not None) == (self.command.value == "import"), "to", self.to,
                "given with import and with it alone: the folder to write")  # fmt: skip
