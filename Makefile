# `make demo` and `make test` are all that a machine with Python 3.11, cargo and make needs.

PYTHON ?= python3.11
BIN := .venv/bin
export CARGO_TARGET_DIR := $(CURDIR)/core_rs/target
CARGO := cd core_rs && cargo

# uv installs in half the time where it is there.
PIP_INSTALL := $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

CORE := pyworkbench/_core.abi3.so
CORE_SOURCES := pyproject.toml core_rs/Cargo.toml core_rs/Cargo.lock $(wildcard core_rs/*/Cargo.toml) \
	$(wildcard core_rs/*/build.rs) $(shell find core_rs/*/src -name '*.rs')

.PHONY: help demo test lab bench lint build lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## replay real captures, sweep, and write out/report.html
	$(BIN)/pwb replay data/captures
	$(BIN)/pwb report notebooks/quickstart.ipynb out/report.html

test: test-rust test-python ## every test

.PHONY: test-rust test-python
test-rust:
	$(CARGO) test --release --workspace --quiet

# A group, such as the browser tests, stays in one worker.
test-python: build
	$(BIN)/python -m pytest -n auto --dist loadgroup

lab: build ## JupyterLab on notebooks/
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: build ## time the core, in Rust and from Python
	$(CARGO) bench --workspace
	$(BIN)/python -m pytest tests/bench --benchmark-only

lint: build ## formats, lints, types, stubs, spelling, notebooks without outputs
	$(CARGO) fmt --check
	$(CARGO) clippy --release --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest pyworkbench._core
	$(BIN)/typos
	! grep -lE '"(output_type|execution_count)": *("|[0-9])' notebooks/*.ipynb

build: $(CORE) ## the environment and the compiled core

$(CORE): $(CORE_SOURCES) .venv/installed
	$(BIN)/maturin develop --release --quiet
	@touch $@

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) -r requirements.lock
	@touch $@

# With Debian 12's own 3.11.2 (PYTHON=/usr/bin/python3.11): a later 3.11 pins what that one cannot install.
lock: ## pin the newest versions of what pyproject.toml asks for
	$(PYTHON) -m venv --clear out/lock
	out/lock/bin/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	    print(*p['dependencies'], *sum(p['optional-dependencies'].values(), []), sep='\n')" > out/requirements.in
	out/lock/bin/python -m pip install --quiet -r out/requirements.in
	out/lock/bin/python -m pip freeze > requirements.lock

clean: ## remove what the other targets made
	rm -rf .venv out core_rs/target $(CORE)
