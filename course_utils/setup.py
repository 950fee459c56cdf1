"""Sets the course up with Python alone: an environment in `.venv` with exactly the packages of `requirements.lock`.

    python -m course_utils.setup            make .venv; does nothing, at once, when it stands
    python -m course_utils.setup --repair   also look for damaged packages, and put them back
    python -m course_utils.setup lab        then open JupyterLab on the home notebook
    python -m course_utils.setup test       then run the tests; what follows goes to pytest

It runs before anything is installed, so it imports the standard library only, and it keeps to a syntax that old
Pythons can parse, so that they too end in a sentence and not in a SyntaxError.

What stands on disk: `.venv/unfinished` exists from the first change to the last; `.venv/course-stamp.json` is written
when all is done and says for which lock, which folder and which Python. Before anything is installed, the Python in
`.venv` is asked whether it is that of `.venv`; uv is told `--prefix` and pip that it must have an environment, so that
no other Python's packages are ever touched. An interrupted set-up goes on: packages that are half there are installed
again, from uv's cache; an environment that cannot work is emptied, programs first, and made again.
"""

import contextlib
import csv
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 11), (3, 12), (3, 13))  # as requires-python in pyproject.toml
GIGABYTE = 10**9
NEEDED = (7 if sys.platform.startswith("linux") else 3) * GIGABYTE  # torch for Linux brings its CUDA libraries along
WINDOWS = os.name == "nt"
REDIRECTING = """PYTHONPATH PYTHONHOME PYTHONEXECUTABLE PYTHONPLATLIBDIR PYTHONUSERBASE __PYVENV_LAUNCHER__ VIRTUAL_ENV
    PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_DRY_RUN UV_PYTHON UV_TARGET
    UV_SYSTEM_PYTHON UV_PYTHON_PREFERENCE UV_MANAGED_PYTHON UV_CONSTRAINT UV_OVERRIDE UV_VENV_SEED UV_VENV_CLEAR
    UV_NO_INSTALLER_METADATA""".split()
ABOUT = """import json, platform, sys, sysconfig; print(json.dumps({
    "prefix": sys.prefix, "base": sys._base_executable, "packages": sysconfig.get_path("purelib"),
    "python": sys.version_info[:2], "machine": platform.system() + " " + platform.machine()}))"""
LAUNCHER = """#!/bin/sh
# {name}, run by the Python of this environment, wherever that lies by now.
here=$(dirname -- "$0")
[ -e "$here/../pyvenv.cfg" ] || here=$(dirname -- "$(realpath -- "$0")")
if ! [ -e "$here/../pyvenv.cfg" ] || ! [ -x "$here/python" ]; then
  echo "{name}: the environment in $here/.. is half-made or broken; run make setup in the course's folder" >&2; exit 1
fi
[ -z "$PYTHONPATH" ] || export COURSE_PYTHONPATH="$PYTHONPATH"
unset PYTHONPATH PYTHONHOME
exec "$here/python" -P -m {module} "$@"
"""
TROUBLE = (  # (signs in what pip or uv printed, what it means and what to do)
    (
        "no space left|disk quota|os error 28|errno 28|os error 122|not enough space",
        f"the disk is full. Free about {NEEDED // GIGABYTE} GB and start this again.",
    ),
    (
        "hash mismatch|do not match the hashes",
        "a downloaded package is not the one that requirements.lock names, so it was not installed. Start this again; "
        "if it stays so, the package server that you use serves other files than the lock was made from.",
    ),
    (
        "certificate|self-signed|self signed",
        "the connection's certificate is not trusted here, as on networks that read along. Ask the network's people "
        "for their certificate file, and start this again with SSL_CERT_FILE=/path/to/it.",
    ),
    (
        "no wheels with a matching|no wheels are available|is not a supported wheel",
        "there is no package for this kind of machine ({} {}, {}). The course runs on 64-bit Linux with glibc, on "
        "macOS 14 or later with Apple silicon, and on 64-bit Windows.".format(
            platform.system(), platform.machine(), "64-bit" if sys.maxsize > 2**32 else "32-bit Python"
        ),
    ),
    (
        "permission denied|read-only file system|access is denied|operation not permitted",
        "a file could not be written (see below). Set up in a folder of your own; close what still uses .venv.",
    ),
    (
        "dns error|name resolution|name or service not known|getaddrinfo|failed to fetch|proxy|connection|connect error"
        "|timed out|timeout|network is unreachable|retrying|(from versions: none)",
        "the package server cannot be reached. The set-up needs the internet once, later starts do not: connect, or "
        "set HTTPS_PROXY if you are behind a proxy, or PIP_INDEX_URL if you use a mirror, then start this again.",
    ),
    ("", "see below. Start this again; it goes on where it stopped."),
)


