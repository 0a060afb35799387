# make demo: set up, train on UMLS, evaluate (OVERRIDES=training.max_steps=200: sooner).   make test: set up, run the tests.
# make check: format, lint, types and tests, as before each commit.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# what the installed environment depends on: a change here installs again
INSTALLED := $(VENV)/.installed

.PHONY: demo test check lint format setup clean

demo: setup
	$(BIN)/deepspeed launch/train.py experiment=umls run.name=demo run.overwrite=true $(OVERRIDES)
	$(BIN)/python eval/kgc.py run=runs/demo split=test scores=fused

test: setup
	$(BIN)/python -m pytest

check: lint test

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(INSTALLED)

$(INSTALLED): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kalm needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch first and alone: the build for this machine (CPU or CUDA) is then kept by all that follows
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements.lock)"
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
