# make demo: from nothing to a conversation. make app: a page to talk on. make test: the test suite. make tiny: the
# reference checkpoint and its tables, trained anew. All set up what they need.
PYTHON ?= python3
BIN := .venv/bin
CHECKPOINT := build/smollm2-135m
EXTRAS := face,train,eval,app,serve,assemble,remote,dev,docs
export TOKENIZERS_PARALLELISM := false

.PHONY: setup checkpoint demo app test fuzz test-newest test-lowest bench docs style tiny

setup: $(BIN)/.ready

$(BIN)/.ready: setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

checkpoint: setup
	$(BIN)/empathav assemble $(CHECKPOINT) --preset smollm2-135m
	$(BIN)/empathav assemble $(CHECKPOINT)-tuned --preset smollm2-135m --adapter checkpoints/smollm2-135m/adapter

demo: checkpoint
	$(BIN)/empathav demo $(CHECKPOINT)-tuned
	@echo "make app opens a page to talk on yourself: camera, microphone, text."

app: checkpoint
	$(BIN)/empathav app $(CHECKPOINT)-tuned

test: checkpoint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The fuzzers of the suite with thousands of cases, drawn anew. FUZZ_SEED=... draws the same again.
fuzz: setup
	seed=$${FUZZ_SEED:-$$(date +%s)}; echo "FUZZ_SEED=$$seed make fuzz"; \
	FUZZ_SEED=$$seed FUZZ_CASES=$${FUZZ_CASES:-5000} $(BIN)/python -m pytest -n 2 --dist loadfile tests/fuzz

# The suite in an environment of its own: build/newest with what pip finds, build/lowest with the floors of setup.py.
# PYTHON=python3.13 make test-newest takes another Python. What torch brings along for CUDA may be gigabytes.
test-newest test-lowest: test-%: checkpoint
	$(PYTHON) -m venv build/$*
	build/$*/bin/python -m pip install --quiet -c constraints-$*.txt torch
	build/$*/bin/python -m pip install --quiet -c constraints-$*.txt -e ".[$(EXTRAS)]"
	build/$*/bin/python -m pytest -n 2 --dist loadfile

bench: checkpoint
	$(BIN)/python benchmarks/report.py

tiny: setup
	recipes/reference.sh --cost
	recipes/reference.sh

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

style: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
