"""A class graded: `course grade`, stock `nbgrader autograde`, and bare nbclient, which only runs the notebooks.

    python benchmarks/grading.py [--assignment a1_markov_chains] [--students 60] [--workers 2]
    python benchmarks/grading.py --made 300 [--workers 2]

Every contestant gets the same notebooks: the solution, and the release with wrong answers, in turn, without the cells
that only show something. Stock nbgrader and nbclient run them one after the other, as they do, without any isolation;
their check cells see the visible cases. What comes before a class is not counted: `course release`, and nbgrader's own
release. `--made` grades a class with a small assignment instead, of which every sixth hand-in is broken, each in
another way, and counts mark sheets and the memory of the grader's own process. Run it on a
machine that does nothing else: processor time and memory are the whole machine's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
QUIET = {"stdout": subprocess.DEVNULL}
STOCK = """
c = get_config()
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "assignments"
c.Execute.timeout = 120
"""
NBCLIENT = """
import sys, nbformat
from pathlib import Path
from nbclient import NotebookClient
for path in sorted(Path("submitted").glob("*/*/*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": str(path.parent)}}).execute()
"""


def hand_in(course: Path, name: str, students: int) -> None:
    """Write a course with this assignment, and a class of so many."""
    from assignment_tests import source

    from autograder.author.exercise import load_exercises

    for part in (f"solutions/{name}", f"assignments/{name}"):
        shutil.copytree(ROOT / part, course / part)
    exercises = load_exercises(ROOT / "solutions" / name)
    solution = nbformat.read(ROOT / "solutions" / name / f"{name}.ipynb", as_version=4)
    released = nbformat.read(ROOT / "assignments" / name / f"{name}.ipynb", as_version=4)
    right = {c.metadata.nbgrader.grade_id: c.source for c in solution.cells if "nbgrader" in c.metadata}
    for number in range(students):
        answers = dict(right)
        for exercise in list(exercises.values())[: number % (len(exercises) + 1)]:
            mistakes = list(exercise.mistakes.values())
            answers[exercise.name] = source(mistakes[number % len(mistakes)][1], exercise.name)
        notebook = nbformat.from_dict(released)
        notebook.cells = [
            nbformat.from_dict(c | {"source": answers.get(c.metadata.get("nbgrader", {}).get("grade_id"), c.source)})
            for c in notebook.cells
            if c.cell_type != "code" or "nbgrader" in c.metadata
        ]
        place = course / "submitted" / f"student{number:03}" / name
        shutil.copytree(ROOT / "assignments" / name, place, ignore=shutil.ignore_patterns("*.ipynb"))
        nbformat.write(notebook, place / f"{name}.ipynb")


BROKEN = {  # what is done to a hand-in's file, or what is written into its function
    "cut": lambda path: path.write_bytes(path.read_bytes()[:500]),
    "empty": lambda path: path.write_text(""),
    "no notebook": lambda path: path.unlink(),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "not JSON": lambda path: path.write_bytes(b"\xff\xfe{"),
    "ends its kernel": "import os\nos._exit(1)",
    "signal": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "does not parse": "def double(x:",
    "raises": "def double(x):\n    raise KeyError(x)",
    "prints much": "print('x' * 3_000_000)\ndef double(x):\n    return 2 * x",
}


def made(course: Path, students: int) -> str:
    """Write a small course and a class of so many, of which every sixth hand-in is broken; the assignment's name."""
    import pytest
    import small_course

    from autograder import release
    from autograder.course import Assignment

    with pytest.MonkeyPatch.context() as patch:
        small_course.install(patch)
        small = small_course.small_course(course)
        release.release(Assignment(small, small_course.NAME))
        for number in range(students):
            how = list(BROKEN.values())[number // 6 % len(BROKEN)] if number % 6 == 5 else None
            answers = small_course.RIGHT if number % 2 else small_course.HALF
            answers = answers | {"double": how} if isinstance(how, str) else dict(answers)
            answers["total"] += f"\n# {number}"  # no two are the same
            path = small_course.hand_in(small, f"student{number:03}", answers)
            if callable(how):
                how(path)
    for path in (course / ".grading", course / "gradebook.db"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return small_course.NAME


def grade_made(students: int, workers: int) -> None:
    """Grade such a class; fails if there is not a mark sheet and a row for each."""
    with tempfile.TemporaryDirectory() as temporary:
        course = Path(temporary)
        name = made(course, students)
        found = measure(
            [str(Path(sys.executable).with_name("course")), "grade", name, "--workers", str(workers)], course
        )
        sheets = len(list((course / "feedback").glob("*/*/*.html")))
        rows = len((course / "grades.csv").read_text().splitlines()) - 1
    print(
        f"{students} hand-ins: {sheets} mark sheets, {rows} rows",
        json.dumps({k: round(v, 1) for k, v in found.items()}),
    )
    if not sheets == rows == students:
        sys.exit("somebody was lost")


def measure(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds on the clock, seconds of all processors, MiB more in use than before, MiB of its largest process."""
    before, busy, least = psutil.virtual_memory().available, _busy(), []
    running = True

    def watch() -> None:
        while running:
            least.append(psutil.virtual_memory().available)
            time.sleep(0.2)

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        errors = said.read()
    seconds = time.perf_counter() - start
    running = False
    thread.join()
    if process.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{errors[-2000:]}")
    memory = {"memory_MiB": (before - min(least)) / 2**20, "own_MiB": usage.ru_maxrss / 1024}
    return {"wall_s": seconds, "cpu_s": _busy() - busy} | memory


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assignment", default="a1_markov_chains")
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["course", "nbgrader", "nbclient"], action="append")
    parser.add_argument("--made", type=int, metavar="N", help="a class of N with a small assignment, some of it broken")
    options = parser.parse_args()
    if options.made:
        return grade_made(options.made, options.workers)
    name, programs = options.assignment, Path(sys.executable).parent
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls `alembic`
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for contestant in options.only or ("course", "nbgrader", "nbclient"):
            folder = Path(temporary) / contestant
            folder.mkdir()
            hand_in(folder, name, options.students)
            config = (ROOT / "nbgrader_config.py").read_text() if contestant == "course" else STOCK
            (folder / "nbgrader_config.py").write_text(config)
            match contestant:
                case "course":
                    subprocess.run([str(programs / "course"), "release", name], cwd=folder, check=True, **QUIET)
                    command = [str(programs / "course"), "grade", name, "--workers", str(options.workers)]
                case "nbgrader":
                    generate = [str(programs / "nbgrader"), "generate_assignment", name, "--force"]
                    made = subprocess.run(generate, cwd=folder, capture_output=True, text=True)
                    if made.returncode:
                        sys.exit(f"nbgrader generate_assignment failed:\n{made.stderr[-2000:]}")
                    command = [str(programs / "nbgrader"), "autograde", name]
                case "nbclient":
                    command = [sys.executable, "-c", NBCLIENT]
            found[contestant] = measure(command, folder)
            print(contestant, json.dumps({k: round(v, 1) for k, v in found[contestant].items()}), flush=True)
    print(f"\n{options.students} x {name}\n\n| | s | processor s | MiB | own MiB | a minute |")
    print("|---|---:|---:|---:|---:|---:|")
    for contestant, m in found.items():
        numbers = [f"{m['wall_s']:.1f}", f"{m['cpu_s']:.1f}", f"{m['memory_MiB']:.0f}", f"{m['own_MiB']:.0f}"]
        print(f"| {contestant} | {' | '.join(numbers)} | {60 * options.students / m['wall_s']:.0f} |")
    if {"course", "nbgrader"} <= found.keys():
        print(f"\nthroughput against stock nbgrader: {found['nbgrader']['wall_s'] / found['course']['wall_s']:.1f} x")


if __name__ == "__main__":
    main()
