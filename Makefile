# Every target works from a clean clone: what it needs is installed into .venv first.
# Two commands to start with: `make demo`, `make test`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
RUN := $(VENV)/bin/python
SOURCE ?= openapi/source/get-account-balance.md

# The first Python on the PATH that is new enough; `make PYTHON=… demo` chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# --- set-up -----------------------------------------------------------------------------------

$(VENV)/.dev: requirements/dev.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { \
		echo "error: no Python 3.11 or newer was found (PYTHON='$(PYTHON)')." >&2; \
		echo "       Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1 || { \
		echo "error: $(PYTHON) cannot make virtual environments: its 'venv' or 'ensurepip' module is missing." >&2; \
		echo "       On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) -V) …"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(call install,requirements/dev.txt)
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.dev
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.%: requirements/%.txt $(VENV)/.project
	@echo "Adding requirements/$*.txt to $(VENV) …"
	@$(call install,requirements/$*.txt)
	@touch $@

define install
$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r $(1) || { \
	echo "error: $(1) could not be installed into $(VENV) (see above)." >&2; \
	echo "       A package index must be reachable: check the network and pip's proxy settings, then run make again." >&2; exit 1; }
endef

.PHONY: lock
lock: $(VENV)/.lint ## Update the locked versions in requirements/*.txt from requirements/*.in
	cd requirements && for part in dev lint; do \
		../$(VENV)/bin/uv --quiet pip compile --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" $$part.in -o $$part.txt || exit 1; done

.PHONY: clean
clean: ## Remove what make has built
	rm -rf $(VENV) build dist site .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --- the main job -----------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.project ## The main job on a local stand-in server: page → spec → client → a balance
	@$(RUN) scripts/demo.py

.PHONY: test
test: $(VENV)/.project check-drift ## All tests, with branch coverage
	@$(RUN) -m pytest -q -n 2 --cov --cov-report=term

.PHONY: lint
lint: $(VENV)/.lint ## Formatting, lint rules and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m mypy --strict -p mesh_connect_client
	@$(VENV)/bin/basedpyright
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/zizmor --offline --quiet .github/workflows

.PHONY: format
format: $(VENV)/.project ## Format the handwritten code
	@$(RUN) -m ruff check --fix-only .
	@$(RUN) -m ruff format .

# --- the spec loop ----------------------------------------------------------------------------

.PHONY: spec
spec: $(VENV)/.project ## Import SOURCE (a docs page, a spec, a URL) into openapi/mesh.yaml
	@$(RUN) scripts/import_spec.py "$(SOURCE)" --output openapi/mesh.yaml --adopt

.PHONY: generate
generate: $(VENV)/.project ## Regenerate generated/ from openapi/mesh.yaml and openapi/overlay.yaml
	@$(RUN) scripts/generate.py

.PHONY: check-drift
check-drift: $(VENV)/.project ## Fail, with a diff, where generated/ is not what the spec gives
	@$(RUN) scripts/check_drift.py
