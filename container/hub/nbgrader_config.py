"""Goes to /etc/jupyter/nbgrader_config.py on a hub: one course and its exchange, for instructors and students."""

c = get_config()  # noqa: F821  (nbgrader runs this file with it)
c.CourseDirectory.course_id = "shannon-to-clip"
c.Exchange.root = "/srv/nbgrader/exchange"
# The exchange is its instructors' (a group). Without this line, nbgrader wants it to be writable for everybody.
c.CourseDirectory.groupshared = True
