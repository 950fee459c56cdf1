"""The docstrings of an installed package, read with `ast` and never imported, and the English in them.

Needs only the standard library: `text.py` runs this file itself as a worker (jobs on stdin, JSON on stdout), so that
reading in parallel never starts a copy of the user's notebook or script, on any system.
"""

import ast
import gc
import json
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

# Not read: tests (hardly any prose), copies of other projects, files that a build generates, and `distutils`, which
# numpy ships for some Python versions only.
SKIPPED_FOLDERS = {
    "tests", "testing", "externals", "_external", "extern", "_vendor", "array_api_compat", "array_api_extra",
    "distutils",
}  # fmt: skip
SKIPPED_FILES = {
    "__config__.py", "_version.py", "version.py", "_distributor_init.py", "_distributor_init_local.py", "conftest.py",
}  # fmt: skip


def source_files(folder: Path) -> list[Path]:
    """Return the package's .py files, sorted by path as text, without its tests and its copies of other projects."""
    folder = Path(folder)
    found = [path.relative_to(folder) for path in folder.rglob("*.py")]
    kept = [path for path in found if not SKIPPED_FOLDERS & set(path.parts) and path.name not in SKIPPED_FILES]
    return [folder / path for path in sorted(kept, key=lambda path: path.as_posix())]


def clean(docstring: str) -> str:
    """Return a docstring without its code's indentation: `inspect.cleandoc`, the same in every version of Python."""
    first, *rest = docstring.expandtabs().split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in rest)]).strip()


def read(source: str, module: str) -> list[tuple[str, str]]:
    """Return (qualified name, docstring) of a module and each class and function in it, in the order of the file.

    Anything defined twice (a property and its setter, the branches of an `if`) counts once, with its first docstring.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in somebody else's strings
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return []
    found: dict[str, str] = {}
    pending = [(tree, module)]
    while pending:
        node, name = pending.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = clean(ast.get_docstring(node, clean=False) or "")
            if text:
                found.setdefault(name, text)
        below = []
        for field in ("body", "handlers", "orelse", "finalbody"):
            for child in getattr(node, field, ()):
                if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    below.append((child, f"{name}.{child.name}"))
                elif isinstance(child, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                    below.append((child, name))
        pending.extend(reversed(below))
    return list(found.items())


def read_file(path: Path | str, package: str, folder: Path | str) -> list[tuple[str, str, str, str]]:
    """Return (qualified name, path within the package, docstring, its prose) of each object in one file."""
    path = Path(path)
    relative = path.relative_to(folder)
    parts = (package, *relative.with_suffix("").parts)
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    source = path.read_text(encoding="utf-8", errors="replace")
    if '"""' not in source and "'''" not in source:
        return []
    return [(name, f"{package}/{relative.as_posix()}", text, prose(text)) for name, text in read(source, module)]


# --- prose ------------------------------------------------------------------------------------------------------------

