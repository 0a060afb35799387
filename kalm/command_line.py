"""What the hydra entry points share: the command line, and faults as one line."""

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kalm.composition import complete_groups
from kalm.explanation import explain
from kalm.manual import manual

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
USER_ERROR = 2  # exit code for what a user can mend
FLAGS_WITH_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"}
# a run's own config has no section for hydra, which would then make a folder of its own
QUIET = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]


def run(
    task: Callable[[DictConfig], None],
    *,
    config_name: str,
    schema: type,
    multirun: Callable[[Sequence[str]], int] | None = None,
    verbatim: Collection[str] = (),
) -> None:
    """Call `task` with the composed config; a fault of the user ends it with one line and exit code 2.

    Args:
        task: the entry point's work.
        config_name: file in `conf/` that heads the config.
        schema: the dataclass that the config becomes; right names are suggested from it.
        multirun: takes the overrides given with --multirun and returns the exit code; without it, hydra's own
            --multirun calls `task` with one job after the other in this process.
        verbatim: keys whose values are taken as they are typed, whatever commas or brackets are in them.
    """
    flags, overrides = _split(sys.argv[1:])
    sys.argv[1:] = [quoted(argument, verbatim) for argument in clean_arguments(sys.argv[1:])]
    # transformers' own bars would write over kalm's, and into log files
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # lets exceptions reach this function instead of ending the process inside hydra
    os.environ["HYDRA_FULL_ERROR"] = "1"
    debug = "debug=true" in (argument.lower() for argument in sys.argv)
    faults: list[Exception] = []

    def guarded(composed: DictConfig) -> None:
        nonlocal debug
        debug = debug or OmegaConf.select(composed, "debug") is True
        try:
            task(composed)
        except (ValueError, OSError) as error:
            faults.append(error)  # raised in here, hydra would add lines of its own

    try:
        if multirun is not None and _asks_for_multirun(flags):
            sys.exit(multirun(overrides))
        if flags and all(_asks_for_help(flag) for flag in flags):  # beside another config hydra says what is in that
            overrides = [quoted(override, verbatim) for override in complete_groups(overrides)]
            print(manual(CONF, config_name, schema, overrides))
            return
        hydra.main(version_base=None, config_path=str(CONF), config_name=config_name)(guarded)()
        if faults:
            raise faults[0]
    except (HydraException, OmegaConfBaseException) as error:
        if debug:
            raise
        _fail(explain(error, schema))
    except (ValueError, OSError) as error:
        if debug:
            raise
        _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def clean_arguments(arguments: Sequence[str]) -> list[str]:
    """What hydra is to see: flags, then overrides, since argparse wants those in one row.

    The launcher's --local_rank is left out (LOCAL_RANK says the same), and implied overrides are added.
    """
    flags, overrides = _split(arguments)
    if any(flag.partition("=")[0] in {"--config-name", "-cn"} for flag in flags):
        return [*flags, *QUIET, *overrides]
    return [*flags, *complete_groups(overrides)]


def quoted(argument: str, verbatim: Collection[str]) -> str:
    """The override KEY=VALUE with its value in quotes for hydra, if the key is among `verbatim`.

    Hydra reads `Paris, France` as two values, `00260622` as a number and `(a` as a fault.
    """
    key, equals, value = argument.partition("=")
    if not equals or key not in verbatim:
        return argument
    # hydra takes a backslash as it is unless a quote or the end follows; omegaconf would fill in ${...}
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"{key}='{escaped.replace('${', chr(92) + '${')}'"


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and overrides."""
    flags, overrides = [], []
    values = iter(arguments)
    for argument in values:
        if argument.startswith("--local_rank"):
            continue
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in FLAGS_WITH_VALUE:
            flags += [value for value in [next(values, None)] if value is not None]
    return flags, overrides


def _asks_for_help(flag: str) -> bool:
    # argparse takes a beginning of --help for the whole
    return flag == "-h" or (len(flag) > 2 and "--help".startswith(flag))


def _asks_for_multirun(flags: Sequence[str]) -> bool:
    # argparse takes a beginning of --multirun for the whole
    multirun = [flag for flag in flags if flag == "-m" or (len(flag) > 2 and "--multirun".startswith(flag))]
    if not multirun or any(_asks_for_help(flag) or flag == "--hydra-help" for flag in flags):
        return False
    others = [flag for flag in flags if flag not in multirun]
    if others:
        raise ValueError(f"{others[0]} has no place beside {multirun[0]}: a sweep takes overrides alone")
    return True


def _fail(line: str) -> None:
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0:
        # a fault is mostly everyone's: rank 0 says it, and the launcher ends this process before it repeats it
        time.sleep(3)
    print(f"error: {line}", file=sys.stderr, flush=True)
    sys.exit(USER_ERROR)
