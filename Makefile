# Everything a person or a machine runs. On a fresh machine Python 3.11 or newer and make are enough.

VENV ?= .venv
# The first interpreter that is new enough; `make PYTHON=/path/to/python3.12 ...` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# What the tests have seen; `make CONSTRAINTS= ...` takes the newest releases the bounds in pyproject.toml allow.
CONSTRAINTS ?= constraints.txt

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
INSTALLED = pyproject.toml $(CONSTRAINTS) $(VENV)/.created
PYTEST := JAX_PLATFORMS=cpu $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Parts of the tests, for machines side by side: `make test SHARD=networks`. The four together are all of them.
SHARDS = networks environments algorithms rest
SHARD_networks = tests/networks
SHARD_environments = tests/environments tests/docs
SHARD_algorithms = tests/algorithms $(wildcard tests/acting tests/learning)
SHARD_rest = tests $(addprefix --ignore=,$(foreach shard,$(filter-out rest,$(SHARDS)),$(SHARD_$(shard))))
# What another version of Python or of a library breaks first, every algorithm included.
SHARD_core = tests/core tests/kernels tests/lox tests/recorded tests/structure

# Elsewhere in the tests: what is left out where a library of environments is missing.
WITH_LIBRARIES = "tests/experiment/test_examples.py::test_an_example_runs[meta_rl_grids]" "tests/docs/test_pages_commands.py::test_the_commands_of_a_page_run[play]"
PAGES_TRAIN = tests/environments/adapters/test_pages.py

ROOMS = $(notdir $(patsubst %/,%,$(filter-out %/__pycache__/,$(wildcard src/memorax/*/))))
FOLDERS = $(wildcard src/memorax/$(ROOM) tests/$(ROOM))

.DEFAULT_GOAL := help
.PHONY: help train check test test-all test-envs test-sweep faults lint bench docs clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

train: $(VENV)/.installed ## Train the default agent and draw its learning curve
	$(BIN)/memorax train $(ARGS)

check: $(VENV)/.installed-test $(VENV)/.installed-lint ## Check one room, `make check ROOM=networks`: its style, all types, its tests
	@test -d "src/memorax/$(ROOM)" -a -n "$(ROOM)" || { echo "ROOM must be one of: $(ROOMS); got: $(ROOM)"; exit 1; }
	$(BIN)/ruff check $(FOLDERS)
	$(BIN)/ruff format --check $(FOLDERS)
	$(BIN)/basedpyright --pythonpath $(BIN)/python src/memorax/$(ROOM)
	$(BIN)/lint-imports --no-cache
	$(PYTEST) -m "not slow" tests/structure $(wildcard tests/$(ROOM)) $(ARGS)

test: $(VENV)/.installed-test ## Run the tests that take seconds
	@test -z "$(SHARD)" -o -n "$(SHARD_$(SHARD))" || { echo "SHARD must be one of: $(SHARDS) core; got: $(SHARD)"; exit 1; }
	$(PYTEST) -m "not slow" $(SHARD_$(SHARD)) $(ARGS)

test-all: $(VENV)/.installed-test $(VENV)/.installed-oracle ## Run every test: the slow ones, and those beside other implementations
	$(PYTEST) $(ARGS)

test-envs: ## Test the adapters of other libraries, in three environments of their own
	$(MAKE) VENV=$(VENV)-envs $(VENV)-envs/.installed-envs
	JAX_PLATFORMS=cpu $(VENV)-envs/bin/python -m pytest tests/environments/adapters tests/environments/host $(WITH_LIBRARIES) $(ARGS)
	$(MAKE) VENV=$(VENV)-arcade $(VENV)-arcade/.installed-popgym-arcade
	$(VENV)-arcade/bin/python -m pip --disable-pip-version-check install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) pytest pytest-timeout
	JAX_PLATFORMS=cpu $(VENV)-arcade/bin/python -m pytest tests/environments/adapters/test_popgym_arcade.py $(PAGES_TRAIN) $(ARGS)
	$(MAKE) VENV=$(VENV)-nle CONSTRAINTS= $(VENV)-nle/.installed-nle
	$(VENV)-nle/bin/python -m pip --disable-pip-version-check install --quiet pytest pytest-timeout
	JAX_PLATFORMS=cpu $(VENV)-nle/bin/python -m pytest tests/environments/host $(PAGES_TRAIN) $(ARGS)

test-sweep: ## Test sweeps with Ray, Optuna and submitit, in an environment of their own
	$(MAKE) VENV=$(VENV)-sweep $(VENV)-sweep/.installed-sweep
	JAX_PLATFORMS=cpu $(VENV)-sweep/bin/python -m pytest tests/experiment/sweep tests/cli/test_sweep.py tests/docs/test_sweeps_page.py $(ARGS)

faults: $(VENV)/.installed-test ## Kill runs, fill disks, damage files: the fault campaign, which takes more than an hour
	JAX_PLATFORMS=cpu $(BIN)/python -m tests.faults.campaign $(ARGS)

lint: $(VENV)/.installed-lint ## Check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m tests.typing.check_pages
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed-peers ## Run the benchmarks, and write their tables into the documentation
	@for name in environments library_loops rnn models kernels images buffers ppo replay_agents agents startup tables; do echo "$$name" && $(BIN)/python -m benchmarks.$$name || exit 1; done

docs: $(VENV)/.installed-docs ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build --quiet -W --keep-going -b html docs docs/_build/html

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) build dist docs/_build .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "memorax needs Python 3.11 or newer, and none was found; install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "memorax needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1); name another: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: $(INSTALLED)
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-%: $(INSTALLED)
	$(PIP) --editable ".[$*]"
	@touch $@ $(VENV)/.installed
