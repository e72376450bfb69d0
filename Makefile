# Needs python3 (3.11 or newer) with venv and pip; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests start hundreds of processes: each would compile the package for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-long lint format docs bench web test-web clean
.DEFAULT_GOAL := test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

demo: $(VENV)/.installed-demo  ## convert a small archive of photographs and look at it
	$(BIN)/python -m demo

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-dev  ## the tests that take minutes together
	$(PYTEST)

TESTS :=
test-slow: $(VENV)/.installed-dev  ## those that take seconds to a minute each, or some: TESTS="tests/kinds ..."
	$(PYTEST) -m "slow and not long" $(TESTS)

test-long: $(VENV)/.installed-dev  ## killed and interrupted conversions, hostile inputs by tens of thousands: hours
	$(BIN)/python -m pytest -m long

lint: $(VENV)/.installed-dev  ## format, lint, types, import walls
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev  ## the benchmarks of speed and memory; bench-output/report.md has their tables
	$(BIN)/python -m benchmarks

web/node_modules/.installed: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web: web/node_modules/.installed  ## the page, from its source in web/ into functa_store/page/static
	cd web && npm run build

test-web: $(VENV)/.installed-dev web  ## tests of the page, in Node and in Chromium; the build is that of the source
	cd web && PYTHON=$(abspath $(BIN)/python) npx vitest run
	git diff --exit-code -- functa_store/page/static

clean:
	rm -rf $(VENV) build dist site demo-output examples-output bench-output *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
