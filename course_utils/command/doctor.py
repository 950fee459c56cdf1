"""`course doctor`: what this machine has, as one table; each row with a problem says what to do."""

import importlib.metadata
import os
import platform
import shutil
import struct
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from course_utils import setup
from course_utils.command import lab
from course_utils.tables import Table

OK, NOTE, BAD = "ok", "note", "to do"
HUB_SECONDS = 3.0
SET_UP = "python -m course_utils.setup" if os.name == "nt" else "make setup"
REPAIR = SET_UP + (" --repair" if os.name == "nt" else " ARGS=--repair")
LITTLE_MEMORY = 2**30  # bytes
SYNCED = ("dropbox", "onedrive", "google drive", "googledrive", "mobile documents", "icloud", "nextcloud")


@dataclass
class Row:
    """One finding: `state` is OK, NOTE (the lectures run anyway) or BAD; `advice` is what to do about it."""

    name: str
    state: str
    found: str
    advice: str = ""


def run(more: Sequence[tuple[str, Callable[[], Row]]] = ()) -> int:
    """Print the table; return 0 if there is nothing to do, else 1."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = examine(more=more)
    table = Table(title="course doctor", title_justify="left", show_lines=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    marks = {OK: "[green]ok[/]", NOTE: "[yellow]note[/]", BAD: "[red]to do[/]"}
    for row in rows:
        table.add_row(marks[row.state], *(escape(cell) for cell in (row.name, row.found, row.advice)))
    Console().print(table)
    return int(any(row.state == BAD for row in rows))


def examine(root: Path = setup.ROOT, more: Sequence[tuple[str, Callable[[], Row]]] = ()) -> list[Row]:
    """Return all rows. A check that itself fails becomes a row; nothing is raised. Takes as long as importing torch."""
    hub = _in_background(hub_row)
    checks: list[tuple[str, Callable[[], Row]]] = [
        ("Python", python_row),
        ("environment", lambda: environment_row(root)),
        ("PYTHONPATH", pythonpath_row),
        ("JUPYTER_PATH", jupyter_path_row),
        ("your files", lambda: files_row(root)),
        ("packages", lambda: packages_row(root)),
        ("torch", torch_row),
        ("disk", lambda: disk_row(root)),
        ("cache", cache_row),
        ("data sets", data_sets_row),
        ("home notebook", lambda: home_row(root)),
        ("port", port_row),
        *more,
        ("model hub", hub),
    ]
    return [_attempt(name, check) for name, check in checks]


def machine() -> Table:
    """Return what a student can do on this machine, for the home notebook. Needs no network; nothing is raised."""
    checks: list[tuple[str, Callable[[], Row]]] = [
        ("models run on", device_row),
        ("memory", memory_row),
        ("data", data_row),
        ("real data", real_data_row),
        ("hub models", cached_hub_row),
        (
            "your points",
            lambda: Row("your points", OK, "course check runs here", "before you hand in, as often as you like"),
        ),
    ]
    rows = [_attempt(name, check) for name, check in checks]
    return Table(
        "What this machine can do", ["what", "found", "which means"], [[r.name, r.found, r.advice] for r in rows]
    )


def device_row() -> Row:
    from course_utils import runtime

    here = runtime.describe()
    if here["gpu"]:
        memory = f", {here['gpu_memory_gib']} GiB" if here["gpu_memory_gib"] else ""
        return Row(
            "models run on",
            OK,
            f"{here['device']} ({here['gpu']}{memory})",
            "larger models and more steps, in the same cells",
        )
    return Row(
        "models run on",
        OK,
        f"{here['device']}, {here['cores']} cores",
        "made for that: every lecture runs in a minute or two",
    )


def memory_row() -> Row:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available >= LITTLE_MEMORY:
        return Row("memory", OK, found, "enough")
    return Row("memory", NOTE, found, "little: close other notebooks (Kernel › Shut Down All Kernels) and programs")


def data_row() -> Row:
    from course_utils.data import text

    corpus = text.load("docs")
    found = f"{len(corpus.text):,} characters of English from {', '.join(text.LIBRARIES)}; pictures are drawn"
    return Row("data", OK, found, "all here, nothing to download")


def real_data_row() -> Row:
    """What `course fetch` has already fetched."""
    from course_utils.data import real

    here = real.here()
    found = f"{', '.join(here) or 'none'} fetched, of {len(real.ITEMS)} data sets and models"
    more = "all of them" if len(here) == len(real.ITEMS) else "course fetch, in a terminal, lists them"
    return Row("real data", OK, found, f"a bonus at the end of lectures, nothing depends on it; {more}")


def cached_hub_row() -> Row:
    """How many models from the hub are already on this machine."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        number = len(scan_cache_dir().repos)
    except CacheNotFound:
        number = 0
    found = f"{number} of them on this machine" if number else "none on this machine yet"
    return Row("hub models", OK, found, "large models by others: a bonus in later lectures, nothing depends on them")


