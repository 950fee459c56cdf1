"""What students wrote is shown, never run: clean outputs in the graded notebook, mark sheets without scripts."""

import base64
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from nbconvert.exporters import Exporter
from nbconvert.filters import strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import is_grade, is_solution
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from autograder.book.formulas import mathml
from autograder.book.sheets import verdict_from, why
from autograder.notes import NOTES, brief, from_json, sentence
from course_utils.checking.causes import stopped
from course_utils.notebook import grade_id

TEXTS = ("text/plain", "text/latex", "text/markdown")
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
# Characters; what is longer is shown as it was written. Parsers take quadratic time for some texts.
PARSED = {"html": 30_000, "markdown": 20_000, "code": 20_000, "line": 400, "all html": 300_000}
DEPTH = 100
KEPT = {"text": 500_000, "pictures": 20 * 2**20}  # characters of outputs in one notebook
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
TAGS = [*bleach.ALLOWED_TAGS, *"h1 h2 h3 h4 h5 h6 p br hr div span pre img del sup sub dl dt dd".split()]
TAGS += "table thead tbody tfoot tr th td caption details summary".split()
LINK = re.compile(r'href="\s*data:[^"]*"', re.IGNORECASE)  # pictures alone may be data
PLACE = re.compile("\ue000(\\d+)\ue001")  # where a formula stands while its text is made harmless
PYTHON = {"python", "py", "python3", "ipython", "pycon"}


def safe_html(text: str) -> str:
    """The text with only harmless tags left; every other tag, and what is slow to parse, is shown as it was written.

    Style rules are left out: a table or a widget brings them, and nobody reads them.
    """
    attributes = {
        "*": ["class", "id", "style", "title"],
        "a": ["href"],
        "img": _img,
        "td": ["colspan"],
        "th": ["colspan"],
    }
    cleaner = bleach.Cleaner(
        tags=TAGS,
        attributes=attributes,
        protocols=["http", "https", "mailto", "data"],
        css_sanitizer=CSSSanitizer(["text-align", "color", "font-weight", "background-color", "width", "border"]),
    )
    if len(text) > PARSED["html"] or _depth(text) > DEPTH:
        return _as_written(text)
    return LINK.sub("", cleaner.clean(_unstyled(text)))


def _unstyled(text: str) -> str:
    """HTML without its <style> elements."""
    found, inside = [], False
    for number, part in enumerate(re.split(r"(<style\b[^<>]*>|</style\s*>)", text, flags=re.IGNORECASE)):
        if number % 2:
            inside = not part.startswith("</")
        elif not inside:
            found.append(part)
    return "".join(found)


