"""ZeRO 0 to 3 on two processes give the gradients of one process without DeepSpeed."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir

from kalm.composition import load_config
from kalm.config import LoraConfig
from kalm.model.dual_view_lm import DualViewLM
from kalm.model.loading import add_lora
from kalm.objective.joint import JointObjective
from kalm.text.batch import collate

WORKER = Path(__file__).with_name("zero_worker.py")


@pytest.mark.parametrize("lora", [False, True])
def test_gradients_of_the_engine_are_those_of_one_process(
    lora, tmp_path, encoder, table, toy_graph, offline_environment
):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        # tiny chunks, so that ranks with different numbers of tail tokens must agree on the number of chunks
        config = load_config(compose("train", overrides=["training.batch_size=12", "objective.logit_chunk_tokens=7",
                                                         "training.max_gradient_norm=0"]))  # fmt: skip
    if lora:
        adapters = LoraConfig(enabled=True, rank=2, alpha=4.0, dropout=0.0, target="all-linear")
        encoder = DualViewLM(add_lora(encoder.lm, adapters), dropout=0.0)
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)  # zeros would hide the first factors' gradients
    objective = JointObjective(
        encoder, config.objective, torch.from_numpy(toy_graph.known_tail_keys(["train"])),
        num_relations=toy_graph.num_relations, num_entities=toy_graph.num_entities,
    )  # fmt: skip
    directed = toy_graph.directed("train")[:24]
    torch.save((objective, table, directed, config), tmp_path / "task.pt")
    objective(collate(directed, table, num_groups=2)).total.backward()
    expected = {name: p.grad for name, p in objective.named_parameters() if p.requires_grad}

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(tmp_path), str(rank), "2", port], env=offline_environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [worker.communicate(timeout=150)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    results = torch.load(tmp_path / "results.pt")
    assert set(results) == {0, 1, 2, 3}
    for stage, gradients in results.items():
        assert set(gradients) == set(expected)
        for name, gradient in expected.items():
            # float32 sums in another order: noise grows with the tensor's largest gradient, while a wrong factor or
            # a lost row would be off by percents of it
            noise = 2e-5 * float(gradient.abs().max())
            assert float((gradients[name] - gradient).abs().max()) <= noise, f"ZeRO-{stage} {name}"
