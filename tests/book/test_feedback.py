"""What students wrote is shown and never run, in time."""

import time
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_output

from autograder.book import feedback
from autograder.book.feedback import harmless, safe_code, safe_html, safe_markdown, sheet

ROOT = Path(__file__).parents[2]

MARKDOWN = """# Title

**bold** `a < b` [here](https://a.example) $x<y$

|a|b|
|-|-|
|1|2|

```python
if a < b: pass
```"""


def test_honest_markdown_is_rendered():
    page = BeautifulSoup(safe_markdown({}, MARKDOWN), "html.parser")
    assert (
        page.h1 and page.strong and page.find("code", string="a < b") and page.table and page.find("div", "highlight")
    )
    assert page.find("a", href="https://a.example") and page.math.text.split() == ["x", "<", "y"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>x()</script>",
        "<img src=x onerror=x()>",
        "<svg onload=x()><style><img src=x onerror=x()></style></svg>",
        "<a href='javascript:x()'>a</a> <a href='data:text/html,x'>b</a> <a href=' data:text/html,x'>c</a>",
        "<iframe src='https://a.example'></iframe><object data=x></object><embed src=x><form action=x></form>",
        "<img src='https://a.example/p.png'><img src='data:image/svg+xml;base64,AAAA'>",
        "<div style='background: url(https://a.example); position: fixed'>a</div><link rel=stylesheet href=x>",
        "<meta http-equiv=refresh content='0;url=x'><base href='https://a.example'>",
        "<noscript><p title='</noscript><img src=x>'>",
    ],
)
@pytest.mark.parametrize("render", [safe_html, lambda text: safe_markdown({}, text)])
def test_nothing_runs_or_loads(render, text):
    page = BeautifulSoup(render(text), "html.parser")
    assert not page(["script", "svg", "style", "iframe", "object", "embed", "form", "link", "meta", "base"])
    attributes = [(name, value) for e in page(True) for name, value in e.attrs.items()]
    assert not [n for n, v in attributes if n.startswith("on") or n == "src" or n == "href" or "url" in v]


def test_pictures_in_the_page_are_shown():
    source = "data:image/png;base64,iVBO"
    assert BeautifulSoup(safe_html(f"<img src='{source}'>"), "html.parser").img["src"] == source
    for data in ("iVBO", "iVBx"):  # the same text, each with a picture of its own
        context = {"cell": {"attachments": {"a.png": {"image/png": data}}}}
        assert f"data:image/png;base64,{data}" in safe_markdown(context, "![a](attachment:a.png)")
    assert "base64" not in safe_markdown({}, "![a](attachment:a.png)")


def test_style_rules_are_not_read_as_text():
    table = "<div><STYLE scoped>.dataframe tbody tr th { color: red; }</Style ><table><tr><td>1</td></tr></table></div>"
    assert "red" not in safe_html(table) and BeautifulSoup(safe_html(table), "html.parser").td.text == "1"
    hidden = BeautifulSoup(safe_html("<sty<style>x</style>le>a</style><img src=x onerror=y()>"), "html.parser")
    assert not hidden("style") and not hidden.img.attrs


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"$N = \begin{pmatrix} 3 & 1 \\ 1 & 1 \end{pmatrix}$", "mtable"),
        (r"$$\tfrac12 \big(1 + \dots\big) \iff \frac{a}2$$", "mfrac"),
        ("\\begin{align}a &= b\\\\ c &= d\\end{align}", "mtable"),
        (r"$\nosuchthing{a<b}$", "code"),
        ("$" + "x" * 3000 + "$", "code"),
        (r"$\text{<script>x()</script>}$", "mtext"),
    ],
)
def test_formulas_are_drawn_without_a_script(formula, shown):
    page = BeautifulSoup(safe_markdown({}, f"A formula: {formula}"), "html.parser")
    assert page.find(shown) and not page.script and "$" not in page.text


