"""How a file that a student handed in is opened."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

# neither follows a link nor waits for a pipe's other end; Windows has neither flag
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class NotPlain(OSError):
    """It is no plain file: a folder, a pipe, a device."""


def open_plain(path: Path | str, folder: int | None = None) -> tuple[BinaryIO, os.stat_result]:
    """Open a plain file for reading: never a link, a pipe or a device, whatever lay there a moment ago.

    Args:
        folder: descriptor of an open folder, to which the path is relative.

    Returns:
        The file, and what the system says about it (its size, its time).

    Raises:
        NotPlain: it is something else.
        OSError: it is a link, or it cannot be opened.
    """
    descriptor = os.open(path, FLAGS, dir_fd=folder)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotPlain(f"{path} is no plain file")
    return open(descriptor, "rb"), status
