"""One folder for what is slow to make or to fetch. Files appear whole or not at all, and are checked when they are read."""

import hashlib
import os
import tempfile
import warnings
from pathlib import Path

_warned = False


def folder() -> Path:
    """`$COURSE_CACHE`, else `$XDG_CACHE_HOME/course_utils`, else `~/.cache/course_utils`. It need not exist."""
    if os.environ.get("COURSE_CACHE"):
        return Path(os.environ["COURSE_CACHE"]).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home and os.path.isabs(home) else Path("~/.cache").expanduser()) / "course_utils"


def write(name: str, content: bytes) -> Path | None:
    """Write `content` to the cache's file `name`, atomically. None where that is impossible (read-only or full): one warning, no error."""
    global _warned
    path = folder() / name
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide it from the sandbox's user
        os.replace(temporary, path)
        return path
    except OSError as error:
        if temporary is not None:
            try:
                os.unlink(temporary)
            except OSError:
                pass
        if not _warned:
            _warned = True
            warnings.warn(
                f"cannot write to the cache folder {path.parent} ({error.strerror or error}): everything works, but is made again in each "
                "session; set COURSE_CACHE to a folder that can be written to",
                stacklevel=2,
            )
        return None


def write_checked(name: str, content: bytes) -> Path | None:
    """`write`, with the SHA-256 of the content as a first line, for `read_checked`."""
    return write(name, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checked(name: str) -> bytes | None:
    """The content that `write_checked` wrote; None if the file is missing, unreadable, cut off or changed."""
    try:
        content = (folder() / name).read_bytes()
    except OSError:
        return None
    digest, _, body = content.partition(b"\n")
    return body if digest == hashlib.sha256(body).hexdigest().encode() else None
