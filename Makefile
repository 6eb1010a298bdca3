# All that a newcomer needs, and what CI runs.
#   PYTHON=/path/to/python3.11   another Python than the one found
#   TORCH_INDEX=URL              a package index with another build of PyTorch (see README)

.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup check test test-gpu test-vllm test-clients demo notebooks lab bench journeys soak

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## Create .venv and install Conduit with all it needs, once
	@command -v $(PYTHON) >/dev/null || { \
	  echo "setup: $(PYTHON) is missing. Install Python 3.11, or: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) scripts/environment.py full

check: setup ## Lint, formatting, types; of the TypeScript its unit tests too
	@$(BIN)/python scripts/check.py

test: setup ## Every test: the checks, then all on this Python and, beside, on 3.13 what could differ
	@$(BIN)/python scripts/run_tests.py

test-gpu: setup ## Where there is a CUDA device: equality, plan against memory, benchmarks, on it
	@$(BIN)/python scripts/test_gpu.py

test-vllm: setup ## VllmBlock on a real vLLM (its CPU build, 3.5 GB, installed once): minutes
	@$(BIN)/python scripts/test_vllm.py

test-clients: setup ## LmLite with the clients that people use: openai, instructor, litellm, langchain…
	@$(BIN)/python scripts/test_clients.py

demo: setup ## Run notebooks/01_quickstart.ipynb for real and print its result
	@$(BIN)/python scripts/demo.py

notebooks: setup ## Run every notebook for real and keep what it shows
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/run_notebooks.py

lab: setup ## Open JupyterLab with the notebooks
	@$(BIN)/python scripts/extension.py build
	@$(BIN)/jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

bench: setup ## Every benchmark in turn, some minutes; all of each, hours: make bench FULL=1
	@for file in $(sort $(wildcard benchmarks/*.py)); do \
	  echo "== $$file"; CONDUIT_BENCH_FULL=$(FULL) $(BIN)/python $$file || exit 1; done

journeys: setup ## How many files, functions and thread hops a map, a deploy and a click take
	@$(BIN)/python scripts/journeys.py --files

soak: setup ## The tests with full counts (long)
	@CONDUIT_SOAK=1 $(BIN)/python scripts/run_tests.py
