# Everything that is done with this repository. `make help` lists it.
# Needs Python 3.11 or newer, make and the package registries; it sets up the rest in .tools and .venv by itself.

UV_VERSION := 0.13.9
BUF_VERSION := 1.75.0

# The first interpreter that is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON = $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)

UV := .tools/uv/bin/uv
BIN := .venv/bin
BUF := .tools/buf/node_modules/.bin/buf

UV_INSTALLED := .tools/uv/installed-$(UV_VERSION)
RUN_READY := .venv/ready-to-run
DEV_READY := .venv/ready-to-develop
BUF_READY := .tools/buf/installed-$(BUF_VERSION)
GOOGLEAPIS := .tools/googleapis/google/api/http.proto

MANIFESTS := pyproject.toml uv.lock $(wildcard sdk/python/pyproject.toml services/*/pyproject.toml examples/*/pyproject.toml)
OURS := $(wildcard sdk/python services/* examples/* benchmarks)

# Python comes from the machine; uv would fetch one from outside the registries.
export UV_PYTHON_DOWNLOADS := never

# uv and npm bring certificates of their own; a machine behind a proxy trusts those of the system.
SYSTEM_CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
ifneq ($(SYSTEM_CERTIFICATES),)
export UV_SYSTEM_CERTS ?= true
export NODE_EXTRA_CA_CERTS ?= $(SYSTEM_CERTIFICATES)
endif

SAY := @echo "==>"
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use

.PHONY: demo
demo: runnable ## Run the data-processing example on a mesh of its own. DATA=path-or-url.csv: on your data
	@$(BIN)/python -m data_processing.demo $${DATA:+"$$DATA"}

.PHONY: order
order: runnable ## Run the order example: an approval, a payment, a delivery, and how they are taken back
	@$(BIN)/python examples/order/demo.py

.PHONY: dev
dev: runnable ## Start the whole mesh on this machine; Ctrl-C stops it
	@$(BIN)/parade dev

##@ Test

.PHONY: test
test: developable compiled ## Run the tests, two at once. ARGS='-k name' goes to pytest; ARGS='-n 0' runs one after the other
	$(SAY) "tests"
	@$(BIN)/python -m pytest -m "not full" -n 2 --dist worksteal $(ARGS)

.PHONY: test-full
test-full: developable ## Run all tests, those that take long too. ARGS goes to pytest
	$(SAY) "tests, all of them"
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: bench
bench: developable ## Measure against a named rival. CASE=name: one case alone
	@$(BIN)/python -m benchmarks $${CASE:+"$$CASE"}

##@ Check

CHECKS := check-lock check-fmt lint types imports check-proto check-gen check-docs

.PHONY: check
check: developable ## Check everything but the tests; changes nothing
	@$(MAKE) -k $(CHECKS)
	$(SAY) "all checks passed"

.PHONY: fmt
fmt: developable $(GOOGLEAPIS) ## Format the code and the protos
	$(SAY) "formatting"
	@$(BIN)/ruff check -q --select I --fix
	@$(BIN)/ruff format -q
	@if command -v npm >/dev/null; then $(MAKE) -s $(BUF_READY) && $(BUF) format -w protos; \
	else echo "    no npm here: the protos are left as they are"; fi

.PHONY: lint
lint: developable ## Lint the code (ruff)
	$(SAY) "lint"
	@$(BIN)/ruff check -q

.PHONY: types
types: developable ## Check the types (mypy, strict)
	$(SAY) "types"
	@$(BIN)/mypy --no-error-summary

.PHONY: imports
imports: developable ## Check who imports whom (import-linter)
	$(SAY) "imports"
	@output=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$output"; exit 1; }

.PHONY: check-gen
check-gen: developable ## Demand that the generated code is what the protos make
	$(SAY) "generated code"
	@rm -rf .tools/generated && mkdir -p .tools/generated/sdk/python/parade/v1
	@cp -R protos .tools/generated/protos && cp sdk/python/parade/v1/__init__.py .tools/generated/sdk/python/parade/v1/
	@$(BIN)/python .tools/generated/protos/generate.py
	@diff -r -q -x __pycache__ .tools/generated/sdk/python/parade/v1 sdk/python/parade/v1 \
		|| { echo "sdk/python/parade/v1 is not what the protos make: run make gen"; exit 1; }

.PHONY: check-lock
check-lock: developable
	$(SAY) "lock file"
	@$(UV) lock -q --check || { echo "uv.lock does not fit the pyproject.toml files: run $(UV) lock"; exit 1; }

.PHONY: check-fmt
check-fmt: developable
	$(SAY) "format"
	@$(BIN)/ruff format -q --diff

.PHONY: check-proto
check-proto: developable $(GOOGLEAPIS)
	$(SAY) "protos"
	@if command -v npm >/dev/null; then $(MAKE) -s $(BUF_READY) && $(BUF) lint && $(BUF) format --diff --exit-code protos; \
	elif [ "$$CI" = true ]; then echo "no npm here: the protos cannot be checked"; exit 1; \
	else echo "    skipped: no npm here, and buf comes from npm"; fi

.PHONY: check-docs
check-docs: developable
	$(SAY) "reference"
	@$(BIN)/python -m docs.generate --check

##@ Make

.PHONY: gen
gen: developable ## Generate the code from the protos
	$(SAY) "generating code"
	@$(BIN)/python protos/generate.py

.PHONY: docs
docs: developable ## Generate the reference in docs/reference
	$(SAY) "generating the reference"
	@$(BIN)/python -m docs.generate

.PHONY: clean
clean: ## Remove the environment, the tools and every cache; keeps what a mesh stored in .parade
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	@find $(OURS) docs protos tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# ------------------------------------------------------------------------------------------------------------- the environment

.PHONY: runnable
runnable: $(RUN_READY) compiled

.PHONY: developable
developable: $(DEV_READY)

# Our own packages change after the environment was made, and Python does not keep what it compiled where PYTHONDONTWRITEBYTECODE is set.
.PHONY: compiled
compiled: $(RUN_READY)
	@$(BIN)/python -m compileall -q -x node_modules $(OURS)

$(UV_INSTALLED):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python …"; exit 1; }
	$(SAY) "installing uv $(UV_VERSION) into .tools"
	@rm -rf .tools/uv
	@$(PYTHON) -m venv .tools/uv || { rm -rf .tools/uv; echo "$(PYTHON) cannot make virtual environments (Debian: apt install python3-venv)"; exit 1; }
	@.tools/uv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/pyvenv.cfg: | $(UV_INSTALLED)
	@$(UV) venv -q --python "$(PYTHON)" .venv

# Leaves in place what `make test` installed.
$(RUN_READY): $(MANIFESTS) | .venv/pyvenv.cfg $(UV_INSTALLED)
	$(SAY) "installing what a mesh needs into .venv"
	@$(UV) sync -q --frozen --inexact --no-default-groups --group example --compile-bytecode
	@touch $@

$(DEV_READY): $(MANIFESTS) | .venv/pyvenv.cfg $(UV_INSTALLED)
	$(SAY) "installing what development needs into .venv"
	@$(UV) sync -q --frozen --all-packages --all-groups --all-extras --compile-bytecode
	@$(BIN)/python -m compileall -q -x node_modules $(OURS)
	@touch $@ $(RUN_READY)

$(BUF_READY):
	@rm -rf .tools/buf && mkdir -p .tools/buf
	@npm install --prefix .tools/buf --no-save --ignore-scripts --no-audit --no-fund --loglevel=error @bufbuild/buf@$(BUF_VERSION) >/dev/null
	@touch $@

# buf finds imports in folders of its own only.
$(GOOGLEAPIS): $(DEV_READY)
	@cd protos && ../$(BIN)/python -c "import generate; generate.lay_out_googleapis()"
	@touch $@
