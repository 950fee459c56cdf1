"""A course as its grader sees it: what students must not see, and nbgrader's configuration."""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from autograder.limits import Limits, read_limits
from course_utils import paths

if TYPE_CHECKING:
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

STAGED = "staged"  # folder in `Assignment.private`: submissions that are repaired already
IGNORED = {"mistakes.py", "__pycache__", ".ipynb_checkpoints", ".DS_Store"}


class Blocked(paths.CourseError):
    """Nothing can go on until this is put right: no room on the disk, a gradebook that others hold."""


def is_ours(error: Exception) -> bool:
    """Whether an error says that the grader's own places fail it: that stops a run. All others are one student's."""
    if isinstance(error, OSError):
        return error.errno in paths.FULL | paths.FORBIDDEN | {errno.EIO, errno.EMFILE, errno.ENFILE}
    return isinstance(error, Blocked)


class Course(paths.Course):
    """The folder of a course, with nbgrader's configuration in it."""

    def config(self) -> "Config":
        """What `nbgrader_config.py` says."""
        from traitlets.config.loader import PyFileConfigLoader

        return PyFileConfigLoader(paths.CONFIG, str(self.root)).load_config()

    def directory(self, **traits: str) -> "CourseDirectory":
        """nbgrader's view of the course, e.g. `directory(assignment_id="a1_markov_chains")`."""
        from nbgrader.coursedir import CourseDirectory

        return CourseDirectory(config=self.config(), **({"root": str(self.root)} | traits))


@dataclass(frozen=True)
class Assignment:
    """One assignment of a course, and where all that belongs to it lies."""

    course: Course
    name: str

    @classmethod
    def find(cls, name: str, released: bool = True) -> Self:
        """Return an assignment of the course around the working folder.

        Raises:
            CourseError: there is none of that name, or it has not been released.
        """
        course = Course.find()
        return cls(course, course.require(name, released))

    @property
    def root(self) -> Path:
        return self.course.root

    @property
    def solution(self) -> Path:
        return self.course.solution(self.name)

    @property
    def released(self) -> Path:
        return self.course.released(self.name)

    @property
    def private(self) -> Path:
        """Where the grader keeps what students must not see: the seed, hidden cases, results."""
        return self.root / ".grading" / self.name

    @property
    def log(self) -> Path:
        """What nbgrader says."""
        return self.private / "nbgrader.log"

    def submitted(self, student: str) -> Path:
        """The folder of a hand-in."""
        return self.root / "submitted" / student / self.name

    def staged(self, student: str) -> Path:
        """The folder of a hand-in that is repaired already."""
        return self.private / STAGED / student / self.name

    def graded(self, student: str) -> Path:
        """The graded notebook."""
        return self.root / "autograded" / student / self.name / f"{self.name}.ipynb"

    def limits(self) -> Limits:
        """What a submission may hold and use.

        Raises:
            CourseError: `limits.toml` is wrong.
        """
        return read_limits(self.root, self.name, self.course.names())
