"""`course slides`: a lecture as slides (reveal.js), made from the same notebook, for a browser without a network.

What begins a section stands in the notebook, in its cells' metadata (`slideshow.slide_type`). The rest is done here: a
slide holds a text, or code with its result, the code folded; what is still too tall is made smaller in the browser,
then scrolls (static/slides.js). The speaker's notes have the clock, from the minutes in the headings, and what the
students are asked.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from autograder.publish.still import still
from course_utils.paths import CourseError

HERE = Path(__file__).parent
MINUTES = re.compile(r" *\*\((\d+) min\)\*")
WORDS = 110  # of a text on one slide, about
FEW_WORDS = 70  # code follows so many on their slide


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
    section, slide, clock = Section("", 0, None), [], 0
    for cell in cells:
        heading = re.match(r"#{1,2} (.*)", cell.source) if cell.cell_type == "markdown" else None
        following = section
        if _kind(cell) == "slide":
            minutes = MINUTES.search(heading[1]) if heading else None
            title = MINUTES.sub("", heading[1]) if heading else section.title
            following = Section(title, clock, int(minutes[1]) if minutes else None)
            clock += following.minutes or 0
        for piece in _pieces(cell):
            if slide and (following is not section or _is_full(slide, piece)):
                yield section, slide
                slide = []
            section = following
            slide.append(piece)
    if slide:
        yield section, slide


def _is_full(slide: list[NotebookNode], piece: NotebookNode) -> bool:
    """Whether a slide has no room for the piece. Code joins a few words, and code that has no result."""
    last = slide[-1]
    if piece.cell_type != "code":
        return True
    return bool(last.get("outputs")) if last.cell_type == "code" else len(last.source.split()) > FEW_WORDS


def _pieces(cell: NotebookNode) -> Iterator[NotebookNode]:
    """A cell, or what it is cut into: each question of a quiz, so much of a text, is a slide."""
    if cell.cell_type != "code":
        yield from map(new_markdown_cell, _texts(MINUTES.sub("", cell.source)))
    elif "quiz.ask(" in cell.source:
        yield from (new_code_cell("", outputs=[part]) for output in cell.outputs for part in _questions(output))
    else:
        yield new_code_cell(cell.source, outputs=cell.outputs)


def _texts(source: str) -> Iterator[str]:
    """A text cut between paragraphs, about as many words in each part; a heading stays with what follows it."""
    group: list[str] = []
    for block in _blocks(source):
        words = len(" ".join([*group, block]).split())
        if group and words > WORDS and not group[-1].startswith("#"):
            yield "\n\n".join(group)
            group = []
        group.append(block)
    if group:
        yield "\n\n".join(group)


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


def _questions(output: NotebookNode) -> Iterator[NotebookNode]:
    """An output cut between questions."""
    html = output.get("data", {}).get("text/html", "")
    if "course-quiz-still" not in html:
        yield output
        return
    from bs4 import BeautifulSoup  # comes with nbconvert

    for number, item in enumerate(BeautifulSoup(html, "html.parser").select(".course-quiz-still > li"), start=1):
        one = f'<ol class="course-quiz-still mathjax_process" start="{number}">{item}</ol>'
        yield new_output("display_data", {"text/html": f'<div class="course-widget">{one}</div>', "text/plain": ""})
