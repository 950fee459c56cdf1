"""Licence, citation and workflows: there, well formed, and of one mind about the version and the tests they name."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_licence_and_citation_say_the_same():
    licence, citation = (ROOT / "LICENSE").read_text(), yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (
        "MIT License" in licence and "Attribution 4.0" in licence and "the authors of From Shannon to CLIP" in licence
    )
    assert citation["license"] == ["MIT", "CC-BY-4.0"] and citation["version"] == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.yml")), ids=lambda p: p.name)
def test_workflows_are_well_formed_and_name_what_there_is(path):
    text = path.read_text()
    assert yaml.safe_load(text)
    for name in re.findall(r"tests/[\w/]+\.py|\.ci/run", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"run: make ([a-z-]+)", text):
        assert re.search(rf"^(?:\S+ )*{name}(?: \S+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE), name
