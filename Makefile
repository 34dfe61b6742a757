# Two commands for a user: `make reproduce` and `make test`. Both set up what they need.
PROFILE ?= laptop#    smoke, laptop or thesis
DEVICE  ?= auto#      auto, cpu or cuda
JOBS    ?= auto#      processes of one thread; auto: one a core. No number depends on it
MEMORY  ?= auto#      GiB for kept activations; auto: half of the machine's
BASES   ?=#           folder of released base networks, taken by checksum; empty: each N0 is trained
PYTHON  ?= python3#   3.11 to 3.13
VENV    ?= .venv
LAUNCHER ?=#          joblib, ray, submitit or slurm start the processes, 'slurm partition=short' with values for its keys
PRESETS ?=#           of reproduce, plan and status: runs of these presets alone, 'table_4_1 figure_4_2'
SHARDS  ?= 1#         parts that a launcher's workers make each reloading run in
PARTIAL ?=#           1: tables, report, verdicts, reference from this clone's runs even where some are missing

python := $(VENV)/bin/python
ready  := $(VENV)/.ready
reproduce := $(python) -m experiments.reproduce
from_records := $(python) -m experiments.from_records
partial := $(if $(PARTIAL),--partial)
bases := $(if $(BASES),--bases-from $(BASES))
presets := $(if $(PRESETS),--presets '$(PRESETS)')

.DEFAULT_GOAL := help
.PHONY: help setup reproduce plan status tables report verify reference restore public-bugs companions test test-slow test-anywhere smoke examples lint format bench clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Options: PROFILE=smoke|laptop|thesis (laptop)  DEVICE=auto|cpu|cuda  JOBS=n  MEMORY=GiB  BASES=folder  PRESETS=names  LAUNCHER=name  SHARDS=n  PARTIAL=1  PYTHON=python3.12'

$(ready): pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); ok or sys.exit("error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; use make PYTHON=...")'
	@test -x $(python) || $(PYTHON) -m venv $(VENV)
	@echo 'setting up: torch and torchvision are some GB, this takes a minute or more'
	@$(python) -m pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(ready) ## Install into .venv

reproduce: $(ready) ## Run what is not there yet, the thesis' part first (outputs/thesis), then write tables, figures and the report
	@$(reproduce) run --profile $(PROFILE) --device $(DEVICE) --jobs $(JOBS) --memory $(MEMORY) $(bases) $(partial) \
		$(presets) --launcher '$(LAUNCHER)' --shards $(SHARDS) $(ARGS)

plan: $(ready) ## Say what would run, what is cached and how long it takes
	@$(reproduce) plan --profile $(PROFILE) --device $(DEVICE) --jobs $(JOBS) $(bases) $(presets)

status: $(ready) ## Say what is done, who is at what, what failed and what is left; ARGS=--json
	@$(reproduce) status --profile $(PROFILE) $(presets) $(ARGS)

tables: $(ready) ## Write tables and figures from the records that are there
	@$(reproduce) tables --profile $(PROFILE) $(partial)

report: $(ready) ## Write outputs/report (report.md, beyond.md and three pages) from the records that are there
	@$(from_records) report --profile $(PROFILE) $(partial)

verify: $(ready) ## Fail if a verdict on a claim of the thesis is worse than the kept one
	@$(from_records) verify --profile $(PROFILE) $(partial)

reference: $(ready) ## Make this clone's records the committed reference, and the table in docs/results.md
	@$(reproduce) reference --profile $(PROFILE) $(partial)

restore: $(ready) ## Take the committed records as this clone's runs: make reproduce then makes what they lack
	@$(reproduce) restore --profile $(PROFILE)

public-bugs: $(ready) ## Correct reported mistakes of packages that pip fetches; ARGS='seed=1 ~reports.magika'
	@OMP_NUM_THREADS=1 $(python) -m experiments.public_bugs $(ARGS)

companions: $(ready) ## Train the companion studies, 30 minutes at laptop scale; ARGS='studies=[xor] scale=document plan=true'
	@OMP_NUM_THREADS=1 $(python) -m experiments.companions $(ARGS)

# One thread each: torch's own threads, one a core in every process, would fight for them.
test: $(ready) ## Run the tests
	@OMP_NUM_THREADS=1 $(python) -m pytest --numprocesses auto --dist worksteal

test-slow: $(ready) ## Run the tests that take more than a few seconds each, which `make test` leaves out
	@OMP_NUM_THREADS=1 $(python) -m pytest --numprocesses auto --dist worksteal -m slow

# Threads and kernels are each machine's own: scripts/test_anywhere.py sets them.
test-anywhere: $(ready) ## Run the numeric tests as other processors would compute, in some 30 minutes
	@$(python) scripts/test_anywhere.py $(ARGS)

smoke: $(ready) ## Run every preset on the tiny subset, twice, and check what comes out
	@$(python) scripts/smoke.py

examples: $(ready) ## Run the examples; for the one of a public bug pip fetches 16 MB
	@OMP_NUM_THREADS=1 $(python) scripts/examples.py $(ARGS)

lint: $(ready) ## Check style and types
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

format: $(ready) ## Format the code
	@$(python) -m ruff format .
	@$(python) -m ruff check --fix .

bench: $(ready) ## Measure where the time goes, against the obvious way (ARGS=--full for the targets) or a commit (ARGS='--against REV')
	@$(python) -m scripts.bench $(ARGS)

clean: ## Remove what was run here: runs, base networks, smoke. The committed outputs stay
	rm -rf outputs/runs outputs/bases outputs/smoke outputs/thesis outputs/public_bugs outputs/companions outputs/hydra .pytest_cache .mypy_cache .ruff_cache
