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

.PHONY: help demo test lab bench measurements lint fuzz stress sanitize build lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The race is there to be found: `pwb explore` answers 10, and nothing else is right.
demo: build ## replay real captures, show the race and its fixes, sweep, and write out/*.html
	$(BIN)/pwb replay data/captures
	$(BIN)/pwb explore flush-race-filled; test $$? -eq 10
	$(BIN)/pwb matrix flush-race-filled
	$(BIN)/pwb report notebooks/teardown_race.ipynb -o out/teardown_race.html
	$(BIN)/pwb report notebooks/quickstart.ipynb -o out/report.html

test: test-rust test-python ## every test

.PHONY: test-rust test-python
test-rust:
	$(CARGO) test --release --locked --workspace --quiet

# A group, such as the browser tests, stays in one worker.
test-python: build
	$(BIN)/python -m pytest -n auto --dist loadgroup

lab: build ## JupyterLab on notebooks/
	$(BIN)/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

bench: build ## time the core against peers, given figures and limits; the walkers' table is out/bench.html too
	$(CARGO) bench --quiet --locked -p pyworkbench-measure --bench counters
	$(CARGO) bench --quiet --locked -p pyworkbench-measure --bench harness
	$(CARGO) bench --quiet --locked -p pyworkbench-runtime --bench locks
	$(CARGO) bench --quiet --locked -p pyworkbench-explore --bench flush
	$(BIN)/python tests/bench/limits.py
	$(BIN)/python tests/bench/sweep.py
	rm -rf core_rs/target/criterion
	for run in 1 2 3 4 5; do \
	    ( $(CARGO) bench --quiet --locked -p pyworkbench-stage2 --bench walkers -- --quiet --save-baseline $$run >/dev/null ); \
	    $(BIN)/python tests/bench/walkers.py --time-python $$run; done
	$(BIN)/python tests/bench/walkers.py

measurements: build ## run the sweeps of docs/measurements/ (8 minutes on two cores) and write docs/measurements.md
	for sweep in teardown strategies contention; do \
	    $(BIN)/pwb sweep docs/measurements/$$sweep.toml --out out/measurements/$$sweep || exit 1; done
	$(BIN)/python tests/bench/measurements.py > out/measurements.md
	mv out/measurements.md docs/measurements.md

fuzz: ## a minute of libFuzzer on scripts and on every parser
	core_rs/fuzz/run.sh 60

stress: ## a minute of real threads that fault, age and unmap in one table
	$(CARGO) test --release --locked --quiet -p pyworkbench-stage2 --test stress
stress: export PYWORKBENCH_STRESS_SECONDS = 60

sanitize: ## AddressSanitizer and ThreadSanitizer over the runtime and the table
	core_rs/sanitize.sh

lint: build ## formats, lints, types, stubs, spelling, notebooks without outputs
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest pyworkbench._core
	$(BIN)/typos
	! grep -lE '"(output_type|execution_count)": *("|[0-9])' notebooks/*.ipynb

build: $(CORE) ## the environment and the compiled core

$(CORE): $(CORE_SOURCES) .venv/installed
	PIP_QUIET=1 $(BIN)/maturin develop --release --locked --quiet
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
