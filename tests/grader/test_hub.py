"""A hub's exchange, walked by three users of the system: an instructor and two students, one of whom cheats."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from other_users import reachable_python
from small_course import HALF, NAME, RIGHT, small_course

from autograder.sandbox import provisioner
from course_utils.notebook import grade_id, read

ROOT = Path(__file__).parents[2]
ID = "shannon-to-clip"
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="becomes other users"),
    pytest.mark.skipif(bool(provisioner.missing()), reason="grading needs a sandbox"),
]


class Hub:
    """Homes, an exchange that is its instructors' alone to write, and the configuration that docs/hub.md names."""

    def __init__(self, place: Path):
        self.place, self.exchange = place, place / "exchange"
        self.users = {"teacher": pwd.getpwnam("games"), "ann": pwd.getpwnam("daemon"), "bob": pwd.getpwnam("nobody")}
        for who, user in self.users.items():
            (place / who).mkdir(mode=0o700)
            os.chown(place / who, user.pw_uid, user.pw_gid)
        (place / "etc").mkdir()
        config = (ROOT / "container" / "hub" / "nbgrader_config.py").read_text()
        assert "/srv/nbgrader/exchange" in config
        config = config.replace("/srv/nbgrader/exchange", str(self.exchange))
        (place / "etc" / "nbgrader_config.py").write_text(config)
        self.exchange.mkdir()
        os.chown(self.exchange, 0, self.users["teacher"].pw_gid)
        self.exchange.chmod(0o2775)
        (place / "etc").chmod(0o755)

    def run(self, who: str, *command: str, folder: str = "", code: int = 0) -> str:
        """What a command says that a user starts in a folder of their home."""
        user, home = self.users[who], self.place / who
        become = [*reachable_python(), "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        settings = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        settings |= {"JUPYTER_CONFIG_PATH": str(self.place / "etc"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*reachable_python(), *become, *command],
            cwd=home / folder,
            env=settings,
            capture_output=True,
            text=True,
            umask=0o022,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def own(self, who: str) -> None:
        """All in a user's home is theirs."""
        user = self.users[who]
        for path in (self.place / who).rglob("*"):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def answer(path: Path, answers: dict[str, str]) -> None:
    notebook = read(path)
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    nbformat.write(notebook, path)


@pytest.fixture
def hub():
    place = Path(tempfile.mkdtemp(prefix="course-hub-"))  # where any user can go
    place.chmod(0o755)
    yield Hub(place)
    shutil.rmtree(place)


def test_from_release_to_feedback(hub):
    course = small_course(hub.place / "teacher" / "course")
    hub.own("teacher")
    hub.run("teacher", "course", "release", NAME, folder="course")
    hub.run("teacher", "nbgrader", "release_assignment", NAME, folder="course")
    for who, answers in (("ann", RIGHT), ("bob", HALF)):
        assert f"{ID} {NAME}" in hub.run(who, "nbgrader", "list")
        hub.run(who, "nbgrader", "fetch_assignment", NAME)
        answer(hub.place / who / NAME / f"{NAME}.ipynb", answers)
        hub.own(who)
        assert "together" in hub.run(who, "course", "check", f"{NAME}.ipynb", folder=NAME)
        hub.run(who, "nbgrader", "submit", NAME)
    hub.run("bob", "nbgrader", "submit", NAME, "--student=daemon")  # later, in Ann's name

    inbound = hub.exchange / ID / "inbound"
    for who in ("ann", "bob"):
        assert "Permission denied" in hub.run(who, "ls", str(inbound), code=2)
        assert "Permission denied" in hub.run(who, "ls", str(hub.place / "teacher"), code=2)
        assert "Permission denied" in hub.run(who, "mkdir", str(hub.exchange / "mine"), code=1)
    open_to_all = {
        path for path in hub.exchange.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o002 and not path.is_symlink()
    }
    assert open_to_all == {inbound, *inbound.iterdir()}  # as nbgrader has it: nobody else finds what lies in there

    said = hub.run("teacher", "nbgrader", "collect", NAME, folder="course")
    assert "was made by nobody, and is collected as theirs" in said
    assert sorted(p.name for p in (course.root / "submitted").iterdir()) == ["daemon", "nobody"]
    said = hub.run("teacher", "course", "grade", NAME, folder="course")
    assert "daemon: " in said and "nobody: " in said
    said = hub.run("teacher", "nbgrader", "release_feedback", NAME, folder="course")
    assert said.count("feedback for ") == 2
    for who, user, points in (("ann", "daemon", "6"), ("bob", "nobody", "3")):
        hub.run(who, "nbgrader", "fetch_feedback", NAME)
        (page,) = (hub.place / who / NAME / "feedback").rglob("*.html")
        assert f"{points} of 10 points" in page.read_text() and user
