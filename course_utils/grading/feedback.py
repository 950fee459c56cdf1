"""What students wrote is shown, never run: clean outputs in the graded notebook, mark sheets without scripts."""

import re
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from bs4 import BeautifulSoup
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

TEXTS = ("text/plain", "text/latex", "text/markdown")
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
TAGS = [*bleach.ALLOWED_TAGS, *"h1 h2 h3 h4 h5 h6 p br hr div span pre img del sup sub dl dt dd".split()]
TAGS += "table thead tbody tfoot tr th td caption".split()


def safe_html(text: str) -> str:
    """The text with only harmless tags left; every other tag is shown as it was written."""
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
    return re.sub(r'href="data:[^"]*"', "", cleaner.clean(text), flags=re.IGNORECASE)


def _img(tag: str, name: str, value: str) -> bool:
    """Pictures that are in the page itself; a picture elsewhere would tell that machine who reads."""
    return name in ("alt", "width", "height") or (
        name == "src" and re.match("data:image/(png|jpeg|gif);base64,", value)
    )


@pass_context
def safe_markdown(context: Context, source: str) -> str:
    """nbconvert's filter `markdown2html`, without what could run or load something."""
    renderer = IPythonRenderer(escape=False, attachments=(context.get("cell") or {}).get("attachments", {}))
    return safe_html(MarkdownWithMath(renderer=renderer).render(source))


def harmless(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs without scripts, widgets and metadata, also for whoever opens the graded notebook in Formgrader."""
    for output in outputs:
        if "data" not in output:
            continue
        output.metadata = NotebookNode()
        data: dict[str, Any] = {k: v for k, v in output.data.items() if k in TEXTS + PICTURES and isinstance(v, str)}
        if isinstance(output.data.get("text/html"), str):
            data["text/html"] = safe_html(output.data["text/html"])
        output.data = NotebookNode(data or {"text/plain": "(an output of a kind that is not shown)"})
    return outputs


class FeedbackExporter(HTMLExporter):
    """nbgrader's mark sheet as one file that asks no other machine for anything and runs nothing."""

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> tuple[str, Any]:
        html, resources = super().from_notebook_node(nb, resources, **kw)
        page = BeautifulSoup(html, "html.parser")
        for element in page(["script", "iframe", "object", "embed", "link", "form", "base", "meta"]):
            element.decompose()
        for element in page(True):
            for name in [n for n in element.attrs if n.lower().startswith("on")]:
                del element[name]
        page.html["lang"] = "en"
        page.head.insert(0, page.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": POLICY}))
        page.head.insert(0, page.new_tag("meta", charset="utf-8"))
        return str(page), resources
