"""The instructors' part of the `course` command: parses, calls a wing, prints."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from course_utils.cli import app, clear, doctors, fail

if TYPE_CHECKING:
    from course_utils.command.doctor import Row

Name = Annotated[str, typer.Argument(help="Its name, e.g. a1_markov_chains.")]

Scheduler = Annotated[
    str | None, typer.Option(help="Run the notebooks on the workers of this Dask scheduler, e.g. tcp://host:8786.")
]
Resources = Annotated[str, typer.Option(help="With --scheduler: what each takes of its worker, e.g. GPU=0.25.")]


def sandbox_row() -> "Row":
    """Whether students' code can be shut in here; a row of `course doctor`."""
    from autograder.sandbox import provisioner
    from course_utils.command.doctor import NOTE, OK, Row

    problem = provisioner.missing()
    if problem:
        return Row("sandbox", NOTE, "only grading needs it", problem)
    counted = "the grader counts memory (page tables, sockets and files, too) and processors itself, without cgroups"
    return Row("sandbox", OK, f"bubblewrap works; {counted}")


doctors.append(("sandbox", sandbox_row))


def _cluster(scheduler: str | None, resources: str, unsafe: bool):
    """What --scheduler and --resources say."""
    if not scheduler:
        return fail("--resources goes with --scheduler: run the command again with both") if resources else None
    if unsafe:
        fail("--unsafe does not go with --scheduler: workers always have a sandbox; leave one of them out")
    from autograder.run.cluster import resources as parse
    from autograder.run.options import Cluster

    return Cluster(scheduler, parse(resources))


@app.command()
@clear
def release(
    assignment: Annotated[str | None, typer.Argument(help="Its name; without one, all of them.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what differs.")] = False,
    mutants: Annotated[bool, typer.Option("--mutants", help="Change nothing; say what errors the cases miss.")] = False,
    table: Annotated[Path | None, typer.Option(help="With --mutants: put the scores into this Markdown file.")] = None,
    again: Annotated[bool, typer.Option("--again", help="With --table: trust no score that is in it.")] = False,
) -> None:
    """Generate assignments/ from solutions/."""
    from autograder.course import Assignment, Course
    from autograder.release import check_release
    from autograder.release import release as make
    from autograder.run.work import prepare_cases

    if table and not mutants:
        fail("--table goes with --mutants: run the command again with both")
    if again and not table:
        fail("--again goes with --table: without a table no score is kept")
    course = Course.find()
    names = [course.require(assignment, released=False)] if assignment else course.names()
    wrong = False
    for each in [Assignment(course, name) for name in names]:
        if mutants:
            from autograder.author.mutation_scores import into_table, scores

            for score in into_table(table, each, again) if table else scores(each):
                wrong |= not score.good
                print(*score.lines(), sep="\n", flush=True)
        elif check:
            problems = check_release(each)
            wrong |= bool(problems)
            print(*problems or [f"{each.name}: assignments/ is exactly what solutions/ gives"], sep="\n")
        else:
            print(f"{each.name}:", ", ".join(make(each)) or "nothing to change", flush=True)
            prepare_cases(each)  # hidden ones, so that the first grading need not wait for them
    raise typer.Exit(1 if wrong else 0)


@app.command()
@clear
def grade(
    assignment: Name,
    student: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run everything anew, trust no kept result.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Without a sandbox: students' code runs as you.")] = False,
    workers: Annotated[int, typer.Option(help="Notebooks that run at the same time.", min=1)] = 2,
    arrived: Annotated[
        Path | None, typer.Option("--import", help="First take hand-ins from this folder or zip, as a system gave it.")
    ] = None,
    roster: Annotated[Path | None, typer.Option(help="With --import: who is in the class; else roster.csv.")] = None,
    keep: Annotated[bool, typer.Option("--watch", help="Go on and grade what arrives, until Ctrl-C.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or cuda: students' code may use this machine's GPU.")] = "cpu",
    scheduler: Scheduler = None,
    resources: Resources = "",
) -> None:
    """Grade all of submitted/: gradebook, grades.csv, feedback/ and report.html."""
    from autograder.course import Assignment
    from autograder.grade import grade, watch
    from autograder.intake.arrivals import take_in
    from autograder.run.options import Options

    asked, failed = Assignment.find(assignment), False
    if roster and not arrived:
        fail("--roster goes with --import: run the command again with both")
    for arrival in take_in(asked, arrived, roster) if arrived else ():
        failed |= arrival.left
        print(f"{arrival.file}: {arrival.said}", flush=True)
    if device not in ("cpu", "cuda"):
        fail(f"--device {device}: say cpu or cuda")
    options = Options(workers, unsafe, again, device, _cluster(scheduler, resources, unsafe))
    if keep:
        print(f"watching {asked.root / 'submitted'}, until Ctrl-C", flush=True)
    try:
        for number, total, sheet in (watch if keep else grade)(asked, student or [], options):
            failed |= sheet.failed
            print(f"[{number}/{total}] {sheet.line()}", flush=True)
    except KeyboardInterrupt:
        if not keep:
            raise
        print("stopped watching")
    print("written: gradebook.db, grades.csv, feedback/, report.html")
    raise typer.Exit(1 if failed else 0)