def test_every_formula_of_the_assignments_is_drawn():
    for path in (ROOT / "solutions").glob("*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                page = BeautifulSoup(safe_markdown({}, cell.source), "html.parser")
                assert not [c.text for c in page("code") if "\\" in c.text and f"${c.text}$" in cell.source]


def test_formulas_cannot_be_called_up_by_the_text():
    assert safe_markdown({}, "\ue0000\ue001 $x$").count("<math") == 1


def test_hints_stay_folded():
    source = "<details>\n<summary>Hint</summary>\n\n**Bold** $x$\n\n</details>"
    page = BeautifulSoup(safe_markdown({}, source), "html.parser")
    assert page.details.summary.text == "Hint" and page.details.strong and page.details.math


@pytest.mark.parametrize(
    "piece", ["a.", "\n ", "(", "a\n.", " \n\n", "\\\n", '"""\n', "f'{\n", "    \n a", "\t", "@a\n", "'\n"]
)
def test_code_is_coloured_in_a_time_that_grows_with_its_length(piece):
    begin = time.process_time()
    for length in (19_000, 1_000_000):
        text = (piece * length)[:length]
        assert "<pre>" in safe_code(text)
        assert "<pre>" in safe_markdown({}, f"```python\n{text[:19_000]}\n```")
    assert time.process_time() - begin < 5
    assert 'class="k"' in safe_code("def f():\n    pass  # " + "long " * 70)


def test_many_displays_are_not_all_parsed():
    html = ("<p " + " ".join(f"a{i}" for i in range(9000)))[:29_000] + ">"
    cells = [new_code_cell(outputs=[new_output("display_data", data={"text/html": html}) for _ in range(40)])]
    begin = time.process_time()
    harmless(cells)
    assert time.process_time() - begin < 30  # 40 of them take far longer


@pytest.mark.parametrize(
    "piece", ["<style>", "<style", "<div>", "<b>a", "[a](", ">", "<", "*a ", "\\begin{a}", "- ", "&", "</b>", "<a "]
)
def test_what_is_made_to_take_long_does_not(piece):
    begin = time.process_time()
    for render in (safe_html, lambda text: safe_markdown({}, text)):
        for length in (19_000, 49_000, 1_000_000):
            text = (piece * length)[:length]
            render(text)
    assert time.process_time() - begin < 6  # minutes without the limits


def test_too_much_output_is_left_out_and_marks_are_kept(monkeypatch):
    monkeypatch.setattr(feedback, "KEPT", {"text": 1000, "pictures": 1000})
    graded = {"nbgrader": {"grade": True, "solution": False, "grade_id": "x"}}
    cells = [new_code_cell(outputs=[new_output("stream", text="a" * 600)]) for _ in range(3)]
    cells.append(new_code_cell(outputs=[new_output("stream", text="b" * 5000)], metadata=graded))
    cells.append(new_code_cell(outputs=[new_output("display_data", data={"image/png": "c" * 900})]))
    harmless(cells)
    texts = ["".join(o.get("text", "") for o in c.outputs) for c in cells]
    assert texts[0] == "a" * 600 and "left out" in texts[1] and "left out" in texts[2]
    assert texts[3] == "b" * 5000 and cells[4].outputs[0].data["image/png"] == "c" * 900


VERDICT = {"exercise": "double", "points": 2, "max_points": 2, "held": 1, "cases": 1}


def graded(kind, name, source, **marks):
    flags = {"answer": (False, True), "check": (True, False), "words": (True, True)}[kind]
    metadata = {"nbgrader": {"grade_id": name, "grade": flags[0], "solution": flags[1], **marks}}
    return nbformat.from_dict(
        {
            "cell_type": "code",
            "source": source,
            "metadata": metadata,
            "outputs": [],
            "id": name,
            "execution_count": None,
        }
    )


def test_a_sheet_names_its_cells_and_says_why():
    checks = [
        graded("check", "check_double", "check(double)", score=0.0, points=2.0, auto=0.0, given=None, again=False),
        graded("check", "check_total", "check(total)", score=2.0, points=2.0, auto=0.0, given=2.0, again=False),
        graded("words", "why", "because", score=3.0, points=4.0, auto=None, given=3.0, again=True, comment="**Nice**"),
        graded("words", "how", "so", score=0.0, points=4.0, auto=None, given=None, again=False),
    ]
    checks[0].outputs = [
        new_output("stream", text="no verdict"),
        new_output("execute_result", data={"text/plain": "0.0"}),
    ]
    why = "`double` is not defined: cell 2 stopped with ModuleNotFoundError: google"
    verdict = {"exercise": "double", "points": 0, "max_points": 2, "held": 0, "cases": 0, "wrong": why}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# The <title>"), graded("answer", "double", "x = 1"), *checks],
        metadata={"grader": {"verdicts": {"check_double": verdict}, "notes": [["kernel died", "2", ["ended"]]]}},
    )
    about = {"notebook": "a0", "student": "ann & co", "score": 5.0, "max_score": 12.0, "late_penalty": 0}
    page = BeautifulSoup(sheet(notebook, about), "html.parser")
    rows = [[cell.text.strip() for cell in row(["th", "td"])] for row in page.table("tr")][1:]
    assert rows[0] == ["double", "0 of 2", f"0 points, {why}."]
    assert rows[1][:2] == ["total", "2 of 2"] and "Marked by a person" in rows[1][2]
    assert rows[2][1] == "3 of 4" and "an earlier hand-in" in rows[2][2] and rows[3][1] == "not marked yet, 4 points"
    assert page.h1.text == "The <title>" and "5 of 12 points" in page.header.text and "ann & co" in page.header.text
    for link in page("a", href=True):
        assert page.find(id=link["href"].removeprefix("#"))
    assert "0.0" not in page.find(id="cell-3").text and page.find("strong", string="Nice")
    assert "Cell 2 ended" in page.find(class_="notes").text


