"""The commands that users type, as subprocesses on a toy graph."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write_toy_graph
from reproduce_ranks import ranks_from_embeddings
from safetensors.numpy import load_file
from warm import WarmPython

TINY = [
    "model.scratch.hidden_size=16", "model.scratch.intermediate_size=24", "model.scratch.num_layers=2",
    "model.scratch.num_heads=2", "model.scratch.vocab_size=300", "training.batch_size=8", "training.log_every_steps=1",
    "training.max_steps=10",
]  # fmt: skip

DEEPSPEED = str(Path(sys.executable).with_name("deepspeed"))


class Workplace:
    """A folder with a toy graph, and the commands run in it."""

    def __init__(self, folder: Path, environment: dict[str, str], warm_python: WarmPython) -> None:
        self.folder = folder
        self.environment = environment
        self.warm_python = warm_python
        write_toy_graph(folder / "toy")
        self.common = [f"data.path={folder / 'toy'}", f"data.cache={folder / 'cache'}", f"run.root={folder / 'runs'}"]

    def command(self, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> list[str]:
        return [*launcher, str(ROOT / "launch" / "train.py"), *self.common, *TINY, *arguments]

    def train(self, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess:
        return self.call(self.command(*arguments, launcher=launcher))

    def start(self, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*arguments, launcher=launcher), cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def checkpoint_step(self, name: str) -> int:
        (checkpoint,) = (self.run(name) / "checkpoints").glob("step-*")
        return json.loads((checkpoint / "progress.json").read_text())["step"]

    def kgc(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.call([sys.executable, str(ROOT / "eval" / "kgc.py"), *arguments])

    def call(self, command: list[str]) -> subprocess.CompletedProcess:
        if command[0] == sys.executable:
            return self.warm_python.run(command[1:], environment=self.environment, cwd=self.folder)
        return self.call_cold(command)

    def call_cold(self, command: list[str]) -> subprocess.CompletedProcess:
        """As a user does, with all that is imported."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name

    def losses(self, name: str) -> list[tuple[float, float]]:
        lines = [json.loads(line) for line in (self.run(name) / "metrics.jsonl").read_text().splitlines()]
        return [(line["loss/contrastive"], line["loss/triple_completion"]) for line in lines if "lr" in line]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, offline_environment, warm_python):
    return Workplace(tmp_path_factory.mktemp("work"), offline_environment, warm_python)


@pytest.fixture(scope="module")
def trained(workplace):
    """A finished run of ten steps, with dropout, under the DeepSpeed launcher."""
    result = workplace.train("run.name=whole", launcher=(DEEPSPEED,))
    assert result.returncode == 0, result.stderr
    return workplace


def assert_user_error(result: subprocess.CompletedProcess, *fragments: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    for fragment in fragments:
        assert fragment in line
    assert "Traceback" not in result.stderr


def test_a_run_leaves_the_promised_files(trained):
    run = trained.run("whole")
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "model/model.safetensors",
                 "model/tokenizer.json", "model/kalm.json", "checkpoints/step-00000010"):  # fmt: skip
        assert (run / name).exists(), name
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert {"epoch", "loss/contrastive", "loss/triple_completion", "temperature", "lr", "triples_per_second",
            "tokens_per_second"} <= lines[0].keys()  # fmt: skip
    assert lines[0]["temperature"] != lines[-1]["temperature"], "the temperature must be learned"
    assert not [path for path in run.rglob("*") if "unfinished" in path.name]


