# spicehop: `make demo` shows it, `make test` proves it. Both work as the first command after a clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
export PYTHON

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.spicehop-installed
COMPILED := $(VENV)/.spicehop-compiled

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(COMPILED) ## a client works in our server's guest, and everything is counted; needs Python alone (ARGS="...")
	@$(VENV)/bin/spicehop demo $(ARGS)

.PHONY: demo-qemu
demo-qemu: peers-demo-qemu $(COMPILED) ## the same in a virtual machine that moves from QEMU to QEMU (ARGS="...")
	@$(VENV)/bin/spicehop demo --qemu $(ARGS)

# Hundreds of servers start in the tests, and each would compile every module again.
.PHONY: test
test: export PYTHONDONTWRITEBYTECODE :=
test: peers-all $(COMPILED) ## install the real peers and run every test, in three processes (ARGS="..." in one)
	@$(RUN) -m pytest $(or $(ARGS),-n 3)

.PHONY: check
check: $(COMPILED) ## lint, types, and who may import whom
	@$(RUN) -m ruff check
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports

.PHONY: bench
bench: peers-bench $(COMPILED) ## measure the codecs, with ratios to the reference (ARGS="...")
	@$(RUN) -m bench $(ARGS)

.PHONY: bench-desktop
bench-desktop: peers-bench $(COMPILED) ## measure a minute of desktop work beside QEMU, in seven minutes (ARGS="...")
	@$(RUN) -m bench.desktop $(ARGS)

.PHONY: bench-blackout
bench-blackout: peers-demo-qemu $(COMPILED) ## measure what a client sees of a move, beside QEMU, in 15 minutes (ARGS="...")
	@$(RUN) -m bench.blackout $(ARGS)

.PHONY: venv
venv: $(COMPILED) ## only set up the virtual environment

.PHONY: clean
clean: ## remove the virtual environment, caches and what was built
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist out
	find src \( -name '*.so' -o -path '*/codecs/*.c' \) -delete
	find src tests bench examples -name __pycache__ -prune -exec rm -rf {} +

.PHONY: peers-demo-qemu peers-all peers-bench
peers-demo-qemu peers-all peers-bench: peers-%:
	@scripts/install-peers $*

# The first of these two makes the environment, the second compiles the codecs again when their source changed, or when
# there was no compiler the last time.
$(INSTALLED): pyproject.toml setup.py
	@scripts/install-peers base
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "spicehop needs Python 3.11 or newer; name one with make PYTHON=..." >&2; exit 2; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV)"
	@$(VENV)/bin/pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

$(COMPILED): $(INSTALLED) setup.py $(wildcard src/spicehop/codecs/*.py src/spicehop/codecs/*.pxd src/spicehop/painting/digest_kernels.py)
	@$(RUN) setup.py -q build_ext --inplace
	@! $(RUN) -c 'import sys; from spicehop.codecs import is_compiled; sys.exit(not is_compiled())' || touch $@
