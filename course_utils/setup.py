"""Sets the course up with Python alone: an environment in `.venv` with exactly the packages of `requirements.lock`.

    python -m course_utils.setup            make .venv; does nothing, at once, when it stands
    python -m course_utils.setup lab        then open JupyterLab on the home notebook
    python -m course_utils.setup test       then run the tests; what follows goes to pytest

It runs before anything is installed, so it imports the standard library only, and it keeps to a syntax that old
Pythons can parse, so that they too end in a sentence and not in a SyntaxError.

What stands on disk: `.venv/unfinished` exists from the first change to the last, `.venv/course-stamp.json` is written
when all is done and says for which lock and which folder. An environment with the first, or without a working Python,
is thrown away and made again (from the download cache, in seconds); one with an older stamp is brought up to date.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 11), (3, 12), (3, 13))  # as requires-python in pyproject.toml
HOME_NOTEBOOK = "lectures/00_start_here.ipynb"
GIGABYTE = 10**9
NEEDED = (7 if sys.platform.startswith("linux") else 3) * GIGABYTE  # torch for Linux brings its CUDA libraries along
WINDOWS = os.name == "nt"
PORT = 8888
BUBBLEWRAP = (  # (package manager, how it installs without asking)
    ("apt-get", ["apt-get", "install", "-y", "--no-install-recommends", "bubblewrap"]),
    ("dnf", ["dnf", "install", "-y", "bubblewrap"]),
    ("yum", ["yum", "install", "-y", "bubblewrap"]),
    ("zypper", ["zypper", "--non-interactive", "install", "bubblewrap"]),
    ("pacman", ["pacman", "-S", "--noconfirm", "bubblewrap"]),
    ("apk", ["apk", "add", "bubblewrap"]),
)
# importing rfc3987_syntax builds a grammar: 2 to 3 s of each start, for a kind of URL that no notebook holds;
# jsonschema does without it where it is missing
JUPYTERLAB = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyterlab.labapp import main; main()"
NO_NETWORK = ("dns error", "name resolution", "name or service not known", "getaddrinfo", "failed to fetch", "proxy")
NO_NETWORK += ("connection", "connect error", "timed out", "timeout", "network is unreachable", "retrying")
NO_NETWORK += ("(from versions: none)",)


class SetupError(Exception):
    """What stopped the set-up and what to do about it, in plain sentences."""


def say(text):
    print("set-up: " + text, flush=True)


# --- what stands already ---------------------------------------------------------------------------------------------


def check_checkout(root):
    """Raises SetupError where `root` is not a folder of the course."""
    missing = [name for name in ("requirements.lock", "pyproject.toml", "course_utils") if not (root / name).exists()]
    if missing:
        raise SetupError(
            "{} is not the course's folder ({} missing). Clone the course's repository, and start this from its "
            "top folder.".format(root, ", ".join(missing))
        )


def environment_python(root):
    return root / ".venv" / ("Scripts/python.exe" if WINDOWS else "bin/python")


def fingerprint(root):
    """What a finished environment was made for: where it lies (scripts in it hold that path) and what was asked for."""
    asked = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        asked.update((root / name).read_bytes() + b"\0")
    return {"folder": str(root), "asked": asked.hexdigest()}


def read_stamp(root):
    try:
        return json.loads((root / ".venv" / "course-stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_stamp(root):
    stamp = root / ".venv" / "course-stamp.json"
    half = stamp.with_suffix(".half")
    half.write_text(json.dumps(fingerprint(root)), encoding="utf-8")
    os.replace(str(half), str(stamp))
    (root / ".venv" / "unfinished").unlink()


def is_ready(root):
    """Whether `.venv` stands, finished, for this lock in this folder. Takes about a millisecond."""
    return (
        not (root / ".venv" / "unfinished").exists()
        and environment_python(root).exists()
        and read_stamp(root) == fingerprint(root)
    )


def can_update(root):
    """Whether what lies there can be brought up to date: not half-made or moved, a right Python with pip."""
    stamp = read_stamp(root)
    if (root / ".venv" / "unfinished").exists() or (stamp and stamp.get("folder") != str(root)):
        return False
    return asked_version([str(environment_python(root))], "import pip") in PYTHONS


# --- the Python to build with ----------------------------------------------------------------------------------------


def asked_version(command, first=""):
    """The (major, minor) of a Python, or None if it does not run. `first` is a statement that must work in it."""
    code = first + "\nimport sys; print('%d %d' % sys.version_info[:2])"
    try:
        done = subprocess.run(command + ["-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        return tuple(int(part) for part in done.stdout.split()) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def supported_python():
    """The command of a Python that the course can use: this one, else one on the PATH. SetupError if there is none."""
    if sys.version_info[:2] in PYTHONS:
        return [getattr(sys, "_base_executable", None) or sys.executable]
    for version in reversed(PYTHONS):
        name = "{}.{}".format(*version)
        for command in (["python" + name], ["py", "-" + name] if WINDOWS else []):
            if command and shutil.which(command[0]) and asked_version(command) == version:
                say("this is Python {}; going on with {}".format(platform.python_version(), " ".join(command)))
                return command
    names = ", ".join("{}.{}".format(*version) for version in PYTHONS)
    raise SetupError(
        f"the course runs on Python {names}; this is Python {platform.python_version()} ({sys.executable}), and no "
        "other was found. Install one of them, then start this again with it, for example: make lab PYTHON=python3.12"
    )


def check_venv_module(python):
    version = asked_version(python, "import venv, ensurepip")
    if version is None:
        plain = asked_version(python) or PYTHONS[0]
        raise SetupError(
            "this Python cannot make environments: its venv module is missing. On Debian and Ubuntu it is a package of "
            "its own: sudo apt-get install python{}.{}-venv. Then start this again.".format(*plain)
        )


# --- room on the disk ------------------------------------------------------------------------------------------------


def download_cache():
    """Where uv keeps what it downloaded (files are shared with .venv where both lie on one disk)."""
    if os.environ.get("UV_CACHE_DIR"):
        return Path(os.environ["UV_CACHE_DIR"])
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "uv" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "uv"


def size_of(folder):
    total = 0
    for place, _, names in os.walk(str(folder)):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def check_space(root):
    """Raises SetupError where the packages would not fit, before anything is downloaded."""
    cache = download_cache()
    there = next((place for place in [cache, *cache.parents] if place.exists()), root)
    same_disk = os.stat(str(there)).st_dev == os.stat(str(root)).st_dev
    for place, shares_cache in ((root, same_disk), (there, True)):
        free = shutil.disk_usage(str(place)).free
        if free < NEEDED:
            needed = max(GIGABYTE, NEEDED - (size_of(cache) if shares_cache else 0))
            if free < needed:
                raise SetupError(
                    f"not enough disk space: the course's packages need {needed / GIGABYTE:.1f} GB, and there are "
                    f"{free / GIGABYTE:.1f} GB free at {place}. Free some space there, or let the downloads go to "
                    "another disk with UV_CACHE_DIR=/path, then start this again."
                )


# --- running a step --------------------------------------------------------------------------------------------------


def explain(output, doing):
    """A sentence that says what to do, from what pip or uv printed when it failed."""
    text = output.lower()

    def says(*signs):
        return any(sign in text for sign in signs)

    last = "\n".join("    " + line for line in output.strip().splitlines()[-8:])
    if says("no space left", "disk quota", "os error 28", "errno 28", "os error 122", "not enough space"):
        reason = f"the disk is full. Free about {NEEDED // GIGABYTE} GB and start this again."
    elif says("hash mismatch", "do not match the hashes"):
        reason = (
            "a downloaded package is not the one that requirements.lock names, so it was not installed. Start this "
            "again; if it stays so, the package server that you use serves other files than the lock was made from."
        )
    elif says("certificate", "self-signed", "self signed"):
        reason = (
            "the connection's certificate is not trusted here, as on networks that read along. Ask the network's "
            "people for their certificate file, and start this again with SSL_CERT_FILE=/path/to/it."
        )
    elif says("no wheels with a matching", "no wheels are available", "is not a supported wheel"):
        bits = "64-bit" if sys.maxsize > 2**32 else "32-bit Python"
        reason = (
            f"there is no package for this kind of machine ({platform.system()} {platform.machine()}, {bits}). The "
            "course runs on 64-bit Linux with glibc, on macOS 14 or later with Apple silicon, and on 64-bit Windows."
        )
    elif says("permission denied", "read-only file system", "access is denied"):
        reason = "a file could not be written (see below). Set up in a folder of your own; close what still uses .venv."
    elif says(*NO_NETWORK):
        reason = (
            "the package server cannot be reached. The set-up needs the internet once, later starts do not: connect, "
            "or set HTTPS_PROXY if you are behind a proxy, or PIP_INDEX_URL if you use a mirror, then start this again."
        )
    else:
        reason = "see below. Start this again; it goes on where it stopped."
    return f"{doing} failed: {reason}\n{last}"


def clean_environment():
    """The environment without what would redirect pip, uv or Python to another place than .venv."""
    gone = "PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_CONSTRAINT UV_TARGET".split()
    return {name: value for name, value in os.environ.items() if name not in gone}


def run(command, doing, lock, **extra):
    """Runs one step, visibly; if it fails, once more to read what it says. While it runs it holds the lock too."""
    environment = dict(clean_environment(), **extra)
    shared = {} if WINDOWS else {"pass_fds": (lock.fileno(),)}
    code = subprocess.call(command, env=environment, stdin=subprocess.DEVNULL, **shared)
    if code > 0:
        say(f"{doing} failed; trying once more")
        again = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **shared,
        )
        if again.returncode:
            raise SetupError(explain(again.stdout, doing))
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


# --- the steps -------------------------------------------------------------------------------------------------------


def locked_lines(root, package):
    """The lines of requirements.lock that pin one package, with its hashes."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(package + "==")]
    if not starts:
        raise SetupError(
            f"requirements.lock names no {package}: get the file again with git checkout requirements.lock"
        )
    end = starts[0] + 1
    while end < len(lines) and lines[end].startswith((" ", "\t")):
        end += 1
    return "\n".join(lines[starts[0] : end]) + "\n"


