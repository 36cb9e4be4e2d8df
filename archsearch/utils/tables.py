"""One renderer of tables: for the terminal, Markdown, LaTeX, CSV and JSON.

A module that has something to print gathers it as a :class:`Document`; :func:`render` does the rest.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Output formats of most commands; :func:`render` also writes ``latex``.
FORMATS = ("table", "csv", "json", "markdown")
#: Characters per line where stdout is no terminal: enough that no row is folded.
PIPE_WIDTH = 1000
#: Minimum width in characters of the last column, which holds words.
LEAST_WORDS = 32


@dataclass(frozen=True)
class Table:
    """A table as people read it.

    Attributes:
        header: Names of the columns.
        rows: Cells of each row. Leading spaces indent the row.
        words: Indices of the columns that hold words; the others hold numbers and are aligned right.
        title: Text over the table; none if empty.
        notes: Texts under the table.
        paragraphs: Whether each note is a paragraph; otherwise the notes are lines of one block.
        grouped: Whether equal cells of the first column name a group of rows (LaTeX draws a rule between groups).
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    words: Sequence[int] = (0,)
    title: str = ""
    notes: Sequence[str] = ()
    paragraphs: bool = False
    grouped: bool = False


@dataclass(frozen=True)
class Document:
    """Tables that people read, and the same as records for programs.

    Attributes:
        tables: Tables for the terminal, Markdown and LaTeX.
        records: Rows of the CSV file, in plain units, all with the same columns.
        columns: Names of these columns; those of the first record if empty.
        data: Value of the JSON output; the records if None.
        bare: Whether Markdown holds the tables alone, without titles and notes.
    """

    tables: Sequence[Table]
    records: Sequence[Mapping[str, Any]]
    columns: Sequence[str] = ()
    data: Any = None
    bare: bool = False


def render(document: Document, format: str) -> str:
    r"""Return a document as text, without a line break at its end.

    Args:
        document: What to write.
        format: ``table`` (for the terminal), ``markdown``, ``latex``, ``csv`` or ``json``.

    Raises:
        ValueError: The format is none of these.

    >>> squares = Document([Table(["n", "square"], [["two", 4]])], [{"n": "two", "square": 4}])
    >>> print(render(squares, "markdown"))
    | n | square |
    | --- | ---: |
    | two | 4 |
    >>> render(squares, "csv")
    'n,square\ntwo,4'
    """
    if format == "json":
        data = [dict(record) for record in document.records] if document.data is None else document.data
        return json.dumps(data, indent=1)
    if format == "csv":
        columns = document.columns or list(document.records[0])
        return csv_text(columns, ([_single(record[name]) for name in columns] for record in document.records))
    if format == "table":
        return "\n\n".join(_terminal_block(table) for table in document.tables)
    if format == "markdown":
        return "\n\n".join(_markdown_block(table, document.bare) for table in document.tables)
    if format == "latex":
        return "\n\n".join(map(latex_table, document.tables))
    raise ValueError(f"unknown format {format!r}")


def _single(value: Any) -> Any:
    """Return a value for one cell of CSV: numbers of a list between spaces, its words between semicolons."""
    if not isinstance(value, list):
        return value
    return "; ".join(value) if value and isinstance(value[0], str) else " ".join(f"{number:.6g}" for number in value)


def _terminal_block(table: Table) -> str:
    grid = terminal_table(table.header, table.rows, table.words)
    notes = ("\n\n" if table.paragraphs else "\n").join(table.notes)
    return "\n\n".join(filter(None, (table.title, grid, notes)))


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[int]) -> str:
    """Return a table for the terminal, whose last column is folded to fit; in a pipe, each row is one line.

    No other column is cut: in a window too narrow for them, lines run over its edge.

    Args:
        header: Names of the columns.
        rows: Cells of each row.
        left: Indices of the columns that hold words; the others are aligned right.
    """
    from rich.console import Console
    from rich.table import Table as RichTable

    table = RichTable(*(f"[bold]{name}" for name in header), box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        column.justify = "left" if index in left else "right"
        column.no_wrap = index < len(header) - 1
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(str(cell).replace("[", r"\[") for cell in row))
    console = Console()
    columns = list(zip(header, *rows, strict=True))[:-1]
    needed = sum(2 + max(len(str(cell)) for cell in column) for column in columns) + LEAST_WORDS
    console.width = max(console.width, needed) if sys.stdout.isatty() else PIPE_WIDTH
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def _markdown_block(table: Table, bare: bool) -> str:
    rows = [[_markdown_cell(str(cell)) for cell in row] for row in table.rows]
    grid = markdown_table(table.header, rows, table.words)
    if bare:
        return grid
    title = f"**{_markdown_text(table.title)}**" if table.title else ""
    notes = "\n\n".join(table.notes) if table.paragraphs else "\n".join(f"- {note}" for note in table.notes)
    return "\n\n".join(filter(None, (title, grid, notes)))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[int]) -> str:
    """Return a Markdown table; arguments as for :func:`terminal_table`."""
    rule = ["---" if index in left else "---:" for index in range(len(header))]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in (header, rule, *rows)
    )


def _markdown_cell(text: str) -> str:
    """Keep indents and ``<``, which Markdown would swallow."""
    bare = text.lstrip(" ")
    return "&nbsp;" * (len(text) - len(bare)) + bare.replace("<", "&lt;")


def _markdown_text(text: str) -> str:
    """Escape plain text for Markdown."""
    return re.sub(r"([\\*_`])", r"\\\1", text).replace("<", "&lt;")


def latex_table(table: Table) -> str:
    """Return a ``table`` environment for the package booktabs, with the notes under it."""
    columns = "".join("l" if index in table.words else "r" for index in range(len(table.header)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_text, table.header)) + r" \\",
        *_latex_rows(table),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    lines += [r"\par\smallskip\footnotesize " + latex_text(note) for note in table.notes]
    return "\n".join([*lines, r"\end{table}"])


def _latex_rows(table: Table) -> Iterator[str]:
    group: object = None
    for row in table.rows:
        begins = row[0] != group
        if group is None or (table.grouped and begins):
            yield r"\midrule"
        cells = row if begins or not table.grouped else ["", *row[1:]]
        group = row[0]
        yield " & ".join(_latex_cell(str(cell)) for cell in cells) + r" \\"


def _latex_cell(cell: str) -> str:
    """Escape a cell; numbers take LaTeX's minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", latex_text(cell))


_ESCAPED = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "|": r"\textbar{}",
    "'": r"\textquotesingle{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_text(text: str) -> str:
    r"""Escape plain text for LaTeX.

    >>> print(latex_text("branch_ratio 1/8, 50 %"))
    branch\_ratio 1/8, 50 \%
    """
    escaped = "".join(_ESCAPED.get(c, c) for c in text)
    return escaped.replace("<", r"$<$").replace(">", r"$>$").replace("--", "-{}-")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return lines of comma-separated values; None becomes an empty value."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue().rstrip("\n")
