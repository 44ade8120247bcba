# Common tasks of this project; needs Python 3.11 or newer, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCAN := sample_data/phantom_cine.h5

.DEFAULT_GOAL := help
.PHONY: help demo test fast check docs bench

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.run ## Reconstruct the sample scan
	$(BIN)/cinerecon recon $(SCAN) --model slrnet --force

test: $(VENV)/.dev ## Run the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

fast: $(VENV)/.dev ## Run the fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow"

check: $(VENV)/.dev ## Check format, lint and types, and run the fast tests of changed files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow" $$($(BIN)/python tests/changed.py $(SINCE))

docs: $(VENV)/.docs ## Build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(VENV)/.dev ## Time the stages of a reconstruction
	$(BIN)/python benchmarks/stages.py

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.run
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@
