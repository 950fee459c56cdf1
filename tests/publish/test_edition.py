"""The students' edition: nothing of the solutions in its files or its history, and news without loss."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from autograder.author import install_cell
from autograder.course import Course
from autograder.publish import edition
from course_utils.command.update import EDITION, read_edition, update
from course_utils.notebook import grading, read
from course_utils.paths import CourseError

ROOT = Path(__file__).parents[2]
NAME = "a1_markov_chains"
SECRETS = {  # a word in each place of which nothing may get out
    f"solutions/{NAME}/mistakes.py": "# PLANTED-MISTAKE\n",
    f"solutions/{NAME}/notes.txt": "PLANTED-NOTES\n",
    f".grading/{NAME}/seed": "PLANTED-SEED\n",
    "gradebook.db": "PLANTED-GRADEBOOK",
    "autograder/x.py": "# PLANTED-GRADER\n",
    "tests/test_x.py": "# PLANTED-TEST\n",
    f"submitted/ann/{NAME}/x.txt": "PLANTED-HAND-IN",
    "course_utils/__pycache__/x.pyc": "PLANTED-CACHE",
    "lectures/.ipynb_checkpoints/01_x.ipynb": "PLANTED-CHECKPOINT",
}


@pytest.fixture(autouse=True)
def _git(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path_factory.mktemp("git") / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def course(tmp_path):
    """An instructor's course: this one with fewer lectures, assignments and checkpoints, and with planted words."""
    root = tmp_path / "instructors"
    few = shutil.ignore_patterns("0[2-9]*", "1*", "__pycache__", "checkpoints")
    for folder in ("lectures", f"assignments/{NAME}", f"solutions/{NAME}", "course_utils"):
        shutil.copytree(ROOT / folder, root / folder, ignore=few)
    for name in ("pyproject.toml", "requirements.lock", "nbgrader_config.py", *edition.PLAIN):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name, word in SECRETS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with open(root / name, "a") as file:
            file.write(word)
    notebook = read(root / "solutions" / NAME / f"{NAME}.ipynb")
    notebook.cells[-1].source += "\nPLANTED-ANSWER"
    nbformat.write(notebook, root / "solutions" / NAME / f"{NAME}.ipynb")
    course = Course(root)
    (course.released(NAME).parent / "checksums.sha256").unlink()  # as if just released
    return course


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def bare(folder):
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    return folder


def everything(repository):
    """All bytes of all versions of all files of a repository, and all names and messages."""
    found = [git(repository, "log", "--all", "--stat").encode()]
    for line in git(repository, "cat-file", "--batch-check", "--batch-all-objects").splitlines():
        if line.split()[1] == "blob":
            command = ["git", "cat-file", "blob", line.split()[0]]
            found.append(subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout)
    return b"\n".join(found)


# --- nothing gets out -------------------------------------------------------------------------------------------------


def lines(path):
    """The lines of a file that say something; of a notebook those of its cells."""
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in read(path).cells)
    else:
        text = path.read_bytes().decode("utf-8", "ignore")
    return [line.strip() for line in text.splitlines() if len(line.strip()) > 3]


