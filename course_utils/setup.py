"""Sets up the course with Python alone: an environment in `.venv` with exactly the packages of `requirements.lock`.

    python -m course_utils.setup            make .venv; does nothing, at once, if it is ready
    python -m course_utils.setup --repair   also look for damaged packages, and put them right
    python -m course_utils.setup lab        then open JupyterLab on the home notebook
    python -m course_utils.setup test       then run the tests; what follows goes to pytest

It runs before anything is installed, so it imports the standard library only, and keeps to a syntax that old Pythons
can parse, so that they too end with a sentence and not with a SyntaxError.

`.venv/course-stamp.json` says for which folder, lock and Python the environment was made. It is written without the
lock before the first change, and with it after the last, so an interrupted set-up is recognized and continues. Packages
that are half there are installed again, from uv's cache; an environment that cannot work is emptied, programs first,
and made again. Nothing is installed before the Python in `.venv` has said that it is the one of `.venv`, and then uv is
given `--prefix` and pip is told to insist on an environment: no other Python's packages are ever touched.
"""

import contextlib
import csv
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WINDOWS = os.name == "nt"

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 11), (3, 12), (3, 13))  # as requires-python in pyproject.toml
GIGABYTE = 10**9
NEEDED = (7 if sys.platform.startswith("linux") else 3) * GIGABYTE  # torch for Linux includes its CUDA libraries
REDIRECTING = """PYTHONPATH PYTHONHOME PYTHONEXECUTABLE PYTHONPLATLIBDIR PYTHONUSERBASE __PYVENV_LAUNCHER__ VIRTUAL_ENV
    PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_DRY_RUN UV_PYTHON UV_TARGET
    UV_SYSTEM_PYTHON UV_PYTHON_PREFERENCE UV_MANAGED_PYTHON UV_CONSTRAINT UV_OVERRIDE UV_VENV_SEED UV_VENV_CLEAR
    UV_NO_INSTALLER_METADATA""".split()
ABOUT = """import json, platform, sys, sysconfig; print(json.dumps({
    "prefix": sys.prefix, "base": sys._base_executable, "packages": sysconfig.get_path("purelib"),
    "python": [platform.system() + " " + platform.machine(), sys.version_info[:2]]}))"""
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
TROUBLE = """
no space left|disk quota|not enough space:
    the disk is full. Free some GB, or let the downloads go to another disk with UV_CACHE_DIR=/path. Then start this
    again.
hash mismatch|do not match the hashes:
    a downloaded package is not the one that requirements.lock names, so it was not installed. Start this again; if it
    happens again, the package server holds other files than those that the lock was made from.
certificate|self.signed:
    the package server's certificate is not trusted here, as happens on networks that inspect traffic. Ask for the
    network's certificate file, and start this again with SSL_CERT_FILE=/path/to/it.
no wheels with a matching|no wheels are available|is not a supported wheel:
    there is no package for this kind of machine. The course runs on 64-bit Linux with glibc, on macOS 14 or later with
    Apple silicon, and on 64-bit Windows, with a 64-bit Python.
ensurepip is not|no module named '?(ensurepip|venv):
    this Python cannot make environments. On Debian and Ubuntu: sudo apt-get install python3-venv (see below for the
    exact name). Then start this again.
permission denied|read-only file system|access is denied|operation not permitted|used by another process:
    a file could not be written (see below). Set up in a folder of your own, and close what still uses .venv.
dns error|name resolution|getaddrinfo|fetch|proxy|connect|timed out|timeout|unreachable|versions. none:
    the package server cannot be reached. The set-up needs the internet once, later starts do not: connect, or set
    HTTPS_PROXY if you are behind a proxy, or PIP_INDEX_URL if you use a mirror, then start this again.
:
    see below. Start this again; it goes on where it stopped.
"""  # signs in what pip or uv printed, then what it means and what to do


class SetupError(Exception):
    """What stopped the set-up and what to do about it, in plain sentences."""


def say(text):
    print("set-up: " + text, flush=True)


def explain(output, doing):
    """Return a sentence that says what to do, given what pip or uv printed when it failed."""
    rows = re.findall(r"^(\S.*|):\n((?: .*\n)+)", TROUBLE, re.MULTILINE)
    advice = next(advice for signs, advice in rows if re.search(signs, output, re.IGNORECASE))
    return "\n    ".join(["{} failed: {}".format(doing, " ".join(advice.split())), *output.strip().splitlines()[-8:]])


def clean_environment():
    """Return the environment variables without those that would lead pip, uv or Python away from `.venv`."""
    return {name: value for name, value in os.environ.items() if name not in REDIRECTING}


