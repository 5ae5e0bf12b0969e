# The developer's commands, all of them. Each makes .venv first where it is missing or older than the lock.
#
#   PYTHON       the interpreter that .venv is made with, 3.11 or newer
#   TORCH_INDEX  a package index for torch alone; empty: the configured one

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?=
TORCH := torch==2.13.0
BIN := .venv/bin
PY := $(BIN)/python
READY := .venv/.ready
CODE = aae $(wildcard launch.py analysis/*.py)

.DEFAULT_GOAL := help
.PHONY: help setup sweep test test-all check lint bench faults cluster-test slurm-test page-test figures golden

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## .venv with torch, then everything that requirements.lock pins

# The stamp is written last, so a set-up that was cut off is done again.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not Python 3.11 or newer: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

sweep: $(READY)  ## a small search over real trainings, 5 to 13 minutes on two cores
	$(PY) launch.py sweeps/quick.yaml

# Three processes on two cores: a test that waits for Ray to start leaves its core to others.
test: lint  ## lint, then every test but the slow ones: 6 to 11 minutes on two cores
	$(PY) -m pytest -n 3 --dist worksteal

test-all: lint  ## lint, then every test, slow ones too
	$(PY) -m pytest -n 3 --dist worksteal -m ""

check: lint  ## lint, then the tests that start no sweep
	$(PY) -m pytest -n 3 --dist worksteal -m "not slow and not system"

lint: $(READY)  ## format, lint, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

bench: $(READY)  ## our updates against the same maths in a bare loop
	$(PY) -m benchmarks.bare_loop

faults: $(READY)  ## the kill matrix into records/faults.jsonl; goes on where that ends
	$(PY) -m tests.faults

cluster-test: $(READY)  ## ray up on three hosts in namespaces of this machine; needs root and Debian packages, and says which
	$(PY) -m tests.cluster_hosts

slurm-test: $(READY)  ## clusters/slurm.sh under a real Slurm of three nodes on this machine; needs root and Debian packages, and says which
	$(PY) -m tests.slurm_hosts

page-test: $(READY)  ## the report's page in headless Chromium; needs Debian's chromium and playwright, and says which
	$(PY) -m pytest -q -n 0 tests/page_browser.py

figures: $(READY)  ## training.png, search.png, cost.png and draws.png of docs/figures/, from committed records
	$(PY) -m benchmarks.figures

golden: $(READY)  ## write the golden losses anew, after a change of the maths
	$(PY) -m tests.golden