def _attempt(name: str, check: Callable[[], Row]) -> Row:
    try:
        return check()
    except Exception as problem:
        what = f"could not be checked: {type(problem).__name__}: {problem}"
        return Row(name, BAD, what, f"run {SET_UP}, then this again")


def python_row() -> Row:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if tuple(map(int, platform.python_version_tuple()[:2])) in setup.PYTHONS:
        return Row("Python", OK, found)
    return Row("Python", BAD, found, "the course runs on Python 3.11, 3.12 and 3.13: set it up again with one of them")


def environment_row(root: Path = setup.ROOT) -> Row:
    """Whether this Python is the one in the course's `.venv`, finished, and made for this folder."""
    name, venv, used = "environment", root / ".venv", Path(sys.prefix)
    if not (venv.exists() and venv.samefile(used)):
        if not venv.exists():
            return Row(name, OK, f"{used}, not .venv")  # conda, or an image of a cluster
        return Row(name, NOTE, f"{used}, and not {venv}", f"unless that is on purpose, use {venv}, made by {SET_UP}")
    stamp, where = setup.read_stamp(root), f"{venv} -> {venv.resolve()}" if venv.is_symlink() else str(venv)
    if not stamp:
        return Row(name, NOTE, f"{where} was not made by the set-up", f"run {SET_UP}: it brings it up to date")
    if stamp.get("asked", "") is None:
        return Row(name, BAD, f"{where} is half-made: its set-up was stopped", f"run {SET_UP}: it goes on from there")
    if stamp.get("folder") != str(root):
        return Row(name, BAD, f"{where} was made for {stamp.get('folder')}: moved or copied", f"run {SET_UP}, once")
    if any(part.lower().startswith(SYNCED) for part in venv.resolve().parts):
        advice = "let .venv be a link to a folder that is not synchronized: other machines cannot use it"
        return Row(name, NOTE, f"{where} lies in a synchronized folder", advice)
    return Row(name, OK, where)


def pythonpath_row() -> Row:
    value = os.environ.get("PYTHONPATH") or os.environ.get("COURSE_PYTHONPATH")  # the command puts it aside
    if not value:
        return Row("PYTHONPATH", OK, "not set")
    shadows = [path for folder in value.split(os.pathsep) if folder for path in hiding(folder)]
    found = f"{value}{_hidden(shadows)}"
    advice = "the course ignores it, but other programs do not: unset PYTHONPATH (see your shell's start-up files)"
    return Row("PYTHONPATH", NOTE, found, advice)


def jupyter_path_row() -> Row:
    """Whether JUPYTER_PATH is set, and whether a kernel from elsewhere takes precedence over the course's own."""
    from jupyter_client.kernelspec import KernelSpecManager

    name, value = "JUPYTER_PATH", os.environ.get("JUPYTER_PATH", "")
    kernel = KernelSpecManager().get_kernel_spec("python3")
    program = Path(kernel.argv[0])
    if program.is_absolute() and not (program.exists() and Path(sys.executable).samefile(program)):
        advice = "unset JUPYTER_PATH" if value else "jupyter kernelspec remove python3"
        return Row(name, BAD, f"notebooks run on {program}, from {kernel.resource_dir}", advice)
    if not value:
        return Row(name, OK, "not set; notebooks run on this Python")
    advice = "nothing, unless JupyterLab behaves oddly: then unset JUPYTER_PATH"
    return Row(name, NOTE, f"{value}: kernels and extensions from there come first", advice)


