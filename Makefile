# demo   the whole product with a simulated fleet; Ctrl-C ends it
# test   everything that must pass
# lint   style and types alone
# bench  figures
# screenshots  every page of the desk, and the handbook's few
# fuzz   the parsers, each for SECONDS, guided by what they cover; ARGS names some of them
# clean  removes the demo's data and what tools leave behind

PORT ?= 8000
DEVICES ?= 30
DATA ?= .demo
HOUR ?= 120
APART ?=
ARGS ?=
SECONDS ?= 60

VENV := .venv
PYTHON ?= $(shell for name in python3.11 python3.12 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	>/dev/null 2>&1 && { echo $$name; break; }; done)
RUN := $(VENV)/bin/python -m embedded.run --

# What Python has compiled is kept, whatever a machine says: processes start by the hundred.
export PYTHONDONTWRITEBYTECODE :=

.NOTPARALLEL:
.PHONY: demo test lint bench screenshots fuzz clean everything style tools

demo: $(VENV)/installed
	@exec $(VENV)/bin/python -m embedded.demo --port "$(PORT)" --devices "$(DEVICES)" \
		--data "$(DATA)" --hour "$(HOUR)" $(if $(filter-out 0,$(APART)),--apart)

test: $(VENV)/installed tools
	@$(RUN:--=--in-memory --) $(MAKE) --no-print-directory everything

lint: $(VENV)/installed
	@$(RUN) $(MAKE) --no-print-directory style

bench: $(VENV)/installed
	@$(RUN) $(VENV)/bin/python -m bench $(ARGS)

screenshots: $(VENV)/installed tools
	@$(VENV)/bin/python -m tests.screenshots $(ARGS)

fuzz: $(VENV)/fuzz
	@$(VENV)/bin/python -m tests.fuzz --seconds "$(SECONDS)" $(ARGS)

clean:
	@$(if $(PYTHON),$(PYTHON) -m embedded.place "$(DATA)",rm -rf "$(DATA)")
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .screenshots staticfiles

# The targets below run inside embedded.run, with a PostgreSQL and a Redis of their own.

everything: style
	$(VENV)/bin/python -W error manage.py check --fail-level WARNING
	$(VENV)/bin/python -W error manage.py makemigrations --check --dry-run
	$(VENV)/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

style:
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .

# What the tests need of the system: a browser, and a SCEP client that is not ours.

tools:
	@missing=$$(command -v chromium-headless-shell >/dev/null || echo chromium-headless-shell; \
		command -v scepclient >/dev/null || echo scep); \
	test -z "$$missing" || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing for the tests:" $$missing; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing && exit; \
	fi; \
	if command -v chromium >/dev/null && command -v scepclient >/dev/null; then \
		echo "The tests run in the whole Chromium, which takes them longer."; \
	else \
		echo "The tests need more of the system: ask root for 'apt-get install" $$missing"'." >&2; \
		exit 1; \
	fi; }

$(VENV)/installed: constraints.txt pyproject.toml
	@$(if $(PYTHON),,echo "Python 3.11 or 3.12 is needed and neither is on PATH \
	(Debian, Ubuntu: apt-get install python3.11 python3.11-venv)." >&2; exit 1)
	@$(PYTHON) -m embedded.install $(VENV)

$(VENV)/fuzz: tests/fuzz/requirements.txt $(VENV)/installed
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
