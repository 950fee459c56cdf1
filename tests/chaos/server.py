"""Starts `course …` again and again: what takes seconds to import is imported once, then each start is a fork.

Reads lines of JSON, [folder, arguments, log]; answers each with the number of the new process, then with its exit code.
"""

import json
import os
import sys


def main() -> None:
    import nbgrader.apps  # noqa: F401
    import torch  # noqa: F401

    from autograder import cli  # adds the instructors' commands
    from autograder import grade as gradebook  # noqa: F401
    from autograder.book import report  # noqa: F401
    from autograder.intake import arrivals  # noqa: F401
    from autograder.sandbox import warm  # noqa: F401
    from course_utils import compare  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        folder, arguments, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.chdir(folder)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (out, 1), (out, 2)):
                os.dup2(source, target)
            sys.argv[1:] = arguments
            cli.app()
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
