"""`course slides`: a lecture as slides (reveal.js), made from the same notebook, for a browser without a network.

What begins a slide stands in the notebook, in its cells' metadata (`slideshow.slide_type`). The rest is done here: a
result that does not fit below its code, a long text, a second question go to a slide of their own, below the one that
they belong to. The speaker's notes have the clock, from the minutes in the headings, and what the students are asked.
"""

import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from autograder.publish.still import still
from course_utils.paths import CourseError

HERE = Path(__file__).parent
MINUTES = re.compile(r" *\*\((\d+) min\)\*")
SOLID = re.compile(r"^(```|\$\$|\||[-*] |\d+\. )")  # how a block begins that is not cut
# of a slide of 1280 × 720 pixels, as static/slides.css has it
HEIGHT = 650
LINE, LETTERS = 36, 92  # of text: pixels from line to line, letters that fit into one
CODE_LINE, CODE_LETTERS = 27, 98
PRINTED = 22  # lines
PLOT_HEIGHT, PLOT_WIDTH, PLOT_SCALE = 570, 1220, 2


class SlidesError(CourseError):
    """The slides could not be made; the text says why."""


@dataclass
class Section:
    """A heading with its slides: when it begins, in minutes, and how long it takes (None: not said)."""

    title: str
    start: int
    minutes: int | None

    @property
    def clock(self) -> str:
        begins = f"starts at {self.start // 60}:{self.start % 60:02}"
        return begins + (f", {self.minutes} min" if self.minutes else "")


def build(notebook: NotebookNode, name: str, to: Path) -> Path:
    """Write a lecture that was run as slides, and what they need beside them; the page.

    Args:
        name: of the page, without its ending.
        to: the folder; slides of other lectures in it stay.

    Raises:
        SlidesError: no cell of the lecture begins a slide.
    """
    from nbconvert import SlidesExporter

    to.mkdir(parents=True, exist_ok=True)
    _static(to / "_static")
    pictures = to / "_static" / name
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()

    def save(file: str, content: bytes) -> str:
        (pictures / file).write_bytes(content)
        return f"_static/{name}/{file}"

    exporter = SlidesExporter(
        extra_template_basedirs=[str(HERE / "templates")],
        template_name="course_slides",
        reveal_url_prefix="_static/reveal",
        reveal_theme="../../../slides",  # ours, in _static: those of reveal.js bring fonts along
    )
    page, _ = exporter.from_notebook_node(
        laid_out(still(notebook, save)), {"course": {"static": "_static"}, "metadata": {"name": name}}
    )
    path = to / f"{name}.html"
    path.write_text(page, encoding="utf-8")
    return path


