"""One folder for what is slow to make or to fetch. Files appear whole or not at all, and are checked when read."""

import hashlib
import os
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

_warned = False


def folder() -> Path:
    """`$COURSE_CACHE`, else `$XDG_CACHE_HOME/course_utils`, else `~/.cache/course_utils`. It need not exist."""
    if os.environ.get("COURSE_CACHE"):
        return Path(os.environ["COURSE_CACHE"]).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    if home and os.path.isabs(home):
        return Path(home) / "course_utils"
    try:
        return Path.home() / ".cache" / "course_utils"
    except RuntimeError:  # a user without a home folder
        return Path(tempfile.gettempdir()) / "course_utils"


def write(name: str, content: bytes) -> bool:
    """Write `content` to the file `name` of the cache, atomically.

    False, with one warning per session, where that is impossible (read-only or full folder): the cache only saves time.
    """
    global _warned
    path = folder() / name
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide it from the sandbox's user
        os.replace(temporary, path)
    except OSError as error:
        if not _warned:
            _warned = True
            warnings.warn(
                f"cannot write to the cache folder {folder()} ({error.strerror or error}): all "
                "works, but is made again in each session. Free some space, or set COURSE_CACHE to another folder.",
                stacklevel=3,
            )
        return False
    finally:
        with suppress(OSError):  # gone already if all went well
            os.unlink(temporary)
    return True


def write_checked(name: str, content: bytes) -> bool:
    """`write`, with the content's SHA-256 as a first line, for `read_checked`."""
    return write(name, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checked(name: str) -> bytes | None:
    """The content that `write_checked` wrote; None if the file is missing, unreadable, cut off or changed."""
    try:
        content = (folder() / name).read_bytes()
    except OSError:
        return None
    digest, _, body = content.partition(b"\n")
    return body if digest == hashlib.sha256(body).hexdigest().encode() else None