# --- what stands already ----------------------------------------------------------------------------------------------


def check_checkout(root):
    """Check that `root` can hold an environment.

    Raises:
        SetupError: if it is not a folder of the course, or its name does not allow it.
    """
    if not (root / "requirements.lock").exists():
        raise SetupError(f"{root} is not the course's folder: clone the repository, and start this from its top folder")
    if os.pathsep in str(root):
        raise SetupError(f"{root} has a {os.pathsep} in its name, which Python cannot use: rename it")


def environment_python(root):
    return root / ".venv" / ("Scripts/python.exe" if WINDOWS else "bin/python")


def ask(command, code):
    """Return the JSON that a statement prints in another Python; None if that does not run."""
    try:
        said = subprocess.check_output(
            command + ["-I", "-c", code], env=clean_environment(), stderr=subprocess.DEVNULL, timeout=60
        )
        return json.loads(said.decode("utf-8"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def environment(root):
    """Return what the Python in `.venv` says about itself; None if it does not run, or is not the Python of `.venv`."""
    found, venv = ask([str(environment_python(root))], ABOUT), root / ".venv"
    return found if found and (venv / "pyvenv.cfg").is_file() and venv.samefile(found["prefix"]) else None


def fingerprint(root):
    """Return what a finished environment was made for: its folder, its Python, and what was asked for."""
    asked = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        asked.update((root / name).read_bytes() + b"\0")
    return {"folder": str(root), "asked": asked.hexdigest(), "python": (environment(root) or {}).get("python")}


def read_stamp(root):
    """Return the fingerprint in `.venv`, {} if there is none; its "asked" is None from the first change to the last."""
    try:
        return dict(json.loads((root / ".venv" / "course-stamp.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_stamp(root, **changes):
    half = root / ".venv" / "course-stamp.half"
    half.write_text(json.dumps(dict(fingerprint(root), **changes)), encoding="utf-8")
    os.replace(str(half), str(half.with_suffix(".json")))


def is_ready(root):
    """Return whether `.venv` is finished, for this lock and in this folder. Takes as long as starting Python."""
    stamp = read_stamp(root)
    return stamp.get("python") is not None and stamp == fingerprint(root)


def can_go_on(root):
    """Return whether `.venv` can be completed: it has its own, right Python, with pip, and survived any move."""
    found, stamp = environment(root), read_stamp(root)
    if found is None or tuple(found["python"][1]) not in PYTHONS or stamp.get("python") not in (None, found["python"]):
        return False
    movable = "relocatable = true" in (root / ".venv" / "pyvenv.cfg").read_text(encoding="utf-8")
    if not movable and stamp and (None in stamp.values() or stamp.get("folder") != str(root)):
        return False
    forget_half_installed(Path(found["packages"]))
    return any(Path(found["packages"]).glob("pip-*.dist-info"))


def forget_half_installed(packages):
    """Remove the entry of each package of which a file is missing or cut off, so that it is installed again."""
    for entry in packages.glob("*.dist-info"):
        try:
            rows = list(csv.reader((entry / "RECORD").read_text(encoding="utf-8").splitlines()))
            whole = any(name.endswith("/INSTALLER") for name, _, _ in rows)  # listed when the last file is there
            for name, _, size in rows:
                found = (packages / name).stat().st_size
                whole = whole and (not size or name.startswith("..") or int(size) == found)
        except (OSError, ValueError):
            whole = False
        if not whole:
            shutil.rmtree(str(entry))


def check_folder(root):
    """Check that `.venv` is free for this course.

    Raises:
        SetupError: if it is neither a folder nor a link to one that is free.
    """
    venv, target, owner = root / ".venv", Path(os.path.realpath(str(root / ".venv"))), read_stamp(root).get("folder")
    if venv.exists() and not venv.is_dir():
        raise SetupError(f"{venv} is a file, not a folder: move it away, then start this again")
    if target.is_symlink() or not target.parent.is_dir():
        raise SetupError(f".venv is a link to {target}, which is not there: make that folder, or remove .venv")
    theirs = Path(owner or root) / ".venv"
    if venv.is_symlink() and owner not in (None, str(root)) and theirs.exists() and venv.samefile(str(theirs)):
        raise SetupError(f".venv is a link to the environment of {owner}: give it a folder of its own")


def clear(root):
    """Empty `.venv`: everything is moved aside before anything is deleted, programs first, so that no part is used.

    Raises:
        SetupError: if `.venv` is a link to a folder with other content.
    """
    venv = root / ".venv"
    parts = set(os.listdir(str(venv)) if venv.exists() else []) - {"course-stamp.json"}
    if not parts:
        return
    if venv.is_symlink() and not read_stamp(root):
        where = os.path.realpath(str(venv))
        raise SetupError(f".venv is a link to {where}, which holds other things: empty it, or link to a new folder")
    say("the environment in .venv is unfinished or broken; making it again")
    write_stamp(root, asked=None, python=None)
    aside = tempfile.mkdtemp(prefix="removed-", dir=str(venv))
    for name in sorted(parts, key=lambda name: name not in ("bin", "Scripts")):
        os.replace(str(venv / name), os.path.join(aside, name))
    shutil.rmtree(aside)


# --- the Python to build with, and room for the packages --------------------------------------------------------------


def supported_python(root=ROOT):
    """Return the command of a Python that the course can use: this one, or else one on the PATH.

    Raises:
        SetupError: if there is none.
    """
    names = ["{}.{}".format(*version) for version in PYTHONS]
    this = [getattr(sys, "_base_executable", None) or sys.executable]
    others = [["python" + name] for name in names[::-1]] + [["py", "-" + name] for name in names[::-1] if WINDOWS]
    for command in [this] if sys.version_info[:2] in PYTHONS else others:
        program = shutil.which(command[0])
        about = program and ask(command, ABOUT)
        if about and tuple(about["python"][1]) in PYTHONS:
            if command != this:
                say("this is Python {}; going on with {}".format(sys.version.split()[0], " ".join(command)))
            # a half-removed environment's programs are links to the Python that it was made with
            inside = (root / ".venv") in Path(program).absolute().parents
            return [os.path.realpath(program) if inside else command[0]] + command[1:]
    raise SetupError(
        "the course runs on Python {}; this is Python {} ({}), and no other was found. Install one of them, then start "
        "this again with it, for example: make lab PYTHON=python3.12".format(
            ", ".join(names), sys.version.split()[0], sys.executable
        )
    )


def check_space(root):
    """Check that the packages fit on the disk, before anything is downloaded.

    Raises:
        SetupError: if they do not.
    """
    caches = os.environ.get("LOCALAPPDATA" if WINDOWS else "XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = os.environ.get("UV_CACHE_DIR") or os.path.join(caches, "uv", "cache" if WINDOWS else "")
    cached = sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(cache) for name in names)
    for place in (root / ".venv", Path(cache)):
        place = next(there for there in [place.resolve(), *place.resolve().parents] if there.exists())
        free, needed = shutil.disk_usage(str(place)).free, max(GIGABYTE, NEEDED - cached)
        if free < needed:
            raise SetupError(
                f"not enough disk space: the course's packages need {needed / GIGABYTE:.1f} GB, and {place} has "
                f"{free / GIGABYTE:.1f} GB free. Free some there, or let .venv be a link to another disk and the "
                "downloads go there with UV_CACHE_DIR=/path. Then start this again."
            )


# --- the steps --------------------------------------------------------------------------------------------------------


def run(command, doing, root, **settings):
    """Run one step, visibly; if it fails, run it once more to read what it says.

    Raises:
        SetupError: if it fails again.
    """
    how = {"env": dict(clean_environment(), **settings), "stdin": subprocess.DEVNULL, "cwd": str(root)}
    how["close_fds"] = WINDOWS  # while it runs, it holds the lock too
    code, output = subprocess.call(command, **how), ""
    if code > 0:
        say(f"{doing} failed; trying once more")
        again = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
        code, output = again.returncode, again.stdout.decode("utf-8", "replace")
    if code:
        raise SetupError(explain(output if code > 0 else f"ended from outside, by signal {-code}", doing))


@contextlib.contextmanager
def only_one(root):
    """Hold the lock of this folder's set-up; a second one waits. It is released when its holders end, in any way."""
    with open(str(root / ".venv.lock"), "a") as lock:
        os.set_inheritable(lock.fileno(), not WINDOWS)
        for trial in itertools.count():
            try:
                if WINDOWS:
                    import msvcrt

                    msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if trial == 0:
                    say("another set-up runs in this folder; waiting for it to end")
                time.sleep(0.3)
            except OSError as problem:
                say(f"this disk knows no locks ({problem}); do not start two set-ups at once")
                break
        yield


def index_for_uv(python):
    """Return pip's configured package server for uv, which does not read pip's configuration."""
    if os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"):
        return {}
    asking = [str(python), "-m", "pip", "config", "get", "global.index-url"]
    said = subprocess.run(asking, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    url = os.environ.get("PIP_INDEX_URL") or said.decode("utf-8", "replace").strip()
    return {"UV_DEFAULT_INDEX": url} if url else {}


def make_environment(root):
    """Make an environment with pip in `.venv`, in place of what cannot work there."""
    host, folder = supported_python(root), os.path.realpath(str(root / ".venv"))
    clear(root)
    check_space(root)
    say(f"making .venv; the packages are about {NEEDED // GIGABYTE} GB, once")
    os.makedirs(folder, exist_ok=True)
    write_stamp(root, asked=None)
    run(host + ["-m", "venv", folder], "making the environment", root)


def install(root):
    """Make, complete or repair `.venv`; called while holding the lock."""
    started = time.monotonic()
    check_folder(root)
    new = not can_go_on(root)
    if new:
        make_environment(root)
    else:
        begun = read_stamp(root).get("asked", "") is None
        say("going on where the last set-up stopped" if begun else "bringing .venv up to date")
    write_stamp(root, asked=None)
    found = environment(root)
    if found is None:
        raise SetupError("the environment in .venv changed while it was being made; start this again")
    with tempfile.TemporaryDirectory() as folder:
        install_packages(root, found, new, Path(folder))
    # beside uv's entry, which names the folder of today: this one still holds when the folder was moved
    packages = Path(found["packages"])
    (packages / "course.pth").write_text(os.path.relpath(str(root), str(packages)) + "\n", encoding="utf-8")
    for name, module in (("course", "course_utils"), ("pip", "pip"), ("pip3", "pip")) if not WINDOWS else ():
        script = root / ".venv" / "bin" / name
        script.write_text(LAUNCHER.format(name=name, module=module), encoding="utf-8")
        script.chmod(0o755)
    write_stamp(root)
    say(f"ready after {time.monotonic() - started:.0f} s")


def install_packages(root, found, new, folder):
    """Install uv with pip, all other packages with uv, then the course; `folder` is for passing files."""
    venv, python, uv_txt, link = str(root / ".venv"), str(environment_python(root)), folder / "uv.txt", folder / "link"
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    uv_txt.write_text("".join(re.findall(r"^uv==.*\n(?:[ \t].*\n)*", lock, re.MULTILINE)), encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--require-hashes"]
    run(pip + ["-r", str(uv_txt)], "installing uv", root, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="1")
    if new and not WINDOWS:  # scripts that find their Python beside them, even after the folder was moved
        movable = [python, "-m", "uv", "venv", "--quiet", "--relocatable", "--allow-existing", "--no-project"]
        run(movable + ["--python", found["base"], venv], "making the environment", root)
    # uv remembers what a path's Python once was, even after a change: --prefix keeps it to this folder
    uv = [python, "-m", "uv", "pip", "install", "--prefix", venv]
    # compiled now: the grading sandbox cannot write, and would compile torch again for every kernel (seconds each)
    settings = dict(index_for_uv(python), UV_COMPILE_BYTECODE=os.environ.get("UV_COMPILE_BYTECODE", "1"))
    locked = ["--python", python, "--require-hashes", "-r", "requirements.lock"]
    run(uv + locked, "installing the packages", root, **settings)
    if "$" in str(root):  # where setuptools would look for a variable
        os.symlink(str(root), str(link), target_is_directory=True)
        python = str(environment_python(link))
    course = ["--python", python, "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
    run(uv + course, "installing the course", root, **settings)


def ensure(root=ROOT, repair=False):
    """Return the Python of a finished `.venv`, made now if need be.

    Raises:
        SetupError: if it cannot be made; the message says what to do.
    """
    check_checkout(root)
    try:
        if repair or not is_ready(root):
            with only_one(root):
                if repair or not is_ready(root):  # the set-up we waited for may have made it
                    install(root)
    except OSError as problem:
        raise SetupError(explain(str(problem), f"writing to {root}")) from None
    return environment_python(root)


def become(command, folder, environment):
    """Run a command in a folder in place of this process (on Windows, wait for it)."""
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
        tests = ", make test tests it" if (ROOT / "tests").is_dir() else ""  # a student's copy has none
        say(f"the course stands. make lab opens it{tests}; without make: python -m course_utils.setup lab")
        return 0
    workers = min((os.cpu_count() or 1) + 1, 4)  # one more than cores: some tests wait for a limit or for a browser
    shared = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]  # files in the order of conftest.py
    what = ["-P", "-m", "course_utils", "lab"] if command == "lab" else ["-m", "pytest"] + shared
    environment = clean_environment()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of hundreds of processes compiles the course anew
    return become([python] + what + rest, ROOT, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
