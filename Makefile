# Everything a person or a machine runs here. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Much of a test is waiting: on two cores three of them go side by side. 0: one after another.
TESTERS ?= 3

# A fleet is a dozen processes: without cached bytecode each takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo dataset-demo up test servers check format bench faults amqp analytics-check lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## send real bars through the example routes, show what became of them, stop
	$(BIN)/candlefleet demo $(if $(DATA),--data "$(DATA)")

dataset-demo: $(READY)  ## make training sets of the example bars: proven, leak-checked, split, linted, loaded; 1 minute
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/dataset_demo.sh

up: $(READY)  ## the same fleet, until Ctrl-C, with Flower at port 5555
	CANDLEFLEET_ROUTES=$${CANDLEFLEET_ROUTES:-examples/routes.py} $(BIN)/candlefleet up

test: $(READY)  ## every test that needs no server set up by hand, TESTERS processes side by side (3)
	$(BIN)/python -m pytest -q -n $(TESTERS) --dist loadfile --no-loadscope-reorder

servers:  ## install the servers that integration tests start for themselves (Debian; as root)
	tests/servers/install

check: $(READY)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## format and sort what can be mended by itself
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

faults: $(READY)  ## every harm of the fault matrix done to a real fleet, twenty times each: a table; under 25 minutes
	$(BIN)/python -m tests.faults

amqp: $(READY)  ## the acceptance tests and a few of the faults with RabbitMQ as the broker
	CANDLEFLEET_TEST_BROKER=amqp $(BIN)/python -m pytest -q tests/acceptance
	CANDLEFLEET_TEST_BROKER=amqp $(BIN)/python -m tests.faults --short

bench: $(READY)  ## throughput, latency and memory beside what people use today
	$(BIN)/python -m benchmarks

analytics-check: $(READY)  ## Spark and Flink read what a fleet delivered, each in an environment of its own; needs Java 17
	-$(MAKE) --keep-going .venv-spark/.ready .venv-flink/.ready
	$(BIN)/python -m analytics

.venv-%/.ready: analytics/%.lock
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock:  ## make requirements.lock and those of the engines anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras --group dev \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements.lock
	for engine in spark flink; do $(BIN)/uv pip compile analytics/$$engine.in --quiet --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--output-file analytics/$$engine.lock || exit 1; done

clean:  ## remove what the demo and the tools left behind
	rm -rf demo-data dataset-demo .candlefleet .pytest_cache .mypy_cache .ruff_cache .hypothesis
