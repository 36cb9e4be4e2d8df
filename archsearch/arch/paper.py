"""Rows of the paper's tables, each with the network that it is about.

Source: Yu, Zhou, Yan and Wang, *InceptionNeXt: When Inception Meets ConvNeXt*, CVPR 2024,
Tables 1, 3, 4, 5 and 8; the files are in ``studies/paper``.
"""

import csv
from dataclasses import dataclass
from functools import cache

from archsearch.utils.package_data import shipped

TABLES = ("1", "3", "4", "5", "8")


@dataclass(frozen=True)
class Published:
    """One row of a table.

    Attributes:
        table: Number of the table.
        network: Name of the network in archsearch, or ``timm:NAME``.
        row: Name of the row in the paper.
        figures: Other columns by name, as printed: ``params_m``, ``macs_g``, ``top1``, ...
    """

    table: str
    network: str
    row: str
    figures: dict[str, str]


@cache
def rows(table: str) -> tuple[Published, ...]:
    """Return all rows of a table in the paper's order."""
    path = shipped("studies") / "paper" / f"table{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(Published(table, row.pop("network"), row.pop("row"), row) for row in csv.DictReader(file))


def published(network: str) -> tuple[Published, ...]:
    """Return every row about a network.

    >>> [(row.table, row.figures["top1"]) for row in published("convnext_tiny")]
    [('1', '82.1'), ('4', '82.1')]
    """
    return tuple(row for table in TABLES for row in rows(table) if row.network == network)
