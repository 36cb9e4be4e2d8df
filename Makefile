# make study: the first study, with its environment. make test: the whole test suite.
# The environment's folder is VENV, its interpreter is made by PYTHON (3.11 to 3.13).
VENV ?= .venv
PYTHON ?= python3
override BIN := $(VENV)/bin
# Installed again only when what is asked for, or this checkout's place, changes.
STAMP := $(VENV)/.installed-$(shell { cat pyproject.toml constraints.txt; pwd; } | cksum | cut -d ' ' -f 1)

.PHONY: study test lint rankings env
study: env
	$(BIN)/python cli.py study --space inception_dw --objective pareto

# Two at a time, and then, alone, those that time real work or look at what else the machine does.
test: env
	$(BIN)/python -m pytest -m 'not serial' --numprocesses 2 --dist loadgroup; first=$$?; \
	$(BIN)/python -m pytest -m serial tests && exit $$first

lint: env
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# The table of what is known of recipes, from the committed records of fidelity.
rankings: env
	$(BIN)/python benchmarks/rankings.py

env: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit("archsearch needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d; try: make PYTHON=python3.12" % v[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@
