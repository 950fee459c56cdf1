"""Similar submissions: copies are found however they are dressed up, and nobody else."""

import random
import re

from autograder.book.similar import alike, code, fingerprints, tokens

RELEASED = [
    'def total(x):\n    """Add up."""\n    # Your code here.\n    raise NotImplementedError',
    "import torch\nfrom course_utils.check import Checker\n\ncheck = Checker('a0')\nprint(torch.rand(3).sum(dim=0))",
]
LINES = """
for {a} in range(len({b})):|    {c}[{a}] = {b}[{a}] * {n} + {c}[{a} - {n}]
{c} = [{a} ** {n} for {a} in {b} if {a} > {n}]
{a}, {c} = {b}.max(dim={n}), {b}.min(dim=-{n})
while {a} < {n} and not {b}.any():|    {a} += {n}|    {b} = {b}.roll({n}, dims=0)
{c} = torch.einsum("ij,jk->ik", {a}, {b}).softmax(dim={n})
if {a}.shape[{n}] != {b}.shape[0]:|    raise ValueError(f"wrong {{{a}}}")
{c} = {{{a}: sorted({b}.get({a}, []))[:{n}] for {a} in {b}}}
{a} = torch.zeros({n}, {n}).scatter_add_(0, {b}, {c}.expand(-1, {n}))
try:|    {a} = next(iter({b}))|except StopIteration:|    return {c}
{c} = torch.where({a} == {b}, {a}.log(), torch.full_like({b}, {n}))
{a} = lambda {b}: sum({c} for {c} in zip({b}[::{n}], {b}[{n}:]))
assert {a}.numel() >= {n}, "too few"|del {b}[{n}:]
{b} = {a}.unfold(0, {n}, 1).mean(-1)[:, None] @ {c}.T
""".strip().splitlines()


def program(seed: int, functions: int = 5) -> list[str]:
    """Code as one student might write it: no two draws have the same lines in the same order."""
    draw = random.Random(seed)
    cells = []
    for f in range(functions):
        body = []
        for line in draw.choices(LINES, k=7):
            names = {k: draw.choice(["x", "rows", "out", "state", "v"]) for k in "abc"}
            body += line.format(**names, n=draw.randint(0, 9)).split("|")
        cells.append("\n    ".join([f"def f{f}(x):", *body, "return out"]))
    return cells


def dressed_up(cells: list[str]) -> list[str]:
    """The same with other names, comments, blank lines and an order of its own."""
    renamed = [re.sub(r"\b(rows|out|state|v|x)\b", lambda m: f"my_{m[0]}2", c) for c in cells]
    return [
        c.replace("\n    ", "\n\n        ", 3).replace("\n    return", "\n    # done\n    return")
        for c in renamed[::-1]
    ]


def test_copies_are_found_and_nobody_else():
    written = {f"s{seed}": program(seed) for seed in range(40)}
    written["copy"] = dressed_up(written["s7"])
    written["mostly"] = [*written["s11"][:4], *program(99, 1)]
    written["nothing"] = RELEASED
    found = alike(written, RELEASED)
    assert {(p.first, p.second) for p in found} == {("copy", "s7"), ("mostly", "s11")}
    assert found[0].share > 0.9 > found[1].share > 0.75 and found[0].first == "copy"


def test_what_was_released_counts_for_nobody():
    given = program(5)
    assert alike({"a": given, "b": given}, given) == []
    assert alike({"a": given, "b": given}, RELEASED)[0].share == 1


def test_what_many_wrote_counts_for_nobody():
    shared = program(5)
    written = {f"s{seed}": shared + program(seed, 1) for seed in range(20, 32)}
    assert alike(written, RELEASED) == []


def test_short_answers_are_alike_by_nature():
    assert (
        alike({"a": ["def total(x):\n    return x.sum()"], "b": ["def total(y):\n    return y.sum()"]}, RELEASED) == []
    )


def test_names_comments_texts_and_layout_are_taken_away():
    one = 'def f(x):\n    """Doc."""\n    y = torch.sum(self.w[x], dim=1)  # why\n    return len(y)'
    other = 'def g(a):\n  """Else."""\n  b = torch.sum(\n    self.weight[a],\n    dim=1)\n\n  return len(b)'
    assert tokens(one) == tokens(other)
    assert tokens(one) != tokens(one.replace("torch.sum", "torch.mean"))
    assert tokens(one.replace("    return", "   return")) == tokens(one)  # indentation that Python refuses
    assert tokens("def f(:\n  '''never ends") and fingerprints(["", "x = 1", "\t!?"]) == set()


def test_the_code_of_a_notebook_is_what_may_be_changed():
    def cell(source, **grader):
        return {"cell_type": "code", "source": source, "metadata": {"nbgrader": grader} if grader else {}}

    cells = [cell("mine"), cell("answer", solution=True), cell("check", grade=True, locked=True), cell(["a\n", "b"])]
    cells += [{"cell_type": "markdown", "source": "text"}, cell("setup", locked=True)]
    assert code({"cells": cells}) == ["mine", "answer", "a\nb"] and code({}) == []
