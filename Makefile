# Every target works from a clean clone: what it needs is installed into .venv first.
# Two commands to start with: `make demo`, `make test`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
RUN := $(VENV)/bin/python
BASE ?= origin/main
REDOCLY := 2.77.0

# The first Python on the PATH that is new enough; `make PYTHON=… demo` chooses another.
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

# An update that was killed while it moved files is finished before anything else is done.
ifneq ($(and $(wildcard .make/update.ready),$(wildcard $(VENV)/bin/python)),)
$(info $(shell $(RUN) scripts/update.py --finish))
ifneq ($(shell ls -d .make/update.ready 2>/dev/null),)
$(error an update is moving files, or was killed while it did, and could not be finished (see above). If \
it runs, wait for its end. Otherwise mend the cause and run make again, or give the update up: \
rm -r .make/update.ready; git restore openapi generated; git clean -fd openapi generated)
endif
endif

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' ' \
		/^# --- / { heading = $$0; gsub(/^# --- | -+$$/, "", heading) } \
		/^[a-z0-9-]+:.*## / { \
			if (heading) { printf "\n%s\n", heading; heading = "" } \
			printf "  make %-12s %s\n", $$1, $$2 \
		}' Makefile

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

# --- every day ----------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.project ## Try the whole job on a local mock server: docs page → spec → client → balance
	@$(RUN) scripts/demo.py

.PHONY: example
example: $(VENV)/.example ## Start the example application on a mock server, and print its address (PORT=8000)
	@$(RUN) -m examples.balances.demo $(PORT)

.PHONY: test
test: $(VENV)/.extras check-drift ## Run all tests, with branch coverage
	@$(RUN) -m pytest -q -n 2 --cov --cov-report=term

.PHONY: lint
lint: $(VENV)/.lint $(VENV)/.extras ## Check formatting, lint rules, types, imports and workflows
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m mypy --strict -p mesh_connect_client
	@$(RUN) -m pytest -q -p no:cacheprovider tests/docs/test_snippet_types.py tests/test_adding_an_operation.py
	@$(VENV)/bin/basedpyright
	@$(VENV)/bin/pyrefly check --summary=none
	@$(VENV)/bin/lint-imports --no-logo --no-cache
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	@$(VENV)/bin/zizmor --offline --quiet .github

.PHONY: format
format: $(VENV)/.project ## Format the handwritten code
	@$(RUN) -m ruff check --fix-only .
	@$(RUN) -m ruff format .

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation into site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

# --- when the spec changes ----------------------------------------------------------------------

.PHONY: spec
spec: $(VENV)/.project ## Import SOURCE=… (a docs page or a spec; a file or an address) into openapi/mesh.yaml
	@$(RUN) scripts/import_spec.py $(if $(SOURCE),"$(SOURCE)") --output openapi/mesh.yaml --adopt

.PHONY: generate
generate: $(VENV)/.project ## Write generated/ from openapi/mesh.yaml and openapi/overlay.yaml
	@$(RUN) scripts/generate.py

.PHONY: check-drift
check-drift: $(VENV)/.project ## Fail, with a diff, if generated/ is not what the spec gives
	@$(RUN) scripts/check_drift.py

.PHONY: changes
changes: $(VENV)/.project redocly-if-possible ## Say what changed for callers since the git ref BASE=…, and whether it breaks them
	@$(RUN) scripts/changes.py "$(BASE)"

.PHONY: update
update: $(VENV)/.extras redocly-if-possible ## Import SOURCE=… (default: what Mesh publishes), generate, compare and test, with a report
	@$(RUN) scripts/update.py $(if $(SOURCE),"$(SOURCE)")

.PHONY: redocly
redocly: $(VENV)/node_modules/.redocly ## Install redocly, with which `changes` and `update` compare the wire (needs npm)

# A report without redocly is better than none: its first line then says what is missing.
.PHONY: redocly-if-possible
redocly-if-possible: $(VENV)/.project
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory redocly || true

