# One command per task, the same for people and CI. Every target sets up what it needs.
# PYTHON chooses the interpreter for .venv: make test PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
SEED := $(shell date +%s)
KILLS := 500
REPLAY :=
PYTEST = pytest -n 2 --dist worksteal
READY := .venv/.ready

.PHONY: setup demo test torture lint bench docs lock clean

setup: $(READY)

# The lock is whole, so nothing is resolved: pip would look at later versions of what is named with extras.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lse needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	@rm -rf .venv
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python "$$(command -v $(PYTHON))" .venv && \
	  VIRTUAL_ENV=.venv uv pip install --quiet --require-hashes -r requirements.lock && \
	  VIRTUAL_ENV=.venv uv pip install --quiet --no-deps --no-build-isolation -e .; \
	else \
	  echo "Installing the locked packages into .venv (about a minute) ..."; \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $(READY)

demo: $(READY)  ## The main job on a local LangSmith and Drive: fetch, pack, upload, load, verify, report
	@$(BIN)/lse demo

test: $(READY)  ## All tests; they have to run 95 % of all lines and branches, all where a mistake costs data
	@$(BIN)/python -m slipcover --dont-wrap-pytest -m $(PYTEST)
	@$(BIN)/python tests/enough.py

torture: $(READY)  ## Thousands of kills and faults: make torture SEED=1 KILLS=500, or REPLAY='sweep line:1234'
	@echo "SEED=$(SEED) KILLS=$(KILLS) REPLAY='$(REPLAY)'"
	@TORTURE_SEED=$(SEED) TORTURE_KILLS=$(KILLS) TORTURE_REPLAY="$(REPLAY)" \
	  $(BIN)/python -m $(PYTEST) tests/torture
	@test -n "$(REPLAY)" || $(BIN)/python -m $(PYTEST) --hypothesis-profile=torture --hypothesis-seed=$(SEED) -m hypothesis tests/unit

lint: $(READY)  ## Format, style, types, and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)  ## Measure load, verify and reports against a floor in the same run
	@$(BIN)/python -m bench

docs: $(READY)  ## Write the generated pages of docs/ from the code
	@$(BIN)/python -m docs.generate

lock:  ## Resolve the locked versions anew (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-strip-extras --quiet --upgrade -o requirements.lock

clean:  ## Remove what the targets made
	rm -rf .venv demo .slipcover.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
