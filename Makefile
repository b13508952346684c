# Two commands: `make run` and `make test`. Each sets up everything that it needs in .venv.

PYTHON ?= python3
PYTORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
VENV := .venv
BIN := $(VENV)/bin
# Without these, glibc returns the memory of large tensors to the system at every step (PyTorch on a CPU).
export MALLOC_MMAP_THRESHOLD_ := 2000000000
export MALLOC_TRIM_THRESHOLD_ := 8000000000

.PHONY: run test lint clean
.DELETE_ON_ERROR:

run: $(VENV)/run.done  ## the demo pair behind the gateway
	exec $(BIN)/smallfirst up

test: $(VENV)/test.done lint  ## everything that must hold
	$(BIN)/pytest

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "smallfirst needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# PyTorch's CPU build where it can be had, else the default one.
$(VENV)/torch.done: $(VENV)/bin/pip
	$(BIN)/python -c 'import torch' 2>/dev/null \
	|| $(BIN)/pip install -q --retries 1 --timeout 20 --extra-index-url $(PYTORCH_CPU_INDEX) 'torch==2.13.0+cpu' \
	|| $(BIN)/pip install -q 'torch>=2.9'
	touch $@

$(VENV)/run.done: $(VENV)/torch.done pyproject.toml
	$(BIN)/pip install -q -e '.[engine]'
	touch $@

$(VENV)/test.done: $(VENV)/torch.done pyproject.toml
	$(BIN)/pip install -q -e '.[engine,dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
