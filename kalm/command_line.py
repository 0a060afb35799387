"""What all entry points share: hydra's command line, and faults as one line."""

import os
import sys
import time
from collections.abc import Callable, Sequence

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from kalm.config import complete_groups, explain

USER_ERROR = 2  # exit code for what a user can mend


def run(main: Callable[[], None], schema: type) -> None:
    """Call a `hydra.main` function; a fault of the user ends it with one line and exit code 2.

    Args:
        main: takes its arguments from the command line.
        schema: the dataclass its config becomes; right names are suggested from it.
    """
    sys.argv[1:] = clean_arguments(sys.argv[1:])
    # transformers' own bars would write over kalm's, and into log files
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if "debug=true" in (argument.lower() for argument in sys.argv):
        main()
        return
    # lets exceptions reach this function instead of ending the process inside hydra
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain(error, schema))
    except (ValueError, OSError) as error:
        _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)


def clean_arguments(arguments: Sequence[str]) -> list[str]:
    """What hydra is to see: without the launcher's --local_rank (LOCAL_RANK says the same), with implied groups."""
    own = [argument for argument in arguments if not argument.startswith("--local_rank")]
    return complete_groups(own)


def _fail(line: str) -> None:
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0:
        # a fault is mostly everyone's: rank 0 says it, and the launcher ends this process before it repeats it
        time.sleep(3)
    print(f"error: {line}", file=sys.stderr, flush=True)
    sys.exit(USER_ERROR)
