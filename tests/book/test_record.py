"""Grading a class: every entry of submitted/ gets its marks and reasons, once; nothing moves when it is done again."""

import os
import sqlite3
import threading
import time

import nbformat
import pytest
import torch
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_output
from nbgrader.api import Gradebook
from nbgrader.apps import AutogradeApp
from small_course import HALF, NAME, RIGHT, graded, hand_in

from autograder.book import record
from autograder.course import Assignment
from autograder.grade import grade
from autograder.notes import Kind, sentence
from autograder.release import release
from autograder.run.cases import hidden_cases
from autograder.run.options import Options
from autograder.sandbox import provisioner
from course_utils.checking.cases import CASES_FILE, load_cases
from course_utils.paths import CourseError

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning", "ignore::nbformat.warnings.DuplicateCellId")


def page(course, student):
    return (course.root / "feedback" / student / NAME / f"{NAME}.html").read_text()


def snapshot(course):
    """All that a grader may look at: the gradebook's tables, the table, mark sheets, graded notebooks."""
    connection = sqlite3.connect(course.root / "gradebook.db")
    lines = sorted(connection.iterdump())
    connection.close()
    rooms = [*course.root.glob("autograded/**/*"), *course.root.glob("feedback/**/*"), *course.root.glob("*.csv")]
    rooms += [course.root / "report.html"]
    return lines, {p: p.read_bytes() for p in rooms if p.is_file()}


# --- marks ------------------------------------------------------------------------------------------------------------


def test_marks_and_reasons(course):
    hand_in(course, "ann", RIGHT | {"why": "It is linear."})
    hand_in(course, "bob", HALF)
    sheets = graded(course)
    assert (sheets["ann"].points, sheets["ann"].waiting, sheets["ann"].most) == (6, 4, 10)
    assert sheets["ann"].reasons() == []
    assert (sheets["bob"].points, sheets["bob"].waiting) == (
        3,
        0,
    )  # double 0, total 2 of 3 cases, plain 1, why unanswered
    assert sheets["bob"].cells["check_total"] == (2, 3)
    assert "known mistake “squared”" in sheets["bob"].line() and "why: 0 of 4" in sheets["bob"].line()
    assert "you squared" in page(course, "bob")
    rows = (course.root / "grades.csv").read_text().splitlines()
    assert rows[0].startswith("assignment,duedate,timestamp,student_id")
    assert [row.split(",")[3] + " " + row.split(",")[9] for row in rows[1:]] == ["ann 6.0", "bob 3.0"]


def test_the_cases_are_not_the_visible_ones_and_stay_private(course):
    hand_in(course, "ann", RIGHT)
    graded(course)
    hidden = hidden_cases(Assignment(course, NAME), "ann")["double"].inputs
    visible = load_cases(course.released(NAME).with_name(CASES_FILE))["double"].inputs
    assert torch.equal(hidden[0][0], visible[0][0]) and not torch.equal(hidden[1][0], visible[1][0])
    private = Assignment(course, NAME).private
    assert private.stat().st_mode & 0o077 == 0
    assert (private / "seed").stat().st_mode & 0o077 == 0
    shown = page(course, "ann") + (course.root / "autograded/ann" / NAME / f"{NAME}.ipynb").read_text()
    assert str(hidden[1][0][0].item())[:6] not in shown


def test_everybody_in_submitted_ends_in_a_row(course, tmp_path):
    room = course.root / "submitted"
    hand_in(course, "renamed", RIGHT, name="my solution (final)")
    hand_in(course, "extra", RIGHT)
    hand_in(course, "extra", HALF, name="scratch")
    hand_in(course, "several", RIGHT, name="one")
    hand_in(course, "several", RIGHT, name="two")
    hand_in(course, "deep/inner", RIGHT).rename(room / "deep" / f"{NAME}.ipynb")
    hand_in(course, "file", RIGHT).rename(room / "loose.ipynb")
    (room / "nothing" / NAME).mkdir(parents=True)
    (room / "other" / "a9_other").mkdir(parents=True)
    (room / "text.txt").write_text("hello")
    (room / ".DS_Store").write_text("")
    (room / "link").symlink_to(room / "renamed")
    (room / "linked").mkdir()
    (room / "linked" / NAME).symlink_to(room / "renamed" / NAME)
    hand_in(course, "broken", RIGHT).write_text("{")
    hand_in(course, "Zoë Ünal, [b] *?", RIGHT)
    hand_in(course, "=cmd", RIGHT)
    os.makedirs(os.fsencode(room) + b"/bad\xff/" + NAME.encode())
    sheets = graded(course)
    marks = {name: sheet.points for name, sheet in sheets.items()}
    full = {"renamed", "extra", "deep", "loose", "Zoë Ünal_ _b_ __", "cmd"}
    assert {n for n, p in marks.items() if p == 6} == full
    nobody = {"several", "nothing", "other", "text.txt", "link", "linked", "broken", "bad_", "file"}
    assert {n for n, p in marks.items() if p == 0} == nobody
    assert not any(s.failed for s in sheets.values())
    for name in nobody | {"renamed", "extra", "deep", "loose"}:
        assert sheets[name].notes, name
        assert "Grader's notes" in page(course, name)
    assert "my solution (final).ipynb" in sentence(sheets["renamed"].notes[0])
    assert len((course.root / "grades.csv").read_text().splitlines()) == len(full | nobody) + 1


