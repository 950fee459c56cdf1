"""A course as small as can be, for the tests of the set-up: real venv, pip, uv and setuptools, tiny packages."""

import base64
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "course-utils"
version = "0.1.0"
[project.scripts]
course = "course_utils.__main__:main"
[tool.setuptools.packages.find]
include = ["course_utils*"]
"""

# hands over to the real uv; says so in a file, and hangs before it installs anything if it is told to
UV = """
import os, sys, time
with open({log!r}, "a") as log:
    print(os.getpid(), *sys.argv[1:], file=log)
if os.environ.get("TEST_UV_HANGS") and "--require-hashes" in sys.argv:
    time.sleep(600)
os.execv({uv!r}, [{uv!r}, *sys.argv[1:]])
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes | str]) -> str:
    """Writes a wheel and returns its line of a lock file."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{place},sha256={digest},{len(content)}\n"
            archive.writestr(place, content)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def installed_as_wheel(folder: Path, name: str) -> str:
    """The same for a package that is installed here."""
    distribution = importlib.metadata.distribution(name)
    files = {
        str(file): file.locate().read_bytes()
        for file in distribution.files or []
        if ".dist-info" not in file.parts[0] and file.parts[0] not in ("..", "__pycache__") and file.suffix != ".pyc"
    }
    files |= {
        str(file): file.locate().read_bytes()
        for file in distribution.files or []
        if ".dist-info" in file.parts[0] and file.name == "entry_points.txt"
    }
    return wheel(folder, name, distribution.version, files)


# the set-up, with a Python that makes environments by copying one: a moment instead of seconds
COPYING = """
import sys
sys.path.insert(0, {root!r})
from course_utils import setup
setup.supported_python = lambda root: [{copying!r}]
sys.exit(setup.main([]))
"""

ENTRY = """
import os, sys
def app(prog_name):
    print(__file__, sys.prefix, sys.argv[1:], *map(os.environ.get, ("COURSE_PYTHONPATH", "PYTHONPATH")), sep="|")
"""


class Checkout:
    """A small checkout in `root`, and how its set-up is run: without network, and with no programs on the PATH."""

    def __init__(self, folder: Path, name: str = "course"):
        self.folder, self.root = folder, folder / name
        self.wheels, self.log = folder / "wheels", folder / "uv.log"
        self.wheels.mkdir(parents=True)
        (self.root / "course_utils").mkdir(parents=True)
        (self.root / "course_utils" / "__init__.py").touch()
        for name in ("setup.py", "__main__.py"):
            shutil.copy(REPO / "course_utils" / name, self.root / "course_utils")
        (self.root / "course_utils" / "cli.py").write_text(ENTRY)
        shutil.copy(REPO / "Makefile", self.root)
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        uv = UV.format(log=str(self.log), uv=shutil.which("uv", path=Path(sys.executable).parent))
        arguments = "import os, sys\nprint('pytest in', os.getcwd(), *sys.argv[1:])\n"
        self.pins = {
            "uv": wheel(self.wheels, "uv", "1.0", {"uv/__init__.py": "", "uv/__main__.py": uv}),
            "setuptools": installed_as_wheel(self.wheels, "setuptools"),
            "pytest": wheel(self.wheels, "pytest", "1.0", {"pytest/__init__.py": "", "pytest/__main__.py": arguments}),
        }
        self.tiny = {v: wheel(self.wheels, "tiny", v, {"tiny.py": f"version = {v!r}\n"}) for v in ("1.0", "2.0")}
        self.lock()
        programs = folder / "bin"
        programs.mkdir()
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "SYSTEMROOT") if name in os.environ}
        self.environment = {
            **kept,
            "PATH": str(programs),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_FIND_LINKS": str(self.wheels),
            "UV_OFFLINE": "1",
            "UV_NO_CONFIG": "1",
            "UV_COMPILE_BYTECODE": "0",
            "UV_CACHE_DIR": str(folder / "cache"),
        }

    def lock(self, tiny: str = "1.0") -> None:
        (self.root / "requirements.lock").write_text("".join([*self.pins.values(), self.tiny[tiny]]))

    def start(self, *arguments: str, python: str = sys.executable, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [python, str(self.root / "course_utils" / "setup.py"), *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def set_up(self, *arguments: str, python: str = sys.executable, **environment: str) -> tuple[int, str]:
        """The exit code and everything that was printed."""
        process = self.start(*arguments, python=python, **environment)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def set_up_copying(self, environment: Path) -> tuple[int, str]:
        """The exit code of `start_copying` and everything that was printed."""
        process = self.start_copying(environment)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def start_copying(self, environment: Path) -> subprocess.Popen:
        """Like `start`, with copies of an environment where a new one would be made."""
        copying, base = self.folder / "copying", getattr(sys, "_base_executable", sys.executable)
        copying.write_text(
            f'#!/bin/sh\n[ "$2" != venv ] || exec /bin/cp -a "{environment}/." "$3/"\nexec "{base}" "$@"\n'
        )
        copying.chmod(0o755)
        return subprocess.Popen(
            [base, "-c", COPYING.format(root=str(self.root), copying=str(copying))],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def course(self, *arguments: str, program: Path | None = None, **environment: str) -> tuple[int, str]:
        """The exit code and the words of the `course` command, called from another folder."""
        command = [str(program or self.root / ".venv" / "bin" / "course"), *arguments]
        settings = self.environment | {"PATH": "/usr/bin:/bin"} | environment
        done = subprocess.run(command, cwd=self.folder, env=settings, capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip()

    def ask(self, code: str) -> str:
        """What a statement prints in the environment that was made."""
        python = self.root / ".venv" / "bin" / "python"
        command, folder = [python, "-c", code], self.folder  # a folder without a course_utils of its own
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def installs(self) -> int:
        """How often uv was asked to install the packages."""
        return self.log.read_text().count("--require-hashes") if self.log.exists() else 0
