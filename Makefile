# make lab: set up once, then JupyterLab.    make test: set up once, then the tests; ARGS="-k ngram" picks some.
# make test-all: the soaks, too (README, "Tests").
PYTHON ?= python3
unexport PYTHONPATH PYTHONHOME  # they lead to other packages

.PHONY: lab test test-all setup lock
lab test setup:
	@$(PYTHON) course_utils/setup.py $@ $(ARGS)

test-all:
	@COURSE_SOAK=1 $(PYTHON) course_utils/setup.py test $(ARGS)

lock: setup  # after a change of the dependencies in pyproject.toml
	.venv/bin/python -m uv pip compile --universal --fork-strategy fewest --generate-hashes --no-annotate --no-header \
	  --python-version 3.11 --all-extras pyproject.toml -o requirements.lock
