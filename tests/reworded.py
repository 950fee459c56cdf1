"""Does any room read another's English? A copy of the course in which every sentence of the grader is another one.

    python tests/reworded.py FOLDER [PYTEST'S ARGUMENTS]

In the copy each word of a sentence that people are shown is put into ROT13: in messages, notes, headings, help and the
templates of pages. Identifiers, keys, formats, code and patterns stay. What a test expects of a sentence is changed in
the same way; what a room compares with is not. So a test that fails there has found a room that parses prose (or reads
a sentence of this program's that is none: look at it).
"""

import ast
import codecs
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [f"autograder/{wing}" for wing in ("author", "intake", "run", "sandbox", "book")]
ROOMS += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "autograder").glob("*.py"))]
ROOMS += ["course_utils/checking", *(f"course_utils/{name}.py" for name in ("check", "compare", "paths", "plain"))]
ROOMS += [
    f"course_utils/{name}.py" for name in ("command/student", "command/progress", "command/missed", "models/finite")
]
NONE = ("mutants.py",)  # holds what it changes of solutions, and no sentence
SQL = r"^\s*(select|update|insert|create|attach|begin)\b|\bwhere id\b"
CODE = rf"(?i){SQL}|^\s*(import|from|def|class|kill)\b|[%<]|-src |__|\(\?|\\[btsw]"
THEIRS = ("Your answer here.", "can't convert cuda:0 device type tensor to numpy")  # notebooks' and torch's words
WORDS = re.compile(r"`[^`]*`|\{[^{}]*\}|[\w./:-]*[./_:\d-]\w[\w./:-]*|[^\W\d_]+")  # the last of these alone is changed
RUNS = re.compile(r"[^\W\d_]+(?: [^\W\d_]+)+")  # words in a row, by which a sentence is known in a test
READ = {"startswith", "endswith", "split", "partition", "rpartition", "replace", "count", "index", "find", "strip"}
READ |= {"removeprefix", "removesuffix", "compile", "search", "match", "fullmatch", "sub", "findall", "finditer"}
# of a page all but its text
TEXT = re.compile(r"(?s)\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<(style|script)\b.*?</\1>|<(?:\{\{.*?\}\}|\{%.*?%\}|[^>])*>")


def reworded(text: str) -> str:
    """The text with other words; what is code, a name or a gap in it stays."""
    return WORDS.sub(lambda word: codecs.encode(word[0], "rot13") if word[0].isalpha() else word[0], text)


def is_sentence(text: str) -> bool:
    """Whether people read it: several words, not all of them capitalized as in a name, and no code."""
    words = re.findall(r"[^\W\d_]{2,}", text)
    several = len(words) > 1 and " " in text.strip() or text != text.strip() and words
    return bool(several) and any(word.islower() for word in words) and not re.search(CODE, text) and text not in THEIRS


def constants(tree: ast.Module) -> Iterator[ast.Constant]:
    """The texts that a file may show: no docstrings, no patterns, nothing that is compared with."""
    passed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            passed.add(node.value)
        elif isinstance(node, ast.Compare):
            passed |= _literal(node.left, *node.comparators)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READ:
            passed |= _literal(node.func.value, *node.args)
        elif isinstance(node, ast.Subscript):
            passed |= set(ast.walk(node.slice))
        elif isinstance(node, ast.Dict):
            passed |= {n for key in node.keys if key for n in ast.walk(key)}
        elif isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in node.bases):
            passed |= set(ast.walk(node))
    for statement in tree.body:  # tables of other systems' names
        if isinstance(statement, ast.Assign):
            passed |= _literal(statement.value) if not isinstance(statement.value, ast.Constant) else set()
    texts = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    yield from (n for n in texts if n not in passed and is_sentence(n.value))


def _literal(*nodes: ast.AST) -> set[ast.AST]:
    """All that is within these, where they are texts or tables of texts, and no calls."""
    kinds = (ast.Constant, ast.JoinedStr, ast.Tuple, ast.Set, ast.List, ast.BinOp)
    return {n for node in nodes if isinstance(node, kinds) for n in ast.walk(node)}


def _expected(run: str, everything: str) -> str:
    """Words in a row as a test expects them: those that stand so in a sentence are others now."""
    words, start = run.split(" "), 0
    while start < len(words):
        ends = (end for end in range(len(words), start + 1, -1) if " ".join(words[start:end]) in everything)
        end = next(ends, start)
        words[start:end] = [reworded(word) for word in words[start:end]]
        start = max(end, start + 1)
    return " ".join(words)


def change(path: Path, found: list[ast.Constant], how: Callable[[str], str] = reworded) -> None:
    """Put the other words in place of these texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    places = {(n.lineno, n.col_offset, n.value) for n in found}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and (node.lineno, node.col_offset, node.value) in places:
            node.value = how(node.value)
    path.write_text(ast.unparse(tree), encoding="utf-8")


def reword(folder: Path) -> None:
    """Change all sentences of the grader in a copy, and what its tests expect of them."""
    said = set()
    files = [p for room in ROOMS for p in (sorted((folder / room).rglob("*.py")) or [folder / room])]
    files = [path for path in files if path.name not in NONE]
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = list(constants(tree))
        said |= {n.value for n in found}
        change(path, found)
    for path in sorted((folder / "autograder").rglob("*.html.j2")):
        page, place, parts = path.read_text(encoding="utf-8"), 0, []
        for mark in TEXT.finditer(page):
            between = page[place : mark.start()]
            said |= {between} if is_sentence(between) else set()
            parts += [reworded(between) if is_sentence(between) else between, mark[0]]
            place = mark.end()
        path.write_text("".join([*parts, page[place:]]), encoding="utf-8")
    everything = "\n".join(said)
    for path in sorted((folder / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        change(path, texts, lambda text: RUNS.sub(lambda run: _expected(run[0], everything), text))


def copy(folder: Path) -> None:
    """A copy of the course with an environment of its own, whose files are the same ones on the disk."""
    for name in subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True).split(
        "\0"
    ):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(sys.prefix, folder / ".venv", symlinks=True, copy_function=os.link)
    ours = [*(folder / ".venv/bin").iterdir(), *folder.glob(".venv/lib/python*/site-packages/*course_utils*")]
    for path in ours:
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**20:
            data = path.read_bytes()
            path.unlink()  # the link, not what it leads to
            path.write_bytes(data.replace(os.fsencode(ROOT), os.fsencode(folder)))
            path.chmod(0o755)


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]).resolve()
    copy(folder)
    reword(folder)
    python = folder / ".venv/bin/python"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments[1:]]
    return subprocess.run(command, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