def runs(found, length=3):
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def secrets():
    """What nobody may read: the bodies of solutions, answers in words, and every wrong function, as runs of lines."""
    found = {}
    for path in sorted(ROOT.glob("solutions/*/*.ipynb")):
        for cell in read(path).cells:
            hidden = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.DOTALL)
            if grading(cell).get("solution") and not hidden:
                hidden = [cell.source]
            for text in hidden:
                said = [line.strip() for line in text.splitlines() if len(line.strip()) > 3]
                found |= dict.fromkeys(runs(said, min(3, max(len(said), 1))), path)
    for path in sorted(ROOT.glob("solutions/*/mistakes.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = text.splitlines()[node.body[0].lineno - 1 : node.end_lineno]
                found |= dict.fromkeys(runs([s.strip() for s in body if len(s.strip()) > 3]), path)
    return {run: path for run, path in found.items() if sum(map(len, run)) > 60}


def test_nothing_of_the_solutions_is_in_the_edition(tmp_path):
    course = Course(ROOT)
    files = edition.build(course, tmp_path, "https://github.com/me/students.git", "main", "edition-1")
    assert len(files) > 150 and {f"assignments/{name}/{name}.ipynb" for name in course.names()} <= files.keys()
    hidden = secrets()
    assert len(hidden) > 500  # of nine assignments
    public = [run for path in ROOT.glob("assignments/*/*.ipynb") for run in runs(lines(path))]
    public += [run for path in ROOT.glob("lectures/*.ipynb") for run in runs(lines(path))]
    for name in files:
        if (tmp_path / name).suffix in (".safetensors", ".png"):
            continue
        here = lines(tmp_path / name)
        shown = (runs(here) | runs(here, 2) | runs(here, 1)) - set(public)
        assert not shown & hidden.keys(), (name, sorted(shown & hidden.keys())[:3])
    texts = {p.read_bytes() for p in ROOT.glob("solutions/**/*") if p.is_file()}
    assert not any((tmp_path / name).read_bytes() in texts for name in files)
    words = {part for name in files for part in Path(name).parts}
    assert not words & {"solutions", "autograder", "tests", "mistakes.py", ".grading", "grading", "gradebook.db"}
    for name in course.names():
        assert "solutions/" not in (tmp_path / "assignments" / name / "checksums.sha256").read_text()
    sums = [str(p.relative_to(tmp_path)) for p in tmp_path.glob("assignments/*/checksums.sha256")]
    for path in sums:
        assert subprocess.run(["sha256sum", "--check", "--quiet", path], cwd=tmp_path).returncode == 0


def test_no_planted_word_gets_into_files_or_history(course, tmp_path):
    target = bare(tmp_path / "students.git")
    edition.publish(course, str(target))
    (course.root / "solutions" / NAME / "mistakes.py").write_text("# PLANTED-LATER\n")
    (course.root / "lectures" / "01_shannon_markov_chains.ipynb").unlink()
    edition.publish(course, str(target))
    found = everything(target)
    assert b"PLANTED" not in found
    assert b"from course_utils" in found and git(target, "rev-list", "--count", "HEAD").strip() == "2"


# --- publishing -------------------------------------------------------------------------------------------------------


def test_again_it_updates_and_without_a_change_it_does_nothing(course, tmp_path):
    folder = tmp_path / "students"
    first = edition.publish(course, str(folder))
    assert first.changed and git(folder, "tag").split() == [first.tag] and not git(folder, "status", "--porcelain")
    assert set(git(folder, "ls-files").split()) == {*read_edition(folder)["files"], EDITION}
    assert edition.publish(course, str(folder)).changed == []
    lecture = course.root / "lectures" / "01_shannon_markov_chains.ipynb"
    notebook = read(lecture)
    notebook.cells[0].source += "\nNews."
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="seen in class")]
    nbformat.write(notebook, lecture)
    (course.root / "lectures" / "13_new.ipynb").write_bytes(lecture.read_bytes())
    second = edition.publish(course, str(folder))
    assert second.changed == ["lectures/01_shannon_markov_chains.ipynb", "lectures/13_new.ipynb"]
    assert second.tag == f"{first.tag}.2" and len(git(folder, "tag").split()) == 2
    assert "seen in class" not in (folder / "lectures" / "13_new.ipynb").read_text()
    (course.root / "lectures" / "13_new.ipynb").unlink()
    assert edition.publish(course, str(folder)).changed == ["lectures/13_new.ipynb"]
    assert not (folder / "lectures" / "13_new.ipynb").exists() and not git(folder, "status", "--porcelain")


def test_what_is_not_for_it_is_left_alone(course, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    for target, why in ((full, "not empty"), (course.root, "this course itself"), (course.root.parent, "itself")):
        with pytest.raises(CourseError, match=why):
            edition.publish(course, str(target))
    assert [p.name for p in full.iterdir()] == ["thesis.txt"]
    own = tmp_path / "own"
    shutil.copytree(course.root / "solutions", own / "solutions")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]):
        git(own, *command)
    with pytest.raises(CourseError, match="history of .* holds solutions"):
        edition.publish(course, str(own))
    edition.publish(course, str(tmp_path / "students"))
    (tmp_path / "students" / "README.md").write_text("my own words")
    with pytest.raises(CourseError, match="changes of its own"):
        edition.publish(course, str(tmp_path / "students"))
    with pytest.raises(CourseError, match="git clone failed"):
        edition.publish(course, f"file://{tmp_path}/nowhere.git")


