"""What of a `mistakes.py` one exercise hangs on: as long as that is the same, nothing need be run for it anew."""

import ast
from collections import defaultdict


def source_of(written: str, exercise: str) -> str:
    """The statements that an exercise hangs on: its own, and those that these use; without hints and comments.

    Args:
        written: all of the `mistakes.py`.
        exercise: its name, as `Exercise("…")` has it.
    """
    module = _Bare().visit(ast.parse(written))
    belonging = defaultdict(set)  # name -> numbers of the statements that define it, or say something of it
    for number, statement in enumerate(module.body):
        for name in _subjects(statement):
            belonging[name].add(number)
    needed: set[int] = set()
    waiting = {n for n, statement in enumerate(module.body) if _makes(statement, exercise)}
    while waiting:
        needed |= waiting
        names = {n.id for number in waiting for n in ast.walk(module.body[number]) if isinstance(n, ast.Name)}
        waiting = {number for name in names for number in belonging[name]} - needed
    return "\n".join(ast.unparse(module.body[number]) for number in sorted(needed))


class _Bare(ast.NodeTransformer):
    """Takes out what no answer hangs on: hints and docstrings."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "mistake":
            node.args = []
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)


def _subjects(statement: ast.stmt) -> set[str]:
    """The names that a statement defines, and those whose methods it calls: `@pca.mistake(…)`, `pca.equivalent(…)`."""
    match statement:
        case ast.FunctionDef(name=name, decorator_list=calls) | ast.ClassDef(name=name, decorator_list=calls):
            return ({name} - {"_"}) | {_owner(call) for call in calls} - {""}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(each.asname or each.name).split(".")[0] for each in names}
        case ast.Expr(value=call):
            return {_owner(call)} - {""}
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _owner(node: ast.expr) -> str:
    """`x` of `x.f(…)`, of `x.f(…)(g)` and of `x.f`; else an empty text."""
    while isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _makes(statement: ast.stmt, exercise: str) -> bool:
    match statement:
        case ast.Assign(value=ast.Call(args=[ast.Constant(value=name), *_])):
            return name == exercise
    return False
