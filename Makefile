# The platform's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WEEKS ?=
PORT ?= 8080
BENCH ?=

.DEFAULT_GOAL := help
.PHONY: help install machine system run test test-fast test-path test-kills test-stores test-console test-postgres test-cluster lint console bench clean distclean requirements

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
	$(BIN)/python -m tests.suite -n 2 --dist loadfile --max-worker-restart 1 -m "not path and not kills and not cluster and not stores and not browser" --cov --cov-report=term:skip-covered

test-path: system install  ## the tests that run the whole path: its scheduler, its bytes, its interruptions
	$(BIN)/python -m tests.suite -n 2 --dist loadfile --max-worker-restart 1 -m "path and not kills"

test-kills: system install  ## the tests that kill a piece of work at each of its calls in turn
	$(BIN)/python -m tests.suite -n 2 --dist loadfile --max-worker-restart 1 -m kills

test-stores: system install  ## the tests on PostgreSQL and S3 servers, and of a client without Airflow and Spark
	infra/get-prometheus.sh
	$(BIN)/python -m tests.suite -n 2 --dist loadfile --max-worker-restart 1 -m stores

test-console: system install  ## the tests that look at pages in a real Chromium, and at the console in a real Airflow
	$(BIN)/python -m tests.suite -n 2 --dist loadfile --max-worker-restart 1 -m browser

test-postgres: system install  ## the tests of ledger and stages once more, all their control databases on PostgreSQL
	CLOAKHOUSE_TEST_DATABASE=postgresql $(BIN)/python -m tests.suite -n 2 --dist loadfile --max-worker-restart 1 \
		-m "not path and not kills and not cluster and not spark and not airflow and not embedded and not browser" \
		tests/unit/ledger tests/unit/stages

test-cluster: system install  ## a Spark cluster; the whole path on it, PostgreSQL, OpenBao and S3 over TLS; each of them lost
	$(BIN)/python -m tests.suite -o faulthandler_timeout=1800 -m cluster

test-fast: install  ## the tests that need neither Spark nor Airflow
	$(BIN)/python -m pytest -q -m "not spark and not airflow and not cluster and not path and not kills and not stores and not browser"

lint: install  ## ruff, format check, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

console: machine install  ## Airflow with its UI on 127.0.0.1:8080 (PORT=n moves it)
	@$(BIN)/cloakhouse console --port $(PORT)

bench: machine install  ## measure seconds, CPU, memory, ratios; BENCH="--only tokens" takes a part
	$(BIN)/python -m tests.bench $(BENCH)

requirements: install  ## compile requirements.txt from pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --all-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --output-file requirements.txt pyproject.toml

INFRA_STAMP := .venv-infra/.installed

$(INFRA_STAMP): infra/checks/requirements.txt infra/checks/constraints.txt
	@test -x .venv-infra/bin/python || $(PYTHON) -m venv .venv-infra
	@echo "installing the tools of infra/checks into .venv-infra (a minute or two)"
	@timeout 300 .venv-infra/bin/python -m pip install --quiet --disable-pip-version-check \
		-r infra/checks/requirements.txt -c infra/checks/constraints.txt
	@touch $@

.PHONY: check-infra
check-infra: $(INFRA_STAMP)  ## check infra/: Terraform and what else is described there; CHECK=name takes one
	@sh infra/checks/run.sh $(CHECK)

SUPPLY_STAMP := .venv-supply/.installed

$(SUPPLY_STAMP): infra/supply/requirements.txt
	@test -x .venv-supply/bin/python || $(PYTHON) -m venv .venv-supply
	@timeout 300 .venv-supply/bin/python -m pip install --quiet --disable-pip-version-check -r infra/supply/requirements.txt
	@touch $@

.PHONY: sbom audit licences wheel
sbom: install $(SUPPLY_STAMP)  ## write dist/sbom.cdx.json: CycloneDX of the locked environment
	@.venv-supply/bin/python infra/supply/sbom.py dist/sbom.cdx.json

audit: $(SUPPLY_STAMP)  ## ask PyPI's advisory service about all locked packages; fails when it can't be asked
	@sh infra/supply/audit.sh

licences: install  ## write docs/licences.md from installed metadata
	@$(BIN)/python infra/supply/licences.py docs/licences.md

wheel: install  ## build the last commit's wheel into dist, the same bytes each time
	@sh infra/supply/wheel.sh dist

clean:  ## remove what runs and tests wrote: ./var with its keys, and caches
	rm -rf var docs/api .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*

distclean: clean  ## clean, and remove .venv, .venv-infra and .venv-supply
	rm -rf $(VENV) .venv-infra .venv-supply

.PHONY: docs
docs: install  ## write docs/treatments.md
	@$(BIN)/cloakhouse contracts treatments --output markdown > docs/treatments.md.new
	@mv docs/treatments.md.new docs/treatments.md

.PHONY: api
api: install  ## write API reference pages from docstrings to docs/api
	@$(BIN)/python infra/api_pages.py docs/api
	@echo "docs/api/index.html"