def _static(folder: Path) -> None:
    """Copy reveal.js, MathJax with its fonts, and our own style and script."""
    import importlib.util

    from pygments.formatters import HtmlFormatter

    reveal = _package("sphinx_revealjs") / "_static" / "revealjs"
    mathjax = _package("sphinx-mathjax-offline") / "static" / "mathjax"
    for part in ("LICENSE", "dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js"):
        (folder / "reveal" / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(reveal / part, folder / "reveal" / part)
    for part in ("output/chtml/fonts", "input/tex/extensions"):
        shutil.copytree(mathjax / part, folder / "mathjax" / part, dirs_exist_ok=True)
    shutil.copy2(mathjax / "tex-chtml.js", folder / "mathjax")
    for file in ("slides.css", "slides.js"):
        shutil.copy2(HERE / "static" / file, folder)
    readable = importlib.util.find_spec("a11y_pygments")
    style = "a11y-high-contrast-light" if readable else "default"
    (folder / "code.css").write_text(HtmlFormatter(style=style).get_style_defs(".highlight"), encoding="utf-8")


def _package(name: str) -> Path:
    import importlib.util

    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SlidesError(f"the package {name} is missing: run `course doctor`")
    return Path(spec.origin).parent


# --- from a notebook to slides ----------------------------------------------------------------------------------------


def laid_out(notebook: NotebookNode) -> NotebookNode:
    """The notebook with `slide_type` at each cell, notes, and cells cut where a slide is full."""
    cells = [cell for cell in notebook.cells if _kind(cell) not in ("skip", "notes")]
    if not any(_kind(cell) == "slide" for cell in cells):
        raise SlidesError("no cell has the slide type “slide”: set it in JupyterLab's property inspector")
    slides = list(_slides(cells))
    found = nbformat.v4.new_notebook(metadata=notebook.metadata)
    for number, (section, slide) in enumerate(slides):
        same = [i for i, (other, _) in enumerate(slides) if other is section]
        first = slide[0]
        kind = "slide" if number == same[0] else "subslide"
        seconds = 60 * (section.minutes or 0) // len(same)
        first.metadata["slideshow"] = {"slide_type": kind} | ({"data": {"timing": str(seconds)}} if seconds else {})
        place = f" · slide {number - same[0] + 1} of {len(same)}" if len(same) > 1 else ""
        notes = new_markdown_cell(f"**{section.title}** {section.clock}{place}\n\n" + "\n\n".join(_asked(slide)))
        notes.metadata["slideshow"] = {"slide_type": "notes"}
        found.cells += [*slide, notes]
    return found


def _kind(cell: NotebookNode) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type", "")


def _asked(slide: list[NotebookNode]) -> list[str]:
    """What students are asked to predict on a slide."""
    paragraphs = "\n\n".join(cell.source for cell in slide if cell.cell_type == "markdown").split("\n\n")
    return [paragraph for paragraph in paragraphs if paragraph.startswith("**Predict")]


def _slides(cells: list[NotebookNode]) -> Iterator[tuple[Section, list[NotebookNode]]]:
    section, slide, height, clock = Section("", 0, None), [], 0.0, 0
    for cell in cells:
        starts = _kind(cell) in ("slide", "subslide")
        heading = re.match(r"#{1,2} (.*)", cell.source) if cell.cell_type == "markdown" else None
        minutes = MINUTES.search(heading[1]) if heading else None
        following = section
        if _kind(cell) == "slide":
            title = MINUTES.sub("", heading[1]) if heading else section.title
            following = Section(title, clock, int(minutes[1]) if minutes else None)
            clock += following.minutes or 0
        for piece, needs in _pieces(cell, HEIGHT - height if not starts else HEIGHT):
            if slide and (starts or height + needs > HEIGHT):
                yield section, slide
                slide, height = [], 0.0
            section, starts = following, False
            piece.metadata = nbformat.from_dict({})
            slide.append(piece)
            height += needs
    if slide:
        yield section, slide


def _pieces(cell: NotebookNode, room: float) -> Iterator[tuple[NotebookNode, float]]:
    """A cell cut into what belongs together, with the height of each in pixels.

    Args:
        room: what is left of the slide before.
    """
    if cell.cell_type != "code":
        yield from ((new_markdown_cell(text), height) for text, height in _texts(cell.source, room))
        return
    outputs = [part for output in cell.outputs for part in _parts(output)]
    code = _lines(cell.source, CODE_LETTERS) * CODE_LINE + 30
    results = [_output(output) for output in outputs]
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden") or "quiz.ask(" in cell.source
    if not hidden and code + sum(results) <= HEIGHT:
        yield new_code_cell(cell.source, outputs=outputs), code + sum(results)
        return
    if not hidden:
        yield new_code_cell(cell.source), code
    group, height = [], 0.0
    for output, needs in zip(outputs, results):
        if group and height + needs > HEIGHT:
            yield new_code_cell("", outputs=group), height
            group, height = [], 0.0
        group.append(output)
        height += needs
    if group:
        yield new_code_cell("", outputs=group), height


def _texts(source: str, room: float) -> Iterator[tuple[str, float]]:
    """A text cut between paragraphs so that each part fits on a slide, with the height of each."""
    group, height = [], 0.0
    for block in _blocks(MINUTES.sub("", source)):
        needs = _text(block)
        limit = room if room >= 200 else HEIGHT  # a corner that is too small for a paragraph is left empty
        if group and height + needs > limit and not group[-1].startswith("#"):
            yield "\n\n".join(group), height
            group, height, room = [], 0.0, HEIGHT
        group.append(block)
        height += needs
    if group:
        yield "\n\n".join(group), height


def _blocks(source: str) -> list[str]:
    """Paragraphs; code between fences and formulas between $$ stay whole."""
    found, fence = [], ""
    parts = re.split(r"(\n(?:[ \t]*\n)+)", source.strip())
    for gap, paragraph in zip(["", *parts[1::2]], parts[::2]):
        if fence:
            found[-1] += gap + paragraph
        else:
            found.append(paragraph)
        for mark in ("```", "$$"):
            if (fence or mark) == mark and paragraph.count(mark) % 2:
                fence = "" if fence else mark
    return found


def _text(block: str) -> float:
    if heading := re.match(r"(#+) ", block):
        first, _, rest = block.partition("\n")
        return {1: 110, 2: 75}.get(len(heading[1]), 60) + (_text(rest.strip()) if rest.strip() else 0)
    if block.startswith("```"):
        return _lines(block, CODE_LETTERS) * CODE_LINE
    lines = [block] if not SOLID.match(block) else block.split("\n")
    tall = 30 * block.count(r"\frac") if "$$" in block else 0
    return sum(math.ceil(len(line) / LETTERS) * LINE for line in lines) + 15 + tall


def _lines(text: str, letters: int) -> int:
    return sum(max(1, math.ceil(len(line) / letters)) for line in text.rstrip("\n").split("\n"))


def _output(output: NotebookNode) -> float:
    if output.output_type == "stream":
        return _lines(output.text, CODE_LETTERS) * CODE_LINE + 25
    html = output.data.get("text/html")
    if html is None:
        return _lines(output.data.get("text/plain", ""), CODE_LETTERS) * CODE_LINE + 25
    if plot := re.search(r'class="course-plot"[^>]* width="(\d+)" height="(\d+)"', html):
        width, height = PLOT_SCALE * int(plot[1]), PLOT_SCALE * int(plot[2])
        return height * min(1, PLOT_WIDTH / width, PLOT_HEIGHT / height) + 20
    if "<img" in html or "<svg" in html:
        return 480.0
    rows = html.count("<tr")
    return 34 * (rows or _lines(re.sub(r"<[^>]*>", "", html.replace("</p>", "\n")), LETTERS)) + 60


def _parts(output: NotebookNode) -> Iterator[NotebookNode]:
    """An output cut where it is taller than a slide: between lines of print, between questions."""
    if output.output_type == "stream":
        group: list[str] = []
        for line in output.text.splitlines(keepends=True):
            if _lines("".join([*group, line]), CODE_LETTERS) > PRINTED:
                yield new_output("stream", name=output.name, text="".join(group))
                group = []
            group.append(line)
        yield new_output("stream", name=output.name, text="".join(group))
        return
    html = output.get("data", {}).get("text/html", "")
    if "course-quiz-still" not in html:
        yield output
        return
    reader = _Items()
    reader.feed(html)
    for number, item in enumerate(reader.items, start=1):
        one = f'<ol class="course-quiz-still mathjax_process" start="{number}">{item}</ol>'
        yield new_output("display_data", {"text/html": f'<div class="course-widget">{one}</div>', "text/plain": ""})


class _Items(HTMLParser):
    """The outermost <li> of some HTML, as they were written."""

    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.items: list[str] = []
        self._open, self._depth = [], 0

    def _add(self, text: str) -> None:
        if self._depth:
            self._open.append(text)

    def handle_starttag(self, tag, attributes):
        self._depth += tag == "li"
        self._add(self.get_starttag_text())

    def handle_endtag(self, tag):
        self._add(f"</{tag}>")
        if tag == "li":
            self._depth -= 1
            if not self._depth:
                self.items.append("".join(self._open))
                self._open = []

    def handle_data(self, data):
        self._add(data)

    def handle_entityref(self, name):
        self._add(f"&{name};")

    def handle_charref(self, name):
        self._add(f"&#{name};")
