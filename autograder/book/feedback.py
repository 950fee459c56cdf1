"""What students wrote is shown, never run: clean outputs in the graded notebook, mark sheets without scripts."""

import re
from functools import lru_cache
from html import escape
from itertools import accumulate
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from bs4 import BeautifulSoup
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import is_grade

TEXTS = ("text/plain", "text/latex", "text/markdown")
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
PARSED = {"html": 50_000, "markdown": 20_000}  # characters; what is longer is shown as it was written
DEPTH = 100
KEPT = {"text": 500_000, "pictures": 20 * 2**20}  # characters of outputs in one notebook
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
TAGS = [*bleach.ALLOWED_TAGS, *"h1 h2 h3 h4 h5 h6 p br hr div span pre img del sup sub dl dt dd".split()]
TAGS += "table thead tbody tfoot tr th td caption".split()


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
    return re.sub(r'href="data:[^"]*"', "", cleaner.clean(_unstyled(text)), flags=re.IGNORECASE)


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


@pass_context
def safe_markdown(context: Context, source: str) -> str:
    """nbconvert's filter `markdown2html`, without what could run or load something."""
    if len(source) > PARSED["markdown"]:
        return _as_written(source)
    attachments = (context.get("cell") or {}).get("attachments", {})
    return _rendered(source, attachments) if attachments else _prose(source)


@lru_cache(256)
def _prose(source: str) -> str:
    """A text without pictures of its own: nearly all of an assignment's prose stands in every hand-in."""
    return _rendered(source, {})


def _rendered(source: str, attachments: dict[str, Any]) -> str:
    renderer = IPythonRenderer(escape=False, attachments=attachments)
    try:
        return safe_html(MarkdownWithMath(renderer=renderer).render(source))
    except Exception:  # a parser that gives up, such as for its depth
        return _as_written(source)


def harmless(cells: list[NotebookNode]) -> None:
    """Leave outputs without scripts, widgets and metadata, and not too many of them, for whoever looks at the notebook.

    Graded cells keep all they have: their marks are read from it.
    """
    left = dict(KEPT)
    for cell in cells:
        kept = []
        for output in cell.get("outputs", []):
            kind, size = _measure(output := _cleaned(output))
            left[kind] -= 0 if is_grade(cell) else size
            if left[kind] >= 0 or is_grade(cell):
                kept.append(output)
        if len(kept) < len(cell.get("outputs", [])):
            kept.append(new_output("stream", text="(left out: this notebook puts out more than can be shown)\n"))
        if cell.cell_type == "code":
            cell.outputs = kept


def _cleaned(output: NotebookNode) -> NotebookNode:
    if "data" not in output:
        return output
    data: dict[str, Any] = {k: v for k, v in output.data.items() if k in TEXTS + PICTURES and isinstance(v, str)}
    if isinstance(output.data.get("text/html"), str):
        data["text/html"] = safe_html(output.data["text/html"])
    data = data or {"text/plain": "(an output of a kind that is not shown)"}
    return NotebookNode(output | {"data": NotebookNode(data), "metadata": NotebookNode()})


def _measure(output: NotebookNode) -> tuple[str, int]:
    pictures = sum(len(v) for k, v in output.get("data", {}).items() if k in PICTURES)
    return ("pictures", pictures) if pictures else ("text", len(str(output)))


class FeedbackExporter(HTMLExporter):
    """nbgrader's mark sheet as one file that asks no other machine for anything and runs nothing."""

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> tuple[str, Any]:
        self.register_filter("highlight_code", Highlight2HTML(parent=self))
        # HTMLExporter's own step would parse the page once more, for what is done here
        html, resources = super(HTMLExporter, self).from_notebook_node(nb, resources, **kw)
        page = BeautifulSoup(html, "html.parser")
        for picture in page("img", alt=None):
            picture["alt"] = "A picture without a description"
        for element in page(["script", "iframe", "object", "embed", "link", "form", "base", "meta"]):
            element.decompose()
        for element in page(True):
            for name in [n for n in element.attrs if n.lower().startswith("on")]:
                del element[name]
        for style in page("style"):
            style.string = re.sub(r"@font-face\s*{[^}]*}|@import[^;]*;", "", style.string or "")
        page.html["lang"] = "en"
        page.head.insert(0, page.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": POLICY}))
        page.head.insert(0, page.new_tag("meta", charset="utf-8"))
        return str(page), resources
