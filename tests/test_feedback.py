"""What students wrote is shown and never run, in time."""

import time

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_output

from autograder.book import feedback
from autograder.book.feedback import harmless, safe_html, safe_markdown

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
    assert page.find("a", href="https://a.example") and "$x<y$" in page.text


@pytest.mark.parametrize(
    "text",
    [
        "<script>x()</script>",
        "<img src=x onerror=x()>",
        "<svg onload=x()><style><img src=x onerror=x()></style></svg>",
        "<a href='javascript:x()'>a</a> <a href='data:text/html,x'>b</a>",
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
