"""nbgrader's exchange on a hub, for instructors: `nbgrader_config.py` puts these classes in place of nbgrader's own.

nbgrader believes the name that a hand-in bears, follows the links in it, and stops at the first that it cannot read.
All three are the student's to choose. And it looks for a secret in `feedback/`, which holds pages alone here.
"""

import os
import shutil
from datetime import datetime
from pathlib import Path
from pwd import getpwuid
from typing import Any

from nbgrader.exchange.default import ExchangeCollect, ExchangeReleaseFeedback
from nbgrader.utils import notebook_hash

from autograder.intake.plain_file import NotPlain, open_plain
from autograder.intake.submissions import MAX_DEPTH, MAX_WALK
from course_utils.paths import write

SECRET = "submission_secret.txt"  # gives a page of feedback a name that only who handed in can know


class Collect(ExchangeCollect):
    """Collects a hand-in for the user of the system who made it, whatever its name says."""

    def _path_to_record(self, path: str) -> dict[str, Any]:
        try:
            record = super()._path_to_record(path)
        except (ValueError, OverflowError):  # no time in its name: it counts as the oldest
            record = {"username": "", "filename": os.path.basename(path), "timestamp": datetime.min}
        owner = os.lstat(path).st_uid
        if owner == os.getuid():  # instructors may hand in for a student
            return record
        try:
            user = getpwuid(owner).pw_name
        except KeyError:
            user = f"user-{owner}"  # who is no longer there
        if user != record["username"]:
            self.log.warning("%s was made by %s, and is collected as theirs", path, user)
        return record | {"username": user}

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        left_out = copy_plain(Path(src), Path(dest), 1000 * self.coursedir.max_dir_size)
        if left_out:
            self.log.warning("not collected from %s: %s", src, ", ".join(left_out[:10]))


def copy_plain(source: Path, target: Path, most_bytes: int) -> list[str]:
    """Copy folders and plain files, and nothing else. A student who changes them meanwhile leads it nowhere.

    Returns:
        What was left out, and why.
    """
    left_out, count, size = [], 0, 0
    target.mkdir(parents=True, exist_ok=True)
    walk = os.fwalk(source, onerror=lambda error: left_out.append(f"{error.filename} ({error.strerror})"))
    for folder, folders, files, here in walk:
        place = target / os.path.relpath(folder, source)
        place.mkdir(exist_ok=True)
        if len(Path(folder).relative_to(source).parts) >= MAX_DEPTH:
            left_out += [f"{name} (too deep)" for name in folders]
            folders.clear()
        for name in files:
            try:
                file, status = open_plain(name, here)
            except NotPlain:
                left_out.append(f"{name} (no plain file)")
                continue
            except OSError as error:
                left_out.append(f"{name} ({error.strerror})")
                continue
            with file:
                count, size = count + 1, size + status.st_size
                if count > MAX_WALK or size > most_bytes:
                    return [*left_out, f"{name} and what comes after it (too much)"]
                with (place / name).open("xb") as copy:
                    shutil.copyfileobj(file, copy)
    return left_out


class ReleaseFeedback(ExchangeReleaseFeedback):
    """Puts each page where the student who handed in finds it, by the secret that came with the hand-in."""

    def copy_files(self) -> None:
        name, excluded = self.coursedir.assignment_id, self.coursedir.student_id_exclude.split(",")
        for page in sorted(Path(self.coursedir.root).glob(f"{self.coursedir.feedback_directory}/*/{name}/*.html")):
            student = page.parts[-3]
            if student in excluded or self.coursedir.student_id not in ("*", "", student):
                continue
            handed_in = self.coursedir.format_path(self.coursedir.submitted_directory, student, name)
            if not (secret := _secret(Path(handed_in))):
                self.log.warning("%s did not hand in by the exchange: send %s some other way", student, page)
                continue
            checksum = notebook_hash(secret=secret, notebook_id=page.stem)
            write(Path(self.dest_path) / f"{checksum}.html", page.read_bytes())
            self.log.info("feedback for %s released", student)


def _secret(handed_in: Path) -> str:
    try:
        file, _ = open_plain(handed_in / SECRET)
    except OSError:
        return ""
    with file:
        return file.read(1000).decode(errors="replace")