TABLES = {  # sections that list parameters, links or literature rather than tell something
    "parameters", "other parameters", "parameter", "returns", "return", "yields", "receives", "raises", "warns",
    "attributes", "class attributes", "methods", "see also", "references", "keyword arguments", "keyword args", "args",
    "arguments", "inputs", "outputs", "input", "output", "shape", "functions", "classes", "properties", "routines",
    "contents", "reference", "kwargs", "options", "usage", "call signature", "call signatures", "literature",
    "bibliography", "copyright", "license", "licence", "authors", "author", "attrs", "expects",
}  # fmt: skip
# directives whose body is prose
TOLD = {"note", "warning", "tip", "important", "caution", "hint", "admonition", "attention", "danger"}
DROP = "\x00"  # stands for formulas and code: a sentence that holds one is left out
UNDERLINE = re.compile(r"([-=~^*\"#+'`.:_])\1{2,}\s*$")
DIRECTIVE = re.compile(r"\.\.(?:\s+(?:\|[^|]*\|\s+)?([\w:+-]+?)\s*::(.*)|\s.*|)$")
ITEM = re.compile(r"(?:[-*+•]|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]+)[.)])\s+(?=\S)")
FIELD = re.compile(r":[A-Za-z][\w ,*]*:(?!`)")
GOOGLE = re.compile(r"([A-Z][A-Za-z ]{2,24}):\s*$")
TABLE = re.compile(r"[-=+|]{2,}(?:[ +|][-=+| ]*)$")
# code that is short enough to stand in a sentence
CODE = re.compile(r"[A-Za-z_][\w.\-]*(?:\(\))?$|-?\d+(?:\.\d+)?$|'[\w .\-]+'$|\"[\w .\-]+\"$")
TITLED = re.compile(r"(.+?)\s*<[^>]*>$", re.DOTALL)
GREEK = re.compile(r"\\(alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|omega|Gamma|Omega)$")
CITED = re.compile(
    r"(\b(?:in|from|by|of|see|also|and|to|with|following|at|on|than|as|or|per)|^|[,(])?\s*\[[\w.,\- ]{1,20}\]_",
    re.IGNORECASE,
)
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|figs?|eqs?|sect?|refs?|no|vol|pp?|ch|chap|approx|resp|dr|prof|st|mrs?|eds?|incl|viz|art"
    r"|aka|a\.k\.a|w\.r\.t)"
    r"|(?<![\w.])[A-Z])\.$",
    re.IGNORECASE,
)
END = re.compile(r"([.!?][\"')\]]*)\s+(?=[\"'(]?[A-Z0-9\x00])")
FIRST, LAST = re.compile(r"[\"'(]?[A-Z]"), re.compile(r"[A-Za-z0-9)\"'][.!?][\"')]?$")
CODE_SIGNS = re.compile(r"[\x00-\x1f{}\\|<>=^%@$~*`#\[\]+&]|(?<![a-z])/|/(?![a-z])|\.\.|::|---|__|\(\)|\( | \)| [,;:.]")
WORD, LETTERS, CAPITALS = re.compile("[A-Za-z]+"), re.compile("[A-Za-z ]+"), re.compile("[A-Z]")
TYPOGRAPHY = str.maketrans("“”„‘’`–—‐‑−\u00a0×", "\"\"\"'''----- x", "") | str.maketrans({"…": "..."})


def blocks(text: str) -> list[str]:
    """Return the paragraphs of a docstring that may be prose: no code, tables, titles, directives or parameters."""
    return _Blocks(text).read()


class _Blocks:
    """Goes down a docstring line by line and collects its paragraphs."""

    def __init__(self, text: str):
        self.lines, self.at = text.split("\n"), 0
        self.paragraphs: list[str] = []
        self.paragraph: list[str] = []  # the lines so far of the one that is being read
        self.margin = 0  # its indentation; -1 where its next line sets it
        self.section = ""  # the last title
        self.hidden: int | None = None  # lines that are indented deeper than this are left out
        self.doctest = False

    def read(self) -> list[str]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if line.strip():
                self.take(line.strip(), len(line) - len(line.lstrip()))
            else:
                self.doctest = False
                self.close()
        self.close()
        return self.paragraphs

    def take(self, line: str, indent: int) -> None:
        """Decide what a line is, and act accordingly."""
        if self.hidden is not None and indent > self.hidden:
            return
        self.hidden = None
        if self.is_title(line):
            self.close()
            self.section = line.lower().rstrip(":")
            self.at += 1
        elif UNDERLINE.match(line):
            self.close()
        elif self.section in TABLES:
            pass
        elif TABLE.match(line):
            self.close()
            self.skip_while(bool)
        elif self.doctest or line.startswith(">>>"):
            self.close()
            self.doctest = True
        elif directive := DIRECTIVE.match(line):
            self.close()
            self.take_directive((directive[1] or "").lower(), directive[2], indent)
        elif FIELD.match(line) or _begins_table(line):
            self.close()
            self.hidden = indent
        else:
            self.take_prose(line, indent)

    def is_title(self, line: str) -> bool:
        """Whether the next line underlines this one."""
        below = self.lines[self.at].strip() if self.at < len(self.lines) else ""
        underlined = UNDERLINE.match(below) and " " not in below and len(below) >= min(len(line), 3)
        return bool(underlined and not UNDERLINE.match(line))

    def take_directive(self, name: str, title: str, indent: int) -> None:
        """Leave out what belongs to a directive, unless it is prose: a note, a warning."""
        if name not in TOLD:
            self.hidden = indent
            return
        if title.strip() and name != "admonition":
            self.paragraph.append(title.strip())
        self.skip_while(lambda line: line.startswith(":"))  # its options
        self.margin = -1

    def take_prose(self, line: str, indent: int) -> None:
        item = ITEM.match(line)
        if item and (not self.paragraph or item[0][0] in "-*•"):
            self.close()
            line, indent = line[item.end() :], indent + item.end()
        elif self.paragraph and indent > self.margin >= 0:
            self.close()  # the body of a definition list, or a block quote
        self.margin = indent
        if not line.endswith("::"):
            self.paragraph.append(line)
            return
        self.paragraph.append(line[:-2].rstrip() + ":")  # code follows
        self.close()
        self.hidden = indent

    def skip_while(self, wanted: Callable[[str], bool]) -> None:
        while self.at < len(self.lines) and wanted(self.lines[self.at].strip()):
            self.at += 1

    def close(self) -> None:
        """End the paragraph."""
        if self.paragraph:
            self.paragraphs.append(" ".join(self.paragraph))
            self.paragraph = []


