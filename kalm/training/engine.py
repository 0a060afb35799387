"""DeepSpeed: one dictionary from one config, and the engine it makes."""

import logging
import os
import warnings
from typing import Any

import torch
from torch import nn

from kalm.config import Config, Dtype, Schedule
from kalm.distributed import choose_device, threads_of_process
from kalm.training.port import free_port


def init_distributed() -> torch.device:
    """Join the other processes and choose this one's device.

    Works under `deepspeed`, under torchrun, and as plain `python`, which is then the only process.

    Raises:
        ValueError: the port where the processes meet is taken.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        # alone there is nobody to meet: any free port will do, so that several runs fit on one machine
        os.environ.update(
            RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port())
        )
    device = choose_device()
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it found no GPU
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # ZeRO-3 calls collective operations by names that torch 2.13 renames
    warnings.filterwarnings("ignore", r".torch\.distributed\.\w+_tensor. is deprecated", FutureWarning)
    if device.type == "cpu":
        # DeepSpeed would compile a shared-memory all-reduce: half a minute, a C++ compiler, and a lock that a
        # killed run leaves behind to hang the next one. gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        torch.set_num_threads(threads_of_process())
    try:
        deepspeed.init_distributed(dist_backend="nccl" if device.type == "cuda" else "gloo", verbose=False)
    except torch.distributed.DistNetworkError as error:
        port = os.environ.get("MASTER_PORT")
        raise ValueError(
            f"port {port}, where the processes are to meet, cannot be used (another run?); choose another: "
            f"deepspeed --master_port NUMBER launch/train.py ... ({_first_line(error)})"
        ) from error
    return device


def check_device(config: Config, device: torch.device) -> None:
    """Refuse what only a GPU can do, before data and model load.

    Raises:
        ValueError: something is to be offloaded from a GPU and there is none.
    """
    for name in ("offload_optimizer", "offload_parameters"):
        if getattr(config.deepspeed, name) and device.type == "cpu":
            raise ValueError(f"deepspeed.{name}=true needs a GPU to offload from, and none is found; set it to false")


def initialize(objective: nn.Module, config: Config, *, world_size: int, total_steps: int) -> Any:
    """The DeepSpeed engine around the objective."""
    import deepspeed

    engine, *_ = deepspeed.initialize(
        model=objective,
        model_parameters=parameter_groups(objective, config.training.weight_decay),
        config=deepspeed_dictionary(config, world_size=world_size, total_steps=total_steps),
    )
    if world_size == 1 and config.deepspeed.zero_stage == 0 and config.model.dtype is Dtype.float32:
        # one process has nobody to average with; DeepSpeed would copy all gradients there and back
        engine.enable_backward_allreduce = False
    engine.lr_scheduler.step(0)  # else the first step would have a learning rate of 0
    return engine


def deepspeed_dictionary(config: Config, *, world_size: int, total_steps: int) -> dict[str, Any]:
    """All that DeepSpeed is told; nothing is left to its defaults that changes a result."""
    training = config.training
    offload = config.deepspeed.offload_optimizer
    share = config.step_size // world_size
    micro_batch_size = training.micro_batch_size or share
    return {
        "train_batch_size": config.step_size,
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": share // micro_batch_size,
        "gradient_clipping": training.max_gradient_norm,
        "bf16": {"enabled": config.model.dtype is Dtype.bfloat16},
        "zero_optimization": {
            "stage": config.deepspeed.zero_stage,
            **({"offload_optimizer": {"device": "cpu"}} if offload else {}),
            **({"offload_param": {"device": "cpu"}} if config.deepspeed.offload_parameters else {}),
        },
        # with the optimizer on the GPU torch's own AdamW needs no compiler; off it, DeepSpeed's is far faster
        "zero_force_ds_cpu_optimizer": offload,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": training.learning_rate,
                "betas": list(training.adam_betas),
                "eps": training.adam_epsilon,
                "weight_decay": training.weight_decay,
                # fused: on a CPU a quarter of the time of torch's loop over parameters
                **({} if offload else {"torch_adam": True, "fused": True}),
            },
        },
        "scheduler": _scheduler(config, total_steps),
        "steps_per_print": total_steps + 1,  # kalm reports progress itself
    }


def parameter_groups(objective: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases and the temperature do not, since 0 has no meaning for them."""
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _scheduler(config: Config, total_steps: int) -> dict[str, Any]:
    training = config.training
    # DeepSpeed's warm-up divides by the logarithm of its steps, hence at least 2
    warmup_steps = max(2, round(training.warmup_ratio * total_steps))
    if training.schedule is Schedule.cosine:
        return {
            "type": "WarmupCosineLR",
            "params": {
                "total_num_steps": max(total_steps, warmup_steps + 1),
                "warmup_num_steps": warmup_steps,
                "warmup_min_ratio": 0.01,
                "cos_min_ratio": 0.0,
                "warmup_type": "linear",
            },
        }
    params: dict[str, Any] = {
        "warmup_min_lr": 0.01 * training.learning_rate,
        "warmup_max_lr": training.learning_rate,
        "warmup_num_steps": warmup_steps,
        "warmup_type": "linear",
    }
    if training.schedule is Schedule.constant:
        return {"type": "WarmupLR", "params": params}
    return {"type": "WarmupDecayLR", "params": {**params, "total_num_steps": max(total_steps, warmup_steps + 1)}}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