@pytest.mark.parametrize(
    "name", [f"{NAME}.IPYNB", f"{NAME}.ipynb.txt", f"{NAME} (1).ipynb", "._x.ipynb", f"{NAME}-Copy1.ipynb"]
)
def test_a_notebook_is_found_under_the_names_that_systems_give_it(course, name):
    path = hand_in(course, "ann", RIGHT)
    path.rename(path.with_name(name))
    if name.startswith(f"{NAME} (1)") or "Copy" in name:
        hand_in(course, "ann")  # the original, untouched
    if name == "._x.ipynb":  # what macOS leaves beside a file in a zip
        hand_in(course, "ann", RIGHT)
    sheet = graded(course)["ann"]
    assert sheet.points == 6, sheet.line()
    assert name.startswith(".") or name in sheet.line()


def test_what_was_there_in_place_of_a_notebook_is_said(course):
    folder = course.root / "submitted" / "ann" / NAME
    folder.mkdir(parents=True)
    assert Kind.NO_NOTEBOOK in {n.kind for n in graded(course)["ann"].notes}
    for name in ("a0_small.zip", "answers.pdf", "a0.html"):
        (folder / name).write_text("x")
    assert "only a0.html, a0_small.zip, answers.pdf" in graded(course)["ann"].line()


def test_a_crash_of_the_grader_costs_one_student(course, executor, monkeypatch):
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", RIGHT | {"double": "def double(x): return 'crash the grader'"})
    run = executor.execute

    def execute(notebook, *args, **kwargs):
        if any("crash the grader" in c.source for c in notebook.cells):
            raise RuntimeError("oh")
        return run(notebook, *args, **kwargs)

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    sheets = graded(course)
    assert sheets["bob"].failed and "RuntimeError: oh" in sheets["bob"].line() and "NOT GRADED" in sheets["bob"].line()
    assert sheets["ann"].points == 6


# --- again ------------------------------------------------------------------------------------------------------------


def test_grading_again_changes_nothing_and_runs_nothing(course, executor):
    hand_in(course, "ann", RIGHT | {"why": "It is linear."})
    hand_in(course, "bob", HALF).with_name("timestamp.txt").write_text("2030-01-01 12:00:00 UTC\n")
    graded(course)
    with Gradebook(course.directory().db_url) as gradebook:
        assert gradebook.find_submission(NAME, "bob").timestamp.year == 2030
        grade_ = gradebook.find_grade("why", NAME, NAME, "ann")
        grade_.manual_score, grade_.needs_manual_grade, grade_.extra_credit = 3, False, 0.5
        gradebook.find_comment("why", NAME, NAME, "ann").manual_comment = "well said"
        gradebook.db.commit()
    sheets = graded(course)
    assert sheets["ann"].points == 9.5 and sheets["ann"].waiting == 0
    assert "well said" in page(course, "ann")
    assert scores(course)["ann", "why"] == (None, False)  # stock nbgrader would ask for it to be marked anew
    before, calls = snapshot(course), executor.calls
    graded(course)
    assert snapshot(course) == before
    assert executor.calls == calls
    graded(course, again=True)  # even when everything runs anew
    assert executor.calls == calls + 2
    assert snapshot(course) == before


def test_a_new_hand_in_is_graded_anew_and_keeps_what_was_given_by_hand(course):
    hand_in(course, "ann", HALF | {"why": "It is linear."})
    assert graded(course)["ann"].points == 3
    with Gradebook(course.directory().db_url) as gradebook:
        gradebook.find_grade("why", NAME, NAME, "ann").manual_score = 4
        gradebook.db.commit()
    hand_in(course, "ann", RIGHT | {"why": "It is linear indeed."})
    assert graded(course)["ann"].points == 10
    with Gradebook(course.directory().db_url) as gradebook:
        assert gradebook.find_grade("why", NAME, NAME, "ann").needs_manual_grade  # look at the new text


