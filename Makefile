# Everything happens in .venv; nothing else on the machine is touched but ptune's own model cache.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint requirements.lock --editable

.PHONY: demo test setup check pictures clean

## train, evaluate, export and answer with the default model, from nothing
demo: .venv/train
	$(BIN)/ptune demo

## all tests
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

## the same .venv with every extra
setup: .venv/train .venv/dev

## linters, import contracts and types
check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

## the README's pictures, drawn by the program on runs of its own
pictures: .venv/dev
	$(BIN)/python bench/pictures.py docs/pictures

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/train: pyproject.toml requirements.lock | .venv/bin/python
	@echo "Installing ptune with the training extra into .venv (torch is large; this takes minutes) ..."
	$(INSTALL) '.[train]'
	@touch $@

.venv/dev: pyproject.toml requirements.lock | .venv/bin/python
	@echo "Installing ptune with the development extra into .venv (torch is large; this takes minutes) ..."
	$(INSTALL) '.[dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
