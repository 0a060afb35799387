"""Sweeps: expansion, the table, continuing, failing, stopping, and optuna; jobs are stubs but for a few."""

import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException
from sweep_stub import SEED_THAT_FAILS, SEED_THAT_LASTS
from test_config import loaded
from test_entry_points import Workplace, assert_user_error

from kalm.composition import save_config
from kalm.config import Algorithm, Config, SweepConfig
from kalm.explanation import explain
from kalm.sweep import job as jobs
from kalm.sweep.plan import Plan
from kalm.sweep.run import sweep
from kalm.sweep.search import corners, search, search_space
from kalm.sweep.table import Row, Status, SweepTable, over_seeds, render

KEYS = ["training.seed", "training.batch_size", "objective.additive_margin", "model.scratch.num_layers"]


# expansion


@given(
    swept=st.dictionaries(
        st.sampled_from(KEYS), st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True), min_size=1
    ),
    fixed=st.lists(st.sampled_from(["training.epochs=2", "model.dropout=0.1", "+data.x='a,b'", "~debug"]), unique=True),
)
def test_a_grid_is_every_combination_once_with_the_fixed_overrides_as_they_are(swept, fixed):
    texts = [f"{key}=choice({','.join(map(str, values))})" for key, values in swept.items()]
    grid = Plan([*texts, *fixed]).grid()
    assert len(grid) == math.prod(map(len, swept.values()))
    assert len({job.name for job in grid}) == len(grid)
    assert {tuple(job.swept.items()) for job in grid} == {
        tuple(zip(swept, map(str, combination), strict=True)) for combination in _combinations(list(swept.values()))
    }
    for job in grid:
        assert list(job.overrides) == [f"{key}={value}" for key, value in job.swept.items()] + fixed


def _combinations(lists):
    return [()] if not lists else [(first, *rest) for first in lists[0] for rest in _combinations(lists[1:])]


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("training.seed=1,2", ["1", "2"]),
        ("training.seed=range(1,8,3)", ["1", "4", "7"]),
        ("objective.additive_margin=range(0,0.05,0.02)", ["0.0", "0.02", "0.04"]),
        ("training.adam_betas=[0.9,0.98],[0.9,0.999]", ["[0.9,0.98]", "[0.9,0.999]"]),
        ("data=umls,wn18rr", ["umls", "wn18rr"]),
        ("template.tail=' {name}','{name}!'", ["' {name}'", "'{name}!'"]),
    ],
)
def test_values_are_listed_as_hydra_lists_them(override, values):
    key = override.partition("=")[0]
    assert [job.swept[key] for job in Plan([override]).grid()] == values
    assert [job.overrides for job in Plan([override]).grid()] == [[f"{key}={value}"] for value in values]


