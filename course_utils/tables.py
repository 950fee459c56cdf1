"""A table that reads well in a notebook, to a screen reader and in plain text."""

from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote


@dataclass(frozen=True)
class Link:
    """A cell's text that leads somewhere: `to` is a path relative to the notebook that shows the table."""

    text: str
    to: str

    def html(self) -> str:
        return f'<a href="{escape(quote(self.to))}">{escape(self.text)}</a>'

    def __str__(self) -> str:
        return self.text


@dataclass
class Table:
    """Rows of texts and `Link`s under headings; the first column names the row.

    Attributes:
        sentence: what comes before the table: texts and links, one after the other.
    """

    caption: str
    columns: list[str]
    rows: list[list[str | Link]]
    sentence: list[str | Link] = field(default_factory=list)

    def _repr_html_(self) -> str:
        left = 'style="text-align: left; vertical-align: top"'
        head = "".join(f'<th scope="col" {left}>{escape(column)}</th>' for column in self.columns)
        body = ""
        for first, *rest in self.rows:
            cells = "".join(f"<td {left}>{_html(cell)}</td>" for cell in rest)
            body += f'<tr><th scope="row" {left}>{_html(first)}</th>{cells}</tr>'
        caption = f'<caption style="text-align: left">{escape(self.caption)}</caption>'
        sentence = f"<p>{''.join(_html(part) for part in self.sentence)}</p>" if self.sentence else ""
        return f"{sentence}<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        rows = [self.columns, *([str(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        sentence = "".join(f"{p} ({p.to})" if isinstance(p, Link) else p for p in self.sentence)
        return "\n".join([*([sentence] if sentence else []), self.caption, *lines])


def _html(cell: str | Link) -> str:
    return cell.html() if isinstance(cell, Link) else escape(cell)
