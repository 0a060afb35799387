"""Every file in conf/ loads, every key is read, and every wrong value is refused by name."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from kalm.command_line import QUIET, clean_arguments
from kalm.composition import load_config, read_config, save_config, to_dataclass, validate
from kalm.config import Config, KgcConfig, PredictConfig, PreparationConfig
from kalm.explanation import explain, field_types
from kalm.training.engine import deepspeed_dictionary

CONF = ROOT / "conf"
OF_OTHERS = ("phrases", "prompts")  # groups that training does not choose from
CHOICES = [
    f"{path.parent.name}={path.stem}" for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name not in OF_OTHERS
]
NEEDED = {"data=folder": ["data.path=/"], "data=pykeen": ["data.pykeen=Nations"], "model=pretrained": ["model.path=."],
          "objective=kale": ["objective.kale.rationales=x"],
          "objective=kalm_kale": ["objective.kale.rationales=x"]}  # fmt: skip


def composed(*overrides: str, name: str = "train"):
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(name, overrides=list(overrides))


def loaded(*overrides: str) -> Config:
    return load_config(composed(*overrides), overrides)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_config_file_loads_and_survives_the_run_folder(choice, tmp_path):
    config = loaded(choice, *NEEDED.get(choice, []))
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_the_evaluation_config_loads():
    config = to_dataclass(composed("run=runs/x", name="kgc"), KgcConfig)
    assert config.split == "test"
    assert config.protocol.filter == ["train", "valid", "test"]


@pytest.mark.parametrize(
    ("split", "known", "message"),
    [
        ("tests", "[train]", "split must be train, valid or test, got 'tests'"),
        ("valid", "[train,vald]", "filter must be a list of splits"),
        ("valid", "[train]", "valid being one of them"),
        ("valid", "[]", "valid being one of them"),
    ],
)
def test_a_filter_names_splits_and_the_evaluated_one_among_them(split, known, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_dataclass(composed("run=runs/x", f"split={split}", f"protocol.filter={known}", name="kgc"), KgcConfig)


def schema_fields(schema: type, prefix: str = ""):
    for field in fields(schema):
        sections = [part for part in (field.type, *get_args(field.type)) if is_dataclass(part)]
        if not sections:
            yield prefix + field.name, field.name
        for section in sections:
            yield from schema_fields(section, f"{prefix}{field.name}.")


def test_every_field_is_read_outside_its_own_checks():
    code = [path for folder in ("kalm", "launch", "eval") for path in (ROOT / folder).rglob("*.py")]
    own_checks = r"(?s)def __post_init__.*?(?=\n    @property|\n@dataclass|\n\n\n|\Z)"
    source = "\n".join(
        re.sub(own_checks, "", path.read_text()) if path.parent.name == "config" else path.read_text() for path in code
    )
    schemas = (Config, KgcConfig, PredictConfig, PreparationConfig)
    unread = [key for schema in schemas for key, name in schema_fields(schema)
              if not re.search(rf"\.{name}\b", source) and name != "debug"]  # fmt: skip
    assert unread == [], "debug is read from the command line, before there is a config"


def test_the_runs_name_comes_from_the_config_and_not_from_the_clock():
    assert loaded().run.name == "umls-tiny-kalm"
    named = loaded("training.epochs=3", "data=folder", "data.path=a/my graph", "tracking.wandb=offline")
    assert named.run.name == "folder-tiny-kalm-data.path=a_my_graph-training.epochs=3"
    long = [loaded(f"run.root={'x' * 9}", f"template.head='{'y' * 200}{{name}}{end}'").run.name for end in "ab"]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 120
    assert loaded("run.name=x", "training.epochs=3").run.name == "x"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model.path=x"], ["model=pretrained", "model.path=x"]),
        (["a=1", "--help", "data.path=x"], ["--help", "data=folder", "a=1", "data.path=x"]),
        (["model=tiny", "model.path=x"], ["model=tiny", "model.path=x"]),
        (["--local_rank=0", "data=umls"], ["data=umls"]),
        (["a=1", "-cn", "config", "data.path=x"], ["-cn", "config", *QUIET, "a=1", "data.path=x"]),
        (["--config-name=config", "a=1"], ["--config-name=config", *QUIET, "a=1"]),
    ],
)
def test_arguments_are_cleaned_and_a_path_alone_implies_its_group(arguments, expected):
    assert clean_arguments(arguments) == expected


WRONG = [
    "run.name=a/b",
    "training.epochs=0",
    "training.epochs=inf",
    "training.learning_rate=-1",
    "training.schedule=cosin",
    "training.max_steps=0",
    "training.max_steps=1.5",
    "training.batch_size=0",
    "training.adam_betas=[0.9]",
    "training.adam_betas=[0.9,1.0]",
    "training.warmup_ratio=1",
    "training.weight_decay=-1",
    "training.max_gradient_norm=nan",
    "training.seed=-1",
    "training.log_every_steps=0",
    "objective.temperature=0",
    "objective.additive_margin=-0.1",
    "objective.false_negative_rate=1",
    "data.false_negative_rate=-0.1",
    "model.lora.target='(' model=pretrained model.path=a/b",
    "objective.triple_completion_weight=-1",
    "objective.completion_share=0",
    "objective.completion_share=1.1",
    "objective.target_to_query_weight=1",
    "objective.query_chunk=0",
    "objective.negatives.scope=all",
    "objective.negatives.queue_batches=-1",
    "objective.negatives.queue_weight=0",
    "objective.negatives.hard_per_triple=-1",
    "objective.negatives.mine_every_steps=0",
    "training.micro_batch_size=0",
    "training.sampling=walk",
    "training.walk_length=0",
    "model.quantization=int8",
    "deepspeed.offload_parameters=true",
    "model.dropout=1",
    "model.path=x",
    "model.dtype=float8",
    "template.head=name",
    "template.tail='{name}{name}'",
    "template.head='{'",
    "template.max_description_tokens=-1",
    "deepspeed.zero_stage=4",
    "deepspeed.offload_optimizer=true",
    "ranking.batch_tokens=0",
    "evaluation.patience=2",
    "data.path=x",
    "tracking.wandb=maybe",
]


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_value_is_refused_with_its_key(override):
    with pytest.raises(ValueError) as error:
        loaded(*override.split(" "))
    assert str(error.value).startswith(override.partition("=")[0])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "deepspeed.offload_optimizer=true",
            "must be false at deepspeed.zero_stage=0, or the stage 1, 2 or 3, got true",
        ),
        ("deepspeed.offload_parameters=true", "must be false at deepspeed.zero_stage=0, or the stage 3, got true"),
        ("model.quantization=int8", "got int8"),
        ("training.adam_betas=[0.9]", "got [0.9]"),
        ("sweep.seed=3", "must be null with sweep=grid, got 3"),
        ("data=folder", "got null"),
        ("run.name=a/b", "got 'a/b'"),
    ],
)
def test_values_are_shown_as_they_are_written(override, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        loaded(override)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.lernig_rate=1", "training.lernig_rate: there is no such key; did you mean training.learning_rate?"),
        ("+objective.margin=1", "objective.margin: there is no such key; did you mean objective.additive_margin?"),
        ("epochs=1", "epochs: there is no such key; did you mean training.epochs?"),
        ("deepspeed.lr=1", "deepspeed.lr: there is no such key; deepspeed has zero_stage, offload_optimizer, "
                           "offload_parameters"),
        ("zzz=1", "zzz: there is no such key; there are run, data, model, template, objective, training, deepspeed, "
                  "evaluation, ranking, tracking, sweep, debug"),
        ("model.lora.rank=2", "model.lora.rank has no place here: its section is null under the chosen group"),
        ("data=foo", "data=foo: there is no such choice; data is one of codex_m, codex_s, fb15k237, folder, kinships, "
                     "metaqa, nations, pykeen, umls, wikidata5m, wn18rr"),
        ("~training.epochs", "training.epochs has no value"),
        ("training.epochs=many", "training.epochs: Value 'many' of type 'str' could not be converted to Float"),
    ],
)  # fmt: skip
def test_a_fault_in_the_config_is_one_line_with_the_nearest_right_names(override, line):
    with pytest.raises((ValueError, HydraException, OmegaConfBaseException)) as error:
        loaded(override)
    assert explain(error.value, Config) == line


def test_at_most_two_names_are_suggested_and_those_of_the_same_section_alone():
    for key in list(field_types(Config))[::13]:
        section = key.rpartition(".")[0]
        with pytest.raises((HydraException, OmegaConfBaseException)) as error:
            composed(f"{key}x=1", *(["objective=kale"] if key.startswith("objective.kale") else []))
        suggested = explain(error.value, Config).partition("did you mean ")[2].rstrip("?").split(" or ")
        if not key.startswith("model.lora"):
            assert suggested[0] == key
        assert len(suggested) <= 2
        assert {other.rpartition(".")[0] for other in suggested} == {section}


def test_a_resumed_run_that_is_asked_to_be_another_one_says_what_differs(tmp_path):
    place = [f"run.root={tmp_path}", "run.name=x"]
    run = tmp_path / "x"
    run.mkdir()
    save_config(loaded(*place, "training.seed=3"), run / "config.yaml")
    resume = [*place, "training.resume=true"]
    assert loaded(*resume, "training.epochs=50").training.seed == 3
    with pytest.raises(ValueError) as error:
        loaded(*resume, "experiment=without_mask", "training.epochs=50", "training.learning_rate=0.5")
    for fragment in ("objective.name='kalm', not 'without_mask'", "objective.negatives.mask_known=true, not false",
                     "and 1 more", "Leave out experiment=without_mask training.learning_rate=0.5, or"):  # fmt: skip
        assert fragment in str(error.value)


def test_sizes_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match=r"model\.scratch\.hidden_size must be a multiple of 2 x num_heads = 10"):
        loaded("model.scratch.num_heads=5")


def test_a_layout_without_its_folder_is_refused():
    with pytest.raises(ValueError, match=r"data\.path must be a file of triples, or a folder with train\.txt"):
        loaded("data=folder")


def test_both_weights_zero_is_refused():
    with pytest.raises(ValueError, match="contrastive_weight"):
        loaded("objective.contrastive_weight=0", "objective.triple_completion_weight=0")


def test_a_batch_that_processes_cannot_share_is_refused():
    validate(loaded("training.batch_size=9"), world_size=3)
    with pytest.raises(
        ValueError, match=r"training\.batch_size must be a multiple of the number of processes, 2, got 9"
    ):
        validate(loaded("training.batch_size=9"), world_size=2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["training.micro_batch_size=7"],
            "training.micro_batch_size must be at most training.batch_size / processes = 6",
        ),
        (
            ["training.micro_batch_size=4"],
            "training.micro_batch_size must be a divisor of training.batch_size / processes = 6",
        ),
        (
            ["template=kalm_paper"],
            "template.target has no place in one pass, where all views lie in one sequence: take objective=kalm_paper, "
            "or template.target=null template.completion=null",
        ),
        (
            [
                "model=pretrained",
                "model.path=a/b",
                "model.lora.enabled=true",
                "model.quantization=nf4",
                "model.dtype=bfloat16",
                "deepspeed.zero_stage=3",
            ],
            "deepspeed.zero_stage must be less than 3 with model.quantization",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, message):
    with pytest.raises(ValueError) as error:
        validate(loaded("training.batch_size=12", *overrides), world_size=2)
    assert str(error.value).startswith(message)


def test_micro_batches_become_accumulation_steps():
    config = loaded("training.batch_size=24", "training.micro_batch_size=4")
    validate(config, world_size=2)
    dictionary = deepspeed_dictionary(config, world_size=2, total_steps=10)
    assert dictionary["train_micro_batch_size_per_gpu"] == 4
    assert dictionary["gradient_accumulation_steps"] == 3


def test_the_published_recipe_brings_its_templates_and_no_fault():
    config = loaded("objective=kalm_paper")
    validate(config, world_size=1)
    assert config.template.target is not None
    assert config.objective.separate is not None
    assert not config.objective.separate.logits_everywhere
    assert config.objective.negatives.mask_known
    assert config.objective.learn_temperature
    assert config.data.false_negative_rate > 0
    assert config.objective.false_negative_rate == 0
    for overrides in (["objective=kalm_paper"], ["experiment=kalm_paper_wn18rr"]):
        training = loaded(*overrides).training
        assert (training.warmup_ratio, training.weight_decay, training.adam_betas) == (0.0, 0.001, [0.9, 0.999])


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        ([], 0.025),
        (["data=wn18rr"], 0.0),
        (["experiment=without_lm"], 0.025),
        (["data.false_negative_rate=0.1"], 0.1),
        (["objective.false_negative_rate=0"], 0.0),
    ],
)
def test_the_share_of_held_out_tails_is_that_of_the_data(overrides, rate, tmp_path):
    config = loaded(*overrides)
    assert config.objective.false_negative_rate == rate
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml").objective.false_negative_rate == rate


@pytest.mark.parametrize("experiment", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_experiment_says_how_it_is_run_and_passes_the_checks(experiment, tmp_path):
    text = experiment.read_text()
    for line in (
        "# command   deepspeed ",
        f"experiment={experiment.stem}",
        "# hardware  ",
        "# time      ",
        "# expected  ",
    ):
        assert line in text
    assert not re.search("EXP[A-Z]", text), "a place is left to be filled in"
    needed = ["data.root=/"] if "data.root=" in text else []
    if "objective.kale.rationales=FILE" in text:
        (tmp_path / "rationales.jsonl").touch()
        needed.append(f"objective.kale.rationales={tmp_path / 'rationales.jsonl'}")
    validate(loaded(f"experiment={experiment.stem}", *needed), world_size=2)


def test_hub_names_are_not_looked_up_as_folders(tmp_path):
    validate(loaded("model=pretrained", "model.path=owner/model"), world_size=1)
    assert loaded("model=pretrained", "model.path=owner/model").model.path == "owner/model"
    with pytest.raises(ValueError, match=r"model\.path must be a folder with config\.json"):
        validate(loaded("model=pretrained", f"model.path={tmp_path}"), world_size=1)


def test_a_saved_config_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    save_config(loaded(), path)
    path.write_text(path.read_text() + "sedd: 1\n")
    with pytest.raises(ValueError, match="sedd"):
        read_config(path)
    path.write_text("a: [1\n")
    with pytest.raises(ValueError, match="not YAML"):
        read_config(path)


def test_the_deepspeed_dictionary_follows_the_config():
    config = loaded(
        "training.batch_size=12",
        "training.max_gradient_norm=0.5",
        "deepspeed.zero_stage=2",
        "training.warmup_ratio=0.25",
    )
    dictionary = deepspeed_dictionary(config, world_size=3, total_steps=100)
    assert dictionary["train_batch_size"] == 12
    assert dictionary["train_micro_batch_size_per_gpu"] == 4
    assert dictionary["gradient_clipping"] == 0.5
    assert dictionary["zero_optimization"]["stage"] == 2
    assert dictionary["scheduler"]["params"]["warmup_num_steps"] == 25
    assert not dictionary["bf16"]["enabled"]
    bfloat16 = replace(config, model=loaded("model.dtype=bfloat16").model)
    assert deepspeed_dictionary(bfloat16, world_size=3, total_steps=100)["bf16"]["enabled"]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("total_steps", [1, 2, 50])
def test_every_schedule_is_one_that_deepspeed_builds(schedule, total_steps):
    import torch
    from deepspeed.runtime import lr_schedules

    config = loaded(f"training.schedule={schedule}")
    scheduler = deepspeed_dictionary(config, world_size=1, total_steps=total_steps)["scheduler"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.training.learning_rate)
    built = getattr(lr_schedules, scheduler["type"])(optimizer, **scheduler["params"])
    rates = []
    for _ in range(total_steps):
        built.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert max(rates) <= config.training.learning_rate * (1 + 1e-6)
    if total_steps == 50:
        assert max(rates) > 0.9 * config.training.learning_rate
        assert (rates[-1] < 0.1 * max(rates)) == (schedule != "constant")


def test_paths_in_the_readme_exist():
    names = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert names
    for name in names:
        assert (ROOT / Path(name)).exists(), name


def test_relative_folders_become_absolute_so_that_a_saved_config_means_the_same_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert loaded("data=folder", "data.path=graph").data.folder == tmp_path / "graph"
    assert loaded("model=pretrained", "model.path=./lm").model.path == str(tmp_path / "lm")


def test_a_folder_that_is_not_there_is_refused_and_none_may_be_downloaded():
    validate(loaded("data=wn18rr"), world_size=1)
    with pytest.raises(ValueError, match=r"data\.root must be a folder, or an archive of one, that exists"):
        validate(loaded("data=wn18rr", "data.root=/nowhere"), world_size=1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=pykeen"], "data.pykeen must be set together with data=pykeen"),
        (["data=umls", "data.pykeen=Nations"], "data.pykeen must be set together with data=pykeen"),
        (["data=folder", "data.path=/", "data.root=/"], "data.root must be null"),
    ],
)
def test_what_names_a_graph_must_fit_the_source(overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        loaded(*overrides)