$(VENV)/node_modules/.redocly: Makefile $(VENV)/.project
	@command -v npm >/dev/null || { \
		echo "error: npm was not found. Install Node.js 20 or newer with npm, then run: make redocly" >&2; exit 1; }
	@echo "Adding redocly $(REDOCLY) to $(VENV) …"
	@npm install --prefix $(VENV) --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
		--loglevel=error @redocly/cli@$(REDOCLY) >/dev/null || { \
		echo "error: npm could not install @redocly/cli@$(REDOCLY) into $(VENV) (see above)." >&2; \
		echo "       An npm registry must be reachable: check the network and npm's settings, then run: make redocly" >&2; exit 1; }
	@touch $@

# --- long tests ---------------------------------------------------------------------------------

.PHONY: test-again
test-again: $(VENV)/.extras ## Run all tests ten times, in random order, four at a time
	@for seed in 1 2 3 4 5 6 7 8 9 10; do \
		$(RUN) -m pytest -q -n 4 -p no:cacheprovider --randomly-seed=$$seed || exit 1; done

.PHONY: fuzz
fuzz: $(VENV)/.project ## Read 100,000 random bodies: a balance if the schemas allow it, otherwise an error
	@FUZZ_EXAMPLES=100000 $(RUN) -m pytest -q -n 2 -p no:cacheprovider tests/trust/test_bodies.py

.PHONY: soak
soak: $(VENV)/.project ## Make 100,000 calls, one in ten with a fault: memory and descriptors must not grow
	@$(RUN) -m tests.trust.soak

.PHONY: mutants
mutants: $(VENV)/.mutants ## Change the code at random, and see whether the tests notice
	@rm -rf mutants # what mutmut kept of an older run would count as this one's
	@$(VENV)/bin/mutmut run --max-children 2 >mutants.log 2>&1 || { tail -5 mutants.log; exit 1; }
	@tr '\r' '\n' <mutants.log | grep '[0-9]/[0-9]' | tail -1
	@$(VENV)/bin/mutmut results

.PHONY: compare
compare: $(VENV)/.project ## Show how bare httpx, the generated client and the facade handle the faults
	@$(RUN) -m tests.faults.compare

# --- releases and dependencies ------------------------------------------------------------------

WHEEL := .make/wheel
PACKED := .gitignore LICENSE pyproject.toml mkdocs.yml ':(glob)*.md' Makefile docs examples mesh_facade generated openapi scripts tests requirements
# Tests that need the checkout (its scripts and docs, the generator) or packages that no extra brings.
CHECKOUT_TESTS := tests/docs tests/scripts tests/test_adding_an_operation.py tests/test_benchmarks.py \
	tests/test_import_contracts.py tests/test_make.py tests/test_wheel.py \
	tests/operations/test_following_the_spec.py tests/operations/test_layering.py tests/operations/test_second_operation.py \
	tests/examples tests/extras/test_data.py tests/extras/test_telemetry.py
