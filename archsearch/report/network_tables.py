"""Tables of a network's parts and of the audit of its counts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from archsearch.arch import Arch
from archsearch.arch.paper import Published
from archsearch.complexity.padding import StagePadding, mean_share, stage_padding
from archsearch.complexity.small_maps_words import percent
from archsearch.utils.tables import Document, Table

if TYPE_CHECKING:
    from archsearch.complexity.audit import Operator
    from archsearch.complexity.breakdown import Breakdown, Part
    from archsearch.complexity.counts import Complexity

#: Name of the parts that mix tokens, in our own networks.
MIXING = "token mixer"


@dataclass(frozen=True)
class Description:
    """All that ``describe`` shows of one network.

    Attributes:
        name: Name as the user gave it.
        arch: Architecture of the network; None for one of timm's.
        breakdown: Parts of the network and the audit of its counts.
        published: Rows of the paper about the network.
        form: Form that is shown, of ``archsearch.recipes.FORMS``.
        other: Counts of its other form; None where the network has one form only.
        target: Target whose proxy network it is; None for any other network.
    """

    name: str
    arch: Arch | None
    breakdown: "Breakdown"
    published: Sequence[Published] = ()
    form: str = "train"
    other: "Complexity | None" = None
    target: Arch | None = None

    @property
    def other_form(self) -> str:
        """Form that is not shown."""
        return "deploy" if self.form == "train" else "train"


def description_table(told: Description) -> Document:
    """Return the tree of a network's parts, with the audit of its counts under it.

    CSV holds a line per part in plain units (parameters, multiply-adds, bytes), JSON everything.
    """
    table = Table(*_tree(told), words=(0, 4, 5, 6), title=_title(told), notes=[*_audit(told), *_padding(told)])
    return Document([table], [_part_record(told, part) for part in told.breakdown.parts], data=_data(told), bare=True)


def _part_record(told: Description, part: "Part") -> dict[str, Any]:
    field = part.receptive_field if isinstance(part.receptive_field, str) else _times(part.receptive_field or ())
    return {
        "network": told.name,
        "level": part.level,
        "part": part.name,
        "made_of": part.what,
        "params": part.params,
        "macs": part.macs,
        "bytes_moved": part.bytes_moved,
        "output": _times(part.output),
        "receptive_field": field,
        "form": told.form,
    }


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _data(told: Description) -> dict[str, Any]:
    """Return everything that is known of the network, in plain units."""
    breakdown, arch = told.breakdown, told.arch
    audit = breakdown.audit
    return {
        "network": told.name,
        "img_size": breakdown.img_size,
        "form": told.form,
        "other_form": told.other and {"form": told.other_form, **asdict(told.other)},
        "params": breakdown.params,
        "macs": audit.macs[""],
        "parts": [asdict(part) for part in breakdown.parts],
        "audit": {
            "fvcore_macs": audit.macs[""],
            "flop_counter_macs": audit.flop_counter_macs,
            "skipped_by_fvcore": audit.skipped,
            "bytes_moved": audit.bytes_moved[""],
            "operators": [asdict(operator) for operator in audit.operators],
        },
        "padding": [stage.share for stage in _stages(told.arch)],
        "target_padding": [stage.share for stage in _stages(told.target)],
        "published": [asdict(row) for row in told.published],
        "arch": arch and arch.to_dict(),
        "key": arch and arch.key,
    }


def operators_table(told: Description) -> Document:
    """Return the audit in full, an operator a line; as JSON, everything."""
    rows = [row for row in told.breakdown.audit.operators if _matters(row)]
    audit = told.breakdown.audit
    cells = [
        (row.name, str(row.calls), _seen(row.fvcore_macs), _seen(row.flop_counter_macs), _bytes(row.bytes_moved))
        for row in rows
    ]
    cells.append(("total", "", _count(audit.macs[""]), _count(audit.flop_counter_macs), _bytes(audit.bytes_moved[""])))
    header = ["operator", "calls", "MACs (fvcore)", "MACs (torch)", "moves"]
    table = Table(header, cells, title=_title(told))
    return Document([table], [asdict(row) for row in rows], data=_data(told), bare=True)


def _seen(macs: int | None) -> str:
    return "skipped" if macs is None else _count(macs)


def _matters(row: "Operator") -> bool:
    return bool(row.bytes_moved or row.fvcore_macs or row.name == "split")


def _title(told: Description) -> str:
    side = told.breakdown.img_size
    key = f", key {told.arch.key}" if told.arch else ""
    form = f" in its {told.form} form" if told.other else ""
    lines = [
        f"{told.name}: {told.breakdown.params:,} parameters, "
        f"{told.breakdown.audit.macs[''] / 1e9:.3f} GMACs at {side} x {side} px{form}{key}"
    ]
    if told.arch:
        lines.append(told.arch.outline)
    if told.other:
        more = "; --deploy shows it" if told.form == "train" else ""
        counts = f"{told.other.params:,} parameters, {told.other.macs / 1e9:.3f} GMACs{more}"
        lines.append(f"in its {told.other_form} form: {counts}")
    for row in told.published:
        figures = f"{row.figures['params_m']} M parameters, {row.figures['macs_g']} GMACs"
        top1 = f", {row.figures['top1']} % top-1" if "top1" in row.figures else ""
        printed = row.figures.get("image_size", "224")
        size = f" at {printed} px" if printed != str(side) else ""
        lines.append(f"paper, Table {row.table}, {row.row}: {figures}{size}{top1}")
    return "\n".join(lines)


def _tree(told: Description) -> tuple[list[str], list[list[str]]]:
    header = ["part", "params", "MACs", "moves", "output", "receptive field", "made of"]
    rows = [
        [
            "  " * part.level + part.name,
            f"{part.params:,}",
            _count(part.macs),
            _bytes(part.bytes_moved),
            " x ".join(map(str, part.output)) or "-",
            _field(part),
            part.what,
        ]
        for part in told.breakdown.parts
    ]
    audit = told.breakdown.audit
    total = [f"{told.breakdown.params:,}", _count(audit.macs[""]), _bytes(audit.bytes_moved[""])]
    return header, [*rows, ["total", *total, "", "", ""]]


def _field(part: "Part") -> str:
    if part.receptive_field is None:
        return ""
    if part.receptive_field == "image":
        return "whole map" if part.name == MIXING else "whole image"
    rows, columns = part.receptive_field
    return f"{rows} x {columns} {'of the map' if part.name == MIXING else 'px'}"


def _audit(told: Description) -> list[str]:
    audit = told.breakdown.audit
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
    mixing = [part for part in told.breakdown.parts if part.name == MIXING]
    if mixing:
        moved, macs = sum(part.bytes_moved for part in mixing), sum(part.macs for part in mixing)
        everything = audit.bytes_moved[""]
        lines.append(
            f"token mixers: {macs / fvcore:.1%} of the MACs, {moved / everything:.1%} of the bytes that an image moves "
            f"({_bytes(moved)} of {_bytes(everything)} in float32, if operators read and write their activations once)"
        )
    return lines


def _padding(told: Description) -> Iterator[str]:
    """Yield how many taps of the token mixers see padding, in a network with any; merged branches have others."""
    stages = _stages(told.arch)
    if told.form == "train" and mean_share(stages) is not None:
        target = f"; in the target {percent(_stages(told.target))}" if told.target else ""
        yield f"taps of token mixers that see padding, by stage: {percent(stages)}{target}"


def _stages(arch: Arch | None) -> tuple[StagePadding, ...]:
    return stage_padding(arch) if arch else ()


def _count(value: int | None) -> str:
    """Return multiply-adds with a unit.

    >>> _count(4_194_591_648), _count(3_499_776), _count(0)
    ('4.19 G', '3.50 M', '0')
    """
    return _scaled(value or 0, (("G", 1e9), ("M", 1e6), ("k", 1e3)))


def _bytes(value: int) -> str:
    return _scaled(value, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def _scaled(value: int, units: tuple[tuple[str, float], ...]) -> str:
    for unit, size in units:
        if value >= 0.999995 * size:  # what rounds to a whole unit is shown in it
            return f"{value / size:.2f} {unit}"
    return str(value)


def names_table(networks: Mapping[str, Arch], published: Callable[[str], Sequence[Published]]) -> Document:
    """Return every named network, with its rows of the paper."""
    rows = {name: published(name) for name in networks}
    header = ["network", "in the paper"]
    cells = [(name, "; ".join(f"Table {row.table}: {row.row}" for row in found)) for name, found in rows.items()]
    return Document(
        [Table(header, cells, words=(0, 1))],
        [dict(zip(header, row, strict=True)) for row in cells],
        data=[{"network": name, "published": [asdict(row) for row in found]} for name, found in rows.items()],
        bare=True,
    )