def hiding(folder: str | os.PathLike) -> list[Path]:
    """Return the files and packages in a folder that a notebook there would import instead of a library's module."""
    libraries = [path for path in sys.path if path and "site-packages" in path]
    found = []
    for path in sorted(Path(folder).glob("*")):
        is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
        if not is_module or path.stem == "test":  # Python's own tests, which nothing imports
            continue
        if path.stem in sys.stdlib_module_names or PathFinder.find_spec(path.stem, libraries):
            found.append(path)
    return found


def what_hides(folder: str | os.PathLike) -> str:
    """Return a sentence about the files beside a notebook that hide modules, and what to do; "" if there are none."""
    found = hiding(folder)
    names = ", ".join(path.name for path in found)
    them = "them" if len(found) > 1 else "it"
    return (
        f"{names} beside the notebook: Python imports {them} in place of the library's. Rename {them}" if found else ""
    )


def _hidden(paths: Iterable[Path]) -> str:
    names = ", ".join(path.name for path in paths)
    return f" (with {names}, in place of the library's)" if names else ""


def files_row(root: Path = setup.ROOT) -> Row:
    """Files beside notebooks that hide a module."""
    beside = {
        path.parent for room in ("lectures", "assignments", "solutions") for path in root.glob(f"{room}/**/*.ipynb")
    }
    found = [path for folder in sorted(beside | {Path.cwd(), root}) for path in hiding(folder)]
    if not found:
        return Row("your files", OK, "none beside a notebook hides a module")
    names = ", ".join(str(path.relative_to(root) if path.is_relative_to(root) else path) for path in found)
    advice = "rename it: notebooks beside it import it in place of the library's module"
    return Row("your files", BAD, names, advice)


