# The way in for people who work on DIO. Every target makes what it needs first.

PYTHON = .venv/bin/python
PYTEST = $(PYTHON) -m pytest
CODE = dio_daemon nerve_center tests scripts benchmarks setup.py

.DEFAULT_GOAL = help
.PHONY: help venv tools run test test-postgresql screenshots chaos e2e deb install lint format bench coverage clean

help: ## This list
	@echo "make TARGET"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1:\2/p' $(MAKEFILE_LIST) | awk -F: '{ printf "%-18s %s\n", $$1, $$2 }'

run: venv ## Run nerve center and agent here, without systemd, with a live view of this host (Ctrl-C stops both)
	@exec $(PYTHON) scripts/run.py

test: venv tools ## All tests that need no root, with their coverage
	$(PYTEST) -n auto --dist loadgroup --cov --cov-report=term

test-postgresql: venv tools ## The tests of the nerve center with PostgreSQL in place of SQLite
	DIO_TEST_DATABASE=postgresql $(PYTEST) -n auto --dist loadgroup \
		tests/unit/center tests/unit/scripts tests/contract tests/integration tests/browser

screenshots: venv ## The pictures in docs/images, made anew by the tests of the pages
	DIO_SCREENSHOTS=1 $(PYTEST) -q tests/browser

chaos: venv ## Ten minutes of every fault at random, ten agents on one center (SECONDS, AGENTS and SEED may be given)
	$(PYTHON) -m tests.support.chaos --seconds $(or $(SECONDS),600) --agents $(or $(AGENTS),10) $(if $(SEED),--seed $(SEED))

e2e: ## The packages on Debian 12 and 13 booted with systemd (needs root and systemd-nspawn)
	scripts/e2e

deb: ## Build both Debian packages into build/deb
	scripts/build-deb

install: deb ## Build both packages and install them on this host by apt
	scripts/install

lint: venv ## Format, style, types and layers
	$(PYTHON) -m ruff format --check $(CODE)
	$(PYTHON) -m ruff check $(CODE)
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy scripts benchmarks
	.venv/bin/lint-imports

format: venv ## Put the code into its format
	$(PYTHON) -m ruff format $(CODE)
	$(PYTHON) -m ruff check --fix $(CODE)

bench: venv ## All benchmarks, in a quarter of an hour at most: what the agent costs, what a center bears, how fast dioctl is
	$(PYTHON) -m benchmarks

coverage: venv tools ## Coverage as pages in build/coverage
	$(PYTEST) -n auto --dist loadgroup --cov --cov-report=term --cov-report=html:build/coverage
	@echo "See build/coverage/index.html"

clean: ## Remove what was built and what make run keeps
	rm -rf .venv .run build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@scripts/bootstrap

tools:
	@scripts/test-tools