def _as_written(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _depth(text: str) -> int:
    """How deep its tags are nested, at most; parsers take quadratic time for that."""
    steps = (-1 if tag[0] == "</" else 1 for tag in re.finditer(r"</|<(?=[a-zA-Z])", text))
    return max(accumulate(steps), default=0)


def _img(tag: str, name: str, value: str) -> bool:
    """Pictures that are in the page itself; a picture elsewhere would tell that machine who reads."""
    return name in ("alt", "width", "height") or (
        name == "src" and re.match("data:image/(png|jpeg|gif);base64,", value)
    )


# --- code and prose ---------------------------------------------------------------------------------------------------


def safe_code(source: str, *_: object, **__: object) -> str:
    """nbconvert's filter `highlight_code`: Python in colour, in a time that grows with its length."""
    return _coloured(source)


@lru_cache(256)
def _coloured(source: str) -> str:
    lines = source.split("\n")
    long = len(source) > PARSED["code"] or any(len(line) > PARSED["line"] for line in lines)
    if long or re.search(r"(?:\n\s*){20}", source[: PARSED["code"]]):
        return _as_written(source)
    return highlight("\n".join(line.rstrip() for line in lines), PythonLexer(), HtmlFormatter())


@pass_context
def safe_markdown(context: Context, source: str) -> str:
    """nbconvert's filter `markdown2html`, without what could run or load something; formulas are MathML."""
    return prose(source, (context.get("cell") or {}).get("attachments", {}))


def prose(source: str, attachments: dict[str, Any] | None = None) -> str:
    """Markdown as harmless HTML."""
    if len(source) > PARSED["markdown"]:
        return _as_written(source)
    return _rendered(source, attachments) if attachments else _prose(source)


@lru_cache(256)
def _prose(source: str) -> str:
    """A text without pictures of its own: nearly all of an assignment's prose stands in every hand-in."""
    return _rendered(source, {})


class _Renderer(IPythonRenderer):
    """Keeps formulas aside, so that nothing in them is taken for HTML."""

    def __init__(self, attachments: dict[str, Any]):
        super().__init__(escape=False, attachments=attachments, exclude_anchor_links=True)
        self.formulas: list[str] = []

    def _aside(self, formula: str, block: bool) -> str:
        self.formulas.append(mathml(formula, block))
        return f"\ue000{len(self.formulas) - 1}\ue001"

    def block_math(self, body: str) -> str:
        return f"<div>{self._aside(body, True)}</div>"

    def inline_math(self, body: str) -> str:
        return self._aside(body, False)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def block_code(self, code: str, info: str | None = None) -> str:
        language = (info or "").split(maxsplit=1)[:1]
        return safe_code(code) if language and language[0] in PYTHON else f"<pre><code>{escape(code)}</code></pre>"


def _rendered(source: str, attachments: dict[str, Any]) -> str:
    renderer = _Renderer(attachments)
    try:
        html = safe_html(MarkdownWithMath(renderer=renderer).render(re.sub("[\ue000\ue001]", "?", source)))
    except Exception:  # a parser that gives up, such as for its depth
        return _as_written(source)
    return PLACE.sub(lambda place: renderer.formulas[int(place[1])], html)


# --- outputs ----------------------------------------------------------------------------------------------------------


def harmless(cells: list[NotebookNode]) -> None:
    """Leave outputs without scripts, widgets and metadata, and not too many of them, for whoever looks at the notebook.

    Graded cells keep all they have: their marks are read from it.
    """
    left, parsed = dict(KEPT), 0
    for cell in cells:
        kept = []
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html")
            parsed += len(html) if isinstance(html, str) else 0
            kind, size = _measure(output := _cleaned(output, parsed <= PARSED["all html"]))
            left[kind] -= 0 if is_grade(cell) else size
            if left[kind] >= 0 or is_grade(cell):
                kept.append(output)
        if len(kept) < len(cell.get("outputs", [])):
            kept.append(new_output("stream", text="(left out: this notebook puts out more than can be shown)\n"))
        if cell.cell_type == "code":
            cell.outputs = kept


def _cleaned(output: NotebookNode, parse: bool) -> NotebookNode:
    if "data" not in output:
        return output
    data: dict[str, Any] = {k: v for k, v in output.data.items() if k in TEXTS + PICTURES and isinstance(v, str)}
    if isinstance(html := output.data.get("text/html"), str):
        data["text/html"] = safe_html(html) if parse else _as_written(html)
    data = data or {"text/plain": "(an output of a kind that is not shown)"}
    return NotebookNode(output | {"data": NotebookNode(data), "metadata": NotebookNode()})


def _measure(output: NotebookNode) -> tuple[str, int]:
    pictures = sum(len(v) for k, v in output.get("data", {}).items() if k in PICTURES)
    return ("pictures", pictures) if pictures else ("text", len(str(output)))


# --- the mark sheet ---------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """A cell as the sheet shows it.

    Attributes:
        number: as the grader's notes count cells; 0 for what is no cell of the student's.
        kind: "prose", "code", "answer" (a solution), "check" (judged or tested) or "words" (marked by a person).
        name: of the exercise.
        body: its source as HTML.
        outputs: as HTML.
    """

    number: int
    kind: str
    name: str
    body: str
    outputs: list[str]
    points: float | None = None
    most: float | None = None
    given: bool = False  # by a person
    waiting: bool = False  # for a person
    again: bool = False  # given for an earlier hand-in
    comment: str = ""


class FeedbackExporter(Exporter):
    """The mark sheet: one file that asks no other machine for anything, runs nothing, and draws its formulas itself."""

    file_extension = ".html"

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> tuple[str, Any]:
        # nbgrader's preprocessors write marks and comments into the cells; its page is not made
        nb, resources = super().from_notebook_node(nb, resources, **kw)
        return sheet(nb, resources["nbgrader"]), resources


def sheet(notebook: NotebookNode, about: dict[str, Any]) -> str:
    """The page about a graded notebook.

    Args:
        about: nbgrader's resources: notebook, student, score, max_score, late_penalty.
    """
    grader = notebook.metadata.get(NOTES, {})
    verdicts = [verdict_from(found) for found in grader.get("verdicts", {}).values()]
    cells = [cell for cell in notebook.cells if cell.get("id") != "grader-notes"]
    judged = [i for i, cell in enumerate(cells) if is_grade(cell) and grade_id(cell) in grader.get("verdicts", {})]
    for cell in cells[judged[0] :] if judged else ():
        if grade_id(cell) not in grader["verdicts"]:
            cell.outputs = _withheld(cell)
    title = next((m[1] for c in cells[:5] if (m := re.match(r"\s*#\s+(.+)", c.source))), about["notebook"])
    return _page().render(
        title=title.strip()[:200],
        late=about.get("late", ""),
        about=about,
        parts=[_part(number, cell) for number, cell in enumerate(cells, 1)],
        reasons={v.exercise: why(v) for v in verdicts if v.points < v.max_points},
        notes=[sentence(note) for note in brief(from_json(grader.get("notes", [])))],
        style=_colours("default"),
        dark=_colours("github-dark"),
        policy=POLICY,
    )


def _withheld(cell: NotebookNode) -> list[NotebookNode]:
    """What is told of a cell's outputs where they may hold what the checks before it asked; a teacher sees them all."""
    put_out = cell.get("outputs", [])
    points = [o for o in put_out if is_grade(cell) and o.output_type == "execute_result"]
    errors = [o for o in put_out if o.output_type == "error"]
    said = [f"This cell {stopped(errors[0].ename, '', lambda name: False)}."] if errors else []
    if len(put_out) > len(points) + len(errors):
        said.append("What it put out is left out here, since from the first check on that may show hidden inputs.")
    return [new_output("stream", text=" ".join(said))] * bool(said) + points


@cache
def _colours(style: str) -> str:
    return HtmlFormatter(style=style).get_style_defs(".highlight")


@cache
def _page() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=folder, autoescape=True, undefined=StrictUndefined).get_template("sheet.html.j2")


