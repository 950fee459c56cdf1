"""nbgrader's settings for this course. The stock commands, Formgrader and `course` all read them."""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821  (nbgrader runs this file with it)

# nbgrader calls `alembic` to make a new gradebook: find it in this environment, activated or not.
programs = str(Path(sys.executable).parent)
if programs not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])

root = Path(__file__).resolve().parent
c.CourseDirectory.course_id = "shannon-to-clip"
c.CourseDirectory.root = str(root)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "assignments"
c.CourseDirectory.db_url = (
    f"sqlite:///{root / 'gradebook.db'}?timeout=30"  # seconds to wait for another program to let go
)
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "mistakes.py", ".DS_Store"]

# What students get in place of a solution.
c.ClearSolutions.code_stub = {"python": "# Your code here.\nraise NotImplementedError"}
c.ClearSolutions.text_stub = "Your answer here."
c.GenerateAssignment.post_convert_hook = "autograder.release.complete"  # cases and checksums

# Grading: what was handed in is first made whole against the release, then run in a sandbox and judged from outside.
c.Autograde.pre_convert_hook = "autograder.author.generate.make_known"
c.Autograde.exporter_class = "autograder.book.record.SubmissionExporter"
c.Autograde.autograde_preprocessors = [
    "autograder.book.record.Execute",  # in place of nbgrader's own
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "autograder.book.late.Penalties",  # late.toml
    "nbgrader.preprocessors.CheckCellMetadata",
]

# On a hub (docs/hub.md): a hand-in is whose who made it, and feedback finds its way back.
c.ExchangeFactory.collect = "autograder.intake.exchange.Collect"
c.ExchangeFactory.release_feedback = "autograder.intake.exchange.ReleaseFeedback"

# Mark sheets: what students wrote is shown, never run; the page asks no other machine for anything.
c.GenerateFeedback.preprocessors = ["autograder.book.record.Marks"]
c.GenerateFeedback.exporter_class = "autograder.book.feedback.FeedbackExporter"
c.HTMLExporter.sanitize_html = True  # Formgrader's pages
c.HTMLExporter.filters = {
    "markdown2html": "autograder.book.feedback.safe_markdown",
    "highlight_code": "autograder.book.feedback.safe_code",
}