def test_a_grader_that_was_killed_goes_on(course, executor):
    for name in ("ann", "bob", "cyd"):
        hand_in(course, name, RIGHT | {"why": name})
    work = grade(Assignment(course, NAME), [], Options(workers=1))
    next(work)
    work.close()
    sheets = graded(course)
    assert executor.calls in (
        3 + 1,
        3 + 2,
    )  # the reference, and each notebook once, or the one that was under way again
    assert [s.points for s in sheets.values()] == [6, 6, 6]


def test_only_some_students(course):
    for name in ("ann", "bob"):
        hand_in(course, name, RIGHT)
    assert list(graded(course, students=["bob"])) == ["bob"]
    with pytest.raises(CourseError, match="nothing of cyd"):
        graded(course, students=["cyd"])


def test_a_fresh_clone_grades_at_once(course):
    hand_in(course, "ann", RIGHT)
    (course.root / "gradebook.db").unlink()
    assert graded(course)["ann"].points == 6
    before = snapshot(course)[1]
    (course.root / "gradebook.db").unlink()  # the marks come back from what is kept
    assert graded(course)["ann"].points == 6
    assert snapshot(course)[1].keys() == before.keys()


def test_points_that_changed_after_grading_reach_the_marks(course):
    hand_in(course, "ann", RIGHT)
    graded(course)
    mistakes = course.solution(NAME).parent / "mistakes.py"
    mistakes.write_text(mistakes.read_text().replace('"double", points=2', '"double", points=5'))
    release(Assignment(course, NAME))
    sheet = graded(course)["ann"]
    assert (sheet.points, sheet.most) == (9, 13)


def test_cells_that_changed_after_grading_are_explained(course):
    hand_in(course, "ann", RIGHT)
    graded(course)
    notebook = nbformat.read(course.solution(NAME), as_version=4)
    del notebook.cells[8]
    nbformat.write(notebook, course.solution(NAME))
    with pytest.raises(CourseError, match="Cannot add or remove cells .* submissions associated"):
        graded(course)


# --- surroundings -----------------------------------------------------------------------------------------------------


def test_a_gradebook_that_others_hold_is_waited_for(course, monkeypatch):
    config = course.root / "nbgrader_config.py"
    hand_in(course, "ann", RIGHT)
    other = sqlite3.connect(course.root / "gradebook.db", check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(1, lambda: other.execute("ROLLBACK")).start()
    assert graded(course)["ann"].points == 6
    config.write_text(config.read_text().replace("timeout=30", "timeout=0.2"))
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CourseError, match="in use by another program"):
        graded(course)
    other.close()


def test_two_graders_do_not_undo_each_others_work(course):
    hand_in(course, "ann", RIGHT)
    first = grade(Assignment(course, NAME), [])
    next(first)
    with pytest.raises(CourseError, match="being graded already"):
        graded(course)
    first.close()
    assert graded(course)["ann"].points == 6


def test_without_a_sandbox_it_refuses_unless_told(course, monkeypatch):
    hand_in(course, "ann", RIGHT)
    monkeypatch.setattr(provisioner, "missing", lambda: "bubblewrap is missing: install it")
    with pytest.raises(CourseError, match="bubblewrap is missing.*--unsafe"):
        graded(course)
    assert graded(course, unsafe=True)["ann"].points == 6


def test_an_empty_room_is_said(course):
    with pytest.raises(CourseError, match="is empty"):
        graded(course)


def test_files_beside_the_notebook(course, executor, tmp_path, monkeypatch):
    folder = hand_in(course, "ann", RIGHT).parent
    secret = course.root / "gradebook.db"
    (folder / "helper.py").write_text("x = 1")
    (folder / "data.txt").write_text("changed by the student")
    (folder / ".hidden").write_text("x")
    (folder / "secret.db").symlink_to(secret)
    (folder / "everything").symlink_to(course.root, target_is_directory=True)
    (folder / "timestamp.txt").write_text("the day before yesterday's yesterday")
    os.mkfifo(folder / "pipe")
    sheet = graded(course)["ann"]
    assert executor.seen_files == ["cases.safetensors", "checksums.sha256", "data.txt", "helper.py"]
    assert sheet.points == 6
    assert {"secret.db", "everything", "timestamp.txt"} == {n.text[0] for n in sheet.notes}
    staged = Assignment(course, NAME).private / "staged" / "ann" / NAME
    assert not any(p.is_symlink() for p in staged.rglob("*"))
    (course.root / "limits.toml").write_text(f"[{NAME}]\nfiles = 1\n")
    assert Kind.TOO_MUCH in {note.kind for note in graded(course)["ann"].notes}


