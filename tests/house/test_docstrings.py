"""Docstrings speak one dialect, Google's: parameters and errors stand in sections, which the API pages render."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for house in ("course_utils", "autograder") for path in (ROOT / house).rglob("*.py"))
SECTION = re.compile(r"^(Args|Returns|Yields|Raises):\n((?: {4}.*\n?)+)", re.MULTILINE)
ENTRY = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): \S", re.MULTILINE)
files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def documented(path):
    """(name, parameters, docstring) of each class and function in a file that has a docstring."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]
    return [(node.name, parameters(node), text) for node in nodes if (text := ast.get_docstring(node))]


def parameters(node):
    """The names that a call may give; for a class those of its fields and of its `__init__`."""
    if isinstance(node, ast.ClassDef):
        fields = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
        return fields.union(*(parameters(each) for each in node.body if getattr(each, "name", "") == "__init__"))
    given = node.args
    return {
        each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if each
    }


def section(docstring, name):
    """The names that a section explains."""
    bodies = [body for title, body in SECTION.findall(docstring) if title == name]
    return [word.lstrip("*") for body in bodies for entry in ENTRY.findall(body) for word in entry.split(", ")]


@files
def test_errors_stand_in_a_section(path):
    prose = {name: SECTION.sub("", text) for name, _, text in documented(path)}
    assert not {name for name, text in prose.items() if re.search(r"\bRaises?\s+[A-Z]\w*Error\b", text)}
    assert not {name for name, text in prose.items() if re.search(r"^(Args|Raises):$", text, re.MULTILINE)}, "empty"


@files
def test_parameters_stand_in_a_section(path):
    prose = {name: (known, SECTION.sub("", text)) for name, known, text in documented(path)}
    assert not {name for name, (known, text) in prose.items() if known & set(re.findall(r"(?m)^(\w+): ", text))}


@files
def test_sections_name_parameters_and_errors_that_there_are(path):
    for name, known, text in documented(path):
        assert set(section(text, "Args")) <= known, name
        assert all(error.lstrip("_")[0].isupper() for error in section(text, "Raises")), name
