# Two commands matter: `make demo` and `make test`. Everything is installed into .venv in this folder.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# On a machine without a GPU, `make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu` avoids several GB of CUDA.
TORCH_INDEX ?=
# How many processes share the tests; a file's tests stay together. 0 runs them in one, where a debugger can stop.
TEST_PROCESSES ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Which Blender `make extension` and `make test-blender` use: BLENDER=/path/to/blender, or else packaging/real-blender, which
# installs Debian's into ~/.cache/real-blender at first use (as root; 4 minutes, 300 MB).
export BLENDER

.PHONY: help install install-bpy45 demo test test-blender pictures lint check benchmark sweep extension clean

help: ## what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

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

install-bpy45: install ## Blender 4.5 LTS as a Python module, in an environment of its own in the user's cache folder
	$(BIN)/python packaging/bpy_lts.py

extension: install ## the extension's zips, one per platform, and their static repository, in dist/
	$(BIN)/python packaging/extension.py

# Those in real Blender come last. Where it cannot be had they are left out and the sentence says why; with
# LIMBECK_REQUIRE_BLENDER=1, as in .ci/run, that is a failure.
test: install install-bpy45 ## every test, those in real Blender too where one can be had
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not (real_blender or window)" -n $(TEST_PROCESSES) --dist loadfile --durations=30
	@if $(BIN)/python packaging/blender_command.py; then $(MAKE) --no-print-directory test-blender; \
	else echo "The tests in real Blender were left out." >&2; test -z "$(LIMBECK_REQUIRE_BLENDER)"; fi

test-blender: install extension ## the tests in real Blender only: the installed zip, the repository, the window
	LIMBECK_REQUIRE_BLENDER=1 $(BIN)/python -m pytest -m "real_blender or window"

pictures: install extension ## the pictures of docs/artists-guide.md, taken of a real window while the window test plays
	$(BIN)/python packaging/window/pictures.py

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