.PHONY: test-wheel
test-wheel: $(VENV)/.project ## Test the installed wheel and its extras with VERSIONS=lowest or highest dependencies
	@rm -rf $(WHEEL) && mkdir -p $(WHEEL)
	@$(VENV)/bin/hatchling build -t wheel -d $(WHEEL) >/dev/null
	@$(RUN) -m venv $(WHEEL)/venv
	@touch $(WHEEL)/constraints.txt
	@$(if $(filter lowest,$(VERSIONS)),$(RUN) scripts/wheel_bounds.py pin $(WHEEL)/*.whl >$(WHEEL)/constraints.txt)
	@$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(WHEEL)/constraints.txt "$$(ls $(WHEEL)/*.whl)[cli,dask,testing]" \
		hypothesis 'pytest>=9' 'pytest-randomly>=4' pytest-xdist 'trustme>=1.2'
	@$(WHEEL)/venv/bin/python -m pip check --disable-pip-version-check
	@$(if $(filter lowest,$(VERSIONS)),$(RUN) scripts/wheel_bounds.py check $(WHEEL)/*.whl \
		"$$($(WHEEL)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')")
	@cp -R tests openapi pyproject.toml $(WHEEL)
	@cd $(WHEEL) && INSTALLED_INTO="$$PWD/venv" venv/bin/python -m pytest -q -n 2 -p no:cacheprovider \
		$(addprefix --ignore=,$(CHECKOUT_TESTS))

.PHONY: dist
dist: $(VENV)/.release ## Build sdist and wheel into dist/, check them, test the wheel, and add an SBOM
	@rm -rf dist .make/dist && mkdir -p .make/dist
	@$(VENV)/bin/hatchling build -d dist >/dev/null
	@$(VENV)/bin/hatchling build -d .make/dist >/dev/null
	@diff -r dist .make/dist || { echo "error: two builds differ" >&2; exit 1; }
	@tar -tzf dist/*.tar.gz | sed 's,^[^/]*/,,' | grep -vx PKG-INFO | sort >.make/packed
	@git ls-files $(PACKED) | sort | diff - .make/packed || { echo "error: stray (>) or missing (<) files in the sdist" >&2; exit 1; }
	@$(VENV)/bin/twine check --strict dist/*
	@$(VENV)/bin/check-wheel-contents dist/*.whl
	@$(MAKE) --no-print-directory test-wheel VERSIONS=lowest
	@$(MAKE) --no-print-directory test-wheel VERSIONS=highest
	@$(RUN) -m venv --clear --without-pip .make/installed
	@$(RUN) -m pip --python .make/installed/bin/python install --quiet --disable-pip-version-check dist/*.whl
	@$(VENV)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
		-o dist/sbom.cdx.json .make/installed/bin/python
	@ls -l dist

.PHONY: audit
audit: $(VENV)/.release ## Look for known vulnerabilities in the locked packages (needs the network)
	@for part in requirements/*.txt; do $(VENV)/bin/pip-audit --require-hashes --disable-pip -r $$part || exit 1; done

.PHONY: canary
canary: $(VENV)/.extras ## Generate and test with the newest generator, ruff and httpx; changes .venv and generated/
	@rm -f $(VENV)/.dev
	@$(RUN) -m pip install --quiet --upgrade openapi-python-client ruff httpx httpcore attrs
	@$(RUN) scripts/generate.py
	@$(RUN) -m pytest -q -n 2

.PHONY: test-httpx2
test-httpx2: $(VENV)/.extras $(VENV)/.httpx2 ## Run the tests, except those of the scripts, with httpx2 instead of httpx
	@RUN_ON_HTTPX2=yes PYTHONPATH=$(CURDIR)/tests/httpx2 $(RUN) -m pytest -q -n 2 -p no:cacheprovider --ignore=tests/scripts \
		-W "ignore:Module already imported:pytest.PytestAssertRewriteWarning"

# A company may have a certificate authority of its own. pip trusts the authorities that the system
# trusts, or those in the file that PIP_CERT names. uv needs a setting for either: UV_SYSTEM_CERTS
# makes it trust those of the system, and SSL_CERT_FILE names a file.
lock: export UV_SYSTEM_CERTS ?= true
ifdef PIP_CERT
lock: export SSL_CERT_FILE ?= $(PIP_CERT)
endif
.PHONY: lock
lock: $(VENV)/.lint ## Lock the newest versions of requirements/*.in; UPGRADE=no keeps the locked ones
	cd requirements && for part in dev lint example extras docs release bench mutants httpx2; do \
		$(abspath $(VENV))/bin/uv --quiet pip compile $(if $(filter no,$(UPGRADE)),,--upgrade) --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --emit-build-options \
		--custom-compile-command "make lock" $$part.in -o $$part.txt || exit 1; done

.PHONY: clean
clean: ## Remove everything that make has built
	rm -rf $(VENV) .make build dist site mutants mutants.log .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --- speed ------------------------------------------------------------------------------------

.PHONY: bench
bench: $(VENV)/.bench ## Compare the speed with other clients (writes benchmarks/RESULTS.md) or with BASELINE=… checkout
	@$(RUN) $(if $(BASELINE),benchmarks/compare.py "$(BASELINE)",benchmarks/run.py)
