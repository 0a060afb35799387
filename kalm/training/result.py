"""The result of a run: a model folder that transformers or peft loads as it is."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from kalm.config import Config
from kalm.distributed import barrier, broadcast, rank
from kalm.model.loading import ADAPTER_CONFIG, KALM_FILE, require_adapter
from kalm.objective.joint import JointObjective
from kalm.provenance import write_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The best model so far, by the MRR of a sample of valid queries."""

    step: int
    valid_mrr: float


def save_model(
    objective: JointObjective,
    tokenizer: PreTrainedTokenizerFast,
    config: Config,
    description: dict[str, Any],
) -> None:
    """Replace `model/` of the run: weights as safetensors, tokenizer, kalm.json.

    Under ZeRO-3 every rank must call it, since weights are gathered from all of them.

    Raises:
        ValueError: the saved adapter is empty.
    """
    import deepspeed

    folder = config.run.folder / "model"
    unfinished = folder.with_name(".unfinished-model")
    # not the frozen base beside it, which is as large again and is not saved
    with deepspeed.zero.GatheredParameters([*objective.encoder.parameters(), objective.log_temperature_change]):
        if rank() == 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            objective.encoder.save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
            write_json(unfinished / KALM_FILE, {
                "template": asdict(config.template),
                "sites": {
                    "entity": f"last token of the {'head' if config.template.target is None else 'target'} segment",
                    "query": "last token of the relation segment",
                },
                "quantization": config.model.quantization.value,
                "temperature": float(objective.temperature().detach()),
                "base": _absolute_if_folder(config.model.path),
                **description,
            })  # fmt: skip
            if (unfinished / ADAPTER_CONFIG).is_file():
                require_adapter(unfinished)
            old = folder.with_name(".old-model")
            shutil.rmtree(old, ignore_errors=True)
            if folder.is_dir():
                folder.rename(old)
            unfinished.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
    barrier()


def kept_model(config: Config) -> Kept | None:
    """What `model/` holds of a run that keeps the best, the same answer on all ranks; None without such a model."""
    path = config.run.folder / "model" / KALM_FILE
    kept = None
    if rank() == 0 and path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        kept = None if saved["valid_mrr"] is None else Kept(step=saved["step"], valid_mrr=saved["valid_mrr"])
    return broadcast(kept)  # type: ignore[no-any-return]


def _absolute_if_folder(path: str | None) -> str | None:
    if path is None or not Path(path).expanduser().is_dir():
        return path
    return str(Path(path).expanduser().resolve())
