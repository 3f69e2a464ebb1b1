# Each line is a command that a person could type. Needs Python 3.11 or newer; on Debian: apt install python3-venv

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin

# sipd with its hot modules compiled, and how a command finds it before the sources. Needs a C compiler and Python's headers.
COMPILED = build/compiled
WITH_COMPILED = cd build && PYTHONPATH=compiled:.. ../$(BIN)/python
# What `make test` runs: everything, or less by `make test TESTS=tests.b2bua`.
TESTS = tests
TESTS_OF_COMPILED = tests.test_lanes tests.media.test_datagrams tests.media.test_looking_after tests.media.test_poller tests.sip tests.sdp tests.rtp tests.transaction tests.ua tests.b2bua tests.watching tests.hostile
SOURCES = $(wildcard sipd/*.py sipd/*/*.py)

.PHONY: run test test-compiled races check apidocs check-apidocs bench clean

run: $(VENV)/sipd-installed
	$(BIN)/twistd -n sipd --config tapfiles/sipd.toml

test: $(VENV)/test-tools-installed
	$(BIN)/python -W error -b -m twisted.trial $(TESTS)

test-compiled: $(COMPILED)/made
	$(WITH_COMPILED) -W error -b -m twisted.trial $(TESTS_OF_COMPILED)

check: $(VENV)/test-tools-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Into build/apidocs; fails, as the other one does, at a name in single backticks that is none.
apidocs: $(VENV)/test-tools-installed
	$(BIN)/python -m pydoctor -q

check-apidocs: $(VENV)/test-tools-installed
	$(BIN)/python -m pydoctor -q --html-writer=tests.apidocs.Checking

races: $(VENV)/test-tools-installed
	$(BIN)/python -m tests.races

bench: $(COMPILED)/made
	$(WITH_COMPILED) -m benchmarks

clean:
	rm -rf $(VENV) build *.egg-info _trial_temp* .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'sipd needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'Python cannot make virtual environments here. On Debian: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# editable_mode=compat: any other kind of editable installation hides the twistd plugin.
$(VENV)/sipd-installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e . --config-settings editable_mode=compat
	@touch $@

$(VENV)/test-tools-installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[test]' --config-settings editable_mode=compat
	@touch $@ $(VENV)/sipd-installed

$(COMPILED)/made: $(SOURCES) setup.cfg pyproject.toml $(VENV)/test-tools-installed
	rm -rf $(COMPILED)
	SIPD_COMPILE=1 $(BIN)/pip install -q --no-deps --target $(COMPILED) .
	@touch $@
