# Two commands matter: `make demo` and `make test`. Everything is installed into .venv in this folder.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# On a machine without a GPU, `make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu` avoids several GB of CUDA.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help install demo test lint check benchmark sweep extension clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/installed: shared_protocol/pyproject.toml server/pyproject.toml packaging/constraints.txt packaging/requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c packaging/constraints.txt setuptools wheel
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' packaging/constraints.txt)"
	$(PIP) install --quiet -c packaging/constraints.txt -r packaging/requirements-dev.txt
	$(PIP) install --quiet -c packaging/constraints.txt --no-build-isolation -e shared_protocol -e server
	touch $@

install: $(VENV)/installed ## the environment: torch, Blender as a module, Limbeck itself

demo: install ## a yellow duck, from a prompt to a mesh in Blender, with its pictures in demo/
	$(BIN)/python packaging/demo.py

test: install ## every test
	$(BIN)/python -m pytest

lint: install ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## what has to pass before a change lands

benchmark: install ## a step split into render, prior, backward, optimiser
	$(BIN)/python benchmarks/step.py

sweep: install ## twelve prompts, two losses, two seeds, scored against the truth; resumable
	$(BIN)/python benchmarks/sweep.py

clean: ## remove what the targets made
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache
