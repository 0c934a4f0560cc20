# The commands of this project. `make demo` and `make test` install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?=
OPEN ?=
ONLY ?=
PIECE ?=
WORKERS ?= 2
UPGRADE ?=
FLAVOUR ?= cpu
ENGINE ?= docker

.PHONY: help dev docs demo test test-system test-long check format lock audit image bench bench-plots clean mosquitto system-packages
.DEFAULT_GOAL := help

help:
	@echo "make demo [SECONDS=20]   a simulated line, the runtime and a live table [OPEN=1: open the page]"
	@echo "make dev                 install into .venv what a single test or command needs"
	@echo "make test                the fast tests, against a real broker [WORKERS=2]"
	@echo "make test-system         browser, Prometheus, wheels, other environments"
	@echo "make test-long           one piece of what takes hours [PIECE=name]"
	@echo "make check               format, lint, types, import contracts, pages written from the code"
	@echo "make format              format the code, write those pages again"
	@echo "make docs                the documentation as a site, into build/docs"
	@echo "make lock [UPGRADE=1]    fit the locks to pyproject.toml; newest versions only with UPGRADE=1"
	@echo "make audit               known vulnerabilities of the locked packages"
	@echo "make image [FLAVOUR=cpu] build the container image [ENGINE=docker or podman]"
	@echo "make bench [ONLY=A]      measure; ONLY=growth, ONLY=workers: by name alone"
	@echo "make bench-plots         plots of the last ONLY=growth, into docs/images"

# One stamp for each set of extras: installed again when pyproject.toml or the lock changes. The lock
# names every package with its hash; the editable install then adds only what is not locked: torch,
# and what a pyproject.toml newer than the lock asks for.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "edgeai needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv fails; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml locks/demo.txt | $(BIN)/python
	$(INSTALL) --require-hashes --no-deps --requirement locks/demo.txt
	$(INSTALL) --no-build-isolation --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml locks/dev.txt | $(BIN)/python
	$(INSTALL) --require-hashes --no-deps --requirement locks/dev.txt
	$(INSTALL) --no-build-isolation --editable '.[demo,dev,train]'
	@touch $@ $(VENV)/.demo

dev: $(VENV)/.dev

demo: $(VENV)/.demo
	$(BIN)/python -m edgeai demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(OPEN),--open)

# A real mosquitto from the system's packages; where we may not install, the tests say so and use
# the embedded broker for what it can do.
mosquitto:
	@PATH="$$PATH:/usr/sbin" command -v mosquitto >/dev/null && command -v mosquitto_sub >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients >/dev/null; } \
	|| echo "mosquitto is not installed and cannot be: tests that need it are skipped, the others use the embedded broker"

# The system tests also need a browser, Prometheus, buildah and more; where we may not install, they
# say so.
SYSTEM_PROGRAMS := chromium prometheus promtool amtool strace buildah debootstrap systemd-analyze curl openssl
SYSTEM_PACKAGES := chromium prometheus prometheus-alertmanager strace buildah debootstrap systemd curl openssl
system-packages: mosquitto
	@for name in $(SYSTEM_PROGRAMS); do PATH="$$PATH:/usr/sbin" command -v $$name >/dev/null || missing=1; done; \
	test -z "$$missing" \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES) >/dev/null; } \
	|| echo "$(SYSTEM_PACKAGES) are not all installed and cannot be: tests that need them are skipped"

# Many tests start `edgeai`: without bytecode, every start compiles it again.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --durations=10

test: $(VENV)/.dev mosquitto
	$(PYTEST) -m "not system"

test-system: $(VENV)/.dev system-packages
	$(PYTEST) -m system tests

# One piece, at most half an hour; it notes its result in tests/long/RESULTS.md.
test-long: $(VENV)/.dev mosquitto
	$(BIN)/python -m tests.long $(PIECE)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/draw_rooms.py --check
	$(BIN)/python scripts/write_reference.py --check
	$(BIN)/python scripts/write_events.py --check
	$(BIN)/python scripts/lock.py --check
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -b html docs build/docs
	$(BIN)/python scripts/write_metrics.py --check
	$(BIN)/python scripts/write_dashboards.py --check

# The documentation as a site that needs no network: build/docs/index.html.
docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -b html docs build/docs

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python scripts/draw_rooms.py
	$(BIN)/python scripts/write_reference.py
	$(BIN)/python scripts/write_events.py
	$(BIN)/python scripts/write_metrics.py
	$(BIN)/python scripts/write_dashboards.py

lock: $(VENV)/.dev
	$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade)

# Each lock by itself, as they pin different packages. It fails where PyPI does not answer.
audit: $(VENV)/.dev
	@for name in dev cpu openvino cuda image; do echo "locks/$$name.txt"; \
	$(BIN)/pip-audit --strict --vulnerability-service pypi --progress-spinner off --disable-pip --require-hashes --requirement locks/$$name.txt || failed=1; done; \
	test -z "$$failed"

image:
	$(ENGINE) build --tag edgeai:$(FLAVOUR) --build-arg FLAVOUR=$(FLAVOUR) \
		--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' edgeai/version.py)" --build-arg REVISION="$$(git rev-parse HEAD)" .

bench: $(VENV)/.dev mosquitto
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(SECONDS),--seconds $(SECONDS))

bench-plots: $(VENV)/.dev
	$(BIN)/python -m benchmarks.plots

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .environments
