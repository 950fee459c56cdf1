"""Tables that learning systems export: read whatever their encoding and delimiter are, and written the same way."""

import codecs
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.paths import CourseError, write

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
MOST = 64 * 2**20  # bytes


@dataclass
class Table:
    """A header and rows of the same width, and how they were written."""

    header: list[str]
    rows: list[list[str]]
    encoding: str = "utf-8"
    delimiter: str = ","
    newline: str = "\n"
    path: Path = field(default_factory=Path)

    def column(self, *titles: str) -> int | None:
        """The place of the first of these titles that there is, whatever its capitals; None if there is none."""
        known = [title.strip().casefold() for title in self.header]
        return next((known.index(t.casefold()) for t in titles if t.casefold() in known), None)

    def save(self, path: Path) -> None:
        out = io.StringIO()
        csv.writer(out, delimiter=self.delimiter, lineterminator=self.newline).writerows([self.header, *self.rows])
        write(path, out.getvalue().encode(self.encoding, "replace"))


def read_table(path: Path) -> Table:
    """Read a table: UTF-8 with or without a mark, UTF-16, else Windows' western letters; commas, semicolons or tabs.

    Raises:
        CourseError: it is no table.
    """
    if path.stat().st_size > MOST:
        raise CourseError(f"{path} is too large for a table ({path.stat().st_size:,} bytes)")
    data = path.read_bytes()
    encoding = _encoding(data)
    text = data.decode(encoding, "replace")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(line)]
    except csv.Error as error:
        raise CourseError(f"{path} is no table ({error})") from None
    if not lines:
        raise CourseError(f"{path} is empty")
    width = len(lines[0])
    rows = [line[:width] + [""] * (width - len(line)) for line in lines[1:]]
    return Table(lines[0], rows, encoding, delimiter, "\r\n" if "\r\n" in text else "\n", path)


def _encoding(data: bytes) -> str:
    for mark, encoding in BOMS.items():
        if data.startswith(mark):
            return encoding
    if data[1:200:2].count(0) > len(data[:200]) // 4:
        return "utf-16-le"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252"