def test_nothing_that_a_student_hands_in_is_served(course):
    """Formgrader serves `autograded/`; `feedback/` goes back to students."""
    folder = hand_in(course, "ann", RIGHT | {"why": "[look](drawing.html)"}).parent
    picture = b"\x89PNG\r\n\x1a\n" + bytes(20)
    for name in ("drawing.html", "x.svg", "x.js", "deep/page.htm", f"{NAME}.html", "fake.png", "mine.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("<script>steal()</script>")
    for name in ("drawing.png", "deep/photo.PNG"):
        (folder / name).write_bytes(picture)
    graded(course)

    def files(room):
        place = course.root / room / "ann" / NAME
        return {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}

    assert files("autograded") == {f"{NAME}.ipynb", "drawing.png", "deep/photo.PNG"}
    assert files("feedback") == {f"{NAME}.html"} and "steal" not in page(course, "ann")


# --- what students put out --------------------------------------------------------------------------------------------


ATTACK = "<script>steal()</script>"
OUTPUTS = [
    new_output("stream", name="stdout", text=ATTACK),
    new_output(
        "display_data", data={"text/html": f"<b>bold</b>{ATTACK}<img src=x onerror=steal()>", "text/plain": "b"}
    ),
    new_output(
        "display_data",
        data={"text/html": "<iframe src='https://evil.example'></iframe><img src='https://evil.example/p'>"},
    ),
    new_output("display_data", data={"application/javascript": "steal()"}),
    new_output("display_data", data={"image/svg+xml": f"<svg>{ATTACK}</svg>"}),
    new_output("display_data", data={"text/markdown": f"{ATTACK} [a](javascript:steal())"}),
    new_output("display_data", data={"text/latex": ATTACK}),
    new_output("display_data", data={"application/vnd.jupyter.widget-view+json": "{}"}),
    new_output("display_data", data={"image/png": "iVBO"}, metadata={"image/png": {"width": "1 onload=steal()"}}),
    new_output("error", ename=ATTACK, evalue=ATTACK, traceback=[ATTACK]),
]


def test_what_students_put_out_is_shown_and_never_run(course):
    answer = f"{ATTACK}\n\n**bold** [a](javascript:steal()) ![p](https://evil.example/p.png) `a < b`"
    path = hand_in(course, ATTACK.replace("/", ""), RIGHT | {"why": answer})
    notebook = nbformat.read(path, as_version=4)
    source = f"import nbformat\noutputs = nbformat.from_dict({[dict(o) for o in OUTPUTS]!r})"
    notebook.cells[0].metadata["nbgrader"] = {"grade_id": ATTACK}
    notebook.cells.insert(1, new_code_cell(source))  # before the first check: later outputs do not come back
    notebook.cells.append(nbformat.v4.new_raw_cell(ATTACK))
    nbformat.write(notebook, path)
    (sheet,) = graded(course).values()
    for text in (page(course, sheet.student), (course.root / "report.html").read_text()):
        assert "&lt;script&gt;steal()" in text
        soup = BeautifulSoup(text, "html.parser")
        assert not soup(["script", "link", "iframe", "object", "embed", "form"])
        attributes = [(name.lower(), value) for e in soup(True) for name, value in e.attrs.items()]
        assert not [name for name, _ in attributes if name.startswith("on")]
        assert all(value.startswith("data:image/") for name, value in attributes if name == "src")
        assert all(value.startswith(("#", "feedback/")) for name, value in attributes if name == "href")
        assert "default-src 'none'" in soup.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    soup = BeautifulSoup(page(course, sheet.student), "html.parser")
    assert not any("@font-face" in style.text or "@import" in style.text for style in soup("style"))
    assert soup.find("b", string="bold") and soup.find("strong", string="bold") and soup.find("code", string="a < b")
    graded_notebook = nbformat.read(next(course.root.glob(f"autograded/*/{NAME}/{NAME}.ipynb")), as_version=4)
    outputs = [o for c in graded_notebook.cells for o in c.get("outputs", [])]
    kinds = {k for o in outputs for k in o.get("data", {})}
    assert not kinds & {"application/javascript", "application/vnd.jupyter.widget-view+json"}
    assert not any("<script" in o.data.get("text/html", "") for o in outputs if "data" in o)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [new_output("execute_result", data={"text/html": "<b>2</b>"})],
        [new_output("execute_result", data={"text/plain": "nan"})],
        [new_output("execute_result", data={"text/plain": "1e9"})],
    ],
)
def test_no_points_where_none_can_be_read(course, executor, monkeypatch, outputs):
    """Stock nbgrader gives all points to a test cell without outputs, and to one whose value is no number."""
    hand_in(course, "ann", RIGHT)
    run = executor.execute

    def execute(*args, **kwargs):
        result = run(*args, **kwargs)
        for cell in result.notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") == "check_total":
                cell.outputs = outputs
        return result

    hidden_cases(Assignment(course, NAME), "ann")
    monkeypatch.setattr("autograder.run.execute.execute", execute)
    assert graded(course)["ann"].cells["check_total"] == (0, 3)