def test_the_model_folder_loads_in_transformers_as_it_is(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = trained.run("whole") / "model"
    lm, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert len(AutoTokenizer.from_pretrained(folder)) == lm.config.vocab_size


def test_the_saved_config_starts_the_run_again(trained):
    run = trained.run("whole")
    command = [sys.executable, str(ROOT / "launch" / "train.py"), "--config-dir", str(run), "--config-name", "config",
               "run.name=again"]  # fmt: skip
    assert trained.call(command).returncode == 0
    assert trained.losses("again") == trained.losses("whole")


def test_evaluation_writes_files_from_which_ranks_and_metrics_can_be_recomputed(trained):
    result = trained.call_cold([sys.executable, str(ROOT / "eval" / "kgc.py"), "run=runs/whole", "split=test",
                                "save_embeddings=true"])  # fmt: skip
    assert result.returncode == 0, result.stderr
    for row in ("relation frequency", "untrained LM", "trained LM"):
        assert row in result.stdout
    assert result.stdout.splitlines()[-1].endswith("runs/whole/report.html")
    assert "before training" in (trained.run("whole") / "report.html").read_text()
    folder = trained.run("whole") / "eval"
    report = json.loads((folder / "kgc-test.json").read_text())
    assert report["protocol"]["filter"] == ["train", "valid", "test"]
    ranks = [line.split("\t") for line in (folder / "kgc-test.ranks.tsv").read_text().splitlines()]
    realistic = np.array([float(row[4]) for row in ranks])
    assert report["metrics"]["both"]["mrr"] == pytest.approx((1 / realistic).mean(), abs=1e-12)
    assert report["metrics"]["both"]["count"] == len(ranks) == 2 * 4
    assert report["metrics"]["head"]["count"] == 4
    assert sum(group["both"]["count"] for group in report["per_relation"].values()) == 8
    low, high = report["intervals"]["both"]["mrr"]
    assert low <= report["metrics"]["both"]["mrr"] <= high
    for groups in report["breakdown"].values():
        assert sum(group["both"]["count"] for group in groups.values()) == 8
    by_ties = [report["metrics_by_ties"][ties]["both"]["mr"] for ties in ("optimistic", "realistic", "pessimistic")]
    assert by_ties == sorted(by_ties)

    known = {
        tuple(line.split("\t"))
        for split in ("train", "valid", "test")
        for line in (trained.folder / "toy" / f"{split}.txt").read_text().splitlines()
    }
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("entities.npy", "queries.npy")
    }
    assert report["embeddings"] == digests
    assert ranks_from_embeddings(folder, "test", known).tolist() == realistic.tolist()
    for *_, rank, low, high, num_candidates in ranks:
        assert float(rank) == (int(low) + int(high)) / 2
        assert int(high) <= int(num_candidates)

    first = json.loads((folder / "kgc-test.predictions.jsonl").read_text().splitlines()[0])
    assert first["anchor_name"] == "Ann"
    assert len(first["predictions"]) == 10
    assert {prediction["known"] for prediction in first["predictions"]} == {True, False}


def test_fused_scores_stand_beside_the_embeddings_own(trained):
    folder = trained.run("whole") / "eval"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for stale in ("predictions.ivf.jsonl", "compared-with-a.json"):
        (folder / f"kgc-test.{stale}").touch()
    result = trained.kgc("run=runs/whole", "split=test", "scores=fused", "fused.top_k=4", "baselines=false")
    assert result.returncode == 0, result.stderr
    for row in ("embedding", "generation, top 4", "fused, top 4", "fused less embedding, MRR: "):
        assert row in result.stdout
    assert {path.name for path in folder.glob("kgc-*")} == {
        f"kgc-test.{ending}" for ending in ("json", "ranks.tsv", "fused.ranks.tsv", "predictions.jsonl")
    }, "nothing of an earlier evaluation of the split"
    report = json.loads((folder / "kgc-test.json").read_text())
    assert report["generation"].keys() == report["fused"].keys() == report["metrics"].keys()
    difference = report["fused"]["both"]["mrr"] - report["metrics"]["both"]["mrr"]
    assert report["fused_less_embedding"]["mrr"]["difference"] == pytest.approx(difference, abs=1e-12)
    ranks = [float(line.split("\t")[4]) for line in (folder / "kgc-test.fused.ranks.tsv").read_text().splitlines()]
    assert report["fused"]["both"]["mrr"] == pytest.approx((1 / np.array(ranks)).mean(), abs=1e-12)


