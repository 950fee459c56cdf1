"""The `course` command: parses, calls a room of the library, prints. Slow imports stand where they are used."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="From Shannon to CLIP: open the course, check and hand in your work; release, grade and report a class.",
    epilog="Exit codes: 0 all is well; 1 it could not be done, or a check says no; 2 wrong use of the command.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Assignment = Annotated[str, typer.Argument(help="Its name, e.g. a1_markov_chains.")]

Scheduler = Annotated[
    str | None, typer.Option(help="Run the notebooks on the workers of this Dask scheduler, e.g. tcp://host:8786.")
]
Resources = Annotated[str, typer.Option(help="With --scheduler: what each takes of its worker, e.g. GPU=0.25.")]


def clear(command: Callable) -> Callable:
    """End with a sentence where a person can put things right, not with a traceback."""

    @wraps(command)
    def run(*args, **kwargs):
        from course_utils.grading.course import CourseError, explain

        for stream in (sys.stdout, sys.stderr):  # on Windows a file or a pipe may not know “→”
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        try:
            return command(*args, **kwargs)
        except CourseError as error:
            _fail(str(error))
        except OSError as error:
            _fail(explain(error))
        except KeyboardInterrupt:
            _fail("stopped; what is finished is kept, run the same command to go on")

    return run


def _fail(sentence: str) -> None:
    print(f"course: {sentence}", file=sys.stderr)
    raise typer.Exit(1)


def _cluster(scheduler: str | None, resources: str, unsafe: bool):
    """What --scheduler and --resources say."""
    if not scheduler:
        return _fail("--resources goes with --scheduler: run the command again with both") if resources else None
    if unsafe:
        _fail("--unsafe does not go with --scheduler: workers always have a sandbox; leave one of them out")
    from course_utils.grading.cluster import Cluster
    from course_utils.grading.cluster import resources as parse

    return Cluster(scheduler, parse(resources))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@clear
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the first lecture; options such as --port and --no-browser are handed on to it."""
    from course_utils.lab import lab

    raise typer.Exit(lab(*context.args))


@app.command()
@clear
def doctor() -> None:
    """Say what this machine has, what is missing and what to do about it."""
    from course_utils.doctor import run

    raise typer.Exit(run())


@app.command()
@clear
def check(
    notebook: Annotated[
        Path | None, typer.Argument(help="Or the assignment's name; without one, the notebook in this folder.")
    ] = None,
) -> None:
    """Run your notebook from top to bottom on the visible cases: exercise, points, known mistakes."""
    from course_utils.grading.notes import sentence
    from course_utils.grading.student import check, locate

    path = locate(notebook)
    if sys.stderr.isatty():
        print(f"running {path.name}, about half a minute …", file=sys.stderr, flush=True)
    verdicts, notes = check(path)
    width = max((len(v.exercise) for v in verdicts), default=8)
    print(f"{'exercise':{width}}  points       mistake")
    for v in verdicts:
        said = v.mistake or v.reason
        print(f"{v.exercise:{width}}  {v.points:4.3g} of {v.max_points:<4.3g} {said}".rstrip())
    total, of = sum(v.points for v in verdicts), sum(v.max_points for v in verdicts)
    print(f"{'together':{width}}  {total:4.3g} of {of:<4.3g}".rstrip())
    for v in verdicts:
        if v.mistake:
            print(f"{v.exercise}: known mistake “{v.mistake}”: {v.hint}")
    for note in notes:
        print(f"note: {sentence(note)}")


@app.command()
@clear
def submit(
    assignment: Annotated[
        str | None, typer.Argument(help="Its name, e.g. a1_markov_chains; without one, the notebook in this folder.")
    ] = None,
    notebook: Annotated[Path | None, typer.Option(help="Default: here, or in assignments/.")] = None,
    to: Annotated[Path | None, typer.Option(help="Where hand-ins are collected; default: submitted/.")] = None,
    name: Annotated[str | None, typer.Option(help="Your name or number (default: your user name).")] = None,
    pack: Annotated[
        Path | None, typer.Option(help="Write one file to send instead: NAME.zip, or the folder for it.")
    ] = None,
) -> None:
    """Hand in your notebook, and get a receipt."""
    from course_utils.grading.student import submit

    print(submit(assignment, notebook, to, name, pack))


