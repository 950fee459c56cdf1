"""`course site`: the course as a folder of pages that work from a disk, with no network and no kernel.

Sphinx builds them from sources that are put together here: the lectures with their outputs, a page for each assignment
(never a solution), the library's docstrings, the README.
"""

import io
import pkgutil
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import autograder
import course_utils
from autograder.publish.run import ROOT
from autograder.publish.still import still
from course_utils.paths import CourseError

STATIC = Path(__file__).parent / "static"
TITLE = "From Shannon to CLIP"
# programs of the set-up and the sandbox, not a library
NOT_DOCUMENTED = re.compile(
    r"course_utils\.(checkpoints|jupyter|setup|cli|grading)(\..*)?"
    r"|autograder\.(cli|sandbox\.(inside|parent)|run\.outputs)"
)
CONFIGURATION = f"""
project = html_title = "{TITLE}"
author = copyright = ""
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline"]
exclude_patterns = []
nb_execution_mode = "off"
nb_ipywidgets_js = {{}}
nb_mime_priority_overrides = [("html", "text/html", 0)]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "misc.highlighting_failure", "ref.python"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {{"members": True, "show-inheritance": True}}
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Source", "notes_style")]
napoleon_use_rtype = False
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_copy_source = False
html_show_copyright = html_show_sphinx = False
html_theme_options = {{
    "show_navbar_depth": 1, "collapse_navbar": True,  # else each page lists all modules: a third of the time
    "use_download_button": False, "use_fullscreen_button": False, "use_source_button": False,
    "use_edit_page_button": False, "use_repository_button": False, "use_issues_button": False,
    "pygments_light_style": "a11y-high-contrast-light", "pygments_dark_style": "a11y-high-contrast-dark",
}}


def setup(app):
    from autograder.publish.site import as_restructured_text

    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
"""
# of what the theme and MathJax bring along, this is for their makers
LEFT_OUT = ("*.map", "*webpack-macros.html", "mathjax/*.js", "mathjax/a11y", "mathjax/adaptors", "mathjax/sre")
NEEDED = ("tex-chtml.js",)


class SiteError(CourseError):
    """The site could not be built; the text says why."""


@dataclass
class Built:
    """What a build made: the folder, its pages, its size in bytes, and what Sphinx complained about."""

    folder: Path
    pages: int
    size: int
    complaints: list[str]


def build(notebooks: Mapping[str, NotebookNode], to: Path, root: Path = ROOT) -> Built:
    """Build the site from lectures that were run.

    Args:
        notebooks: a lecture's file name without its ending -> the lecture with its outputs.
        to: the folder; what an earlier build left there is replaced, anything else stops the build.

    Raises:
        SiteError: the folder holds something else, or Sphinx failed.
    """
    if to.exists() and any(to.iterdir()) and not (to / "searchindex.js").exists():
        raise SiteError(f"{to} holds something that is not a site of the course: choose another folder with --to")
    with tempfile.TemporaryDirectory(prefix="course-site-") as temporary:
        source, pages = Path(temporary) / "source", Path(temporary) / "pages"
        write_sources(notebooks, source, root)
        complaints = _sphinx(source, pages, Path(temporary) / "doctrees")
        _leave_out(pages)
        if to.exists():
            shutil.rmtree(to)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(pages, to)
    files = [p for p in to.rglob("*") if p.is_file()]
    return Built(to, sum(p.suffix == ".html" for p in files), sum(p.stat().st_size for p in files), complaints)


def _sphinx(source: Path, pages: Path, doctrees: Path) -> list[str]:
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    warnings = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(warnings):
            app = Sphinx(source, source, pages, doctrees, "html", status=None, warning=warnings)
            app.build()
    except SphinxError as error:
        raise SiteError(f"Sphinx stopped: {error}") from None
    lines = re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).replace(f"{source}/", "").splitlines()
    if app.statuscode:
        raise SiteError("\n".join(["Sphinx failed:", *lines[-10:]]))
    return [line for line in lines if "WARNING" in line or "ERROR" in line]


def _leave_out(pages: Path) -> None:
    found = [path for pattern in LEFT_OUT for path in (pages / "_static").rglob(pattern) if path.name not in NEEDED]
    for left in (pages / "_sources", pages / ".buildinfo", pages / "objects.inv", *found):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def as_restructured_text(app, what, name, thing, options, lines: list[str]) -> None:
    """Our docstrings are plain text: what would be a mark in reStructuredText is a sign in them (for autodoc)."""
    found: list[str] = []
    for block in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        rows = block.split("\n")
        plain = not rows[0].startswith((" ", "-")) and not re.fullmatch(r"\w+:", rows[0].rstrip())
        hanging = plain and any(row.startswith("    ") for row in rows)
        if plain and rows[0].startswith("@") or (hanging and not re.match(r"[\w*, ]+: \S", rows[0])):
            found += ["::", "", *(f"    {row}" for row in rows), ""]  # a piece of code
        elif hanging:  # names, each with what it means
            found += [f"  {_escaped(row.strip())}" if row.startswith(" ") else f"- {_escaped(row)}" for row in rows]
            found.append("")
        else:
            before = found[-2] if len(found) > 1 else ""
            if rows[0].startswith("    ") and before.strip() and not re.match(r"[ :-]|\w+:$", before):
                found += ["::", "", *rows, ""]  # a piece of code
            else:
                found += [*map(_escaped, rows), ""]
    lines[:] = found


