"""The core runs wherever torch and transformers do, and arrows between packages point one way."""

import re
import subprocess
import sys

from conftest import ROOT

CORE = ["kalm.graph.sources", "kalm.text.batch", "kalm.model.loading", "kalm.objective.joint"]
# each may use those before it
LAYERS = [
    *("graph", "text", "model", "objective", "evaluation", "serving", "retention", "kgqa", "rationale", "qa"),
    *("preparation", "training", "sweep", "speed"),
]


def test_the_core_imports_without_the_heavy_packages():
    absent = ["deepspeed", "faiss", "pykeen", "wandb", "peft", "hydra", "omegaconf", "rich"]
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); import {', '.join(CORE)}"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120)


def test_a_sweep_leaves_the_heavy_packages_to_its_jobs():
    absent = ["torch", "transformers", "deepspeed", "optuna"]
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); import kalm.sweep.run"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_arrows_point_one_way():
    for place, layer in enumerate(LAYERS):
        for path in (ROOT / "kalm" / layer).glob("*.py"):
            used = set(re.findall(r"(?:from|import) kalm\.(\w+)", path.read_text()))
            assert not used & set(LAYERS[place + 1 :]), path
    leaves = (ROOT / "kalm" / f"{name}.py" for name in ("distributed", "provenance", "progress"))
    for path in (*(ROOT / "kalm" / "config").glob("*.py"), *leaves):
        assert set(re.findall(r"(?:from|import) kalm\.?(\w*)", path.read_text())) <= {"config"}, path
