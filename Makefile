# Everything runs in .venv, which the first call makes. `make` alone lists the commands.
#
#   ARGS=...     is handed on:       make lab ARGS="--port 8899"    make test ARGS="-k fit"
#   PYTHON=...   makes .venv:        make lab PYTHON=python3.13
#   TORCH=auto   torch for your GPU: make lab TORCH=auto    (each later call needs it too: export it)

ifeq ($(OS),Windows_NT)
VENV_PYTHON := .venv/Scripts/python.exe
else
VENV_PYTHON := .venv/bin/python
endif

.PHONY: help lab playground test notebooks bench lint env

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## */make \1 - /p' Makefile

lab: env  ## open JupyterLab at the first lesson and print its address
	@$(VENV_PYTHON) tools/lab.py $(ARGS)

playground: env  ## serve lesson 11 as a page: restore an image of your own
	@$(VENV_PYTHON) tools/playground.py $(ARGS)

test: env  ## run the whole test suite
ifdef ARGS
	@$(VENV_PYTHON) -m pytest $(ARGS)
else  # the lessons' fits use all cores; most other tests use one, and the browser's begin first
	@$(VENV_PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests
	@$(VENV_PYTHON) -m pytest notebooks
endif

notebooks: env  ## build the lessons from their sources
	@$(VENV_PYTHON) notebooks/build.py $(ARGS)

bench: env  ## measure seconds to quality, beside the published fit
	@$(VENV_PYTHON) benchmarks/time_to_quality.py $(ARGS)

lint: env  ## check style and layout
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check

env:
	@python=$$("$(SHELL)" tools/find_python.sh) && "$$python" tools/setup_env.py
