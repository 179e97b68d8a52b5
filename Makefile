# make teach prepare and open teaching mode
# make app   open the dashboard (first call installs)       make test   install what tests need, run all tests
# make check lint, types, tests                             make lock   renew the pins from pyproject.toml's ranges
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(shell command -v uv 2>/dev/null)
PIP    := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
WORKERS ?= 2

.PHONY: app teach test lint check lock reference screenshots clean

app: $(VENV)/.app
	$(BIN)/streamlit run app/main.py

teach: $(VENV)/.app
	$(BIN)/python -m app.teaching.rehearse

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

check: lint test

reference: $(VENV)/.test
	$(BIN)/python -m docs.reference && $(BIN)/python -m docs.map

screenshots: $(VENV)/.test
	$(BIN)/python -m docs.screenshots

# One tested set: a fresh environment with the newest releases that the ranges admit, frozen.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0
	build/lock/bin/pip install --quiet '.[dashboard]'
	(echo "# One tested set, made from pyproject.toml by: make lock"; echo "-e .[dashboard]"; \
	 build/lock/bin/pip freeze --exclude gelora-lab | sed 's/+cpu//') > build/requirements.txt
	build/lock/bin/pip install --quiet '.[dashboard,test]'
	(echo "# What the tests need beside ../requirements.txt, made by: make lock"; echo "-r ../requirements.txt"; \
	 build/lock/bin/pip freeze --exclude gelora-lab | sed 's/+cpu//' | grep -vxFf build/requirements.txt) > build/tests-requirements.txt
	mv build/requirements.txt requirements.txt
	mv build/tests-requirements.txt tests/requirements.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "GeLoRA Lab needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing (a few minutes, once) ..."
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.app tests/requirements.txt
	$(PIP) -r tests/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
