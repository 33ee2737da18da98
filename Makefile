# The first target creates .venv by itself, the next ones are quick. Without a GPU on Linux set
# TORCH_INDEX to PyTorch's CPU wheel index, else torch brings 2 GB of CUDA.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
N      ?= 100
SEED   ?= 0
REFERENCE ?= val
OUT    ?= generated/seed-$(SEED)
# More threads than free cores makes small batches several times slower.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# tests are shared among so many processes, file by file
PROCESSES ?= 2
SHARED := -n $(PROCESSES) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help generate test notebooks book lint bench gpu results judges clean own-environment

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

generate: $(STAMP) ## N=100 new crystals with SEED=0 into OUT=generated/seed-0
	$(BIN)/symmbfn generate --n $(N) --seed $(SEED) --out $(OUT)

test: $(STAMP) ## every test, then every chapter against its stored output
	$(BIN)/python -m pytest -q $(SHARED) tests
	if ls notebooks/*.ipynb >/dev/null 2>&1; then $(BIN)/python -m pytest -q $(SHARED) --nbval notebooks/; fi

notebooks: $(STAMP) ## run the chapters again and store their output
	$(BIN)/python -m symmbfn.claims.chapters

book: $(STAMP) ## the chapters as a web site in _build/html, warnings are errors
	rm -rf _build
	$(BIN)/jupyter-book build -n -W --keep-going .

lint: $(STAMP) ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## timings, into results/engine.json: (20 minutes)
	for name in foundation.rebuild evaluation.matching evaluation.relaxation engine.bench; do $(BIN)/python -m scripts.$$name || exit 1; done

gpu: ## correctness, speed, training, 10,000 crystals on a GPU node (REHEARSE=1: tiny, no GPU)
	$(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m scripts.engine.gpu $(if $(REHEARSE),--rehearse)

results: $(STAMP) ## the figures of results/foundation.json, evaluation.json, conditioning.json (hours; REFERENCE=val|test_open)
	$(BIN)/python -m scripts.foundation.run all --reference $(REFERENCE)
	$(BIN)/python -m scripts.evaluation.controls
	$(BIN)/python -m scripts.evaluation.hull claims
	$(BIN)/python -m scripts.evaluation.identities all --reference $(REFERENCE)
	$(BIN)/python -m scripts.evaluation.run real shuffled random default sg10 paper
	$(BIN)/python -m scripts.conditioning.finetune

judges: .venv-judges/.installed ## M3GNet and MEGNet, in an environment of their own (.venv-judges)

clean: ## remove the environment and what was built
	rm -rf $(VENV) .venv-judges _build build dist

$(STAMP): constraints.txt pyproject.toml | own-environment
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[book,metrics,test]"
	touch $@

# every time: an environment of another checkout would run its code, or be taken from it
own-environment:
	@$(PYTHON) -I -S scripts/environment.py $(VENV)

# matgl 1.3.0 and dgl 1.1.3 ask for other versions than those they give right numbers with
.venv-judges/.installed: judges-requirements.txt
	test -x .venv-judges/bin/python || $(PYTHON) -m venv .venv-judges
	.venv-judges/bin/python -m pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
	  -r judges-requirements.txt
	.venv-judges/bin/python -m pip install -q --no-deps matgl==1.3.0 dgl==1.1.3
	touch $@
