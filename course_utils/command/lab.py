"""`course lab`: JupyterLab on the home notebook, on a port that is free, with a browser where there is a screen."""

import contextlib
import os
import socket
import sys
from pathlib import Path

from course_utils.setup import ROOT, WINDOWS, SetupError, become, check_checkout, clean_environment, say

HOME_NOTEBOOK = "lectures/00_start_here.ipynb"
PORT = 8888
# Importing rfc3987_syntax builds a grammar, which takes 2 to 3 s of each start, for a kind of URL that no notebook has;
# jsonschema manages without it.
JUPYTERLAB = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyterlab.labapp import main; main()"


def port_is_free(port: int = PORT) -> bool:
    """Return whether a server could listen on that port of this machine."""
    with contextlib.closing(socket.socket()) as trial:
        if not WINDOWS:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wanted_port(arguments: list[str]) -> int:
    """Return the port that JupyterLab will try first, from its arguments and JUPYTER_PORT."""
    words = " ".join(arguments).replace("=", " ").split()
    named = [words[n + 1] for n, word in enumerate(words[:-1]) if word in ("--port", "--ServerApp.port")]
    given = (named or [os.environ.get("JUPYTER_PORT", "")])[-1]
    return int(given) if given.isdigit() else PORT


def lab_command(
    arguments: list[str] | tuple[str, ...] = (), root: Path = ROOT, python: str = sys.executable
) -> tuple[list[str], list[str]]:
    """Return the command that opens JupyterLab on the home notebook, and what to tell the user first."""
    arguments, notes = list(arguments), []
    command = [str(python), "-c", JUPYTERLAB, f"--ServerApp.root_dir={root}"]
    if (root / HOME_NOTEBOOK).exists():
        command.append("--LabApp.default_url=/lab/tree/" + HOME_NOTEBOOK)
    else:
        notes.append(f"{HOME_NOTEBOOK} is missing; get it back with git checkout {HOME_NOTEBOOK}")
    port = wanted_port(arguments)
    if port and not port_is_free(port):
        notes.append(f"port {port} is taken; JupyterLab takes the next free one: use the address it prints")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if sys.platform.startswith("linux") and not screen and "--no-browser" not in arguments:
        command.append("--no-browser")
        notes.append("no screen here: open the address that JupyterLab prints in a browser")
    return command + arguments, notes


def lab(*arguments: str, root: Path = ROOT) -> int:
    """Open JupyterLab on the home notebook, in place of this process (on Windows, wait for it)."""
    try:
        check_checkout(root)
    except SetupError as problem:
        print(problem, file=sys.stderr)
        return 1
    command, notes = lab_command(arguments, root)
    for note in notes:
        say(note)
    ours = str(Path(__file__).resolve().parent / "jupyter")  # no pop-up with news over the home notebook
    environment = clean_environment()
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [environment.get("JUPYTER_CONFIG_PATH"), ours]))
    programs = str(Path(sys.executable).parent)  # a terminal in JupyterLab finds the `course` command
    environment["PATH"] = os.pathsep.join(filter(None, [programs, environment.get("PATH")]))
    return become(command, root, environment)
