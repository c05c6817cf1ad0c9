# Everything a developer or a user runs; `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The interpreter: `make demo PYTHON=python3.13` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; \
	done || echo python3)
UV := $(shell command -v uv || echo .tools/bin/uv)
# An environment that is already there keeps its interpreter, unless PYTHON is given.
CHOSEN := $(if $(filter command environment,$(word 1,$(origin PYTHON))),yes,$(if $(wildcard .venv),,yes))
SYNC := $(UV) sync --frozen --quiet $(if $(CHOSEN),--python $(PYTHON))
RUN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
# Each command of the demo is a process of its own: without byte code all of them would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.tools/bin/uv:
	@echo "Fetching uv into .tools"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools uv

.PHONY: environment
environment: $(UV)
	@$(SYNC)

.PHONY: install
install: environment ## Set up the environment and the hooks on commit and push
	$(RUN)/pre-commit install --hook-type pre-commit --hook-type pre-push

.PHONY: demo
demo: $(UV) ## Simulated transactions to a trained model and scored rows, in two to three minutes
	@echo "Installing into .venv"
	@$(SYNC) --no-dev --inexact
	@PATH="$(CURDIR)/$(RUN):$$PATH" scripts/demo.sh

# A make that a test runs must not see the arguments of this one.
PYTEST := env -u MAKEFLAGS -u MFLAGS -u ARGS -u COVERAGE $(RUN)/pytest
COV := $(if $(COVERAGE),--cov --cov-report=term)

.PHONY: test
test: environment ## Every test but the slow ones; with COVERAGE=1, coverage must reach 90 %
	$(PYTEST) -m "not slow" -n 2 --dist worksteal $(COV) $(ARGS)

.PHONY: test-docs
test-docs: environment ## Of these, the examples in docstrings and the pages of docs/ alone
	$(PYTEST) -m "not slow" -n 2 --dist worksteal fraud3000 tests/test_docs.py tests/test_docs_examples.py $(ARGS)

.PHONY: test-slow
test-slow: $(UV) ## The long proofs; those that measure a latency run one by one, after the others
	@$(SYNC) --group docs
	@status=0; $(PYTEST) -m "slow and not alone" -n 2 --dist worksteal $(ARGS) || status=$$?; \
	$(PYTEST) -m "slow and alone" $(ARGS) || status=$$?; exit $$status

.PHONY: lint
lint: environment ## Style, types, layers
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports --no-logo
	$(RUN)/mypy

.PHONY: types
types: environment ## Types alone
	$(RUN)/mypy

.PHONY: format
format: environment ## Put the code into its one format
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

.PHONY: docs
docs: environment ## Write the generated pages and pictures of docs/ anew
	$(RUN)/python scripts/generate_docs.py
	$(RUN)/python scripts/draw_time.py
	$(RUN)/python scripts/generate_openapi.py

.PHONY: docs-serve
docs-serve: $(UV) ## Read the site of docs/ at http://127.0.0.1:8001; it follows your edits
	@$(SYNC) --group docs
	$(RUN)/mkdocs serve --dev-addr 127.0.0.1:8001 $(ARGS)

.PHONY: docs-site
docs-site: $(UV) ## Build the site of docs/ into site/; any warning is an error
	@$(SYNC) --group docs
	$(RUN)/mkdocs build --strict $(ARGS)

.PHONY: bench
bench: environment ## Benchmarks: results to benchmarks/results.json and docs/benchmarks.md
	$(RUN)/python benchmarks/run_all.py

.PHONY: mlflow
mlflow: environment ## Browse the trained models at http://127.0.0.1:5000
	$(RUN)/mlflow server --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --host 127.0.0.1 --port 5000

.PHONY: score
score: environment ## Score a file: make score IN=transactions.csv [ARGS="--model challenger --cold-start"]
	$(RUN)/fraud3000 score-file $(IN) $(ARGS)

.PHONY: repro
repro: environment ## Run the DVC pipeline: what changed, and what depends on it
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "Error: DVC needs a git repository, and this folder is none" >&2; \
		echo "Hint: git init && git add . && git commit -m 'Start', then make repro again." >&2; exit 3; }
	@PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/dvc repro $(ARGS)

.PHONY: push pull
push pull: environment ## Data and models to or from the bucket that FRAUD3000_DVC_REMOTE names
	@[ -n "$${FRAUD3000_DVC_REMOTE:-}" ] || { echo "Error: FRAUD3000_DVC_REMOTE is not set" >&2; \
		echo "Hint: set it to a place such as s3://bucket/fraud3000." >&2; exit 4; }
	@$(RUN)/dvc remote add --quiet --local --force --default store "$$FRAUD3000_DVC_REMOTE"
	@$(RUN)/dvc $@ $(ARGS)

.PHONY: serve
serve: environment ## Serve the champion at http://127.0.0.1:8000
	$(RUN)/fraud3000 serve $(ARGS)

.PHONY: image
image: ## Both container images: fraud3000 and fraud3000-tools, by podman or docker
	@build="$$(command -v podman || command -v docker)" || { echo "Error: neither podman nor docker is installed" >&2; exit 7; }; \
	case $$build in *podman) build="$$build build --format docker" ;; *) build="$$build build" ;; esac; \
	for target in serve tools; do \
		$$build --target $$target --build-arg REVISION="$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
			--tag fraud3000$$([ $$target = tools ] && echo -tools || true) $(ARGS) .; \
	done

.PHONY: check-infra
check-infra: environment ## The infrastructure, tried: images, Terraform on a played AWS, services as processes, DVC in a bucket
	$(RUN)/python scripts/check_infra.py $(ARGS)

.PHONY: promote-model
promote-model: environment ## Ask the gate: make promote-model [MODEL_NAME=… STAGE=…] [ARGS="--dry-run"]
	$(RUN)/fraud3000 promote $(if $(MODEL_NAME),--model "$(MODEL_NAME)") $(if $(STAGE),--stage "$(STAGE)") $(ARGS)

.PHONY: redeploy-ecs-service
redeploy-ecs-service: environment ## New tasks on ECS, or back: make redeploy-ecs-service [CLUSTER=… SERVICE=… TAG=…]
	$(RUN)/fraud3000 deploy redeploy $(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(SERVICE),--service "$(SERVICE)") \
		$(if $(TAG),--image-tag "$(TAG)") $(ARGS)
