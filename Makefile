# make lab: set up once, then JupyterLab.    make test: set up once, then all tests; ARGS="-k ngram" picks some.
PYTHON ?= python3
unexport PYTHONPATH PYTHONHOME  # they lead to other packages

.PHONY: lab test setup lock
lab test setup:
	@$(PYTHON) course_utils/setup.py $@ $(ARGS)

lock: setup  # after a change of the dependencies in pyproject.toml
	.venv/bin/python -m uv pip compile --universal --fork-strategy fewest --generate-hashes --no-annotate --no-header \
	  --python-version 3.11 --all-extras pyproject.toml -o requirements.lock
