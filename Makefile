# Everything runs in .venv, which is made from requirements.lock. PYTHON=/path/to/python3.11 picks the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := .venv-peers

# Small arrays on few cores: threads inside a library only take cores from each other.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test check bench peers lock browser clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv from requirements.lock

$(INSTALLED): requirements.lock pyproject.toml scripts/install.sh
	scripts/install.sh $(VENV)
	@touch $@

demo: setup ## train, backtest, stress and paper-trade in build/demo
	scripts/demo.sh build/demo

# Whole files to a worker: what a file prepares is prepared once.
test: setup browser check ## every check and every test, in two processes
	pytest --numprocesses 2 --dist loadfile

check: setup ## lint, formatting, types, layers
	ruff check
	ruff format --check
	mypy
	lint-imports

bench: setup ## time the hot paths
	python -m bench

# Other engines pin what tradekit does not, so they live in an environment of their own.
peers: $(PEERS)/.installed ## time tradekit beside other backtesting engines
	$(PEERS)/bin/python -W ignore -m bench.peers

$(PEERS)/.installed: bench/requirements.lock
	$$(scripts/find_python.sh) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check -qq install --no-deps --requirement $<
	@touch $@

lock: ## resolve pyproject.toml afresh into requirements.lock
	scripts/lock.sh

browser:
	@scripts/browser.sh

clean: ## remove the environment and everything built
	rm -rf $(VENV) $(PEERS) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
