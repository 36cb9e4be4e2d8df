"""A network's parts and the audit of its counts, as text."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from archsearch.arch import Arch
from archsearch.arch.paper import Published
from archsearch.utils.tables import csv_text, markdown_table, records_as, terminal_table

if TYPE_CHECKING:
    from archsearch.complexity.anatomy import Anatomy, Part
    from archsearch.complexity.audit import Operator

#: Names that the parts which mix tokens end with, in our own networks.
MIXING = "token mixer"


@dataclass(frozen=True)
class Description:
    """Everything that ``describe`` tells of one network.

    Attributes:
        name: as the user gave it.
        arch: its architecture; None for one of timm's.
        anatomy: its parts and the audit.
        published: rows of the paper about it.
    """

    name: str
    arch: Arch | None
    anatomy: "Anatomy"
    published: Sequence[Published]


def as_table(told: Description) -> str:
    """For the terminal: the tree, then what the audit found."""
    header, rows = _tree(told, indent="  ")
    return "\n".join([*_title(told), "", terminal_table(header, rows, left=(0, 4, 5, 6)), "", *_audit(told)])


def as_markdown(told: Description) -> str:
    """The tree as a Markdown table."""
    header, rows = _tree(told, indent="&nbsp;&nbsp;")
    return markdown_table(header, rows, left=(0, 4, 5, 6))


def as_csv(told: Description) -> str:
    """A line per part, in plain units: parameters, multiply-adds, bytes."""
    header = ["network", "level", "part", "made_of", "params", "macs", "bytes_moved", "output", "receptive_field"]
    rows = []
    for part in told.anatomy.parts:
        field = part.receptive_field if isinstance(part.receptive_field, str) else _times(part.receptive_field or ())
        counts = (part.params, part.macs, part.bytes_moved)
        rows.append((told.name, part.level, part.name, part.what, *counts, _times(part.output), field))
    return csv_text(header, rows)


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def as_json(told: Description) -> str:
    """Everything, in plain units."""
    anatomy, arch = told.anatomy, told.arch
    audit = anatomy.audit
    data = {
        "network": told.name,
        "img_size": anatomy.img_size,
        "params": anatomy.params,
        "macs": audit.macs[""],
        "parts": [asdict(part) for part in anatomy.parts],
        "audit": {
            "fvcore_macs": audit.macs[""],
            "flop_counter_macs": audit.flop_counter_macs,
            "skipped_by_fvcore": audit.skipped,
            "bytes_moved": audit.bytes_moved[""],
            "operators": [asdict(operator) for operator in audit.operators],
        },
        "published": [asdict(row) for row in told.published],
        "arch": arch and arch.to_dict(),
        "key": arch and arch.key,
    }
    return json.dumps(data, indent=1)


#: Output formats by name.
FORMATS: dict[str, Callable[[Description], str]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
    "markdown": as_markdown,
}


def operators_as(format: str, told: Description) -> str:
    """The audit in full, an operator a line; as JSON, everything."""
    if format == "json":
        return as_json(told)
    rows = [row for row in told.anatomy.audit.operators if _matters(row)]
    audit = told.anatomy.audit
    cells = [
        (row.name, str(row.calls), _seen(row.fvcore_macs), _seen(row.flop_counter_macs), _bytes(row.bytes_moved))
        for row in rows
    ]
    cells.append(("total", "", _count(audit.macs[""]), _count(audit.flop_counter_macs), _bytes(audit.bytes_moved[""])))
    header = ["operator", "calls", "MACs (fvcore)", "MACs (torch)", "moves"]
    return records_as(format, rows, "\n".join(_title(told)), header, cells)


def _seen(macs: int | None) -> str:
    return "skipped" if macs is None else _count(macs)


def _matters(row: "Operator") -> bool:
    return bool(row.bytes_moved or row.fvcore_macs or row.name == "split")


def _title(told: Description) -> list[str]:
    side = told.anatomy.img_size
    key = f", key {told.arch.key}" if told.arch else ""
    lines = [
        f"{told.name}: {told.anatomy.params:,} parameters, "
        f"{told.anatomy.audit.macs[''] / 1e9:.3f} GMACs at {side} x {side} px{key}"
    ]
    for row in told.published:
        figures = f"{row.figures['params_m']} M parameters, {row.figures['macs_g']} GMACs"
        top1 = f", {row.figures['top1']} % top-1" if "top1" in row.figures else ""
        printed = row.figures.get("image_size", "224")
        size = f" at {printed} px" if printed != str(side) else ""
        lines.append(f"paper, Table {row.table}, {row.row}: {figures}{size}{top1}")
    return lines


def _tree(told: Description, indent: str) -> tuple[list[str], list[list[str]]]:
    header = ["part", "params", "MACs", "moves", "output", "receptive field", "made of"]
    rows = [
        [
            indent * part.level + part.name,
            f"{part.params:,}",
            _count(part.macs),
            _bytes(part.bytes_moved),
            " x ".join(map(str, part.output)) or "-",
            _field(part),
            part.what,
        ]
        for part in told.anatomy.parts
    ]
    audit = told.anatomy.audit
    total = [f"{told.anatomy.params:,}", _count(audit.macs[""]), _bytes(audit.bytes_moved[""])]
    return header, [*rows, ["total", *total, "", "", ""]]


def _field(part: "Part") -> str:
    if part.receptive_field is None:
        return ""
    if part.receptive_field == "image":
        return "whole map" if part.name == MIXING else "whole image"
    rows, columns = part.receptive_field
    return f"{rows} x {columns} {'of the map' if part.name == MIXING else 'px'}"


def _audit(told: Description) -> list[str]:
    audit = told.anatomy.audit
    fvcore, torch_ = audit.macs[""], audit.flop_counter_macs
    extra = [row for row in audit.operators if row.fvcore_macs is not None and row.flop_counter_macs is None]
    norms = ", ".join(f"{row.name} {_count(row.fvcore_macs)}" for row in extra if row.fvcore_macs)
    lines = [
        f"MACs: {fvcore / 1e9:.3f} G by fvcore, {torch_ / 1e9:.3f} G by torch.utils.flop_counter"
        + (f"; only fvcore counts {norms}" if norms else ""),
        f"skipped by fvcore: {', '.join(audit.skipped) or 'nothing'}",
    ]
    lines += [
        f"the counters disagree on {row.name}: fvcore {_seen(row.fvcore_macs)}, torch {_count(row.flop_counter_macs)}"
        for row in audit.operators
        if row.flop_counter_macs and row.flop_counter_macs != row.fvcore_macs
    ]
    mixing = [part for part in told.anatomy.parts if part.name == MIXING]
    if mixing:
        moved, macs = sum(part.bytes_moved for part in mixing), sum(part.macs for part in mixing)
        everything = audit.bytes_moved[""]
        lines.append(
            f"token mixers: {macs / fvcore:.1%} of the MACs, {moved / everything:.1%} of the bytes that an image moves "
            f"({_bytes(moved)} of {_bytes(everything)} in float32, if operators read and write their activations once)"
        )
    return lines


def _count(value: int | None) -> str:
    """Multiply-adds with a unit.

    >>> _count(4_194_591_648), _count(3_499_776), _count(0)
    ('4.19 G', '3.50 M', '0')
    """
    return _scaled(value or 0, (("G", 1e9), ("M", 1e6), ("k", 1e3)))


def _bytes(value: int) -> str:
    return _scaled(value, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def _scaled(value: int, units: tuple[tuple[str, float], ...]) -> str:
    for unit, size in units:
        if value >= 0.999995 * size:  # what rounds to a whole unit is one
            return f"{value / size:.2f} {unit}"
    return str(value)


def names_as(format: str, networks: Mapping[str, Arch], published: Callable[[str], Sequence[Published]]) -> str:
    """Every named network, with its rows of the paper."""
    header = ["network", "in the paper"]
    rows = [(name, "; ".join(f"Table {row.table}: {row.row}" for row in published(name))) for name in networks]
    if format == "json":
        return json.dumps(
            [{"network": name, "published": [asdict(row) for row in published(name)]} for name in networks]
        )
    if format == "csv":
        return csv_text(header, rows)
    return (terminal_table if format == "table" else markdown_table)(header, rows, left=(0, 1))
