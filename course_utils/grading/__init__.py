"""Says to files written for an earlier version where the grader is now."""

raise ModuleNotFoundError(
    "course_utils.grading is now the package autograder: write `from autograder.author.exercise import Exercise, close`"
)
