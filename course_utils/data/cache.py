"""What is slow to make is kept in the cache folder, and checked whenever it is read."""

import hashlib
import warnings

from course_utils.paths import cache_folder
from course_utils.paths import write as write_whole

_warned = False


def write(name: str, content: bytes) -> bool:
    """Write a file of the cache, whole or not at all.

    Returns:
        False, with one warning per session, where that is impossible (a full or read-only folder). The cache only saves
        time, so the work can go on.
    """
    global _warned
    try:
        write_whole(cache_folder() / name, content)
    except OSError as error:
        if not _warned:
            _warned = True
            warnings.warn(
                f"cannot write to the cache folder {cache_folder()} ({error.strerror or error}): everything works, but "
                "has to be made again in each session. Free some space, or set COURSE_CACHE to another folder.",
                stacklevel=3,
            )
        return False
    return True


def write_checked(name: str, content: bytes) -> bool:
    """`write`, with the content's SHA-256 as a first line, for `read_checked`."""
    return write(name, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checked(name: str) -> bytes | None:
    """The content that `write_checked` wrote; None if the file is missing, unreadable, cut off or changed."""
    try:
        content = (cache_folder() / name).read_bytes()
    except OSError:
        return None
    digest, _, body = content.partition(b"\n")
    return body if digest == hashlib.sha256(body).hexdigest().encode() else None
