# Everything sets itself up in .venv; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.runtime
DEV    := $(VENV)/.dev
SOURCES := gateway storage_plugin tests benchmarks
WORKERS ?= 2

.PHONY: help demo test test-caldav test-system check fmt mutants soak soak-caldav bench lock rules clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(RUN)  ## do the main job on real parts and keep it running (ARGS=--once to end)
	@$(BIN)/gateway demo $(ARGS)

test: $(DEV)  ## the whole suite that needs nothing but pip, on SQLite and PostgreSQL
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not system and not live" $(ARGS)

test-caldav: $(DEV)  ## the CalDAV suite on both databases, each with one and with four server processes
	GATEWAY_TEST_CALDAV=sqlite:1,sqlite:4,postgresql:1,postgresql:4 \
	  $(BIN)/pytest -n $(WORKERS) --dist loadgroup tests/storage_plugin $(ARGS)

test-system: $(DEV)  ## what needs Debian packages; installs them when run as root
	@PYTHON=$(BIN)/python bash tests/system/install.sh
	$(BIN)/pytest -m system $(ARGS)

soak: $(DEV)  ## a virtual day of 50 accounts with faults and crashes (SEED=, ARGS=--help); minutes
	$(BIN)/python -m tests.soak $(if $(SEED),--seed $(SEED)) $(ARGS)

soak-caldav: $(DEV)  ## 50 CalDAV clients for two minutes, on both databases, with one and four processes
	GATEWAY_SOAK_S=$${GATEWAY_SOAK_S:-120} $(BIN)/pytest -rP tests/storage_plugin/test_many_clients.py $(ARGS)

check: $(DEV)  ## format, lint, types, import contracts, generated pages
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.house

fmt: $(DEV)  ## format and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

rules: $(DEV)  ## write docs/rules.md from the tests' rule marks
	$(BIN)/python -m tests.rules --write

mutants: $(DEV)  ## break rules on purpose; fails where the tests stay green
	$(BIN)/python -m tests.mutants

bench: $(DEV)  ## measure; ratios within one run
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(DEV)  ## write requirements/*.txt anew from pyproject.toml
	$(BIN)/pip install --quiet uv==0.13.8
	for extra in runtime dev; do \
	  $(BIN)/uv pip compile --universal --generate-hashes --no-header --no-annotate --quiet \
	    --python-version 3.11 $$([ $$extra = dev ] && echo --extra dev) \
	    pyproject.toml requirements/build.in -o requirements/$$extra.txt; done

clean:  ## remove everything that make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python has no venv module here (Debian: apt install python3-venv)"; exit 1; }

# The niquests dependency would otherwise replace urllib3 for every package in the environment.
$(RUN): requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "Installing the gateway into $(VENV) (once) ..."
	@URLLIB3_NO_OVERRIDE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing the gateway and its development tools into $(VENV) (once) ..."
	@URLLIB3_NO_OVERRIDE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(RUN)
