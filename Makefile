# Everything runs in a virtual environment inside the clone; each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

.DEFAULT_GOAL := help
.PHONY: help demo serve test scenarios slow check lint types imports bench bench-smoke gen drift clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml clients/python/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@echo "setting up $(VENV), which takes about a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable clients/python --editable '.[dev]'
	@touch $@

$(BENCH_READY): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

demo: $(READY)  ## Start the real sidecar and drive the release-job story against it
	$(BIN)/python -m demo

serve: $(READY)  ## Start an embedded sidecar in ./data
	$(BIN)/pdp serve

test: $(READY)  ## Run the tests (minutes)
	$(BIN)/pytest -m 'not slow'

slow: $(READY)  ## Run the slow tests: five hundred kills under load, ten thousand steps, outages of minutes (half an hour)
	$(BIN)/pytest -m slow

scenarios: $(READY)  ## Run the policy stories
	$(BIN)/pdp test policies

check: lint types imports drift  ## Lint, types, import contracts, generated code

lint: $(READY)  ## Style of the code, and of the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/buf lint

types: $(READY)  ## mypy, strict
	$(BIN)/mypy pdp clients/python/src/sessionpdp demo

imports: $(READY)  ## The direction of dependence
	$(BIN)/lint-imports

gen: $(READY)  ## Generate the contract's Python code
	PYTHON=$(BIN)/python tools/gen

drift: $(READY)  ## The generated code is that of the contract
	PYTHON=$(BIN)/python tools/drift

bench: $(BENCH_READY)  ## Measure everything, rewrite benchmarks/README.md (needs h2load; tens of minutes)
	$(BIN)/python -m benchmarks

bench-smoke: $(BENCH_READY)  ## Run every benchmark once, briefly; figures mean nothing
	$(BIN)/python -m benchmarks --smoke

clean:  ## Remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis data