@pytest.mark.slow  # the engine on two processes is in test_zero
def test_two_processes_give_the_losses_and_weights_of_one(workplace):
    exact = ("model.dropout=0.0", "training.max_steps=6")
    one = workplace.train("run.name=one", *exact)
    two = workplace.train("run.name=two", *exact, launcher=(DEEPSPEED, "--num_gpus", "2", "--master_port", "29611"))
    assert one.returncode == two.returncode == 0, two.stderr
    assert "on 2 x cpu" in two.stdout
    # float32 sums in another order, carried through six optimizer steps
    np.testing.assert_allclose(workplace.losses("two"), workplace.losses("one"), rtol=1e-4)
    weights_one, weights_two = (load_file(workplace.run(n) / "model" / "model.safetensors") for n in ("one", "two"))
    for name, weight in weights_one.items():
        np.testing.assert_allclose(weights_two[name], weight, atol=2e-4, err_msg=name)


def test_five_steps_and_resume_by_name_equal_ten_bit_for_bit(trained):
    assert trained.train("run.name=halves", "training.stop_after_steps=5").returncode == 0
    command = [sys.executable, str(ROOT / "launch" / "train.py"), trained.common[2], "run.name=halves",
               "training.resume=true"]  # fmt: skip
    assert_user_error(trained.call([*command, "training.learning_rate=0.5"]), "training.learning_rate=0.001, not 0.5")
    assert_user_error(trained.call([*command, "data=umls"]), "data.source='folder', not 'umls'")
    assert trained.call(command).returncode == 0
    assert trained.losses("halves") == trained.losses("whole")
    whole, halves = (load_file(trained.run(name) / "model" / "model.safetensors") for name in ("whole", "halves"))
    for name, weight in whole.items():
        assert np.array_equal(weight, halves[name]), name
    temperatures = [json.loads((trained.run(n) / "model" / "kalm.json").read_text())["temperature"]
                    for n in ("whole", "halves")]  # fmt: skip
    assert temperatures[0] == temperatures[1]


@pytest.mark.slow
def test_a_dry_run_of_a_resumed_run_counts_the_steps_left_and_touches_nothing(trained):
    assert trained.train("run.name=paused", "training.stop_after_steps=7").returncode == 0
    files = {path: path.read_bytes() for path in trained.run("paused").rglob("*") if path.is_file()}
    result = trained.train("run.name=paused", "training.resume=true", "training.dry_run=true")
    assert result.returncode == 0, result.stderr
    assert "3 of 8 triples" in result.stdout
    assert files == {path: path.read_bytes() for path in trained.run("paused").rglob("*") if path.is_file()}
    finished = trained.train("run.name=whole", "training.resume=true", "training.dry_run=true")
    assert_user_error(finished, "training.dry_run", "its last step, 10")


