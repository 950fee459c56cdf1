"""Small automatic changes of a solution, of which an exercise's cases should notice each.

A *mutant* is the solution's cell with one small change: `<` is `<=`, a sum a mean, a 1 a 2, a line is missing.
`mutation_scores` tells how many of them the cases notice.

Source: DeMillo, Lipton, Sayward (1978), Hints on test data selection; the operators are chosen for code on tensors.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
IN_PLACE = {ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_", ast.Div: "div_"}
PAIRS = """min max, amin amax, argmin argmax, minimum maximum, cummin cummax, sum mean, cumsum cumprod, any all,
exp log, log2 log, softmax log_softmax, sin cos, acos asin, tanh sigmoid, gelu relu, zeros ones, zeros_like ones_like,
tril triu, square sqrt, std var, cat stack"""
RENAMED = {a: b for pair in PAIRS.split(",") for a, b in (pair.split(), pair.split()[::-1])}
RENAMED |= {"log": "exp", "logsumexp": "sum", "amax": "amin", "zeros": "ones", "abs": "neg", "norm": "sum"}
MODULES = {"torch", "nn", "F", "math", "np", "numpy", "re", "random", "self"}  # x.f(y) is then no method of x
CONVERSIONS = {"float", "int", "double", "long", "to", "item", "tolist", "contiguous", "clone"}  # compared by value
NO_MATTER = {"device"}  # arguments without which nothing changes on the machine at hand


@dataclass(frozen=True)
class Mutant:
    """One change: the line of the cell that it is in, what is changed there (`a [-old-]{+new+} b`), the whole cell."""

    line: int
    change: str
    code: str


def mutants(code: str, trained: bool = False) -> list[Mutant]:
    """All mutants of a solution's cell, each with one change between BEGIN SOLUTION and END SOLUTION.

    Args:
        trained: whether gradients have to go through what the solution returns.

    Raises:
        SyntaxError: the cell is no Python.
    """
    tree = ast.parse(code)
    region, untouched = _region(code), _untouched(tree)
    found = {ast.unparse(tree): None}
    for statement, node, container, key in list(_slots(tree, None)):
        if statement is None or statement.lineno not in region:
            continue
        before = _line(statement)
        for new in (*_variants(node), *_in_place(node, untouched), *(_cut(node) if trained else ())):
            _put(container, key, new)
            changed = ast.unparse(ast.fix_missing_locations(tree))
            change = _change(before, _line(new if node is statement else statement))
            found.setdefault(changed, Mutant(statement.lineno, change, changed))
            _put(container, key, node)
    return [m for m in found.values() if m]


def _region(code: str) -> set[int]:
    """The numbers of the lines between the marks."""
    inside, lines = False, set()
    for number, line in enumerate(code.splitlines(), start=1):
        inside = (inside or "### BEGIN SOLUTION" in line) and "### END SOLUTION" not in line
        lines |= {number} if inside else set()
    return lines


def _slots(node: ast.AST, statement: ast.stmt | None) -> Iterator[tuple[ast.stmt | None, ast.AST, Any, Any]]:
    """Each node below, with the statement it is part of and the place where it hangs (an object or list, and a key)."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        places = enumerate(value) if isinstance(value, list) else [(name, value)]
        for key, child in places:
            if isinstance(child, ast.AST):
                own = child if isinstance(child, ast.stmt) else statement
                yield own, child, value if isinstance(value, list) else node, key
                yield from _slots(child, own)


def _put(container: Any, key: Any, node: ast.AST) -> None:
    if isinstance(container, list):
        container[key] = node
    else:
        setattr(container, key, node)


def _but(node: ast.AST, **fields: Any) -> ast.AST:
    """The node with other fields."""
    return type(node)(**{name: getattr(node, name, None) for name in node._fields} | fields)


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=[right]):
            yield from (_but(node, ops=[new()]) for new in COMPARISONS[type(op)])
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) in ARITHMETIC:
                yield _but(node, op=ARITHMETIC[type(op)]())
                yield left
            if isinstance(op, (ast.Add, ast.Mult, ast.MatMult, ast.BitAnd)):
                yield right
        case ast.BoolOp(op=op, values=values):
            yield _but(node, op=ast.And() if isinstance(op, ast.Or) else ast.Or())
            yield from values
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(v) for v in (value + 1, value - 1, 0))
        case ast.Constant(value=float(value)):
            yield from (ast.Constant(v) for v in (value + 1, value - 1, 0.0))
        case ast.Attribute(attr="T" | "mT", value=value):
            yield value
        case ast.Name(id=name) if name in RENAMED and isinstance(node.ctx, ast.Load):
            yield ast.Name(RENAMED[name], ast.Load())
        case ast.Call():
            yield from _calls(node)
            yield from _unstable(node)
        case ast.Slice(lower=lower, upper=upper):
            for side, bound in (("lower", lower), ("upper", upper)):
                if bound is not None:
                    yield _but(node, **{side: None})
                    yield from (_but(node, **{side: b}) for b in _off_by_one(bound))
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.If(test=test) | ast.While(test=test):
            yield _but(node, test=ast.UnaryOp(ast.Not(), test))
            yield _but(node, test=ast.Constant(True))
            yield ast.Pass()
        case ast.comprehension(ifs=[first, *others]):
            yield _but(node, ifs=others)
            yield _but(node, ifs=[ast.UnaryOp(ast.Not(), first), *others])
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield from (ast.Break(), ast.Pass())
        case ast.AugAssign(op=op):
            if type(op) in ARITHMETIC:
                yield _but(node, op=ARITHMETIC[type(op)]())
            yield ast.Assign([node.target], node.value, lineno=node.lineno)
            yield ast.Pass()
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case ast.Assign() | ast.AnnAssign() | ast.Expr() | ast.For() | ast.With():
            yield ast.Pass()