class SetupError(Exception):
    """What stopped the set-up and what to do about it, in plain sentences."""


def say(text):
    print("set-up: " + text, flush=True)


def explain(output, doing):
    """A sentence that says what to do, from what pip or uv printed when it failed."""
    reason = next(advice for signs, advice in TROUBLE if any(sign in output.lower() for sign in signs.split("|")))
    return "\n    ".join([f"{doing} failed: {reason}", *output.strip().splitlines()[-8:]])


# --- what stands already ----------------------------------------------------------------------------------------------


def check_checkout(root):
    """Raises SetupError where `root` is not a folder of the course, or one that can hold no environment."""
    missing = [name for name in ("requirements.lock", "pyproject.toml", "course_utils") if not (root / name).exists()]
    if missing:
        raise SetupError(
            "{} is not the course's folder ({} missing). Clone the course's repository, and start this from its "
            "top folder.".format(root, ", ".join(missing))
        )
    if os.pathsep in str(root):
        raise SetupError(f"{root} has a {os.pathsep} in its name, which Python cannot use: rename it")


def clean_environment():
    """The environment without what would lead pip, uv or Python to another place than `.venv`."""
    return {name: value for name, value in os.environ.items() if name not in REDIRECTING}


def environment_python(root):
    return root / ".venv" / ("Scripts/python.exe" if WINDOWS else "bin/python")


def environment(root):
    """What the Python in `.venv` says of itself; None where it does not run, or is not the Python of `.venv`."""
    command, settings = [str(environment_python(root)), "-I", "-c", ABOUT], clean_environment()
    try:
        said = subprocess.check_output(command, env=settings, stderr=subprocess.DEVNULL, timeout=60)
        found = json.loads(said.decode("utf-8"))
        here = (root / ".venv" / "pyvenv.cfg").is_file() and os.path.samefile(found["prefix"], str(root / ".venv"))
        return found if here else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def fingerprint(root):
    """What a finished environment was made for: its folder, its Python, and what was asked for."""
    asked = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        asked.update((root / name).read_bytes() + b"\0")
    found = environment(root) or {}
    return {"folder": str(root), "asked": asked.hexdigest(), "python": [found.get("machine"), found.get("python")]}