def _begins_table(line: str) -> bool:
    """Whether a line is the heading of a Google-style list of parameters or of examples."""
    google = GOOGLE.match(line)
    return bool(google) and (google[1].lower() in TABLES or google[1].lower().startswith("example"))


def _named(inner: str) -> str:
    """What a role or interpreted text shows: the title of "title <target>", "c" of "~a.b.c", "b" of ".b"."""
    titled = TITLED.match(inner)
    return titled[1] if titled else (inner.rpartition(".")[2] if inner.startswith("~") else inner).lstrip("~!.")


def _code(match: re.Match) -> str:
    inner = _named(match[1].strip())
    return inner if CODE.match(inner) or TITLED.match(match[1]) else DROP


def _role(match: re.Match) -> str:
    role, inner = match[1].rpartition(":")[2], match[2].strip()
    if role in ("math", "mathmpl"):
        greek = GREEK.match(inner)
        return greek[1] if greek else inner if len(inner) == 1 else DROP
    if role in ("ref", "doc", "numref", "eq", "cite") and not TITLED.match(inner):
        return DROP  # a label, which Sphinx would replace with a title
    return _named(inner)


def inline(paragraph: str) -> str:
    """Return a paragraph without reST markup: `DROP` for formulas and code, typographic signs and accents as ASCII."""
    text = " ".join(paragraph.split())
    if "`" in text:
        text = re.sub(r":([\w:+-]+):`([^`]*)`", _role, text)
        text = re.sub(r"``(.+?)``", _code, text)
        text = re.sub(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}", r"\1", text)
        text = re.sub(r"`([^`]+)`_{1,2}", r"\1", text)
        text = re.sub(r"`([^`]+)`", _code, text)
    if "]_" in text:
        text = CITED.sub(lambda cited: DROP if cited[1] is not None else "", text)
    if "*" in text:
        text = re.sub(r"(?<![\w*])(\*{1,2})([^\s*](?:[^*]*[^\s*])?)\1(?![\w*])", r"\2", text)
    if "://" in text or "www." in text:
        text = re.sub(r"(?:\w+://|www\.)\S+", DROP, text)
    text = text.replace("\\ ", "")
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(TYPOGRAPHY))
        text = "".join(c for c in text if not unicodedata.combining(c))
    return text.strip()


def split_sentences(paragraph: str) -> list[str]:
    """Return the sentences of one paragraph (one line); abbreviations such as "e.g." and initials do not end one."""
    found, start = [], 0
    for end in END.finditer(paragraph):
        if ABBREVIATION.search(paragraph[max(start, end.start() - 9) : end.end(1)]):
            continue
        found.append(paragraph[start : end.end(1)])
        start = end.end()
    found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def is_english(sentence: str) -> bool:
    """Whether it reads as a sentence: capital first, full stop last, at least three words, mostly letters, no code."""
    return bool(
        sentence.isascii()
        and FIRST.match(sentence)
        and LAST.search(sentence)
        and not CODE_SIGNS.search(sentence)
        and len(WORD.findall(sentence)) >= 3
        and len(LETTERS.sub("", sentence)) <= 0.12 * len(sentence)
        and len(CAPITALS.findall(sentence)) <= 0.3 * len(sentence)
        and sentence.count("(") == sentence.count(")")
        and sentence.count('"') % 2 == 0
    )


def prose(docstring: str) -> str:
    """Return the English sentences of a docstring: one line per paragraph, ASCII; empty where there are none."""
    paragraphs = [inline(block) for block in blocks(docstring)]
    if paragraphs and re.search(r"[\w)\"']$", paragraphs[0]):
        paragraphs[0] += "."  # a one-line summary often comes without its full stop
    kept = (" ".join(filter(is_english, split_sentences(paragraph))) for paragraph in paragraphs)
    return "\n".join(filter(None, kept))


if __name__ == "__main__":
    gc.disable()  # syntax trees are large, and looking for cycles in them does not pay
    job = json.load(sys.stdin.buffer)
    read_all = [read_file(*each) for each in job]
    sys.stdout.buffer.write(json.dumps(read_all).encode())
