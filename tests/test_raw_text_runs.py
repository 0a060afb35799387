"""Training runs that read raw text: the anchor, and adapters that start in the null space."""

import json
import sys

import numpy as np
import pytest
from conftest import ROOT, make_encoder
from safetensors.numpy import load_file
from test_entry_points import DEEPSPEED, Workplace, assert_user_error

STEPS = ["training.batch_size=8", "training.log_every_steps=1", "training.max_steps=6", "training.learning_rate=1e-2",
         "objective.retention.window_tokens=16", "objective.retention.tokens_per_step=64"]  # fmt: skip
ADAPTERS = ["model.lora.enabled=true", "model.lora.rank=4", "model.lora.init=null_space", "model.lora.init_tokens=640",
            "model.lora.train_first_factor=false"]  # fmt: skip


class RawTextWorkplace(Workplace):
    def command(self, *arguments, launcher=(sys.executable,)):
        return [*launcher, str(ROOT / "launch" / "train.py"), *self.common, f"model.path={self.folder / 'base'}",
                *STEPS, *arguments]  # fmt: skip

    def logged(self, name: str) -> list[dict]:
        return [json.loads(line) for line in (self.run(name) / "metrics.jsonl").read_text().splitlines()]

    def retention(self, name: str) -> list[float]:
        return [line["loss/retention"] for line in self.logged(name) if "lr" in line]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, offline_environment, warm_python, tokenizer):
    workplace = RawTextWorkplace(tmp_path_factory.mktemp("raw"), offline_environment, warm_python)
    make_encoder(tokenizer).save_pretrained(workplace.folder / "base")
    tokenizer.save_pretrained(workplace.folder / "base")
    lines = [f"It was the {i}th day of a long walk, they said.\n" for i in range(60)]
    (workplace.folder / "raw.txt").write_text("".join(lines))
    (workplace.folder / "short.txt").write_text("too short")
    workplace.anchor = ("objective.retention_weight=5", f"objective.retention.text={workplace.folder / 'raw.txt'}")
    workplace.adapters = (*ADAPTERS, f"model.lora.init_text={workplace.folder / 'raw.txt'}")
    return workplace


def assert_halves_equal_the_whole(workplace, switches, launcher=(sys.executable,)) -> None:
    whole = workplace.train("run.name=whole", *switches, launcher=launcher)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "retention 0." in whole.stdout
    for part in ("training.stop_after_steps=3", "training.resume=true"):
        result = workplace.train("run.name=halves", part, *switches, launcher=launcher)
        assert result.returncode == 0, result.stdout + result.stderr
    assert workplace.losses("halves") == workplace.losses("whole")
    found = workplace.retention("whole")
    assert workplace.retention("halves") == found
    assert abs(found[0]) < 1e-6 < found[-1], "the first step starts from the base"
    weights = [load_file(next((workplace.run(name) / "model").glob("*.safetensors"))) for name in ("whole", "halves")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_a_run_with_anchor_and_null_space_adapters_trains_and_resumes_bit_for_bit(workplace):
    switches = (*workplace.anchor, *workplace.adapters)
    assert_halves_equal_the_whole(workplace, switches)
    saved = load_file(workplace.run("whole") / "model" / "adapter_model.safetensors")
    start = load_file(workplace.run("whole") / "checkpoints" / "first-factors.safetensors")
    for name, factor in start.items():
        assert np.array_equal(saved[f"{name}.lora_A.weight"], factor), "it stays in the null space"
    assert len(json.loads((workplace.run("whole") / "environment.json").read_text())["texts"]) == 2

    text = workplace.folder / "raw.txt"
    content = text.read_text()
    text.write_text(content + "more")
    changed = workplace.train("run.name=whole", "training.resume=true", *switches)
    text.write_text(content)
    assert_user_error(changed, "objective.retention.text and model.lora.init_text changed since the run was started")


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 3])
def test_a_whole_lm_on_two_processes_trains_and_resumes_bit_for_bit(workplace, zero_stage):
    switches = (*workplace.anchor, "training.micro_batch_size=1", f"deepspeed.zero_stage={zero_stage}",
                "run.overwrite=true", "evaluation.every_steps=4")  # fmt: skip
    assert_halves_equal_the_whole(workplace, switches, (DEEPSPEED, "--num_gpus", "2", "--master_port", "29617"))
    files = {path.name: path.stat().st_size for path in (workplace.run("whole") / "model").iterdir()}
    base = (workplace.folder / "base" / "model.safetensors").stat().st_size
    assert files["model.safetensors"] == pytest.approx(base, rel=0.01), "the base is no part of the result"


@pytest.mark.slow
def test_a_stronger_anchor_diverges_less_and_a_dry_run_counts_the_base(workplace):
    text = workplace.anchor[1]
    for weight in ("0.01", "100"):
        switches = (text, f"objective.retention_weight={weight}", "training.max_steps=12")
        result = workplace.train(f"run.name=weight-{weight}", *switches)
        assert result.returncode == 0, result.stderr
    assert workplace.retention("weight-100")[-1] < 0.5 * workplace.retention("weight-0.01")[-1]
    dry = workplace.train("run.name=dry", *workplace.anchor, "training.dry_run=true")
    assert dry.returncode == 0, dry.stderr
    sizes = next(line for line in dry.stdout.splitlines() if "frozen" in line)
    trained, frozen = (int(word.replace(",", "")) for word in sizes.split() if word.replace(",", "").isdigit())
    assert frozen == trained - 1, "the base is as large, without the temperature"
    assert not workplace.run("dry").exists()


BAD = {
    "a text shorter than a step": (["objective.retention_weight=1", "objective.retention.text=short.txt"],
                                   ["objective.retention.text", "short.txt has", "a step takes 4 windows of 16"]),
    "more ranks than inputs": ([*ADAPTERS, "model.lora.init_text=raw.txt", "model.lora.rank=20"],
                               ["model.lora.rank=20", "has 16 inputs", "set it to 16 or less"]),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", ["a text shorter than a step", pytest.param("more ranks than inputs", marks=pytest.mark.slow)]
)
def test_bad_raw_text_is_one_line_and_leaves_nothing(workplace, case):
    arguments, fragments = BAD[case]
    assert_user_error(workplace.train("run.name=bad", *arguments), *fragments)
    assert not workplace.run("bad").exists()
