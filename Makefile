# The commands of this project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
SOURCES := $(wildcard jabba agents tables web demo migrations tests bench)
# Two files at a time, each with servers of its own: most tests wait most of the time.
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"
LOCK := $(COMPILE) pyproject.toml

.PHONY: help venv demo up test lint simulate searches faults format lock

help: ## List the commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

venv: .venv/checkout.stamp ## Create .venv with everything the lock names

# Any Python from 3.11 on; PYTHON=... chooses one.
.venv/bin/python:
	@for python in $${PYTHON:-python3 python3.12 python3.11 python3.13}; do \
		if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "Creating .venv with $$python"; exec "$$python" -m venv .venv; \
		fi; \
	done; \
	echo "Jabba needs Python 3.11 or newer with its venv module (on Debian: apt-get install python3-venv)" >&2; exit 1

.venv/lock.stamp: requirements/dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# Made with the locked hatchling, so that nothing outside the lock is ever installed.
.venv/checkout.stamp: pyproject.toml .venv/lock.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv ## Verify every installed distribution, then call a service that fails at times
	$(BIN)/python -m demo

up: venv ## Run all of Jabba on this machine, with demo/shop.py and the service demo/billing.py
	$(BIN)/python -m demo.billing $(BIN)/python -m jabba up --callbacks demo.shop

test: lint ## Lint, then every test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

simulate: venv ## Many schedules of the simulator (SEEDS=1000); does it find planted bugs? (BUGS=1)
	$(BIN)/python -m tests.simulation $(if $(BUGS),--bugs,--seeds $(or $(SEEDS),1000))

searches: venv ## Random searches of PostgreSQL and of plain Python (EXAMPLES=5000 of jobs and of tasks)
	SEARCHES=$(or $(EXAMPLES),5000) $(BIN)/python -m pytest tests/integration/test_search_property.py

faults: venv ## Rounds of real faults under load (ROUNDS=20)
	$(BIN)/python -m tests.fault --rounds $(or $(ROUNDS),20)

lint: venv ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

format: venv ## Format, and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock: ## Resolve pyproject.toml again into requirements/*.txt (needs uv; UPGRADE=1 for newer versions)
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra embedded --output-file requirements/embedded.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra server --constraint requirements/embedded.txt \
		--output-file requirements/server.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra embedded --group dev --constraint requirements/embedded.txt \
		--output-file requirements/dev.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) --group others --output-file requirements/others.txt
