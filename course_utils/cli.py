"""The `course` command: parses, calls a room of the library, prints. Slow imports are made where they are used."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="From Shannon to CLIP: open the course, check and hand in your work; release, grade and report a class.",
    epilog="Exit codes: 0 all is well; 1 it could not be done, or a check says no; 2 the command was used wrongly.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
doctors: list[tuple[str, Callable]] = []  # further rows of `course doctor`: name, check


def clear(command: Callable) -> Callable:
    """End with a sentence, not a traceback, where a person can put things right."""

    @wraps(command)
    def run(*args, **kwargs):
        from course_utils.paths import CourseError, explain

        for stream in (sys.stdout, sys.stderr):  # on Windows a file or a pipe may not know “→”
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        try:
            return command(*args, **kwargs)
        except CourseError as error:
            fail(str(error))
        except OSError as error:
            fail(explain(error))
        except ModuleNotFoundError as error:  # the course was installed without an extra
            fail(f"{error.name} is not installed: run make setup, or pip install '.[lab,grade,publish]' in the course")
        except KeyboardInterrupt:
            fail("stopped; what is finished is kept, run the same command to go on")

    return run


def fail(sentence: str) -> None:
    print(f"course: {sentence}", file=sys.stderr)
    raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@clear
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the first lecture; options such as --port and --no-browser are passed on to it."""
    from course_utils.command.lab import lab

    raise typer.Exit(lab(*context.args))


@app.command()
@clear
def doctor() -> None:
    """Say what this machine has, what is missing and what to do about it."""
    from course_utils.command.doctor import run

    raise typer.Exit(run(doctors))


@app.command()
@clear
def check(
    notebook: Annotated[
        Path | None, typer.Argument(help="Or the assignment's name; without one, the notebook in this folder.")
    ] = None,
) -> None:
    """Run your notebook from top to bottom on the visible cases: exercise, points, known mistakes."""
    from course_utils.command.student import check, locate

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
        if v.points < v.max_points:
            print(v.message)
    for note in notes:
        print(f"note: {note}")


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
    from course_utils.command.student import submit

    print(submit(assignment, notebook, to, name, pack))


@app.command()
@clear
def update(
    source: Annotated[str | None, typer.Argument(help="A git address or folder; default: where it is from.")] = None,
) -> None:
    """Get what is new in the course; what you wrote is kept."""
    from course_utils.command.update import update
    from course_utils.paths import Course

    print(*update(Course.find().root, source).lines(), sep="\n")


@app.command()
@clear
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="E.g. sms_spam, cifar10, gpt2; without any, a list.")
    ] = None,
    lecture: Annotated[list[str] | None, typer.Option(help="What this one uses, e.g. 06; may be repeated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Everything there is.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Fetch nothing: list the items, and what is here.")] = False,
    to: Annotated[Path | None, typer.Option(help="Into this folder, e.g. on a memory stick for others.")] = None,
) -> None:
    """Get real data and real models, once; a fetch that was stopped continues where it was.

    With COURSE_MIRROR=FOLDER they are taken from that folder instead of the network. It holds tiny_shakespeare.txt,
    sms_spam/SMSSpamCollection, FashionMNIST/raw/…, cifar-10-batches-py/ (or a part of it, cifar10/train/CLASS/… and
    cifar10/test/CLASS/…) and models/NAME/…, which is the form of the folder that this command makes.
    """
    from course_utils.data import download, real

    try:
        asked = [real.known(name).name for name in names or ()]
        asked += [name for number in lecture or () for name in real.of_lecture(number)]
    except ValueError as error:
        fail(str(error))
    wanted = list(real.ITEMS) if every else list(dict.fromkeys(asked))
    try:
        source = download.mirror()
    except download.NotFetched as error:
        fail(str(error))
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
        fail(f"{failed} of {len(wanted)} could not be fetched" + "; the others are here" * (failed < len(wanted)))


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
    """Make the bundled checkpoints again from the course's own text and pictures; a run that was stopped continues."""
    from course_utils import pretrained, runtime
    from course_utils.recipes.run import RECIPES, budget, make, make_all

    if unknown := set(names or ()) - set(RECIPES):
        fail(f"no recipe for {', '.join(sorted(unknown))}: choose from {', '.join(RECIPES)}")
    if not names and not every and not dry:
        fail(f"give the names of recipes, or --all; --dry lists their budgets. There are {', '.join(RECIPES)}")
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
    except ValueError as error:  # a state of another run, or damaged, or a loss that is not a number
        fail(str(error))


def _trained(name: str, card: dict[str, Any], folder: Path) -> str:
    hours = f"{card['processor_seconds'] / 3600:.2f} processor hours"
    return (
        f"{name}: {card['parameters']:,} parameters, held-out loss {card['held_out_loss']}, {hours}, in {folder / name}"
    )


def _train_all(runs: Iterable, count: int, folder: Path) -> None:
    """Show how each of several runs ended; end the command with 1 if one of them failed."""
    from tqdm import tqdm

    from course_utils import pretrained

    failed = 0
    with tqdm(total=count, unit="recipe", disable=None) as bar:
        for run in runs:
            bar.update()
            failed += bool(run.problem)
            tqdm.write(run.problem or _trained(run.name, pretrained.card(folder / run.name), folder))
    if failed:
        fail(f"{failed} of {count} recipes are not done: the same command continues them")


if __name__ == "__main__":
    app()