def test_an_assignment_that_was_changed_since_its_release_is_not_published(course, tmp_path):
    sums = f"{'0' * 64}  solutions/{NAME}/mistakes.py\n"
    (course.released(NAME).parent / "checksums.sha256").write_text(sums)
    with pytest.raises(CourseError, match="course release"):
        edition.publish(course, str(tmp_path / "students"))
    assert not (tmp_path / "students").exists()


@pytest.mark.parametrize(
    "given, public",
    [
        ("git@github.com:me/course.git", "https://github.com/me/course.git"),
        ("ssh://git@gitlab.com/group/course.git", "https://gitlab.com/group/course.git"),
        ("https://git.uni.example/me/course", "https://git.uni.example/me/course"),
    ],
)
def test_students_get_an_address_that_needs_no_key(given, public):
    assert edition.public(given) == public


def test_badges_and_install_cells_have_the_address(course, tmp_path):
    edition.publish(course, str(tmp_path / "students"), "https://github.com/me/shannon.git")
    readme = (tmp_path / "students" / "README.md").read_text()
    home = "lectures/00_start_here.ipynb"
    for link in (
        f"https://colab.research.google.com/github/me/shannon/blob/main/{home}",
        f"https://mybinder.org/v2/gh/me/shannon/main?urlpath=lab/tree/{home}",
        "https://codespaces.new/me/shannon",
        "git clone https://github.com/me/shannon.git shannon\n",
    ):
        assert link in readme
    assert "{" not in readme
    notebooks = install_cell.notebooks(tmp_path / "students")
    assert len(notebooks) == 3
    for path in notebooks:
        assert "https://github.com/me/shannon.git\n    %pip install --quiet ./shannon" in read(path).cells[1].source
    assert install_cell.address(tmp_path / "students") == "https://github.com/me/shannon.git"
    assert edition.badges("file:///x", "main") == ""
    assert "v2/git/https%3A%2F%2Fgit.uni.example%2Fc" in edition.badges("https://git.uni.example/c", "main")


@pytest.mark.parametrize("address", ["https://github.com/me/x.git", "ssh://git@host.example/x", "file:///home/me/x"])
def test_setuptools_takes_the_project_of_students(address):
    from setuptools.config._validate_pyproject import validate

    project = edition.student_project((ROOT / "pyproject.toml").read_text(), address)
    assert validate(tomllib.loads(project))
    assert (f'Repository = "{address}"' in project) is not address.startswith("file:")


def test_the_lock_of_students_has_what_their_project_asks_for_and_no_grader():
    lock = (ROOT / "requirements.lock").read_text()
    project = edition.student_project((ROOT / "pyproject.toml").read_text(), "https://example.org/x.git")
    small = edition.student_lock(lock, project)
    names = set(re.findall(r"^([\w.-]+)==", small, re.MULTILINE))
    assert {"torch", "jupyterlab", "transformers", "uv", "setuptools", "nbclient", "pywinpty", "appnope"} <= names
    assert not names & {"nbgrader", "distributed", "sphinx", "pytest", "playwright"}
    assert "autograder" not in project and re.findall(r"^\[.*\]$", project, re.MULTILINE)
    assert {"fqdn", "webcolors", "rfc3986-validator"} <= names  # what jsonschema's extra brings, for jupyter-events
    entries = re.findall(r"^[\w.-]+==.*\n(?:[ \t].*\n)*", small, re.MULTILINE)
    assert "".join(entries) == small and all(entry in lock for entry in entries)