def _part(number: int, cell: NotebookNode) -> Part:
    graded, answered = is_grade(cell), is_solution(cell)
    code = cell.cell_type == "code"
    kind = (
        "words" if graded and answered else "check" if graded else "answer" if answered else "code" if code else "prose"
    )
    body = safe_code(cell.source) if code else prose(cell.source, cell.get("attachments", {}))
    if cell.cell_type == "raw":
        body = _as_written(cell.source)
    marks = cell.metadata.get("nbgrader", {})
    part = Part(number, kind, grade_id(cell).removeprefix("check_"), body, [])
    if kind == "check" and cell.outputs and cell.outputs[-1].output_type == "execute_result":
        cell.outputs.pop()  # the points, as nbgrader reads them
    part.outputs = [shown for output in cell.get("outputs", []) if (shown := _shown(output))]
    if graded:
        part.points, part.most = marks.get("score") or 0.0, marks.get("points") or 0.0
        part.given, part.again = marks.get("given") is not None, bool(marks.get("again"))
        part.waiting = marks.get("auto", 0) is None and not part.given
    part.comment = prose(str(marks.get("comment") or ""))
    return part


def _shown(output: NotebookNode) -> str:
    """An output as HTML."""
    if output.output_type == "stream":
        return f'<pre class="{output.name}">{escape(strip_ansi(output.text))}</pre>' if output.text.strip() else ""
    if output.output_type == "error":
        text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
        return f'<pre class="error">{escape(strip_ansi(text))}</pre>'
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if picture := data.get(kind):
            encoded = (
                base64.b64encode(picture.encode()).decode() if kind.endswith("svg+xml") else "".join(picture.split())
            )
            if re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", encoded):
                return f'<img alt="A picture without a description" src="data:{kind};base64,{encoded}">'
    if html := data.get("text/html"):
        return safe_html(html)
    if source := data.get("text/markdown") or data.get("text/latex"):
        return prose(source)
    return f"<pre>{escape(strip_ansi(data.get('text/plain', '')))}</pre>"