def read_stamp(root):
    try:
        return dict(json.loads((root / ".venv" / "course-stamp.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(root):
    half = root / ".venv" / "course-stamp.half"
    half.write_text(json.dumps(fingerprint(root)), encoding="utf-8")
    os.replace(str(half), str(half.with_suffix(".json")))
    (root / ".venv" / "unfinished").unlink()


def is_ready(root):
    """Whether `.venv` stands, finished, for this lock in this folder. Takes as long as starting Python."""
    unfinished, stamp = (root / ".venv" / "unfinished").exists(), read_stamp(root)
    return (
        not unfinished and stamp is not None and None not in stamp.get("python", [None]) and stamp == fingerprint(root)
    )


def can_go_on(root):
    """Whether what lies in `.venv` can be completed: its own right Python, with pip, that outlived any move."""
    found, stamp = environment(root), read_stamp(root) or {}
    if found is None or tuple(found["python"]) not in PYTHONS:
        return False
    if stamp.get("python", [found["machine"], found["python"]]) != [found["machine"], found["python"]]:
        return False
    movable = "relocatable = true" in (root / ".venv" / "pyvenv.cfg").read_text(encoding="utf-8")
    if not movable and ((root / ".venv" / "unfinished").exists() or stamp.get("folder", str(root)) != str(root)):
        return False
    forget_half_installed(Path(found["packages"]))
    return any(Path(found["packages"]).glob("pip-*.dist-info"))


def forget_half_installed(packages):
    """Removes the entry of each package of which a file is missing or cut off, so that it is installed again."""
    for entry in packages.glob("*.dist-info"):
        try:
            rows = list(csv.reader((entry / "RECORD").read_text(encoding="utf-8").splitlines()))
            sizes = [(os.stat(str(packages / name)).st_size, size) for name, _, size in rows if name[:2] != ".."]
            whole = any(name.endswith("/INSTALLER") for name, _, _ in rows)  # listed when the last file is there
            whole = whole and all(not size or int(size) == found for found, size in sizes)
            whole = whole and all((packages / name).exists() for name, _, _ in rows)
        except (OSError, ValueError):
            whole = False
        if not whole:
            shutil.rmtree(str(entry))


def make_folder(root):
    """Sees that `.venv` is a folder, or a link to one that is free for this course, and nobody else's."""
    venv = root / ".venv"
    target = Path(os.path.realpath(str(venv)))
    if venv.is_symlink() and not target.exists():
        if target.is_symlink() or not target.parent.is_dir():
            raise SetupError(f".venv is a link to {target}, which is not there: make that folder, or remove .venv")
        target.mkdir()
    elif venv.exists() and not venv.is_dir():
        raise SetupError(f"{venv} is a file, not a folder: move it away, then start this again")
    owner = (read_stamp(root) or {}).get("folder", str(root))
    other = Path(owner) / ".venv"
    if venv.is_symlink() and owner != str(root) and other.exists() and os.path.samefile(str(other), str(venv)):
        raise SetupError(f".venv is a link to the environment of {owner}: give it a folder of its own")


def clear(root):
    """Empties `.venv`: all is moved aside before anything is deleted, programs first, so that no part is ever used."""
    venv = root / ".venv"
    parts = sorted(os.listdir(str(venv)), key=lambda name: name not in ("bin", "Scripts"))
    mark = venv / "unfinished"
    ours = read_stamp(root) is not None or (mark.exists() and mark.stat().st_size > 0)
    if venv.is_symlink() and parts and not ours:
        where = os.path.realpath(str(venv))
        raise SetupError(f".venv is a link to {where}, which holds other things: empty it, or link to a new folder")
    say("the environment in .venv is unfinished or broken; making it again")
    try:
        mark.write_text("made by the course's set-up\n")
        aside = tempfile.mkdtemp(prefix="removed-", dir=str(venv))
        for name in parts:
            if name != mark.name:
                os.replace(str(venv / name), os.path.join(aside, name))
        shutil.rmtree(aside)
    except OSError as problem:
        raise SetupError(
            f"the old .venv cannot be removed ({problem}). Close JupyterLab and every program that uses it, then start "
            "this again."
        ) from None


# --- the Python to build with, and room for the packages --------------------------------------------------------------


def asked_version(command, first=""):
    """The (major, minor) of a Python, or None if it does not run. `first` is a statement that must work in it."""
    code = first + "\nimport sys; print('%d %d' % sys.version_info[:2])"
    try:
        said = subprocess.check_output(
            command + ["-c", code], env=clean_environment(), stderr=subprocess.DEVNULL, timeout=60
        )
        return tuple(int(part) for part in said.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def supported_python(root=ROOT):
    """The command of a Python that the course can use: this one, else one on the PATH. SetupError if there is none."""

    def outside(program, called):  # a half-removed environment's programs are links to the Python that it was made with
        return os.path.realpath(program) if (root / ".venv") in Path(program).absolute().parents else called

    if sys.version_info[:2] in PYTHONS:
        this = getattr(sys, "_base_executable", None) or sys.executable
        return [outside(this, this)]
    for version in reversed(PYTHONS):
        name = "{}.{}".format(*version)
        for command in (["python" + name], ["py", "-" + name] if WINDOWS else []):
            if command and shutil.which(command[0]) and asked_version(command) == version:
                say("this is Python {}; going on with {}".format(platform.python_version(), " ".join(command)))
                return [outside(shutil.which(command[0]), command[0])] + command[1:]
    raise SetupError(
        "the course runs on Python {}; this is Python {} ({}), and no other was found. Install one of them, then start "
        "this again with it, for example: make lab PYTHON=python3.12".format(
            ", ".join("{}.{}".format(*version) for version in PYTHONS), platform.python_version(), sys.executable
        )
    )


def check_venv_module(python):
    if asked_version(python, "import venv, ensurepip") is None:
        raise SetupError(
            "this Python cannot make environments: its venv module is missing. On Debian and Ubuntu it is a package of "
            "its own: sudo apt-get install python{}.{}-venv. Then start this again.".format(
                *(asked_version(python) or PYTHONS[0])
            )
        )


def download_cache():
    """Where uv keeps what it downloaded (files are shared with .venv where both lie on one disk)."""
    if os.environ.get("UV_CACHE_DIR"):
        return Path(os.environ["UV_CACHE_DIR"])
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "uv" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "uv"


def check_space(root):
    """Raises SetupError where the packages would not fit, before anything is downloaded."""
    cache = download_cache()
    there = next((place for place in [cache, *cache.parents] if place.exists()), root)
    cached = sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(str(cache)) for name in names)
    venv = root / ".venv"
    for place in (venv.resolve() if venv.exists() else root, there):
        free = shutil.disk_usage(str(place)).free
        shared = os.stat(str(place)).st_dev == os.stat(str(there)).st_dev
        needed = max(GIGABYTE, NEEDED - (cached if shared else 0))
        if free < needed:
            raise SetupError(
                f"not enough disk space: the course's packages need {needed / GIGABYTE:.1f} GB, and there are "
                f"{free / GIGABYTE:.1f} GB free at {place}. Free some space there, or let the downloads go to another "
                "disk with UV_CACHE_DIR=/path, then start this again."
            )


# --- the steps --------------------------------------------------------------------------------------------------------


def run(command, doing, root, lock, **extra):
    """Runs one step, visibly; if it fails, once more to read what it says. While it runs it holds the lock too."""
    shared = {} if WINDOWS else {"pass_fds": (lock.fileno(),)}
    shared.update(env=dict(clean_environment(), **extra), stdin=subprocess.DEVNULL, cwd=str(root))
    code = subprocess.call(command, **shared)
    if code > 0:
        say(f"{doing} failed; trying once more")
        again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **shared)
        output = again.communicate()[0].decode("utf-8", "replace")
        if again.returncode:
            raise SetupError(explain(output, doing))
    elif code < 0:
        raise SetupError(
            f"{doing} was ended from outside (signal {-code}). Start this again; it goes on where it stopped."
        )


@contextlib.contextmanager
def only_one(root):
    """Holds the lock of this folder's set-up; a second one waits. It falls when its holders end, however they end."""
    with open(str(root / ".venv.lock"), "a+") as lock:
        waiting = False
        while not take(lock):
            if not waiting:
                say("another set-up runs in this folder; waiting for it to end")
            waiting = True
            time.sleep(0.3)
        yield lock


def take(lock):
    try:
        if WINDOWS:
            import msvcrt

            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as problem:
        say(f"this disk knows no locks ({problem}); do not start two set-ups at once")
    return True


def locked_lines(root, package):
    """The lines of requirements.lock that pin one package, with its hashes."""
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(package)}==.*\n([ \t].*\n?)*", lock, re.MULTILINE)
    if not found:
        raise SetupError(
            f"requirements.lock names no {package}: get the file again with git checkout requirements.lock"
        )
    return found.group()


def index_for_uv(python):
    """pip's configured package server, for uv, which does not read pip's configuration."""
    if any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    asked = subprocess.Popen(
        [str(python), "-m", "pip", "config", "get", "global.index-url"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    url = os.environ.get("PIP_INDEX_URL") or asked.communicate()[0].decode("utf-8", "replace").strip()
    return {"UV_DEFAULT_INDEX": url} if url else {}


@contextlib.contextmanager
def without_dollar(root):
    """A second name for a folder with `$` in its name, where setuptools would look for a variable."""
    if "$" not in str(root):
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(str(root), os.path.join(folder, "course"), target_is_directory=True)
        yield Path(folder) / "course"


def install(root, lock):
    """Makes, completes or mends `.venv`; called by the one that holds the lock."""
    venv, python = root / ".venv", environment_python(root)
    started = time.monotonic()
    make_folder(root)
    made = not can_go_on(root)
    if made:
        host = supported_python(root)
        check_venv_module(host)
        if venv.exists() and os.listdir(str(venv)):
            clear(root)
        check_space(root)
        say(f"making .venv; the packages are about {NEEDED // GIGABYTE} GB, once")
        venv.mkdir(exist_ok=True)
        (venv / "unfinished").write_text("made by the course's set-up\n")
        run(host + ["-m", "venv", os.path.realpath(str(venv))], "making the environment", root, lock)
    else:
        unfinished = (venv / "unfinished").exists()
        say("going on where the last set-up stopped" if unfinished else "bringing .venv up to date")
        (venv / "unfinished").touch()

    found = environment(root)
    if found is None:
        raise SetupError("the environment in .venv changed while it was being made; start this again")
    packages, pinned = Path(found["packages"]), locked_lines(root, "uv")
    if not (packages / "{}-{}.dist-info".format(*pinned.split()[0].split("=="))).exists():
        (venv / "uv.txt").write_text(pinned, encoding="utf-8")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        only_here = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "1"}
        run(pip + ["--require-hashes", "-r", str(venv / "uv.txt")], "installing uv", root, lock, **only_here)
    if made and not WINDOWS:  # scripts that find their Python beside them, also where the folder was moved to
        movable = [str(python), "-m", "uv", "venv", "--quiet", "--relocatable", "--allow-existing", "--no-project"]
        run(movable + ["--python", found["base"], str(venv)], "making the environment", root, lock)
    # uv remembers what a path's Python once was, even after it changed: --prefix holds it to this folder
    with without_dollar(root) as plain:
        uv = [str(python), "-m", "uv", "pip", "install", "--prefix", str(venv), "--python"]
        # compiled now: the grading sandbox cannot write, and would compile torch anew for every kernel (seconds each)
        settings = dict(index_for_uv(python), UV_COMPILE_BYTECODE=os.environ.get("UV_COMPILE_BYTECODE", "1"))
        locked = [str(python), "--require-hashes", "-r", "requirements.lock"]
        run(uv + locked, "installing the packages", root, lock, **settings)
        course = [str(environment_python(plain)), "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
        run(uv + course, "installing the course", root, lock)
    # beside uv's entry, which names the folder of today: this one still holds when the folder was moved
    (packages / "course.pth").write_text(os.path.relpath(str(root), str(packages)) + "\n", encoding="utf-8")
    if not WINDOWS:
        for name, module in (("course", "course_utils"), ("pip", "pip"), ("pip3", "pip")):
            script = venv / "bin" / name
            script.write_text(LAUNCHER.format(name=name, module=module), encoding="utf-8")
            script.chmod(0o755)
    write_stamp(root)
    say(f"ready after {time.monotonic() - started:.0f} s")


def ensure(root=ROOT, repair=False):
    """The Python of a finished `.venv`, made now if need be. Raises SetupError with what to do."""
    check_checkout(root)
    try:
        if repair or not is_ready(root):
            with only_one(root) as lock:
                if repair or not is_ready(root):  # the one that we waited for may have done it
                    install(root, lock)
    except OSError as problem:
        raise SetupError(explain(str(problem), f"writing to {root}")) from None
    return environment_python(root)


def become(command, folder, environment):
    """Runs a command in a folder in this process's place (on Windows it waits for it)."""
    sys.stdout.flush()
    if WINDOWS:
        return subprocess.call(command, cwd=str(folder), env=environment)
    os.chdir(str(folder))
    os.execve(command[0], command, environment)


def main(arguments):
    command, rest = (arguments[0], arguments[1:]) if arguments else ("setup", [])
    if command == "--repair":
        command, rest = "setup", arguments
    if command not in ("setup", "lab", "test"):
        print(__doc__.split("\n\nIt runs")[0])
        return 0 if command in ("-h", "--help", "help") else 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        python = str(ensure(repair=command == "setup" and "--repair" in rest))
    except SetupError as problem:
        print(f"\nset-up: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: stopped. Nothing half-made is used; start it again to go on.", file=sys.stderr)
        return 130
    if command == "setup":
        say("the course stands. make lab opens it, make test tests it; without make: python -m course_utils.setup lab")
        return 0
    workers = max(1, min(os.cpu_count() or 1, 4))
    shared = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]  # files in the order of conftest.py
    what = ["-P", "-m", "course_utils", "lab"] if command == "lab" else ["-m", "pytest"] + shared
    return become([python] + what + rest, ROOT, clean_environment())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