def test_the_best_model_is_kept_and_patience_ends_the_run(workplace):
    # a learning rate that changes nothing: no evaluation is better than the first
    still = ("model.dropout=0", "training.learning_rate=1e-30", "evaluation.every_steps=2", "evaluation.patience=2",
             "evaluation.num_queries=3")  # fmt: skip
    result = workplace.train("run.name=patient", *still)
    assert result.returncode == 0, result.stderr
    assert "done at step 6: no better valid MRR since step 2" in result.stdout
    kept = json.loads((workplace.run("patient") / "model" / "kalm.json").read_text())
    lines = [json.loads(line) for line in (workplace.run("patient") / "metrics.jsonl").read_text().splitlines()]
    samples = [line for line in lines if "valid_sample/mrr" in line]
    assert [line["step"] for line in samples] == [2, 4, 6]
    assert [line["valid_sample/count"] for line in samples] == [3, 3, 3]
    assert (kept["step"], kept["valid_mrr"]) == (2, samples[0]["valid_sample/mrr"])
    # as a kill leaves it that comes between a checkpoint and the evaluation after it
    (workplace.run("patient") / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    again = workplace.train("run.name=patient", "training.resume=true")
    assert again.returncode == 0, again.stderr
    assert "done at step 6" in again.stdout
    resumed = [json.loads(line) for line in (workplace.run("patient") / "metrics.jsonl").read_text().splitlines()]
    assert resumed[:-1] == lines[:-1]
    assert resumed[-1] == pytest.approx(lines[-1])


@pytest.mark.slow
def test_two_processes_evaluate_as_one_does(trained):
    files = ("kgc-test.json", "kgc-test.ranks.tsv")
    assert trained.kgc("run=runs/whole").returncode == 0
    one, ranks = ((trained.run("whole") / "eval" / name).read_text() for name in files)
    command = [DEEPSPEED, "--num_gpus", "2", "--master_port", "29616", str(ROOT / "eval" / "kgc.py"), "run=runs/whole"]
    result = trained.call(command)
    assert result.returncode == 0, result.stderr
    assert (trained.run("whole") / "eval" / files[1]).read_text() == ranks
    two = json.loads((trained.run("whole") / "eval" / files[0]).read_text())
    assert two["metrics"] == json.loads(one)["metrics"]
    assert two["baselines"] == json.loads(one)["baselines"]


def test_a_run_that_cannot_start_leaves_the_old_one(trained):
    before = sorted(trained.run("whole").rglob("*"))
    result = trained.train("run.name=whole", "run.overwrite=true", "model.scratch.max_length=9",
                           "objective.negatives.scope=rank")  # fmt: skip
    assert_user_error(result, "template.max_description_tokens", "the LM takes 9", "or set model.scratch.max_length=")
    assert "note: objective.negatives.scope=rank changes nothing here" in result.stdout
    assert sorted(trained.run("whole").rglob("*")) == before


def test_sigterm_saves_and_leaves_and_a_second_writer_is_refused(workplace):
    long = ("run.name=stopped", "training.max_steps=100000")
    # SIGTERM reaches the deepspeed command alone, as `kill` or a batch system would send it
    with workplace.start(*long, launcher=(DEEPSPEED, "--master_port", "29612")) as process:
        assert any(line.startswith("step 3/") for line in process.stdout)
        assert_user_error(workplace.train(*long, "training.resume=true"), "is being written by another run")
        process.send_signal(signal.SIGTERM)
        assert "stopped at step" in process.stdout.read()
    assert workplace.checkpoint_step("stopped") >= 3


@pytest.mark.slow
def test_ctrl_c_saves_and_leaves_a_resumed_run_too(workplace):
    long = ("run.name=stopped", "training.max_steps=100000")
    assert workplace.train(*long, "training.stop_after_steps=3").returncode == 0
    step = workplace.checkpoint_step("stopped")
    with workplace.start(*long, "training.resume=true") as process:
        assert any(line.startswith(f"step {step + 3}/") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert "stopped at step" in process.stdout.read()
    assert process.returncode == 0
    assert workplace.checkpoint_step("stopped") >= step + 3
    assert len(workplace.losses("stopped")) == workplace.checkpoint_step("stopped")


def test_a_run_is_not_overwritten_unless_asked(trained):
    assert_user_error(trained.train("run.name=whole"), "already holds a run", "run.overwrite=true")


# one of each step on the way to the first batch; what else a config may have wrong stands in test_config.py
BAD = {
    "mistyped key": (["training.learning_rat=1"], ["training.learning_rat", "did you mean training.learning_rate"]),
    "nan": (["training.learning_rate=nan"], ["training.learning_rate", "a finite number > 0", "nan"]),
    "missing graph": (["data.path=nowhere"], ["data.path", "nowhere", "a file or folder that exists"]),
    "batch larger than the graph, in micro-batches": (
        ["training.batch_size=15", "training.micro_batch_size=5"],
        ["training.batch_size=15: the graph has 14 training triples; set it to 14 or less, and"],
    ),
    "offload without a GPU": (
        ["deepspeed.offload_optimizer=true", "deepspeed.zero_stage=2"],
        ["deepspeed.offload_optimizer", "needs a GPU"],
    ),
    "nothing to resume": (["training.resume=true"], ["training.resume=true", "holds no checkpoint"]),
    "nothing to estimate": (["training.resume=true", "training.dry_run=true"], ["holds no checkpoint"]),
}


BAD_ALWAYS_TRIED = ("mistyped key", "batch larger than the graph, in micro-batches", "nothing to resume")


@pytest.mark.parametrize(
    "case", [case if case in BAD_ALWAYS_TRIED else pytest.param(case, marks=pytest.mark.slow) for case in BAD]
)
def test_a_bad_config_is_one_line_and_leaves_nothing(workplace, case):
    arguments, fragments = BAD[case]
    result = workplace.train("run.name=bad", *arguments)
    assert_user_error(result, *fragments)
    assert not workplace.run("bad").exists()


def test_an_unknown_model_folder_is_one_line(workplace):
    command = [sys.executable, str(ROOT / "launch" / "train.py"), *workplace.common, "model.path=./nowhere"]
    nowhere = str(workplace.folder / "nowhere")
    assert_user_error(workplace.call(command), "model.path", nowhere, "a folder with config.json")


def test_quantization_without_a_gpu_is_one_line(workplace, model_folder):
    command = [sys.executable, str(ROOT / "launch" / "train.py"), *workplace.common, f"model.path={model_folder}",
               "model.lora.enabled=true", "model.quantization=nf4", "model.dtype=bfloat16",
               "training.batch_size=8"]  # fmt: skip
    assert_user_error(workplace.call(command), "model.quantization=nf4 needs a GPU")


DIVERGING = ("training.warmup_ratio=0.0", "training.max_gradient_norm=0")


@pytest.mark.slow
def test_weights_that_an_update_broke_stop_all_processes_and_are_not_saved(workplace):
    result = workplace.train(
        "run.name=broken-weights", "training.learning_rate=1e30", "training.max_steps=2", *DIVERGING,
        launcher=(DEEPSPEED, "--num_gpus", "2", "--master_port", "29613"),
    )  # fmt: skip
    assert result.returncode != 0
    lines = {line for line in result.stderr.splitlines() if line.startswith("error: ")}
    assert len(lines) == 1, result.stderr
    (line,) = lines
    for fragment in ("step 2", "no checkpoint has been saved", "run.overwrite=true", "below 1e+30"):
        assert fragment in line
    assert "Traceback" not in result.stderr
    assert not (workplace.run("broken-weights") / "model").exists()
    assert not list((workplace.run("broken-weights") / "checkpoints").glob("step-*"))


def test_weights_that_an_update_broke_leave_the_checkpoint_and_the_model(trained):
    run = trained.run("diverged")
    shutil.copytree(trained.run("whole"), run)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("learning_rate: 0.001", "learning_rate: 1.0e+30"))
    model = (run / "model" / "model.safetensors").read_bytes()
    result = trained.train("run.name=diverged", "training.resume=true", "training.max_steps=40",
                           "training.checkpoint_every_steps=1")  # fmt: skip
    # the schedule's change comes one step later
    assert_user_error(result, "the update of step 12 broke the weights", str(run / "checkpoints" / "step-00000011"))
    assert trained.checkpoint_step("diverged") == 11
    assert (run / "model" / "model.safetensors").read_bytes() == model


@pytest.mark.slow
def test_five_steps_and_resume_equal_ten_with_a_queue_hard_negatives_and_micro_batches(workplace):
    switches = (
        "objective.negatives.queue_batches=2", "objective.negatives.hard_per_triple=1", "training.batch_size=2",
        "training.micro_batch_size=1",  # small, so that there are entities beside the batch's
        "objective.negatives.mine_every_steps=3", "objective.target_to_query_weight=0.5",
        "training.sampling=random_walk",
    )  # fmt: skip
    assert workplace.train("run.name=all", *switches).returncode == 0
    assert workplace.train("run.name=all-halves", "training.stop_after_steps=5", *switches).returncode == 0
    resumed = workplace.train("run.name=all-halves", "training.resume=true", *switches)
    assert resumed.returncode == 0, resumed.stderr
    assert "negatives per query: " in resumed.stdout
    assert workplace.losses("all-halves") == workplace.losses("all")
    lines = [json.loads(line) for line in (workplace.run("all") / "metrics.jsonl").read_text().splitlines()]
    for name in ("batch", "self", "hard", "queue", "masked", "queries"):
        assert any(line[f"negatives/{name}"] > 0 for line in lines), name


@pytest.mark.slow
def test_the_published_recipe_trains_and_is_evaluated(workplace):
    result = workplace.train(
        "run.name=paper", "objective=kalm_paper", "training.max_steps=2", "model.scratch.max_length=512"
    )
    assert result.returncode == 0, result.stderr
    evaluated = workplace.kgc(f"run={workplace.run('paper')}", "baselines=false")
    assert evaluated.returncode == 0, evaluated.stderr


def test_debug_shows_the_traceback(workplace):
    result = workplace.train("run.name=bad", "training.learning_rate=nan", "debug=true")
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_an_evaluation_of_no_run_is_one_line(workplace):
    assert_user_error(workplace.kgc("run=nowhere"), "nowhere is not a run")
    assert_user_error(workplace.kgc("run=runs/one", "splt=test"), "splt", "did you mean split")
    assert_user_error(workplace.kgc(), "run")


def test_a_bad_line_is_named_with_its_file_and_number(workplace):
    folder = write_toy_graph(workplace.folder / "broken")
    (folder / "valid.txt").write_text("ann\tlikes\tcat\nbob\tlikes\n")
    result = workplace.train(f"data.path={folder}", "run.name=broken")
    assert_user_error(result, f"{folder}/valid.txt:2", "2 tab-separated columns, expected 3")
    assert not workplace.run("broken").exists()


def test_help_names_the_groups_and_keys(workplace):
    result = workplace.train("--help")
    assert result.returncode == 0, result.stderr
    for word in ("folder, codex_m, codex_s, fb15k237", "training.learning_rate=", "deepspeed launch/train.py",
                 "A whole run:       experiment=NAME"):  # fmt: skip
        assert word in result.stdout


@pytest.mark.slow
def test_wandb_offline_records_and_online_without_a_key_goes_on(workplace):
    environment = {key: value for key, value in workplace.environment.items() if not key.startswith("WANDB")}
    environment["HOME"] = str(workplace.folder)  # no ~/.netrc
    command = workplace.command("run.name=tracked", "tracking.wandb=online", "training.max_steps=2")
    result = workplace.warm_python.run(command[1:], environment=environment, cwd=workplace.folder)
    assert result.returncode == 0, result.stderr
    assert "no API key" in result.stdout
    assert list((workplace.run("tracked") / "wandb").glob("offline-run-*"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_trained_under_zero_3_change_the_model(trained, dtype):
    name = f"adapters-{dtype}"
    command = [
        DEEPSPEED, "--num_gpus", "2", "--master_port", "29613", str(ROOT / "launch" / "train.py"), *trained.common,
        f"model.path={trained.run('whole') / 'model'}", "model.lora.enabled=true", f"model.dtype={dtype}",
        "deepspeed.zero_stage=3", "training.max_steps=4", "training.batch_size=8", "training.learning_rate=1e-2",
        "evaluation.every_steps=2", f"run.name={name}",
    ]  # fmt: skip
    result = trained.call(command)
    assert result.returncode == 0, result.stderr
    evaluated = trained.kgc(f"run=runs/{name}", "split=train")
    assert evaluated.returncode == 0, evaluated.stderr
    report = json.loads((trained.run(name) / "eval" / "kgc-train.json").read_text())
    assert report["metrics"]["both"]["mrr"] != report["baselines"]["untrained LM"]["both"]["mrr"]
