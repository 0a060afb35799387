"""A run's folder as training leaves it, made without training."""

from dataclasses import asdict
from pathlib import Path

from conftest import ROOT
from hydra import compose, initialize_config_dir

from kalm.composition import load_config, save_config, to_dataclass
from kalm.graph.sources import load_graph
from kalm.provenance import write_json
from kalm.text.token_table import data_digests


def make_run(folder: Path, toy_folder: Path, encoder, tokenizer, template) -> Path:
    """The encoder with its tokenizer, as the result of a run on the toy graph."""
    (folder / "model").mkdir(parents=True)
    overrides = (f"data.path={toy_folder}", f"data.cache={folder.parent / 'cache'}", "data=folder", "run.name=toy")
    save_config(load_config(composed("train", *overrides), overrides), folder / "config.yaml")
    encoder.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    description = {"template": asdict(template), "base": None, "step": 7,
                   "data": data_digests(load_graph("folder", toy_folder))}  # fmt: skip
    write_json(folder / "model" / "kalm.json", description)
    return folder


def composed(name: str, *overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return compose(name, overrides=list(overrides))


def configured(schema: type, name: str, /, **keys):
    """An evaluation's config with its own values in `conf/`, and these."""
    config = composed(name)
    for key, value in keys.items():
        config[key] = value
    return to_dataclass(config, schema)
