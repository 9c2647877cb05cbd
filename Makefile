# The course's commands. Each sets up all that it needs by itself.
PYTHON := $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p))))
BIN := .venv/bin
READY := .venv/ready

.PHONY: lab test verify seeds mutants classroom grade bench table lock

lab: $(READY)  ## open chapter 00 in JupyterLab
	$(BIN)/mmcook weights
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

test: $(READY)  ## lint, unit tests, proofs, hygiene, smoke runs, browser
	$(BIN)/mmcook weights
	$(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term --cov-fail-under=95

verify: $(READY)  ## every chapter again at laptop scale, compared with what is committed; a class of forty graded
	$(BIN)/mmcook weights
	$(BIN)/python -m pytest -m laptop tests/notebooks/test_laptop.py -v
	$(BIN)/python -m pytest -m classroom tests/exercises -v

seeds: $(READY)  ## every chapter over seeds 0-4, recorded in notebooks/records
	$(BIN)/mmcook seeds

mutants: $(READY)  ## small faults put into the library, one at a time, which the tests must notice
	$(BIN)/mmcook weights
	$(BIN)/python tests/mutants/mutate.py

classroom: $(READY)  ## what students receive, from notebooks/solutions
	$(BIN)/mmcook classroom

grade: $(READY)  ## marks, reasons and feedback: make grade SUBMISSIONS=folder
	@test -n "$(SUBMISSIONS)" || { echo "say where the submissions are: make grade SUBMISSIONS=folder"; exit 1; }
	$(BIN)/mmcook grade "$(SUBMISSIONS)"

bench: $(READY)  ## the course against its peers
	$(BIN)/python tests/benchmarks/bench.py

table: $(READY)  ## the chapter table of the README, from the committed records
	$(BIN)/mmcook table

lock: $(READY)  ## exact versions of everything in pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
		pyproject.toml -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11, 3.12 or 3.13"; exit 1; }
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(READY)
