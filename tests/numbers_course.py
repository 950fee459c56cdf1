"""The small course with numbers in place of tensors: its kernels do without torch, and start in a second."""

from pathlib import Path

import nbformat
import small_course

from autograder.course import Course

MISTAKES = """
from autograder.author.exercise import Exercise, close

double = Exercise("double", points=2, compare=close())

@double.cases
def _(g):
    yield [1.0, 2.0],
    yield [3.0],

@double.mistake("you squared: 2 x is x + x, not x times x")
def squared(x):
    return [v * v for v in x]

total = Exercise("total", points=3, compare=close())

@total.cases
def _(g):
    yield [1.0, 2.0],
    yield [4.0, 0.5],
    yield [],

@total.mistake("that is the mean")
def mean(x):
    return sum(x) / max(1, len(x))
"""
SOLUTION = [
    ("markdown", "# A small assignment without torch, whose kernels start in a second"),
    ("code", f'from course_utils.check import Checker\n\ncheck = Checker("{small_course.NAME}")'),
    ("code", "def double(x):\n    ### BEGIN SOLUTION\n    return [2 * v for v in x]\n    ### END SOLUTION"),
    ("code", "check(double)"),
    ("code", "def total(x):\n    ### BEGIN SOLUTION\n    return float(sum(x))\n    ### END SOLUTION"),
    ("code", "check(total)"),
    ("markdown", "Why is the sum of doubles the double of the sum?"),
    ("markdown", "Because of the distributive law."),
    ("code", "assert total([1.0, 1.0]) == 2"),
]
RIGHT = {"double": "def double(x):\n    return [v + v for v in x]", "total": "def total(x):\n    return float(sum(x))"}
HALF = {
    "double": "def double(x):\n    return [v * v for v in x]",
    "total": "def total(x):\n    return float(sum(x)) if x else 1 / 0",
}


def numbers_course(root: Path) -> Course:
    course = small_course.small_course(root)
    (course.solution(small_course.NAME).parent / "mistakes.py").write_text(MISTAKES)
    nbformat.write(small_course.solution_notebook(SOLUTION), course.solution(small_course.NAME))
    return course