@app.command()
@clear
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="E.g. sms_spam, cifar10, gpt2; without any, a list.")
    ] = None,
    lecture: Annotated[list[str] | None, typer.Option(help="What this one uses, e.g. 06; may be repeated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that there is.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Fetch nothing: list it, and say what is here.")] = False,
    to: Annotated[Path | None, typer.Option(help="Into this folder, e.g. on a memory stick for others.")] = None,
) -> None:
    """Get real data and real models, once; a fetch that was stopped goes on where it was.

    With COURSE_MIRROR=FOLDER they are taken from that folder and not from the network. It has tiny_shakespeare.txt,
    sms_spam/SMSSpamCollection, FashionMNIST/raw/…, cifar-10-batches-py/ (or a part of it, cifar10/train/CLASS/… and
    cifar10/test/CLASS/…) and models/NAME/…: the folder that this command makes has just this form.
    """
    from course_utils.data import download, real

    try:
        asked = [real.known(name).name for name in names or ()]
        asked += [name for number in lecture or () for name in real.of_lecture(number)]
    except ValueError as error:
        _fail(str(error))
    wanted = list(real.ITEMS) if every else list(dict.fromkeys(asked))
    try:
        source = download.mirror()
    except download.NotFetched as error:
        _fail(str(error))
    folder = real.folder() if to is None else to.expanduser()
    print(real.table(wanted or list(real.ITEMS), folder, source))
    if dry or not wanted:
        return
    failed = 0
    for name in wanted:
        try:
            print(f"{name}: {download.fetch(name, to=folder, progress=True)}", flush=True)
        except download.NotFetched as error:
            failed += 1
            print(error, file=sys.stderr, flush=True)
    if failed:
        _fail(f"{failed} of {len(wanted)} could not be fetched" + "; the others are here" * (failed < len(wanted)))


@app.command()
@clear
def release(
    assignment: Annotated[str | None, typer.Argument(help="Its name; without one, all of them.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what differs.")] = False,
    mutants: Annotated[bool, typer.Option("--mutants", help="Change nothing; say what errors the cases miss.")] = False,
    table: Annotated[Path | None, typer.Option(help="With --mutants: put the scores into this Markdown file.")] = None,
) -> None:
    """Generate assignments/ from solutions/."""
    from course_utils.grading.course import Course
    from course_utils.grading.release import check_release
    from course_utils.grading.release import release as make
    from course_utils.grading.work import prepare_cases

    if table and not mutants:
        _fail("--table goes with --mutants: run the command again with both")
    course = Course.find()
    names = [course.require(assignment, released=False)] if assignment else course.names()
    wrong = False
    for name in names:
        if mutants:
            from course_utils.grading.mutants import scores, write_table

            found = []
            for score in scores(course, name):
                wrong |= not score.good
                found.append(score)
                print(*score.lines(), sep="\n", flush=True)
            if table:
                write_table(table, name, found)
        elif check:
            problems = check_release(course, name)
            wrong |= bool(problems)
            print(*problems or [f"{name}: assignments/ is exactly what solutions/ gives"], sep="\n")
        else:
            print(f"{name}:", ", ".join(make(course, name)) or "nothing to change", flush=True)
            prepare_cases(course, name)  # hidden ones, so that the first grading need not wait for them
    raise typer.Exit(1 if wrong else 0)


@app.command()
@clear
def grade(
    assignment: Assignment,
    student: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run everything anew, trust no kept result.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Without a sandbox: students' code runs as you.")] = False,
    workers: Annotated[int, typer.Option(help="Notebooks that run at the same time.", min=1)] = 2,
    arrived: Annotated[
        Path | None, typer.Option("--import", help="First take hand-ins from this folder: NAME.zip, NAME.ipynb.")
    ] = None,
    keep: Annotated[bool, typer.Option("--watch", help="Go on and grade what arrives, until Ctrl-C.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or cuda: students' code may use this machine's GPU.")] = "cpu",
    scheduler: Scheduler = None,
    resources: Resources = "",
) -> None:
    """Grade all of submitted/: gradebook, grades.csv, feedback/ and report.html."""
    from course_utils.grading.arrivals import take_in
    from course_utils.grading.course import Course
    from course_utils.grading.gradebook import grade, watch

    course = Course.find()
    name, failed = course.require(assignment), False
    for arrival in take_in(course, name, arrived) if arrived else ():
        failed |= arrival.left
        print(f"{arrival.file}: {arrival.said}", flush=True)
    if device not in ("cpu", "cuda"):
        _fail(f"--device {device}: say cpu or cuda")
    options = {"again": again, "unsafe": unsafe, "workers": workers, "cluster": _cluster(scheduler, resources, unsafe)}
    options["device"] = device
    if keep:
        print(f"watching {course.root / 'submitted'}, until Ctrl-C", flush=True)
    try:
        for number, total, sheet in (watch if keep else grade)(course, name, student or [], **options):
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
    assignment: Assignment,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the marks of before the last regrade.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Without a sandbox: students' code runs as you.")] = False,
    workers: Annotated[int, typer.Option(help="Notebooks that run at the same time.", min=1)] = 2,
    scheduler: Scheduler = None,
    resources: Resources = "",
) -> None:
    """Grade again after a check was corrected: whose marks change, from what to what."""
    from course_utils.grading import regrade as room
    from course_utils.grading.course import Course

    course = Course.find()
    name = course.require(assignment)
    options = {"unsafe": unsafe, "workers": workers, "cluster": _cluster(scheduler, resources, unsafe)}
    done = room.undo(course, name) if undo else room.regrade(course, name, **options)
    print(
        *[change.line() for change in done.changes], *done.notes, sep="\n", end="\n" * bool(done.changes + done.notes)
    )
    print(f"{len(done.changes)} changed, {done.same} as they were")
    if undo:
        print("undone: set mistakes.py back, too, before you grade again")
    elif done.copy:
        print(f"before: {done.copy.relative_to(course.root)} (course regrade {name} --undo goes back to it)")


