"""One renderer of tables: for the terminal, Markdown, CSV and JSON."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, fields
from typing import Any

#: Characters per line where stdout is no terminal: enough that no row is folded.
PIPE_WIDTH = 1000
#: Minimum width in characters of the last column, which holds words.
LEAST_WORDS = 32


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[int]) -> str:
    """Columns for the terminal, folded to its width in the last one; in a pipe, a line per row.

    No other column is ever cut: in a window too narrow for them, lines run over its edge.

    Args:
        header: names of the columns.
        rows: their cells.
        left: indices of columns of words; the others are numbers, set to the right.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(*(f"[bold]{name}" for name in header), box=None, pad_edge=False)
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


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[int]) -> str:
    """The same as a Markdown table."""
    rule = ["---" if index in left else "---:" for index in range(len(header))]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in (header, rule, *rows)
    )


def records_as(
    format: str, records: Sequence[Any], title: str, header: Sequence[str], cells: Sequence[Sequence[object]]
) -> str:
    """Dataclasses of one kind: their fields as ``json`` or ``csv``, what people read as ``table`` or ``markdown``.

    Args:
        format: one of the four.
        records: at least one.
        title: over the table.
        header: names of the columns that people read.
        cells: their rows; the first column holds words.
    """
    if format == "json":
        return json.dumps([asdict(record) for record in records], indent=1)
    if format == "csv":
        return csv_text([field.name for field in fields(records[0])], map(astuple, records))
    if format == "markdown":
        return markdown_table(header, cells, left=(0,))
    return "\n".join([title, "", terminal_table(header, cells, left=(0,))])


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lines of comma-separated values; None is empty."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue().rstrip("\n")
