"""The command line of `launch/data.py`, which begins with words."""

from collections.abc import Sequence

from kalm.config import Command, Source

NAMES = {source.value for source in Source} - {Source.folder.value, Source.pykeen.value}


def as_overrides(arguments: Sequence[str]) -> list[str]:
    """The arguments with COMMAND and SOURCE at their beginning, either of which may be missing, as KEY=VALUE.

    `umls` names the data set; a folder of that name is `./umls`.
    """
    rest = list(arguments)
    overrides = []
    if rest and rest[0] in {command.value for command in Command}:
        overrides.append(f"command={rest.pop(0)}")
        if rest and not rest[0].startswith("-") and "=" not in rest[0]:
            source = rest.pop(0)
            overrides.append(f"data={source}" if source in NAMES else f"data.path={source}")
    return overrides + rest
