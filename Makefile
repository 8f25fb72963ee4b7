# make demo    everything from nothing: sets up .venv, renders people, trains, scores, reports
# make test    sets up .venv and runs the tests
# make thorough  the long tests: jobs killed again and again, lost machines, long searches
# make lint    ruff, ruff format, pyrefly
# make options  docs/options.md again, after a change of options
# make bench   measures every claim; results in benchmarks/results/
PYTHON ?= python3
EXTRA ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
BIN := .venv/bin
READY := .venv/.ready-$(EXTRA)
# They share one Ray head, and wait for it now and then: a third keeps two cores at work.
TEST_PROCESSES ?= 3

.PHONY: demo test thorough lint options bench setup clean

demo: $(READY)
	$(BIN)/python -m ray_jobs.demo configs/demo/demo.yaml

test: $(READY)
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 2 --durations=30

thorough: $(READY) .venv/.ready-fakes
	$(BIN)/pytest -m thorough

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

options: $(READY)
	$(BIN)/python -m ray_jobs.engine.options_page docs/options.md

bench: $(READY)
	$(BIN)/python -m benchmarks

setup: $(READY)

# Set up once; again only when what is to be installed has changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("faceverify needs Python 3.11 or newer; say which: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA),dev]'
	touch $@

# diffusers and what belongs to it, which nothing but the diffusion generators and their tests need.
.venv/.ready-fakes: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fakes]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info .pytest_cache .ruff_cache .hypothesis
