PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test agree check format requirements bench fuzz clean

run: $(STAMP)  ## what this machine would kill next; exit status 1 is an answer, not a failure
	@$(BIN)/oomkit || [ $$? -eq 1 ]

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation --editable .
	@touch $@

test: check
	$(BIN)/python -m pytest

agree: $(STAMP)  ## the battery on real kernels beside the model; a miss is an answer: tests/model/test_battery.py holds the model
	$(BIN)/oomkit agree scenarios/battery --on cgroup --on qemu --kernel 6.12 --kernel 6.1 --guests 2 --skip-missing || [ $$? -eq 1 ]

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## the figures of docs/benchmarks.md
	$(BIN)/python benchmarks/scan.py
	$(BIN)/python benchmarks/model.py
	$(BIN)/python benchmarks/klog.py
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/recorder.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/policies.py
	$(BIN)/python benchmarks/real.py

FUZZ_S ?= 120

fuzz: $(STAMP)  ## hostile kernel logs, FUZZ_S seconds of them
	$(BIN)/python -m pip install -q --require-hashes -r requirements/fuzz.txt
	$(BIN)/python fuzz/klog.py --seconds $(FUZZ_S)

requirements:  ## pin anew; needs uv
	$(UV) pip compile -q pyproject.toml --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/run.txt
	$(UV) pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/dev.txt
	$(UV) pip compile -q --group fuzz --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/fuzz.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