@app.command()
@clear
def report(
    assignment: Assignment,
    canvas: Annotated[
        Path | None, typer.Option(help="Also write the marks as Canvas imports them; an export of Canvas is filled.")
    ] = None,
) -> None:
    """Write report.html: who needs attention, how the class did, which mistakes were made, what went wrong."""
    from course_utils.grading.course import Course
    from course_utils.grading.report import write_canvas, write_report

    course = Course.find()
    print(write_report(course, course.require(assignment)))
    if canvas:
        print(*write_canvas(course, assignment, canvas), sep="\n")


@app.command()
@clear
def train(
    names: Annotated[list[str] | None, typer.Argument(help="E.g. gpt, bert, simclr, clip.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every recipe; the longest begin first.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Train nothing: list the recipes and their budgets.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where they are written; else into the course itself.")] = None,
    steps: Annotated[int | None, typer.Option(help="Fewer than the recipe's, for a trial.", min=1)] = None,
    jobs: Annotated[int | None, typer.Option(help="Recipes that run side by side; else one per core.", min=1)] = None,
) -> None:
    """Make the bundled checkpoints anew from the course's own text and pictures; a run that was stopped goes on."""
    from course_utils import pretrained, runtime
    from course_utils.recipes.run import RECIPES, budget, make, make_all

    if unknown := set(names or ()) - set(RECIPES):
        _fail(f"no recipe for {', '.join(sorted(unknown))}: choose from {', '.join(RECIPES)}")
    if not names and not every and not dry:
        _fail(f"give the names of recipes, or --all; --dry lists their budgets. There are {', '.join(RECIPES)}")
    wanted = list(RECIPES) if every or not names else list(dict.fromkeys(names))
    folder = folder or pretrained.BUNDLED
    if dry:
        print(*budget(wanted, folder, steps), sep="\n")
        return
    if len(wanted) > 1:
        _train_all(make_all(wanted, folder, jobs=jobs or runtime.cores(), steps=steps), len(wanted), folder)
        return
    try:
        print(_trained(wanted[0], make(wanted[0], folder, steps=steps), folder))
    except ValueError as error:  # a state of another run, damaged, or a loss that is no number
        _fail(str(error))


def _trained(name: str, card: dict[str, Any], folder: Path) -> str:
    hours = f"{card['processor_seconds'] / 3600:.2f} processor hours"
    return (
        f"{name}: {card['parameters']:,} parameters, held-out loss {card['held_out_loss']}, {hours}, in {folder / name}"
    )


def _train_all(runs: Iterable, count: int, folder: Path) -> None:
    """Show how each of several runs ended; ends the command with 1 if one of them failed."""
    from tqdm import tqdm

    from course_utils import pretrained

    failed = 0
    with tqdm(total=count, unit="recipe", disable=None) as bar:
        for run in runs:
            bar.update()
            failed += bool(run.problem)
            tqdm.write(run.problem or _trained(run.name, pretrained.card(folder / run.name), folder))
    if failed:
        _fail(f"{failed} of {count} recipes are not done: the same command goes on with them")


@app.command()
@clear
def site(
    to: Annotated[Path, typer.Option(help="The folder that is written.")] = Path("site"),
    jobs: Annotated[int, typer.Option(help="Lectures that run at the same time.", min=1)] = 2,
    runs: Annotated[Path | None, typer.Option("--executed", help="Where runs of lectures are kept.")] = None,
) -> None:
    """Run all lectures and build the site: lectures with outputs, assignments, questions, library; works offline."""
    from course_utils.publish.run import executed, lectures
    from course_utils.publish.site import build

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
    from course_utils.publish.run import executed, lectures
    from course_utils.publish.slides import build

    known = {path.name[:2]: path for path in lectures()}
    wanted = {number.zfill(2) for number in lecture or known}
    if unknown := wanted - known.keys():
        _fail(f"there is no lecture {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
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
        _fail("\n".join(["these lectures do not run:", *sorted(failed)]))
    return found


if __name__ == "__main__":
    app()
