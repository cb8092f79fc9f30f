# The platform's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WEEKS ?=
PORT ?= 8080

.DEFAULT_GOAL := help
.PHONY: help install machine system run test test-fast lint console bench clean distclean requirements

help:  ## show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(STAMP)  ## make .venv and install the pinned requirements

$(STAMP): requirements.txt pyproject.toml infra/check-machine.sh
	@sh infra/check-machine.sh "$(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned requirements into $(VENV) (a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

machine:
	@sh infra/check-machine.sh "$(PYTHON)" java

system:
	@sh infra/check-system.sh

run: machine install  ## the whole path on the sample feed; WEEKS=1-4 narrows it
	@$(BIN)/cloakhouse run $(if $(WEEKS),--weeks $(WEEKS))

test: system install  ## lint, format, types, import layers, tests
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

test-fast: install  ## the tests that need neither Spark nor Airflow
	$(BIN)/python -m pytest -q -m "not spark and not airflow"

lint: install  ## ruff, format check, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

console: machine install  ## Airflow with its UI on 127.0.0.1:8080 (PORT=n moves it)
	@$(BIN)/cloakhouse console --port $(PORT)

bench: machine install  ## measure the path: seconds, CPU, peak memory, ratios
	$(BIN)/python -m tests.bench

requirements: install  ## compile requirements.txt from pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --all-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --output-file requirements.txt pyproject.toml

clean:  ## remove what runs and tests wrote: ./var with its keys, and caches
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*

distclean: clean  ## clean, and remove .venv
	rm -rf $(VENV)
