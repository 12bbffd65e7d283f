# `make` lists the targets. Needs Python 3.11 or 3.12 and a package index; installs into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev test test-slow test-slurm demo docs lock clean

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(if $(shell command -v $(name)),$(name))) python3.11)
# Optional: the URL of an index of CPU wheels of torch (the default index has CUDA builds).
TORCH_INDEX ?=

BIN := .venv/bin
DEMO_PORT ?= 8765
DEMO_URL := http://127.0.0.1:$(DEMO_PORT)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
PINS := requirements/torch.txt requirements/cpu.txt
TORCH_FROM := $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX),--constraint requirements/cpu.txt)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.runtime ## create .venv and install homerec (CUDA build if an NVIDIA GPU is present)

setup-dev: .venv/.dev ## the same, with the tools of `make test`

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null \
	    || { echo "make: '$(PYTHON)' is not Python 3.11 or 3.12; install one, or pass PYTHON=/path"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.runtime: $(PINS) pyproject.toml | $(BIN)/python
	@echo "Installing into .venv (about a minute, plus the download of torch) ..."
	@set -e; if nvidia-smi -L >/dev/null 2>&1; then \
	    $(PIP) --requirement requirements/torch.txt; \
	    $(PIP) --no-build-isolation --editable .; \
	else \
	    $(PIP) $(TORCH_FROM) --requirement requirements/torch.txt; \
	    $(PIP) --no-deps --requirement requirements/cpu.txt; \
	    $(PIP) --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(PIP) --no-deps --requirement requirements/dev.txt
	@touch $@

# Tests run several ranks on few cores.
test test-slow test-slurm: export OMP_NUM_THREADS ?= 1

test: setup-dev ## lint, types, import rules, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow and not slurm" --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: setup-dev ## tests of whole studies and searches, killed and resumed
	$(BIN)/pytest -m "slow and not slurm" --numprocesses 2 --dist loadfile

test-slurm: setup-dev ## tests with a real Slurm and with broken links, on this host (as root)
	HOMEREC_REQUIRE_SLURM=1 $(BIN)/pytest tests/slurm tests/net --numprocesses 2 --dist loadfile

demo: setup data/demo/schema.json ## train HoME on synthetic data with two ranks, export it, ask its server
	$(BIN)/homerec launch --nproc 2 -- train demo --data.path data/demo --out runs/demo --overwrite
	$(BIN)/homerec export --checkpoint runs/demo --out runs/demo-model --compile off --overwrite
	@set -o pipefail; $(BIN)/homerec serve --model runs/demo-model --sample data/demo/val --port $(DEMO_PORT) & server=$$!; \
	trap 'kill $$server; wait $$server' EXIT; \
	curl -sf --retry 60 --retry-delay 1 --retry-connrefused $(DEMO_URL)/v1/samples/0 \
	    | curl -sf $(DEMO_URL)/v1/rank -H 'content-type: application/json' -d @- | cut -c1-700

data/demo/schema.json: | .venv/.runtime
	$(BIN)/homerec prepare synthetic --out data/demo --rows 300000 --seed 0

docs: setup ## generate docs/reference/configuration.md
	$(BIN)/python -m pipeline.config.reference > docs/reference/configuration.md

lock: ## update the pins in requirements/ from the ranges in pyproject.toml
	$(PYTHON) requirements/lock.py

clean: ## remove .venv, caches and the demo; keep other data and runs
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info data/demo runs/demo runs/demo-model*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
