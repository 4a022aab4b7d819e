# Everything a developer types. `make help` lists it. MEDFORALL_HOME names another home than .medforall.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PACKAGES := scheduling chassis database booking_svc availability_svc realtime_svc gateway ctl
SOURCES := $(wildcard $(PACKAGES) examples tests tools bench)
BASELINE := protos-baseline.binpb
TEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup up down clean check lint types imports protos-check test up-check proto proto-baseline bench soak soak-booking soak-import clients pin format

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Installing -------------------------------------------------------------------------------------------------
# A stamp for what runs, and one for what is needed to develop: a second run is instant, and `make up` does not
# wait for test tools. The environment is made from the quickest build of `python3` on the PATH, or from PYTHON=….

PYTHON3 = $(or $(PYTHON),python3)
NEW_ENOUGH = $(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medforall needs Python 3.11 or newer; choose one with PYTHON=...")'

# Its Python may have been removed: then it is made anew. One that works is kept.
$(shell [ -x $(BIN)/python ] || rm -f $(VENV)/.made)
$(VENV)/.made:
	@$(NEW_ENOUGH)
	@$(PYTHON3) tools/make_venv.py $(if $(PYTHON),--this) $(VENV)
	@touch $@

$(VENV)/.installed-run: requirements/run.in constraints.txt pyproject.toml | $(VENV)/.made
	@echo "Installing what the suite runs on (once)"
	@$(PIP) setuptools
	@$(PIP) -r requirements/run.in
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-run requirements/dev.in
	@echo "Installing what development needs (once)"
	@$(PIP) -r requirements/dev.in
	@touch $@

setup: $(VENV)/.installed-dev  ## Install everything into .venv; nothing is started
	@sh tools/install_chromium.sh
	@sh tools/install_node_packages.sh

pin:  ## Resolve requirements/*.in afresh and write the exact versions to constraints.txt
	@$(NEW_ENOUGH)
	@rm -rf build/pin && $(PYTHON3) tools/make_venv.py --this build/pin
	@build/pin/bin/python -m pip install --quiet --upgrade -r requirements/run.in -r requirements/dev.in
	@build/pin/bin/python -m pip freeze --all --exclude pip | LC_ALL=C sort -f > constraints.txt
	@rm -rf build/pin

# --- Running ----------------------------------------------------------------------------------------------------

up: $(VENV)/.installed-run  ## Start the whole suite on this machine; Ctrl-C stops it
	@exec $(BIN)/medforall up $(UP_ARGS)

down: $(VENV)/.installed-run  ## Stop the suite that runs in this project's home
	@$(BIN)/medforall down

up-check: $(VENV)/.installed-dev  ## Start the suite in a temporary home, book through REST, see it everywhere, stop
	@$(BIN)/python tools/up_check.py

clean:  ## Stop the suite; remove its data, .venv, and all that was built
	@if [ -x $(BIN)/python ] && [ -x $(BIN)/medforall ]; then $(BIN)/medforall down && $(BIN)/medforall reset --yes; fi
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Checking ---------------------------------------------------------------------------------------------------

check: lint types imports protos-check  ## Lint, format, types, import rules, contracts

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES)

types: $(VENV)/.installed-dev
	@$(BIN)/mypy $(SOURCES)

imports: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

protos-check: $(VENV)/.installed-dev
	@$(BIN)/buf lint
	@$(BIN)/buf breaking protos --against $(BASELINE)
	@$(BIN)/python tools/generate_protos.py --check

test: $(VENV)/.installed-dev  ## Run check and all tests; prints each part's time budget and what it took
	@sh tools/install_chromium.sh
	@sh tools/install_node_packages.sh
	@start=$$(date +%s); $(MAKE) --no-print-directory check \
	  && MEDFORALL_CHECK_TOOK_S=$$(( $$(date +%s) - start )) $(BIN)/pytest -n $(TEST_WORKERS) --dist loadscope

format: $(VENV)/.installed-dev  ## Let ruff repair what it can
	@$(BIN)/ruff check --fix $(SOURCES) || true
	@$(BIN)/ruff format $(SOURCES)

# --- Building ---------------------------------------------------------------------------------------------------

proto: $(VENV)/.installed-dev  ## Generate stubs, OpenAPI, AsyncAPI and the settings page from contracts and code
	@$(BIN)/buf lint
	@$(BIN)/python tools/generate_protos.py
	@$(BIN)/python tools/generate_openapi.py
	@$(BIN)/python tools/generate_settings_doc.py

proto-baseline: $(VENV)/.installed-dev  ## Make today's contracts the baseline of `buf breaking`; at a release only
	@$(BIN)/buf build protos --exclude-source-info -o $(BASELINE)

soak: $(VENV)/.installed-dev  ## Ten times the random bookings against the projections; MEDFORALL_SOAK_SEED chooses others
	@MEDFORALL_SOAK_STEPS=$${MEDFORALL_SOAK_STEPS:-105000} $(BIN)/pytest tests/integration/availability/test_projection.py -k shuffled --timeout 1800

soak-booking: $(VENV)/.installed-dev  ## 5,000 random operations on bookings for each of 20 fresh seeds, which are printed; MEDFORALL_MODEL_SEED chooses the first
	@MEDFORALL_MODEL_SEED=$${MEDFORALL_MODEL_SEED:-$$(date +%s)} MEDFORALL_MODEL_SEEDS=$${MEDFORALL_MODEL_SEEDS:-20} \
	  $(BIN)/pytest tests/property/booking/test_model.py

soak-import: $(VENV)/.installed-dev  ## An import of 20,000 visits takes little more memory than one of 2,500; MEDFORALL_SOAK_VISITS chooses another number
	@MEDFORALL_SOAK_VISITS=$${MEDFORALL_SOAK_VISITS:-20000} $(BIN)/pytest tests/integration/directory/test_long_imports.py --timeout 1800

bench: $(VENV)/.installed-dev  ## Measure, each figure beside its floor
	@$(BIN)/python -m bench

clients: $(VENV)/.installed-dev  ## Build the Python and TypeScript clients
	@$(BIN)/python -m tools.clients