def data_sets_row() -> Row:
    """What has been fetched, and what interrupted downloads left behind."""
    from course_utils.data import real
    from course_utils.paths import cache_folder

    begun = [name for name in real.ITEMS if real.begun(name)]
    if begun:
        advice = f"course fetch {' '.join(begun)} (it goes on where it stopped)"
        return Row("data sets", NOTE, f"only part of {', '.join(begun)} is here", advice)
    left = sorted(path for path in cache_folder().rglob("*") if path.is_file() and _is_half(path))
    if left:
        names = ", ".join(str(path) for path in left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        size = sum(path.stat().st_size for path in left) / 1e6
        return Row(
            "data sets",
            NOTE,
            f"half-written, {size:.1f} MB: {names}",
            "delete what is named: it is fetched or made again when needed",
        )
    return Row("data sets", OK, f"fetched: {', '.join(real.here()) or 'none yet'}; none half-written")


def _is_half(path: Path) -> bool:
    """Whether a file of the cache is incomplete: temporary, empty, or shorter than its header says."""
    if path.name.startswith(".") or path.suffix in (".part", ".incomplete"):
        return True
    if path.suffix == ".lock":
        return False
    if path.name.endswith("-ubyte"):  # MNIST's format: how many dimensions, their sizes, one byte per number
        with path.open("rb") as file:
            head = file.read(4)
            sizes = file.read(4 * head[3]) if len(head) == 4 else b""
        if len(head) < 4 or len(sizes) < 4 * head[3]:
            return True
        expected = 1
        for size in struct.unpack(f">{head[3]}I", sizes):
            expected *= size
        return path.stat().st_size != 4 + len(sizes) + expected
    return path.stat().st_size == 0


def locked(root: Path) -> dict[str, str]:
    """Return name -> version of the packages in `requirements.lock` for this Python and this system."""
    from packaging.requirements import Requirement

    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    asked = [Requirement(line.rstrip(" \\")) for line in lines if line and line[0] not in " \t#"]
    here = [one for one in asked if one.marker is None or one.marker.evaluate()]
    return {one.name: str(one.specifier).removeprefix("==") for one in here}


def packages_row(root: Path = setup.ROOT) -> Row:
    """Compare what is installed with what is locked."""
    if not (root / "requirements.lock").is_file():  # installed by pip, as in Colab
        return _needs_row()
    asked, different = locked(root), []
    for name, version in asked.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != version:
            different.append(f"{name} {found}, locked {version}")
    if not different:
        return Row("packages", OK, f"all {len(asked)} as in requirements.lock")
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return Row(
        "packages",
        BAD,
        "; ".join(different[:3]) + more,
        f"run {REPAIR}: it puts back what differs and keeps the rest (with conda: make the environment again)",
    )


def _needs_row() -> Row:
    """Whether the packages that the installed course asks for are there, in versions that it can use."""
    from packaging.requirements import Requirement

    lacking = []
    for need in map(Requirement, importlib.metadata.requires("course-utils") or ()):
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found == "missing" or not need.specifier.contains(found, prereleases=True):
            lacking.append(f"{need.name} {found}, needed {need.specifier}")
    if not lacking:
        return Row("packages", OK, "all that the course needs, in versions of this machine's own")
    advice = "run the cell below the notebook's title again, then Runtime › Restart session"
    return Row("packages", BAD, "; ".join(lacking), advice)


def torch_row() -> Row:
    try:
        from course_utils import runtime

        here = runtime.describe()
    except (ImportError, OSError) as problem:  # OSError: a library of torch's does not load
        if os.name == "nt":
            advice = "install Microsoft's Visual C++ Redistributable, then try again"
        else:
            advice = f"run {REPAIR}: it puts back what is damaged and keeps the rest"
        return Row("torch", BAD, f"does not start: {problem}", advice)
    device = here["device"] + (f" ({here['gpu']}, {here['gpu_memory_gib']} GiB)" if here["gpu_memory_gib"] else "")
    return Row("torch", OK, f"{here['torch']} on {device}; {here['cores']} cores, {here['memory_gib']} GiB memory")


def disk_row(root: Path = setup.ROOT) -> Row:
    free = shutil.disk_usage(root).free
    found = f"{free / 1e9:.1f} GB free"
    if free >= 2e9:
        return Row("disk", OK, found)
    return Row(
        "disk",
        BAD if free < 0.5e9 else NOTE,
        found,
        "free some space: notebooks, checkpoints and caches need about 2 GB",
    )


def cache_row() -> Row:
    """Try to write a file where the course keeps, or would make, its cache."""
    from course_utils.paths import cache_folder

    cache = cache_folder()
    place = next(place for place in [cache, *cache.parents] if place.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as trial:
            trial.write(b"x")
    except OSError as problem:
        reason = problem.strerror or problem
        return Row(
            "cache",
            NOTE,
            f"{cache}: {reason}",
            "texts are prepared again in each session; set COURSE_CACHE to a folder that can be written to",
        )
    return Row("cache", OK, f"{cache} can be written to")


def home_row(root: Path = setup.ROOT) -> Row:
    home = root / lab.HOME_NOTEBOOK
    if root.name in ("site-packages", "dist-packages"):
        return Row("home notebook", OK, "the course is installed without its notebooks: they lie in its clone")
    if home.is_file():
        return Row("home notebook", OK, lab.HOME_NOTEBOOK)
    return Row("home notebook", BAD, f"{home} is missing", f"git checkout {lab.HOME_NOTEBOOK}, in the course's folder")


def port_row(port: int = lab.PORT) -> Row:
    if lab.port_is_free(port):
        return Row("port", OK, f"{port} is free")
    return Row("port", NOTE, f"{port} is taken", "nothing: JupyterLab takes the next free one and prints its address")


def hub_row(seconds: float = HUB_SECONDS) -> Row:
    """Whether the hub of pre-trained models answers."""
    from huggingface_hub import constants

    advice = "nothing for lectures and assignments; models by hub name need a network"
    if constants.HF_HUB_OFFLINE:
        return Row("model hub", NOTE, "switched off by HF_HUB_OFFLINE", advice)
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:  # it answered
        pass
    except (OSError, ValueError) as problem:
        return Row("model hub", NOTE, f"not reached: {getattr(problem, 'reason', problem)}", advice)
    return Row("model hub", OK, "reached")


def _in_background(check: Callable[[], Row], seconds: float = HUB_SECONDS) -> Callable[[], Row]:
    """Start a check at once in a thread; its result waits for it, but at most `seconds` (name servers may hang)."""
    found: list[Row] = []
    thread = threading.Thread(target=lambda: found.append(_attempt("model hub", check)), daemon=True)
    thread.start()

    def result() -> Row:
        thread.join(seconds)
        advice = "nothing for lectures and assignments; models by hub name need a network"
        return found[0] if found else Row("model hub", NOTE, f"no answer within {seconds:.0f} s", advice)

    return result
