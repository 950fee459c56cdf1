"""What runs first where there are no namespaces: as `inside.py`, with places of its own in place of mounts.

Started as root by `alone.py`, as `python -I -B alone_inside.py SPEC`. Beside what `inside.py` needs: place (a folder of
its own), submission (whose files are copied), code (where the library lies), filter (the seccomp program, hexadecimal).
"""

import ctypes
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_NO_NEW_PRIVS = 38


def without_tcp() -> None:
    """The kernel's thread for outputs opens a port for its forked children, which no socket may do here."""
    from ipykernel import kernelapp

    class Outputs(kernelapp.IOPubThread):
        def __init__(self, socket, pipe=False, **options):
            super().__init__(socket, pipe=False, **options)

    kernelapp.IOPubThread = Outputs


def main() -> None:
    spec = json.loads(sys.argv[1])
    before = list(sys.path)
    sys.path.insert(0, HERE)
    import inside
    import parent

    sys.path[:] = [spec["code"], *before]
    inside.HOME, inside.WORK, inside.KERNEL = (f"{spec['place']}/{name}" for name in ("home", "work", "kernel"))
    inside.FILES = spec["submission"]
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    inside.prepare(spec)
    parent.give_up_rights(spec)
    without_tcp()
    inside.kernel(spec)


if __name__ == "__main__":
    main()
