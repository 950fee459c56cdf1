"""The `course` command: first removes what would lead Python to packages outside this environment."""

import os
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec


def main() -> None:
    """Start Python once more if PYTHONPATH is set, before anything it may hide is imported; then parse the command."""
    if left_out := os.environ.pop("PYTHONPATH", ""):
        os.environ["COURSE_PYTHONPATH"] = left_out  # for `course doctor`
        command = [sys.executable, *sys.orig_argv[1:]]
        if os.name != "nt":
            os.execv(sys.executable, command)
        import subprocess

        sys.exit(subprocess.call(command))
    from course_utils.setup import REDIRECTING

    for name in REDIRECTING:  # for the sake of the kernels it starts
        os.environ.pop(name, None)
    from course_utils.cli import app

    for more in entry_points(group="course.commands"):  # an instructor's copy of the course has some
        if find_spec(more.module.partition(".")[0]):  # in an environment that an instructor shares, it may be absent
            more.load()
    app(prog_name="course")


if __name__ == "__main__":
    main()
