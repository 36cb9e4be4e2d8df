"""An ablation as tables: for the terminal, Markdown, LaTeX, CSV, JSON; notes under the first say how it was made."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from archsearch.ablation.analysis import Report
from archsearch.ablation.interactions import Interaction
from archsearch.ablation.notes import notes
from archsearch.ablation.rows import rows
from archsearch.ablation.statistics import Comparison
from archsearch.ablation.variants import SPEEDS
from archsearch.stats.paired import Mean
from archsearch.utils.tables import Document, Table

#: A column: its name, and the text of a network's cell.
Column = tuple[str, Callable[[dict[str, Any], Comparison], str]]
#: Columns of words.
WORDS = ("factor", "variant", "verdict", "note")


def ablation_document(report: Report) -> Document:
    """Return the tables with their notes, and the rows.

    The JSON value has the outcome, which ``ablate --from`` reads, and its statistics.
    """
    first, *others = tables(report)
    return Document([replace(first, notes=notes(report)), *others], rows(report), data=_data(report))


def _data(report: Report) -> dict[str, Any]:
    return report.outcome.to_dict() | {
        "interval": report.method,
        "rows": rows(report),
        "small_maps": report.small_maps.to_dict(),
        "judgements": [asdict(verdict) for verdict in report.verdicts],
        "interactions": [
            {"pair": i.result.name, **asdict(i.excess), "p_holm": i.p_holm, "seeds": i.seeds}
            for i in report.interactions
        ],
        "main_effects": [{"value": e.name, **asdict(e.effect), "p_holm": e.p_holm} for e in report.effects],
    }


def tables(report: Report) -> Iterator[Table]:
    """Yield all tables that people read, without columns that are empty."""
    yield _networks(report)
    if report.verdicts:
        yield _verdicts(report)
    if report.effects:
        cells = [[e.name, _points(e.effect), _p(e.p_holm)] for e in report.effects]
        title = "Main effects: points, averaged over all choices of the other factors"
        yield Table(["value", "effect", "p"], cells, title=title)
    if report.interactions:
        yield _interactions(report)
    if report.outcome.importance:
        yield _importance(report)


def _networks(report: Report) -> Table:
    table = list(zip(rows(report), report.comparisons, strict=True))
    columns = _columns(report)
    cells = [[cell(row, comparison) for _, cell in columns] for row, comparison in table]
    keep = [i for i in range(len(columns)) if i == 1 or any(row[i] not in ("", "-") for row in cells)]
    header = [columns[i][0] for i in keep]
    return Table(
        header,
        [[row[i] for i in keep] for row in cells],
        words=tuple(place for place, name in enumerate(header) if name in WORDS),
        title=report.outcome.title,
        grouped=header[0] == "factor",
    )


def _columns(report: Report) -> list[Column]:
    speeds = [s for s in SPEEDS if any(s in c.result.speeds for c in report.comparisons)]
    return [
        ("factor", lambda r, c: r["factor"]),
        ("variant", lambda r, c: r["variant"]),
        ("params (M)", lambda r, c: _size(r["params"], 1e-6)),
        ("MACs (G)", lambda r, c: _size(r["macs"], 1e-9)),
        *(column for speed in speeds for column in _speed_columns(speed, report.outcome.form_of(speed))),
        ("trained top-1 (%)", lambda r, c: _share(r)),
        ("top-1 (%)", lambda r, c: _percent(c.accuracy)),
        ("sd", lambda r, c: _number(r["top1_sd"], 1)),
        ("paper top-1", lambda r, c: _number(r["top1_paper"], 1)),
        ("difference", lambda r, c: _points(c.difference)),
        ("p", lambda r, c: _p(c.p_holm)),
        ("paper difference", lambda r, c: "-" if c.paper is None or c.difference is None else f"{c.paper:+.1f}"),
        ("seeds needed", lambda r, c: _number(r["seeds_needed"], 0)),
        ("verdict", lambda r, c: c.verdict),
        ("note", lambda r, c: r["note"]),
    ]


def _speed_columns(speed: str, form: str) -> Iterator[Column]:
    yield (
        f"{speed} (img/s)" + ("" if form == "train" else f", {form} form"),
        lambda r, c: _throughput(r[f"{speed}_img_s"]),
    )
    yield f"{speed} ratio", lambda r, c: _number(r[f"{speed}_ratio"], 2)
    yield f"paper {speed} ratio", lambda r, c: _number(r[f"{speed}_ratio_paper"], 2)


def _verdicts(report: Report) -> Table:
    cells = [[v.factor, v.sign, _agreement(v.signs), v.order, _agreement(v.orders)] for v in report.verdicts]
    header = ["factor", "sign", "variants", "order", "pairs"]
    return Table(header, cells, words=range(5), title="Agreement with the paper")


def _agreement(counts: tuple[int, int, int]) -> str:
    right, decided, all_of_them = counts
    return f"{right} of {decided} agree, {all_of_them - decided} cannot tell"


def _interactions(report: Report) -> Table:
    cells = [
        [i.result.name, _number(_mean_accuracy(i), 1), _points(i.excess), _p(i.p_holm), str(len(i.seeds))]
        for i in report.interactions
    ]
    header = ["pair", "top-1 (%)", "interaction", "p", "seeds"]
    return Table(header, cells, title="Interactions of pairs: points beyond the sum of both effects")


def _mean_accuracy(interaction: Interaction) -> float:
    accuracies = interaction.result.accuracies
    return 100 * sum(accuracies[seed] for seed in interaction.seeds) / len(interaction.seeds)


def _importance(report: Report) -> Table:
    cells = []
    for axis in report.outcome.importance["axes"]:
        own = [c for c in report.comparisons if axis["axis"] in c.result.changes and c.difference]
        largest = max(own, key=lambda c: abs(c.difference.mean) if c.difference else 0, default=None)
        text = f"{largest.result.name}: {_points(largest.difference)}" if largest else "-"
        cells.append([axis["axis"], f"{axis['share']:.2f} ({axis['low']:.2f} to {axis['high']:.2f})", text])
    title = f"Importance in the search {report.outcome.importance['study']} (fANOVA), beside this ablation"
    return Table(["axis", "share of variance", "largest difference here"], cells, words=(0, 2), title=title)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _size(value: float | None, scale: float) -> str:
    """Format a count as the paper does, and small ones with two digits."""
    return "-" if value is None else f"{value * scale:.1f}" if value * scale >= 0.95 else f"{value * scale:.2g}"


def _throughput(value: float | None) -> str:
    return "-" if value is None else f"{value:.{0 if value >= 100 else 1}f}"


def _share(row: dict[str, Any]) -> str:
    if row["trained_top1"] is None:
        return "-"
    return f"{row['trained_top1']:.1f} ({row['trained_top1_low']:.1f} to {row['trained_top1_high']:.1f})"


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _percent(found: Mean | None) -> str:
    return "-" if found is None else _with_interval(found, "")


def _points(found: Mean | None) -> str:
    return "-" if found is None else _with_interval(found, "+")


def _with_interval(found: Mean, sign: str) -> str:
    text = f"{found.mean:{sign}.1f}"
    return text if found.low is None else f"{text} ({found.low:{sign}.1f} to {found.high:{sign}.1f})"