def _untouched(tree: ast.AST) -> set[str]:
    """Arguments that no statement gives another value."""
    taken = {a.arg for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) for a in n.args.args} - {"self"}
    return taken - {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _in_place(node: ast.AST, arguments: set[str]) -> Iterator[ast.AST]:
    """The same value, but an argument is changed on the way."""
    match node:
        case ast.BinOp(left=ast.Name(id=name), op=op, right=right) if name in arguments and type(op) in IN_PLACE:
            yield _method(node.left, IN_PLACE[type(op)], right)


def _cut(node: ast.AST) -> Iterator[ast.AST]:
    """The same value, but no gradient comes through one part of it."""
    match node:
        case ast.Return(value=ast.Tuple(elts=parts)):
            for i, part in enumerate(parts):
                cut = [*parts[:i], _method(part, "detach"), *parts[i + 1 :]]
                yield _but(node, value=ast.Tuple(cut, ast.Load()))
        case ast.Return(value=ast.expr() as value):
            yield _but(node, value=_method(value, "detach"))


def _method(value: ast.expr, name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(value, name, ast.Load()), list(arguments), [])


def _unstable(node: ast.Call) -> Iterator[ast.AST]:
    """The same formula as one writes it down: for large numbers it is infinite, or 0."""
    match node:
        case ast.Call(func=ast.Attribute(value=x, attr="log_softmax")):
            yield _method(_but(node, func=ast.Attribute(x, "softmax", ast.Load())), "log")
        case ast.Call(func=ast.Attribute(value=x, attr="logsumexp")):
            total = _but(node, func=ast.Attribute(_method(x, "exp"), "sum", ast.Load()))
            yield _method(total, "log")


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """The same call with less, more or other; or only what it is done to."""
    function, arguments = node.func, node.args
    starred = any(isinstance(a, ast.Starred) for a in arguments)
    if isinstance(function, ast.Attribute):
        if function.attr in RENAMED:
            yield _but(node, func=_but(function, attr=RENAMED[function.attr]))
        if function.attr not in CONVERSIONS:
            own = function.value
            while isinstance(own, (ast.Attribute, ast.Subscript)):
                own = own.value
            if not (isinstance(own, ast.Name) and own.id in MODULES):
                yield function.value
            elif arguments and not starred:
                yield arguments[0]
    elif isinstance(function, ast.Name) and function.id in ("reversed", "sorted", "abs", "set") and arguments:
        yield arguments[0]
    elif isinstance(function, ast.Name) and function.id == "range":
        yield from (_but(node, args=[*arguments[:-1], a]) for a in _off_by_one(arguments[-1]))
    for i, keyword in enumerate(node.keywords):
        if keyword.arg and keyword.arg not in NO_MATTER:
            yield _but(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
        if keyword.arg == "generator":  # one of its own in the place of the one that is given
            own = ast.keyword("generator", ast.parse("torch.Generator().manual_seed(1)", mode="eval").body)
            yield _but(node, keywords=[*node.keywords[:i], own, *node.keywords[i + 1 :]])
    if arguments and not starred and not (isinstance(function, ast.Name) and function.id in CONVERSIONS):
        yield _but(node, args=arguments[:-1])
        if len(arguments) >= 2:
            yield _but(node, args=[*arguments[:-2], arguments[-1], arguments[-2]])


def _off_by_one(bound: ast.expr) -> Iterator[ast.expr]:
    if not isinstance(bound, (ast.Constant, ast.UnaryOp)):  # of those the constant itself is changed
        yield from (ast.BinOp(bound, op, ast.Constant(1)) for op in (ast.Add(), ast.Sub()))


def _line(statement: ast.AST) -> str:
    """A statement on one line; of one that holds others, its head."""
    lines = ast.unparse(ast.fix_missing_locations(statement)).splitlines()
    return lines[0] if hasattr(statement, "body") else " ".join(line.strip() for line in lines)


def _change(before: str, after: str) -> str:
    """One line for both: what they share, with [-what was there-] and {+what is there now+}."""
    old, new = (re.findall(r"\w+|\s+|.", line) for line in (before, after))
    head = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - head
    pairs = zip(old[::-1], new[::-1])
    tail = next((i for i, (a, b) in enumerate(pairs) if a != b or i == most), most)
    left, gone, come = ("".join(p) for p in (old[:head], old[head : len(old) - tail], new[head : len(new) - tail]))
    return left + (f"[-{gone}-]" if gone else "") + (f"{{+{come}+}}" if come else "") + "".join(old[len(old) - tail :])