def _escaped(line: str) -> str:
    parts = line.split("`")  # every second one is code
    parts[::2] = [re.sub(r"([*|]|\w_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
    parts[2::2] = [rf"\ {part}" if re.match(r"\w", part) else part for part in parts[2::2]]
    return "`".join(parts).rstrip()


# --- sources ----------------------------------------------------------------------------------------------------------


def write_sources(notebooks: Mapping[str, NotebookNode], source: Path, root: Path) -> None:
    """Write what Sphinx reads."""
    (source / "_static" / "plots").mkdir(parents=True)
    shutil.copytree(STATIC, source / "_static", dirs_exist_ok=True)
    (source / "conf.py").write_text(CONFIGURATION)
    assignments = [_assignment(path, source, root) for path in sorted(root.glob("assignments/*/*.ipynb"))]
    (source / "lectures").mkdir()
    for name, notebook in sorted(notebooks.items()):
        page = _lecture(notebook, _saver(source, "../_static/plots"), set(notebooks), set(assignments))
        (source / "lectures" / f"{name}.ipynb").write_text(nbformat.writes(page), encoding="utf-8")
    modules = _library(source / "library")
    _readme(source, root)
    _index(source, sorted(notebooks), assignments, modules)


def _saver(source: Path, address: str) -> Callable[[str, bytes], str]:
    def save(name: str, content: bytes) -> str:
        (source / "_static" / "plots" / name).write_bytes(content)
        return f"{address}/{name}"

    return save


def _lecture(notebook: NotebookNode, save: Callable, lectures: set[str], assignments: set[str]) -> NotebookNode:
    page = still(notebook, save)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = _links(cell.source, lectures, assignments)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = NOTEBOOK_LINK.sub(r"\1.html", output.data["text/html"])
    return page


NOTEBOOK_LINK = re.compile(r"""(?<=href=["'])((?:\.\./)?(?:lectures|assignments)/\w+|\d\d_\w+)(?:/\w+)?\.ipynb""")


def _links(text: str, lectures: set[str], assignments: set[str]) -> str:
    """A lecture's links to other notebooks lead to their pages; those to what the site does not have become words."""

    def page(match: re.Match) -> str:
        words, target = match["words"], match["target"]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        name = Path(path).stem
        if Path(path).name in {f"{lecture}.ipynb" for lecture in lectures}:
            return f"[{words}]({path}{'#' * bool(anchor)}{anchor})"
        return f"[{words}](../assignments/{name}.md)" if name in assignments else words

    return re.sub(r"(?<!!)\[(?P<words>[^\]\[]*)\]\((?P<target>[^)\s]+)\)", page, text)


def _assignment(path: Path, source: Path, root: Path) -> str:
    """A page that says what an assignment asks for, and a file with all that a student needs; its name."""
    notebook, name = nbformat.read(path, as_version=4), path.stem
    folder, static = source / "assignments", source / "_static" / "assignments"
    folder.mkdir(exist_ok=True)
    static.mkdir(exist_ok=True)
    with zipfile.ZipFile(static / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in path.parent.rglob("*") if p.is_file() and "checkpoints" not in p.parts[-2]):
            archive.write(file, Path(name) / file.relative_to(path.parent))
    before = []
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            break
        if cell.cell_type == "markdown" and (not before or "how-to-work" in cell.id):
            before.append(cell.source)
    lines = [*before, "## What you write"]
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
            code = cell.source.split("# Your code here.")[0].rstrip()
            lines += [f"### {cell.metadata.nbgrader.grade_id}", f"```python\n{code}\n```"]
    lines += [
        "## Get it",
        f"The notebook is in the course's folder, `assignments/{name}/`. To have it by itself: "
        f'<a href="../_static/assignments/{name}.zip" download>{name}.zip</a> (it needs the installed course).',
    ]
    (folder / f"{name}.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return name


def _library(folder: Path) -> list[str]:
    """A page for each module of the library; their names."""
    folder.mkdir()
    houses = (course_utils, autograder)
    names = sorted(m.name for h in houses for m in pkgutil.walk_packages(h.__path__, f"{h.__name__}."))
    names = [n for n in names if not NOT_DOCUMENTED.fullmatch(n) and not n.rpartition(".")[2].startswith("_")]
    for name in names:
        title = name.removeprefix("course_utils.")
        page = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n"
        (folder / f"{name}.rst").write_text(page, encoding="utf-8")
    return names


def _readme(source: Path, root: Path) -> None:
    """The README as a page, and the grader's; pictures come along."""
    shutil.copytree(root / "docs", source / "docs", ignore=shutil.ignore_patterns("*.py", "*.md"))
    for path, page in (("README.md", "about.md"), ("autograder/README.md", "grader.md")):
        text = (root / path).read_text(encoding="utf-8").replace("(autograder/README.md)", "(grader.md)")
        local = re.compile(r"(?<!!)\[([^\]\[]*)\]\((?!https?:|#|grader\.md)([^)\s]+)\)")
        (source / page).write_text(local.sub(r"\1", text), encoding="utf-8")


def _index(source: Path, lectures: list[str], assignments: list[str], modules: list[str]) -> None:
    text = f"""# {TITLE}

A model that is trained to fill in what is missing learns features that other tasks can use. *Sometimes.* This course
goes from Claude Shannon's chains of letters (1948) to models that connect pictures and words, and asks each time: when?

![Sixty-four postcards: houses, boats, cacti and more, in eight colours, at many places](docs/postcards.png)

These pages show every lecture with what its cells gave. What moves in JupyterLab stands still here; the questions at
the end of each lecture work. To run it all, and to hand in assignments, take the course itself: [about it](about.md).

"""
    parts = {
        "Lectures": [f"lectures/{name}" for name in lectures],
        "Assignments": [f"assignments/{name}" for name in assignments],
        "About": ["about", "grader"],
        "Library": [f"library/{name}" for name in modules],
    }
    for caption, pages in parts.items():
        listed = "\n".join(pages)
        text += f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n{listed}\n```\n\n"
    (source / "index.md").write_text(text, encoding="utf-8")