def test_the_command_works_in_a_students_copy_and_has_no_commands_for_instructors(course, tmp_path):
    edition.publish(course, str(tmp_path / "students"))
    code = "import sys\nhere = lambda f: 'editable' not in getattr(f, '__module__', '')\n"
    code += "sys.meta_path[:] = filter(here, sys.meta_path)\n"
    code += f"sys.path[:] = ['.'] + [p for p in sys.path if p not in ('', {str(ROOT)!r})]\n"
    code += "sys.argv = ['course', *sys.argv[1:]]; import course_utils.__main__ as m; m.main()"
    copy = tmp_path / "students"

    def course_command(*arguments):
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=copy, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code_, said = course_command("--help")
    assert code_ == 0 and "submit" in said and "update" in said and "Grade all" not in said and "solutions" not in said
    assert course_command("update") == (0, f"nothing is newer than what you have ({read_edition(copy)['tag']})\n")
    code_, said = course_command("submit", NAME, "--name", "Ann", "--pack", ".")
    assert code_ == 0 and (copy / f"Ann_{NAME}.zip").exists(), said


# --- news -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def copies(course, tmp_path):
    """The instructors' course, where it is published, and a student's clone of that."""
    target = bare(tmp_path / "students.git")
    edition.publish(course, str(target))
    git(tmp_path, "clone", "-q", str(target), "mine")
    return course, target, tmp_path / "mine"


def rewrite(course, extra):
    """Every notebook of the course gets a new last line in its first cell."""
    for path in (*course.root.glob("lectures/*.ipynb"), *course.root.glob("assignments/*/*.ipynb")):
        notebook = read(path)
        notebook.cells[0].source += f"\n\n{extra}"
        nbformat.write(notebook, path)


def work(mine, word):
    """What a student does in a week: every notebook is run, changed, saved; files of their own."""
    written = {}
    for path in (*mine.glob("lectures/*.ipynb"), *mine.glob("assignments/*/*.ipynb")):
        if "yours" in path.name or path.name.endswith(".new.ipynb"):
            continue
        notebook = read(path)
        notebook.cells.append(nbformat.v4.new_markdown_cell(f"{word} {path.name}"))
        nbformat.write(notebook, path)
        written[path.name] = path.read_bytes()
    (mine / "lectures" / "helper.py").write_text(word)
    (mine / "course_utils" / "runtime.py").write_text(f"# {word}")
    return written | {"helper.py": word.encode(), "runtime.py": f"# {word}".encode()}


def bytes_below(folder):
    return {p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".git" not in p.parts}


def test_news_come_and_nothing_that_a_student_wrote_is_lost(copies):
    course, target, mine = copies
    every = set()
    for week in ("one", "two", "three"):
        written = work(mine, f"my words of week {week}")
        every |= {data for name, data in written.items() if name not in (f"{NAME}.ipynb", "helper.py")}
        rewrite(course, f"News of week {week}.")
        (course.root / "course_utils" / "runtime.py").write_text(f"# new in week {week}\n")
        edition.publish(course, str(target))
        done = update(mine)
        assert every | set(written.values()) <= bytes_below(mine)
        for path in mine.glob("lectures/[0-9]*.ipynb"):
            if "yours" not in path.name:
                assert f"News of week {week}." in path.read_text() and "my words" not in path.read_text()
        own = mine / "assignments" / NAME / f"{NAME}.ipynb"
        assert f"my words of week {week}" in own.read_text()
        assert f"News of week {week}." in own.with_suffix(".new.ipynb").read_text()
        assert (mine / "course_utils" / "runtime.py").read_text() == f"# new in week {week}\n"
        assert (mine / "lectures" / "helper.py").read_text() == f"my words of week {week}"
        assert len(done.kept) == 4 and read_edition(mine) == read_edition(mine)
        assert not git(mine, "diff", "--name-only", "--diff-filter=U")
        changed = git(mine, "status", "--porcelain", "--untracked-files=no").split("\n")
        assert [line[3:] for line in changed if line] == [f"assignments/{NAME}/{NAME}.ipynb"]
        assert git(mine, "rev-parse", "HEAD") == git(target, "rev-parse", "HEAD")
    before = bytes_below(mine)
    assert not (again := update(mine)).kept and "nothing is newer" in again.lines()[0] and bytes_below(mine) == before