def test_the_last_key_changes_fastest():
    grid = Plan(["objective.additive_margin=0,1", "training.seed=1,2"]).grid()
    assert [tuple(job.swept.values()) for job in grid] == [("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]
    assert grid[1].name == "objective.additive_margin=0-training.seed=2"


def test_the_sweeps_name_holds_what_changes_a_result_and_nothing_else():
    name = Plan(["training.seed=1,2", "training.epochs=3"]).name
    assert name == "training.epochs=3-training.seed=1,2"
    same = ["training.epochs=3", "training.seed=1,2", "run.root=x", "tracking.wandb=offline", "debug=true",
            "sweep.num_trials=5", "sweep.deepspeed_arguments=[--num_gpus,2]"]  # fmt: skip
    assert Plan(same).name == name
    for other in ("training.epochs=4", "sweep=optuna", "sweep.seed=1"):
        assert Plan(["training.seed=1,2", other]).name != name


def test_jobs_see_nothing_of_the_sweep_itself():
    plan = Plan(["sweep=grid", "sweep.name=x", "run.root=y", "training.seed=1,2", "debug=true"])
    assert [list(job.overrides) for job in plan.grid()] == [[f"training.seed={seed}", "debug=true"] for seed in (1, 2)]
    assert plan.settings == ["sweep=grid", "sweep.name=x", "run.root=y"]


# errors, before anything starts

WRONG = {
    "nothing swept": (["training.seed=1"], "nothing to sweep"),
    "nothing swept with optuna": (["sweep=optuna", "training.seed=1"], "nothing to sweep"),
    "a range without optuna": (["training.learning_rate=interval(1e-4,1e-2)"], "needs sweep=optuna"),
    "a glob": (["data=glob(*)"], "a sweep takes no glob"),
    "an empty range": (["training.seed=range(3,3)"], "range is empty"),
    "a value twice": (["training.seed=1,1"], "share the folder training.seed=1"),
    "values that one name would hold": (["data.path=a/b,a@b"], "share the folder"),
    "a key twice": (["training.seed=1,2", "training.seed=3"], "training.seed is swept and given a second time"),
    "a swept setting": (["sweep.name=a,b"], "sweep.name changes no result"),
    "a swept folder": (["run.root=a,b"], "run.root changes no result"),
    "a run's name": (["training.seed=1,2", "run.name=x"], "run.name has no place in a sweep"),
    "resume": (["training.seed=1,2", "training.resume=true"], "the same command again continues"),
    "an unknown key": (["training.seeds=1,2"], "training.seeds"),
    "an unknown setting": (["training.seed=1,2", "sweep.trials=3"], "did you mean sweep.num_trials"),
    "trials of a grid": (["training.seed=1,2", "sweep.num_trials=3"], "sweep.num_trials must be null with sweep=grid"),
    "no trials": (["sweep=optuna", "training.seed=1,2", "sweep.num_trials=0"], "a whole number >= 1"),
    "a folder's name": (["training.seed=1,2", "sweep.name=a/b"], "sweep.name must be letters"),
    "a wrong type": (["training.batch_size=8,many"], "training.batch_size"),
    "a value of a later job": (["training.seed=1,2", "objective.temperature=1,0"], "objective.temperature must be"),
    "values that do not fit": (["model.scratch.num_heads=4,5"], "a multiple of 2 x num_heads = 10"),
    "a batch that two processes cannot share": (
        ["training.batch_size=8,9", "sweep.deepspeed_arguments=[--num_gpus,2]"],
        "training.batch_size must be a multiple of the number of processes, 2",
    ),
    "the same in one word": (
        ["training.batch_size=8,9", "sweep.deepspeed_arguments=['--num_gpus=2']"],
        "training.batch_size must be a multiple of the number of processes, 2",
    ),
    "no number of processes": (
        ["training.seed=1,2", "sweep.deepspeed_arguments=[--num_gpus,two]"],
        "sweep.deepspeed_arguments: argument --num_gpus: invalid int value: 'two'",
    ),
    "no process": (
        ["training.seed=1,2", "sweep.deepspeed_arguments=[--num_gpus,0]"],
        "sweep.deepspeed_arguments: --num_gpus must be a whole number >= 1",
    ),
    "a missing graph": (["training.seed=1,2", "data.path=nowhere"], "data.path must be a file or folder that exists"),
    "grammar": (["training.seed=1,2", "training.epochs=[1"], "no viable alternative at input '[1'"),
    "a corner": (["sweep=optuna", "objective.temperature=interval(0,0.1)"], "objective.temperature must be"),
    "a corner of whole numbers": (["sweep=optuna", "training.seed=interval(0.5,3)"], "training.seed"),
    "log of zero": (["sweep=optuna", "model.dropout=tag(log,interval(0,0.1))"], "interval(0,0.1)): `low > 0`"),
    "an unknown tag": (["sweep=optuna", "model.dropout=tag(lin,interval(0,0.1))"], "the one tag is log, got lin"),
    "log of a choice": (["sweep=optuna", "model.dropout=tag(log,choice(0.1,0.2))"], "is for interval and range"),
    "a downward interval": (["sweep=optuna", "model.dropout=interval(0.2,0.1)"], "low <= high"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_found_before_the_first_job(case, tmp_path, monkeypatch):
    overrides, message = WRONG[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, HydraException, OmegaConfBaseException)) as error:
        sweep(overrides)
    assert message in explain(error.value, Config)
    assert not list(tmp_path.iterdir())


def test_a_sweep_under_a_launcher_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"use python launch/train\.py --multirun"):
        sweep(["training.seed=1,2"])


def test_optuna_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install 'kalm\[sweep\]'"):
        sweep(["sweep=optuna", "training.learning_rate=interval(1e-4,1e-2)"])


# the table


def row(mrr, **swept):
    values = {key.replace("_", ".", 1): str(value) for key, value in swept.items()}
    name = "-".join(f"{key}={value}" for key, value in values.items())
    metrics = {"mr": 2.0, "mrr": mrr, "hits@1": 0.0, "hits@3": 0.5, "hits@10": 1.0} if mrr is not None else None
    return Row(
        name=name, swept=values, overrides=[], status=Status.done if metrics else Status.failed,
        error=None if metrics else "out of memory", metrics=metrics, step=5, git_commit=None, seconds=1.0,
        folder="", log="",
    )  # fmt: skip


ROWS = [
    row(0.2, objective_additive_margin=0, training_seed=1),
    row(0.4, objective_additive_margin=0, training_seed=2),
    row(0.6, objective_additive_margin=1, training_seed=1),
    row(None, objective_additive_margin=1, training_seed=2),
    row(None, objective_additive_margin=2, training_seed=1),
]


def test_rows_are_grouped_over_seeds():
    assert over_seeds(ROWS, ["objective.additive_margin"]) == {
        ("0",): ([0.2, 0.4], 2), ("1",): ([0.6], 2), ("2",): ([], 1),
    }  # fmt: skip


def test_the_table_is_sorted_and_gives_mean_and_spread_over_seeds():
    jobs_table, seeds_table = render(ROWS).split("over training.seed")
    cells = [[cell.strip() for cell in line.split(" | ")] for line in jobs_table.splitlines() if " | " in line]
    assert [line[3] for line in cells] == ["MRR", "0.6000", "0.4000", "0.2000", "", ""]
    assert cells[-1][-1] == "failed |"
    assert "- objective.additive_margin=2-training.seed=1: out of memory\n" in jobs_table
    groups = [[cell.strip(" |") for cell in line.split(" | ")] for line in seeds_table.splitlines() if " | " in line]
    assert groups == [
        ["objective.additive_margin", "mean MRR", "lowest", "highest", "seeds done"],
        ["1", "0.6000", "0.6000", "0.6000", "1 of 2"],
        ["0", "0.3000", "0.2000", "0.4000", "2 of 2"],
        ["2", "", "", "", "0 of 1"],
    ]
    assert "over" not in render([row(0.2, objective_additive_margin=0)])


def test_rows_of_several_commits_are_pointed_out():
    assert "commits" not in render(ROWS)
    assert "evaluated by 2 commits" in render([*ROWS, replace(ROWS[0], git_commit="abc")])


def test_a_table_is_read_back_and_refuses_another_sweep(tmp_path):
    table = SweepTable(tmp_path, ["training.epochs=1"])
    for each in ROWS:
        table.put(each)
    assert SweepTable(tmp_path, ["training.epochs=1"]).rows == ROWS
    with pytest.raises(ValueError, match=r"holds another sweep \(training\.epochs=1\); choose another sweep\.name"):
        SweepTable(tmp_path, ["training.epochs=2"])


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("chatter\nerror: data.path must be x\n[2026] [ERROR] exits with return code = 2\n", "data.path must be x"),
        ("[rank0]: Traceback\n[rank0]: torch.OutOfMemoryError: CUDA out of memory\n[2026] exits\n",
         "torch.OutOfMemoryError: CUDA out of memory"),
        ("KeyError: 1\nTraceback\n  File\nRuntimeError: that one\n", "RuntimeError: that one"),
        ("Killed\n", "exit code 9"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure_is_one_line_of_the_log(log, reason, tmp_path):
    path = tmp_path / "log"
    path.write_text("error: of an earlier call\n" + log)
    assert jobs._reason(path, len("error: of an earlier call\n"), 9) == reason


# whole sweeps, of stubs


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    """The folder of a sweep named s, whose jobs are stubs."""
    monkeypatch.chdir(tmp_path)
    save_config(loaded(), tmp_path / "config.yaml")
    training_command = jobs.training_command

    def training(job, run, deepspeed_arguments):
        how = training_command(job, run, deepspeed_arguments)[-1]
        return stub("train", run, *job.overrides, how)

    def stub(*arguments):
        kind, run, *overrides = map(str, arguments)
        return [sys.executable, "-S", str(ROOT / "tests" / "sweep_stub.py"), kind, run, "config.yaml", *overrides]

    def as_deepspeed(job, run, deepspeed_arguments):
        # deepspeed, launch.py and the rank: each waits for the next
        wait = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
        above = [sys.executable, "-S", "-c", wait]
        return [*above, *above, *training(job, run, deepspeed_arguments)]

    monkeypatch.setattr(jobs, "training_command", as_deepspeed)
    monkeypatch.setattr(jobs, "evaluation_command", lambda job, run: stub("evaluate", run, *job.overrides))
    return tmp_path / "runs" / "sweep-s"


def starts(folder: Path) -> dict[str, list[str]]:
    return {path.parent.name: path.read_text().split() for path in folder.glob("*/starts.txt")}


def statuses(folder: Path) -> dict[str, str]:
    return {each["name"]: each["status"] for each in json.loads((folder / "sweep.json").read_text())["rows"]}


def test_a_sweep_continues_where_it_was_left(stubs, capsys):
    command = ["sweep.name=s", "training.seed=1,2"]
    assert sweep(command) == 0
    assert starts(stubs) == {"training.seed=1": ["anew"], "training.seed=2": ["anew"]}
    rows = json.loads((stubs / "sweep.json").read_text())["rows"]
    assert [each["metrics"]["mrr"] for each in rows] == [1 / 2, 1 / 3]
    assert {each["folder"] for each in rows} == {f"runs/sweep-s/training.seed={seed}" for seed in (1, 2)}
    assert (stubs / "sweep.md").read_text().count("| done") == 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("jobs done: 2")

    before = (stubs / "sweep.json").read_bytes()
    assert sweep(command) == 0
    assert capsys.readouterr().out.count("was done before") == 2
    assert (stubs / "sweep.json").read_bytes() == before

    shutil.rmtree(stubs / "training.seed=1")
    assert sweep(command) == 0
    assert starts(stubs) == {"training.seed=1": ["anew"], "training.seed=2": ["anew"]}
    assert capsys.readouterr().out.count("was done before") == 1

    # metrics that a kill has cost: the trained model is there, so training continues from its last step
    shutil.rmtree(stubs / "training.seed=2" / "eval")
    assert sweep([*command[:1], "training.seed=1,2,3"]) == 0, "a grid may grow"
    assert starts(stubs)["training.seed=2"] == ["anew", "resumed"]
    assert list(statuses(stubs).values()) == ["done"] * 3
    with pytest.raises(ValueError, match="holds another sweep"):
        sweep([*command, "training.epochs=2"])


def test_a_failed_job_is_recorded_and_the_next_one_runs(stubs, capsys):
    command = ["sweep.name=s", f"training.seed={SEED_THAT_FAILS},2"]
    assert sweep(command) == 1
    assert statuses(stubs) == {f"training.seed={SEED_THAT_FAILS}": "failed", "training.seed=2": "done"}
    out = capsys.readouterr().out
    assert "failed: thirteen (see runs/sweep-s/training.seed=13.log)" in out
    assert out.splitlines()[-1].startswith("jobs failed: 1 of 2")
    assert f"- training.seed={SEED_THAT_FAILS}: thirteen\n" in (stubs / "sweep.md").read_text()
    assert sweep(command) == 1, "it is tried again"
    assert starts(stubs) == {"training.seed=2": ["anew"]}


def test_a_job_that_someone_else_stopped_is_not_taken_for_a_whole_one(stubs, monkeypatch):
    evaluated = []
    monkeypatch.setattr(jobs, "evaluation_command", lambda job, run: evaluated.append(job) or ["false"])
    thread = threading.Thread(target=_kill_rank, args=[stubs / f"training.seed={SEED_THAT_LASTS}" / "training"])
    thread.start()
    assert sweep(["sweep.name=s", f"training.seed=choice({SEED_THAT_LASTS})"]) == 1
    thread.join()
    assert not evaluated
    (each,) = json.loads((stubs / "sweep.json").read_text())["rows"]
    assert each["error"] == "was stopped at step 5, before its end"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_the_job_which_saves_and_goes_on_next_time(number, stubs, capsys):
    command = ["sweep.name=s", f"training.seed={SEED_THAT_LASTS},2"]
    job = stubs / f"training.seed={SEED_THAT_LASTS}"
    thread = threading.Thread(target=_when_there, args=[job / "training", lambda: os.kill(os.getpid(), number)])
    thread.start()
    assert sweep(command) == 130
    thread.join()
    assert statuses(stubs) == {job.name: "stopped"}
    assert (job / "checkpoints" / "step-00000005").is_dir(), "it was awaited"
    assert capsys.readouterr().out.splitlines()[-1].startswith("stopped; jobs done: 0")
    assert sweep(command) == 0
    assert starts(stubs) == {job.name: ["anew", "resumed"], "training.seed=2": ["anew"]}


def _when_there(path: Path, action) -> None:
    while not path.exists():
        time.sleep(0.01)
    action()


def _kill_rank(path: Path) -> None:
    def kill():
        import psutil

        (rank,) = [
            process for process in psutil.Process().children(recursive=True)
            if str(path.parent.relative_to(Path.cwd())) in process.cmdline() and process.children() == []
        ]  # fmt: skip
        rank.terminate()

    _when_there(path, kill)


# optuna


def plan_and_space(*overrides: str):
    plan = Plan(["sweep=optuna", *overrides])
    return plan, search_space(plan)


def test_ranges_become_optunas():
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    _, space = plan_and_space(
        "training.learning_rate=tag(log,interval(1e-4,1e-2))",
        "model.dropout=interval(0,0.3)",
        "training.batch_size=interval(8,64)",
        "training.epochs=int(interval(1,5))",
        "model.scratch.num_layers=tag(log,range(1,5))",
        "training.seed=range(0,10,4)",
        "objective.additive_margin=range(0,0.31,0.1)",
        "training.schedule=cosine,linear",
    )
    assert space == {
        "training.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "model.dropout": FloatDistribution(0, 0.3),
        "training.batch_size": IntDistribution(8, 64),
        "training.epochs": IntDistribution(1, 5),
        "model.scratch.num_layers": IntDistribution(1, 4, log=True),
        "training.seed": IntDistribution(0, 8, step=4),
        "objective.additive_margin": FloatDistribution(0, 0.3, step=0.1),
        "training.schedule": CategoricalDistribution(["cosine", "linear"]),
    }


def test_corners_are_the_ends_of_each_key():
    plan, space = plan_and_space("training.batch_size=interval(8,64)", "training.schedule=cosine,linear,constant")
    assert [tuple(job.swept.values()) for job in corners(plan, space)] == [
        ("8", "cosine"), ("64", "cosine"), ("8", "cosine"), ("8", "linear"), ("8", "constant"),
    ]  # fmt: skip


def searched(database: Path, num_trials: int, outcome=lambda job: 1.0, seed: int = 0) -> list[dict[str, str]]:
    """The jobs of one call."""
    plan, space = plan_and_space("training.learning_rate=tag(log,interval(1e-4,1e-2))", "training.seed=range(0,100)")
    settings = SweepConfig(
        algorithm=Algorithm.optuna, name=None, num_trials=num_trials, seed=seed, deepspeed_arguments=[]
    )
    run = []

    def finish(job, number):
        run.append(dict(job.swept))
        return outcome(job)

    search(plan, space, settings, database, finish)
    return run


def test_a_search_that_is_continued_draws_what_it_would_have_drawn(tmp_path):
    def by_seed(job):
        return -float(job.swept["training.seed"])

    # twelve trials, since the sampler looks at results from the eleventh on
    whole = searched(tmp_path / "whole.db", 12, by_seed)
    assert len({tuple(job.values()) for job in whole}) == 12
    parts = [searched(tmp_path / "parts.db", num_trials, by_seed) for num_trials in (2, 11, 12, 12)]
    assert [len(part) for part in parts] == [2, 9, 1, 0]
    assert sum(parts, []) == whole
    assert searched(tmp_path / "other.db", 2, by_seed, seed=1) != whole[:2]


def test_a_trial_that_failed_is_not_tried_again_and_one_that_was_stopped_is_taken_up(tmp_path):
    database = tmp_path / "optuna.db"
    failed = searched(database, 2, lambda job: None)
    assert len(failed) == 2, "failed trials end a call as others do"
    stopped = []

    def stop(job):
        stopped.append(dict(job.swept))
        raise jobs.Stopped

    with pytest.raises(jobs.Stopped):
        searched(database, 4, stop)
    going_on = searched(database, 4)
    assert going_on[0] == stopped[0]
    assert len(going_on) == 2
    assert not [job for job in going_on if job in failed]
    assert searched(database, 4) == []


def test_a_trial_that_was_killed_while_it_was_drawn_is_left_out(tmp_path):
    import optuna

    database = tmp_path / "optuna.db"
    searched(database, 1)
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{database}")
    study.ask()
    assert len(searched(database, 2)) == 1


def test_a_search_continues_to_more_trials(stubs, capsys):
    command = ["sweep.name=s", "sweep=optuna", "training.seed=range(20,90)"]
    assert sweep([*command, "sweep.num_trials=2"]) == 0
    first = starts(stubs)
    assert len(first) == 2
    assert sweep([*command, "sweep.num_trials=3"]) == 0
    assert len(starts(stubs)) == 3
    assert starts(stubs).items() >= first.items(), "those done before are not started again"
    assert capsys.readouterr().out.splitlines()[-1].startswith("jobs done: 3")


# real jobs


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, offline_environment, warm_python):
    return Workplace(tmp_path_factory.mktemp("sweeps"), offline_environment, warm_python)


def command(*overrides: str) -> tuple[str, ...]:
    return ("--multirun", "sweep.name=real", "training.max_steps=2", *overrides)


@pytest.mark.slow
def test_two_jobs_are_launched_ranked_on_valid_and_skipped_the_second_time(workplace):
    result = workplace.train(*command("training.seed=1,2"))
    assert result.returncode == 0, result.stdout + result.stderr
    folder = workplace.run("sweep-real")
    report = json.loads((folder / "sweep.json").read_text())
    assert [each["status"] for each in report["rows"]] == ["done", "done"]
    for each in report["rows"]:
        run = Path(each["folder"])
        evaluation = json.loads((run / "eval" / "kgc-valid.json").read_text())
        assert evaluation["protocol"]["filter"] == ["train", "valid"]
        assert evaluation["baselines"] == {}
        assert evaluation["metrics"]["both"] == each["metrics"]
        assert [path.name for path in run.glob("eval/*.json")] == ["kgc-valid.json"], "test is not looked at"
        lines = (run / "eval" / "kgc-valid.predictions.jsonl").read_text().splitlines()
        known_in = {prediction["known_in"] for line in lines for prediction in json.loads(line)["predictions"]}
        assert known_in == {"train", "valid", None}
        assert "deepspeed" in (folder / f"{run.name}.log").read_text()
    assert "over training.seed" in result.stdout
    again = workplace.train(*command("training.seed=1,2"))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was done before") == 2


def test_a_mistake_on_the_command_line_is_one_line(workplace):
    assert_user_error(workplace.train("--multirun", "training.sed=1,2"), "training.sed", "did you mean training.seed")


@pytest.mark.slow
def test_a_sweep_takes_no_other_flags(workplace):
    assert_user_error(workplace.train("-m", "--config-name", "x", "training.seed=1,2"), "--config-name has no place")


def test_help_tells_of_sweeps(workplace):
    assert "python launch/train.py --multirun" in workplace.train("--multirun", "--help").stdout


@pytest.mark.slow
def test_a_job_of_two_processes_is_stopped_and_continued_and_a_failed_one_named(workplace):
    overrides = ("--multirun", "sweep.name=stopped", "training.max_steps=60", "model.scratch.max_length=64,9",
                 "sweep.deepspeed_arguments=[--num_gpus,2]")  # fmt: skip
    log = workplace.run("sweep-stopped") / "model.scratch.max_length=64.log"
    with workplace.start(*overrides) as process:
        while not (log.exists() and "step 20/" in log.read_text()):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
        assert "stopped; jobs done: 0" in process.stdout.read()
    result = workplace.train(*overrides)
    assert result.returncode == 1
    assert "max_length=64: continues from its checkpoint" in result.stdout
    assert "the LM takes 9" in result.stdout
    lines = [json.loads(line) for line in (log.with_suffix("") / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert "on 2 x cpu" in log.read_text()


@pytest.mark.slow
def test_a_search_is_run_and_continued(workplace):
    overrides = (
        "--multirun",
        "sweep=optuna",
        "training.max_steps=2",
        "training.learning_rate=tag(log,interval(1e-4,1e-2))",
    )
    for num_trials in (2, 3):
        result = workplace.train(*overrides, f"sweep.num_trials={num_trials}")
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"jobs done: {num_trials}" in result.stdout
    (table,) = workplace.folder.glob("runs/sweep-*optuna*/sweep.json")
    assert len(json.loads(table.read_text())["rows"]) == 3