@app.command()
@clear
def regrade(
    assignment: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the marks of before the last regrade.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Without a sandbox: students' code runs as you.")] = False,
    workers: Annotated[int, typer.Option(help="Notebooks that run at the same time.", min=1)] = 2,
    scheduler: Scheduler = None,
    resources: Resources = "",
) -> None:
    """Grade again after a check was corrected: whose marks change, from what to what."""
    from autograder import regrade as room
    from autograder.course import Assignment
    from autograder.run.options import Options

    asked = Assignment.find(assignment)
    options = Options(workers, unsafe, cluster=_cluster(scheduler, resources, unsafe))
    done = room.undo(asked) if undo else room.regrade(asked, options)
    print(
        *[change.line() for change in done.changes], *done.notes, sep="\n", end="\n" * bool(done.changes + done.notes)
    )
    print(f"{len(done.changes)} changed, {done.same} as they were")
    if undo:
        print("undone: set mistakes.py back, too, before you grade again")
    elif done.copy:
        print(f"before: {done.copy.relative_to(asked.root)} (course regrade {asked.name} --undo goes back to it)")


@app.command()
@clear
def report(
    assignment: Name,
    canvas: Annotated[Path | None, typer.Option(help="Fill an export of Canvas's gradebook (or a new table).")] = None,
    moodle: Annotated[Path | None, typer.Option(help="Fill Moodle's offline grading worksheet.")] = None,
    gradescope: Annotated[Path | None, typer.Option(help="A folder for a results.json of each student.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="A table with the points of each exercise.")] = None,
    to: Annotated[Path | None, typer.Option(help="What is written; else a file beside the export.")] = None,
    column: Annotated[str, typer.Option(help="The assignment's title (or number) in the export.")] = "",
    dry: Annotated[bool, typer.Option("--dry", help="Write no marks; say which would change.")] = False,
) -> None:
    """Write report.html (who needs attention, how the class did, which mistakes), and marks for other systems."""
    from autograder.book.marks import write_marks
    from autograder.book.report import write_report
    from autograder.course import Assignment

    graded = Assignment.find(assignment)
    asked = {"canvas": canvas, "moodle": moodle, "gradescope": gradescope, "csv": table}
    asked = {system: path for system, path in asked.items() if path}
    if (to or column or dry) and len(asked) != 1:
        fail("--to, --column and --dry go with one of --canvas, --moodle, --gradescope and --csv")
    print(write_report(graded))
    for system, path in asked.items():
        print(*write_marks(graded, system, path, to, column, dry), sep="\n")


@app.command()
@clear
def publish(
    target: Annotated[str, typer.Argument(help="A folder, or the git address of a repository of its own.")],
    address: Annotated[str | None, typer.Option(help="Where students get it from, if that is another.")] = None,
) -> None:
    """Write the course that students may have, without solutions, hidden cases, grader, tests, or history of them."""
    from autograder.course import Course
    from autograder.publish.edition import publish

    done = publish(Course.find(), target, address)
    if not done.changed:
        print(f"{done.place} is {done.tag} already: nothing has changed since")
        return
    print(f"{done.tag}: {len(done.changed)} files written to {done.place}")
    print(f"students get it with: git clone {done.address}")


@app.command()
@clear
def site(
    to: Annotated[Path, typer.Option(help="The folder that is written.")] = Path("site"),
    jobs: Annotated[int, typer.Option(help="Lectures that run at the same time.", min=1)] = 2,
    runs: Annotated[Path | None, typer.Option("--executed", help="Where runs of lectures are kept.")] = None,
) -> None:
    """Run all lectures and build the site: lectures with outputs, assignments, questions, library; works offline."""
    from autograder.publish.run import executed, lectures
    from autograder.publish.site import build

    notebooks = _run_lectures(lectures(), executed, jobs, runs)
    built = build(notebooks, to)
    for line in built.complaints:
        print(f"note: {line}")
    print(f"{built.pages} pages, {built.size / 1e6:.0f} MB: open {built.folder / 'index.html'}")


@app.command()
@clear
def slides(
    lecture: Annotated[list[str] | None, typer.Argument(help="Its number, e.g. 04; without any, all.")] = None,
    to: Annotated[Path, typer.Option(help="The folder that is written.")] = Path("slides"),
    jobs: Annotated[int, typer.Option(help="Lectures that run at the same time.", min=1)] = 2,
    runs: Annotated[Path | None, typer.Option("--executed", help="Where runs of lectures are kept.")] = None,
) -> None:
    """Make slides of lectures, with speaker notes (key S); works offline."""
    from autograder.publish.run import executed, lectures
    from autograder.publish.slides import build

    known = {path.name[:2]: path for path in lectures()}
    wanted = {number.zfill(2) for number in lecture or known}
    if unknown := wanted - known.keys():
        fail(f"there is no lecture {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    notebooks = _run_lectures([known[number] for number in sorted(wanted)], executed, jobs, runs)
    for name, notebook in sorted(notebooks.items()):
        print(build(notebook, name, to))


def _run_lectures(paths: list[Path], executed: Callable, jobs: int, runs: Path | None) -> dict[str, Any]:
    """The lectures with their outputs, by name; ends the command where one of them does not run."""
    from tqdm import tqdm

    found, failed = {}, []
    with tqdm(total=len(paths), unit="lecture", disable=None) as bar:
        for path, notebook in executed(paths, jobs, runs):
            bar.update()
            if isinstance(notebook, Exception):
                failed.append(str(notebook))
            else:
                found[path.stem] = notebook
    if failed:
        fail("\n".join(["these lectures do not run:", *sorted(failed)]))
    return found