def test_what_only_the_student_changed_stays_where_it_is(copies):
    course, target, mine = copies
    work(mine, "mine")
    (course.root / "course_utils" / "paths.py").write_text("# new\n")
    edition.publish(course, str(target))
    before = {p: p.read_bytes() for p in mine.glob("lectures/*")}
    done = update(mine)
    assert (done.replaced, done.kept, done.new, done.gone) == (["course_utils/paths.py"], [], [], [])
    assert {p: p.read_bytes() for p in mine.glob("lectures/*")} == before


def test_own_commits_and_a_copy_without_git_get_news_too(copies, tmp_path):
    course, target, mine = copies
    shutil.copytree(mine, tmp_path / "unzipped", ignore=shutil.ignore_patterns(".git"))
    written = work(mine, "committed")
    git(mine, "add", ".")
    git(mine, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "my week")
    head = git(mine, "rev-parse", "HEAD")
    rewrite(course, "News.")
    edition.publish(course, str(target))
    for copy in (mine, tmp_path / "unzipped"):
        update(copy)
        assert "News." in (copy / "lectures" / "00_start_here.ipynb").read_text()
    assert git(mine, "rev-parse", "HEAD") == head and set(written.values()) <= bytes_below(mine)
    git(tmp_path, "clone", "-q", str(target), "folder")
    shutil.rmtree(tmp_path / "folder" / ".git")
    (tmp_path / "unzipped" / "lectures" / "00_start_here.ipynb").unlink()
    done = update(tmp_path / "unzipped", str(tmp_path / "folder"))  # from a folder, say on a memory stick
    assert done.new == ["lectures/00_start_here.ipynb"]


def test_what_lies_in_the_way_makes_room_and_what_went_goes(copies):
    course, target, mine = copies
    for name in ("13_a", "14_b"):
        shutil.copy(course.root / "lectures" / "00_start_here.ipynb", course.root / "lectures" / f"{name}.ipynb")
    (mine / "lectures" / "13_a.ipynb").mkdir()
    (mine / "lectures" / "13_a.ipynb" / "x").write_text("in a folder")
    (mine / "lectures" / "14_b.ipynb").symlink_to("00_start_here.ipynb")
    (course.root / "lectures" / "01_shannon_markov_chains.ipynb").unlink()
    edition.publish(course, str(target))
    done = update(mine)
    assert done.gone == ["lectures/01_shannon_markov_chains.ipynb"] and len(done.kept) == 2
    assert (mine / "lectures" / "13_a.ipynb").is_file() and not (mine / "lectures" / "14_b.ipynb").is_symlink()
    assert b"in a folder" in bytes_below(mine)


def test_an_update_that_was_stopped_goes_on(copies, monkeypatch):
    course, target, mine = copies
    written = work(mine, "mine")
    rewrite(course, "News.")
    edition.publish(course, str(target))
    from course_utils.command import update as room

    bring, count = room._bring, []

    def stopped(*arguments):
        count.append(1)
        if len(count) == 3 + len(list(mine.glob("course_utils/*.py"))):
            raise KeyboardInterrupt
        bring(*arguments)

    monkeypatch.setattr(room, "_bring", stopped)
    with pytest.raises(KeyboardInterrupt):
        update(mine)
    monkeypatch.setattr(room, "_bring", bring)
    update(mine)
    assert set(written.values()) <= bytes_below(mine)
    assert "News." in (mine / "lectures" / "00_start_here.ipynb").read_text()
    assert len(list(mine.glob("lectures/00*yours*"))) == 1


def test_where_there_is_nothing_to_update_it_says_so(copies, tmp_path):
    course, _, mine = copies
    with pytest.raises(CourseError, match="git pull"):
        update(course.root)
    with pytest.raises(CourseError, match="git clone failed"):
        update(mine, f"file://{tmp_path}/nowhere.git")
    with pytest.raises(CourseError, match="holds no student's copy"):
        update(mine, str(course.root))
    listed = json.loads((mine / EDITION).read_text())
    for name in ("../outside", "/etc/passwd", ".git/config", "C:\\x"):
        (mine / EDITION).write_text(json.dumps(listed | {"files": {name: "0"}}))
        with pytest.raises(CourseError, match="not of a course"):
            update(mine)