# --- the stock command ------------------------------------------------------------------------------------------------


def stock(course, monkeypatch, *arguments):
    monkeypatch.chdir(course.root)
    app = AutogradeApp()
    app.initialize([NAME, *arguments])
    app.start()


def scores(course):
    with Gradebook(course.directory().db_url) as gradebook:
        return {
            (s.student_id, g.cell.name): (g.auto_score, g.needs_manual_grade)
            for s in gradebook.assignment_submissions(NAME)
            for n in s.notebooks
            for g in n.grades
        }


def test_the_stock_command_gives_the_same_marks_in_the_same_way(course, monkeypatch, executor):
    hand_in(course, "ann", RIGHT | {"why": "It is linear."})
    hand_in(course, "bob", HALF)
    hand_in(course, "cyd", RIGHT).write_text("{broken")
    path = hand_in(course, "dan", RIGHT)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [notebook.cells[3].copy(), notebook.cells[2].copy()]
    notebook.cells[5].metadata["nbgrader"]["points"] = 50
    nbformat.write(notebook, path)
    path = hand_in(course, "eve", RIGHT)
    old = nbformat.v3.new_notebook(worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell("x = 1")])])
    path.write_text(nbformat.v3.writes_json(old))
    (course.root / "gradebook.db").unlink()  # as in a fresh clone
    stock(course, monkeypatch)
    first, calls = scores(course), executor.calls
    assert len(first) == 5 * 4
    assert first["bob", "check_total"] == (2, False) and first["dan", "check_total"] == (3, False)
    graded(course)
    assert executor.calls == calls  # what the stock command found out is kept for all
    assert scores(course) == first
    stock(course, monkeypatch, "--force")
    assert scores(course) == first


def test_the_stock_command_says_what_it_does_not_limit(course, monkeypatch, capsys):
    monkeypatch.setattr(record.Execute, "done", 0)
    for student in ("ann", "bob"):
        hand_in(course, student, RIGHT)
    stock(course, monkeypatch)
    assert capsys.readouterr().err.count("limited by `course grade` alone") == 1
    graded(course, again=True)
    assert "course grade" not in capsys.readouterr().err


def test_the_stock_command_cannot_be_told_not_to_run(course, monkeypatch):
    hand_in(course, "ann", HALF)
    stock(course, monkeypatch, "--no-execute")
    assert scores(course)["ann", "check_double"] == (0, False)


def test_the_stock_command_refuses_without_a_sandbox(course, monkeypatch):
    hand_in(course, "ann", RIGHT)
    monkeypatch.setattr(provisioner, "missing", lambda: "bubblewrap is missing: install it")
    with pytest.raises(SystemExit):
        stock(course, monkeypatch)
    assert not (course.root / "autograded" / "ann" / NAME).exists()
    stock(course, monkeypatch, "--Execute.sandbox=False")
    assert scores(course)["ann", "check_double"] == (2, False)


def test_notebooks_run_side_by_side(course, executor, monkeypatch):
    for name in "abcd":
        hand_in(course, name, RIGHT | {"why": name})
    hidden_cases(Assignment(course, NAME), "ann")
    run, running, most = executor.execute, [], []

    def execute(*args, **kwargs):
        running.append(1)
        most.append(len(running))
        time.sleep(0.2)
        running.pop()
        return run(*args, **kwargs)

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    graded(course, workers=2)
    assert max(most) == 2