def index_for_uv(python):
    """pip's configured package server, for uv, which does not read pip's configuration."""
    if any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    url = os.environ.get("PIP_INDEX_URL")
    if not url:
        asked = [str(python), "-m", "pip", "config", "get", "global.index-url"]
        done = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        url = done.stdout.strip() if done.returncode == 0 else ""
    return {"UV_DEFAULT_INDEX": url} if url else {}


def remove_environment(root):
    try:
        shutil.rmtree(str(root / ".venv"))
    except FileNotFoundError:
        pass
    except OSError as problem:
        raise SetupError(
            f"the old .venv cannot be removed ({problem}). Close JupyterLab and every program that uses it, then start "
            "this again."
        ) from None


def install(root, lock):
    """Makes or mends `.venv`; called by the one that holds the lock."""
    venv, python = root / ".venv", environment_python(root)
    started = time.monotonic()
    if can_update(root):
        say("bringing .venv up to date")
        (venv / "unfinished").touch()
    else:
        host = supported_python()
        check_venv_module(host)
        if venv.exists():
            say("the environment in .venv is unfinished or broken; making it again")
            (venv / "unfinished").touch()
            remove_environment(root)
        check_space(root)
        say(f"making .venv; the packages are about {NEEDED // GIGABYTE} GB, once")
        venv.mkdir()
        (venv / "unfinished").touch()
        run(host + ["-m", "venv", str(venv)], "making the environment", lock)

    pinned = venv / "uv.txt"
    pinned.write_text(locked_lines(root, "uv"), encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    run(pip + ["--require-hashes", "-r", str(pinned)], "installing uv", lock, PIP_USER="0")
    uv = [str(python), "-m", "uv", "pip", "install", "--python", str(python)]
    # compiled now: the grading sandbox cannot write, and would compile torch anew for every kernel (seconds each)
    compiled = {"UV_COMPILE_BYTECODE": os.environ.get("UV_COMPILE_BYTECODE", "1")}
    packages = uv + ["--require-hashes", "-r", str(root / "requirements.lock")]
    run(packages, "installing the packages", lock, **dict(index_for_uv(python), **compiled))
    course = uv + ["--quiet", "--no-deps", "--no-build-isolation", "--editable", str(root)]
    run(course, "installing the course", lock)
    write_stamp(root)
    say(f"ready after {time.monotonic() - started:.0f} s")


def install_bubblewrap():
    """Installs bubblewrap where no password is needed, else prints the command. Only graders need it: no error."""
    if not sys.platform.startswith("linux") or shutil.which("bwrap"):
        return
    command = next((how for manager, how in BUBBLEWRAP if shutil.which(manager)), None)
    if command is None:
        say("to grade on this machine, install bubblewrap with its package manager (lectures do not need it)")
        return
    is_root = os.geteuid() == 0
    prefix = [] if is_root else ["sudo", "-n"]
    allowed = is_root or (shutil.which("sudo") and quiet(["sudo", "-n", "true"], 10))
    if allowed:
        say("installing bubblewrap, the sandbox of the grader")
        worked = quiet(prefix + command, 300)
        if not worked and command[0] == "apt-get":  # a new machine knows no packages before its first update
            worked = quiet(prefix + ["apt-get", "update"], 300) and quiet(prefix + command, 300)
    if not (allowed and worked):
        say("to grade on this machine, run once (lectures do not need it):  sudo " + " ".join(command))


def quiet(command, seconds):
    """Runs a command that must not ask anything; whether it worked."""
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        return not subprocess.call(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
        )
    except (OSError, subprocess.SubprocessError):
        return False


def ensure(root=ROOT):
    """The Python of a finished `.venv`, made now if need be. Raises SetupError with what to do."""
    check_checkout(root)
    if not is_ready(root):
        try:
            with only_one(root) as lock:
                if not is_ready(root):  # the one that we waited for may have done it
                    install(root, lock)
                    install_bubblewrap()
        except OSError as problem:
            raise SetupError(explain(str(problem), f"writing to {root}")) from None
    return environment_python(root)


# --- what comes after ------------------------------------------------------------------------------------------------


def port_is_free(port=PORT):
    """Whether a server could listen on that port of this machine."""
    with contextlib.closing(socket.socket()) as trial:
        if not WINDOWS:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wanted_port(arguments):
    """The port that JupyterLab will try first, from its arguments and JUPYTER_PORT."""
    words = " ".join(arguments).replace("=", " ").split()
    named = [words[n + 1] for n, word in enumerate(words[:-1]) if word in ("--port", "--ServerApp.port")]
    given = (named or [os.environ.get("JUPYTER_PORT", "")])[-1]
    return int(given) if given.isdigit() else PORT


def lab_command(arguments=(), root=ROOT, python=sys.executable):
    """The command that opens JupyterLab on the home notebook, and what to tell the user first."""
    arguments, notes = list(arguments), []
    command = [str(python), "-c", JUPYTERLAB, f"--ServerApp.root_dir={root}"]
    if (root / HOME_NOTEBOOK).exists():
        command.append("--LabApp.default_url=/lab/tree/" + HOME_NOTEBOOK)
    else:
        notes.append(f"{HOME_NOTEBOOK} is missing; get it back with git checkout {HOME_NOTEBOOK}")
    port = wanted_port(arguments)
    if port and not port_is_free(port):
        notes.append(f"port {port} is taken; JupyterLab takes the next free one: use the address that it prints")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if sys.platform.startswith("linux") and not screen and "--no-browser" not in arguments:
        command.append("--no-browser")
        notes.append("no screen here: open the address that JupyterLab prints in a browser")
    return command + arguments, notes


def lab(*arguments, root=ROOT, python=sys.executable):
    """Opens JupyterLab on the home notebook, in this process's place (on Windows it waits for it); for `course lab`."""
    try:
        check_checkout(root)
    except SetupError as problem:
        print(problem, file=sys.stderr)
        return 1
    command, notes = lab_command(arguments, root, python)
    for note in notes:
        say(note)
    return become(command, root)


def test(arguments=(), root=ROOT, python=sys.executable):
    """Runs the whole suite on a few processes; `arguments` go to pytest."""
    workers = max(1, min(os.cpu_count() or 1, 4))
    shared = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]  # files in the order of conftest.py
    return become([str(python), "-m", "pytest", *shared, *arguments], root)


def become(command, folder):
    """Runs a command in a folder in this process's place."""
    sys.stdout.flush()
    ours = str(Path(__file__).resolve().parent / "jupyter")  # no pop-up with news over the home notebook
    settings = os.pathsep.join(filter(None, [os.environ.get("JUPYTER_CONFIG_PATH"), ours]))
    environment = dict(os.environ, JUPYTER_CONFIG_PATH=settings)
    if WINDOWS:
        return subprocess.call(command, cwd=str(folder), env=environment)
    os.chdir(str(folder))
    os.execve(command[0], command, environment)


def main(arguments):
    command, rest = (arguments[0], arguments[1:]) if arguments else ("setup", [])
    if command not in ("setup", "lab", "test"):
        print(__doc__.split("\n\nIt runs")[0])
        return 0 if command in ("-h", "--help", "help") else 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        python = ensure()
    except SetupError as problem:
        print(f"\nset-up: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: stopped. Nothing half-made is used; start it again to go on.", file=sys.stderr)
        return 130
    if command == "setup":
        say("the course stands. make lab opens it, make test tests it; without make: python -m course_utils.setup lab")
        return 0
    return lab(*rest, python=python) if command == "lab" else test(rest, python=python)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
