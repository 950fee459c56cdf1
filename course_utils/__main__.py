"""The `course` command: first without what would lead Python to other packages than this environment's."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec


def main() -> None:
    """Starts Python once more where PYTHONPATH is set, before anything that it may hide is imported; then parses."""
    if left_out := os.environ.pop("PYTHONPATH", ""):
        os.environ["COURSE_PYTHONPATH"] = left_out  # for `course doctor`
        command = [sys.executable, *sys.orig_argv[1:]]
        if os.name != "nt":
            os.execv(sys.executable, command)
        import subprocess

        sys.exit(subprocess.call(command))
    from course_utils.setup import REDIRECTING

    for name in REDIRECTING:  # for the kernels that it starts
        os.environ.pop(name, None)
    from course_utils.cli import app

    if find_spec("autograder"):  # an instructor's copy of the course: its commands, too
        import_module("autograder.cli")
    app(prog_name="course")


if __name__ == "__main__":
    main()
