"""Marks the top folder of the course, for the `course` command."""

c = get_config()  # noqa: F821  (nbgrader runs this file with it)
c.CourseDirectory.course_id = "shannon-to-clip"