def test_what_may_show_hidden_inputs_does_not_come_back():
    """From the first check on, a notebook knows them; before it, outputs are shown, and the teacher has all."""
    checks = [
        graded("check", f"check_{name}", f"check({name})", score=2.0, points=2.0, auto=2.0, given=None)
        for name in ("double", "total")
    ]
    for check in checks:
        check.outputs = [new_output("stream", text="the verdict"), new_output("execute_result")]
        check.outputs[1].data = {"text/plain": "2.0"}
    plain = graded("check", "plain", "assert x", score=0.0, points=1.0, auto=0.0, given=None)
    plain.outputs = [new_output("error", ename="AssertionError", evalue="0.4711", traceback=["0.4711"])]
    demo = nbformat.v4.new_code_cell("show()")
    demo.outputs = [
        new_output("stream", text="0.4711"),
        new_output("display_data", data={"image/png": "4711"}),
        new_output("error", ename="E4711", evalue="", traceback=["4711"]),
    ]
    before = nbformat.v4.new_code_cell("1 + 1", outputs=[new_output("execute_result", data={"text/plain": "seen"})])
    notebook = nbformat.v4.new_notebook(
        cells=[before, checks[0], demo, graded("answer", "total", "x = 1"), checks[1], plain],
        metadata={"grader": {"verdicts": {f"check_{n}": VERDICT | {"exercise": n} for n in ("double", "total")}}},
    )
    about = {"notebook": "a0", "student": "ann", "score": 4.0, "max_score": 5.0, "late_penalty": 0}
    page = BeautifulSoup(sheet(notebook, about), "html.parser")
    assert "4711" not in str(page) and "seen" in page.find(id="cell-1").text
    for place in (2, 5):
        assert (
            "the verdict" in page.find(id=f"cell-{place}").text and "left out" not in page.find(id=f"cell-{place}").text
        )
    assert "stopped with an error. What it put out is left out here" in page.find(id="cell-3").text
    assert "stopped with AssertionError." in page.find(id="cell-6").text and not page.find(id="cell-4").find(
        class_="out"
    )
