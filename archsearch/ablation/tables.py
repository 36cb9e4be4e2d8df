"""An ablation as text: for the terminal, Markdown, LaTeX, CSV, JSON; under every table stands how it was made."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.statistics import (
    Comparison,
    Interaction,
    Judgement,
    MainEffect,
    compare,
    interactions,
    judge,
    main_effects,
    typical_deviation,
)
from archsearch.ablation.variants import SPEEDS
from archsearch.arch.networks import NETWORKS
from archsearch.stats.paired import FEWEST_RESAMPLED, Mean, share_interval
from archsearch.utils.tables import csv_text, markdown_table, terminal_table

#: What interval each way of finding one gives, in words.
INTERVALS = {
    "t": "Student's t over seeds",
    "pooled": "Student's t with the noise of all networks together",
    "bootstrap": "bootstrap over seeds",
    "none": "none",
}


@dataclass(frozen=True)
class Report:
    """An ablation and what it says.

    Attributes:
        outcome: of the ablation.
        method: how intervals were found, a key of ``INTERVALS``.
        comparisons: of every network.
        judgements: of every factor against the paper.
        interactions: of pairs, the surest first.
        effects: of single values over a full factorial.
    """

    outcome: Outcome
    method: str
    comparisons: list[Comparison]
    judgements: list[Judgement]
    interactions: list[Interaction]
    effects: list[MainEffect]

    @classmethod
    def of(cls, outcome: Outcome, method: str = "t") -> "Report":
        """Everything that follows from an outcome."""
        method = "t" if method == "bootstrap" and len(outcome.seeds) < FEWEST_RESAMPLED else method
        method = "none" if len(outcome.seeds) < 2 else method
        listed = outcome if outcome.full else replace(outcome, results=outcome.singles)
        comparisons = compare(listed, method)
        return cls(
            outcome,
            method,
            comparisons,
            judge(listed, comparisons, method),
            interactions(outcome, method, outcome.pairs.get("tested")) if outcome.pairs or outcome.full else [],
            main_effects(outcome, method) if outcome.full else [],
        )


@dataclass(frozen=True)
class Section:
    """A table: title, header, cells, columns that hold words, and whether the first one names groups of rows."""

    title: str
    header: list[str]
    cells: list[list[str]]
    left: tuple[int, ...] = (0,)
    grouped: bool = False


def rows(report: Report) -> list[dict[str, Any]]:
    """A row per network, in points and percent, images/s, and counts; what is not known is None."""
    return [_row(report.outcome, comparison) for comparison in report.comparisons]


def _row(outcome: Outcome, c: Comparison) -> dict[str, Any]:
    result, paper = c.result, c.result.paper
    row: dict[str, Any] = {"factor": result.factor, "variant": result.name, "compared_to": result.base}
    row |= {"paper_row": paper.get("row"), "params": result.params, "macs": result.macs}
    for speed in SPEEDS:
        detail = result.speeds.get(speed, {})
        low_high = detail.get("ratio_interval") or (None, None)
        row |= {
            f"{speed}_img_s": detail.get("throughput"),
            f"{speed}_ratio": detail.get("ratio"),
            f"{speed}_ratio_low": low_high[0],
            f"{speed}_ratio_high": low_high[1],
            f"{speed}_ratio_paper": paper_ratio(outcome, result, speed),
        }
    share = share_interval(**_counts(result)) if result.trained else (None, None, None)
    row |= dict(zip(("trained_top1", "trained_top1_low", "trained_top1_high"), share, strict=True))
    row |= {"seeds": c.accuracy.n if c.accuracy else 0} | _estimate("top1", c.accuracy) | {"top1_paper": result.top1}
    row |= _estimate("difference", c.difference) | {"p": c.difference.p if c.difference else None, "p_holm": c.p_holm}
    row |= {"difference_paper": c.paper, "seeds_needed": c.seeds_needed, "verdict": c.verdict or None}
    return row | {"note": _note(result, trained=bool(outcome.seeds))}


def _counts(result: Result) -> dict[str, int]:
    return {name: result.trained[name] for name in ("correct", "images")}


def _estimate(name: str, found: Mean | None) -> dict[str, Any]:
    parts = (None,) * 4 if found is None else (found.mean, found.sd, found.low, found.high)
    return dict(zip((name, f"{name}_sd", f"{name}_low", f"{name}_high"), parts, strict=True))


def paper_ratio(outcome: Outcome, result: Result, speed: str) -> float | None:
    """Images per second over those of the baseline, as the paper prints them."""
    own, base = result.paper.get(speed), outcome.baseline.paper.get(speed)
    return own / base if own and base else None


def _note(result: Result, trained: bool) -> str:
    words = [f"{len(result.errors)} failed: {next(iter(result.errors.values()))}"] if result.errors else []
    if "error" in result.speeds:
        words.append(f"not timed: {result.speeds['error']['error']}")
    if trained and "timm" in result.network:
        words.append("from timm, has no proxy")
    return "; ".join(words)


def sections(report: Report) -> Iterator[Section]:
    """All tables that people read; columns that say nothing here are left out."""
    yield _main(report)
    if report.judgements:
        header = ["factor", "sign", "variants", "order", "pairs"]
        cells = [[j.factor, j.sign, _as_printed(j.signs), j.order, _as_printed(j.orders)] for j in report.judgements]
        yield Section("Against the paper, as far as it can be told", header, cells, (0, 1, 2, 3, 4))
    if report.effects:
        cells = [[e.name, _points(e.effect), _p(e.p_holm)] for e in report.effects]
        yield Section(
            "Main effects: points, averaged over all choices of the other factors", ["value", "effect", "p"], cells
        )
    if report.interactions:
        cells = [
            [i.result.name, _number(_mean(i), 1, 1), _points(i.excess), _p(i.p_holm), str(len(i.seeds))]
            for i in report.interactions
        ]
        header = ["pair", "top-1 (%)", "beyond the sum", "p", "seeds"]
        yield Section("Pairs: points beyond the sum of what both parts do", header, cells)
    if report.outcome.importance:
        yield _importance(report)


def _as_printed(counts: tuple[int, int, int]) -> str:
    right, told, all_of_them = counts
    return f"{right} as printed, of {told} told, of {all_of_them}"


def _mean(interaction: Interaction) -> float:
    accuracies = interaction.result.accuracies
    return 100 * sum(accuracies[seed] for seed in interaction.seeds) / len(interaction.seeds)


def _main(report: Report) -> Section:
    table = list(zip(rows(report), report.comparisons, strict=True))
    columns: list[tuple[str, Callable[[dict[str, Any], Comparison], str]]] = [
        ("factor", lambda r, c: r["factor"]),
        ("variant", lambda r, c: r["variant"]),
        ("params (M)", lambda r, c: _size(r["params"], 1e-6)),
        ("MACs (G)", lambda r, c: _size(r["macs"], 1e-9)),
    ]
    for speed in SPEEDS:
        if any(speed in c.result.speeds for c in report.comparisons):
            columns += _speed_columns(speed)
    columns += [
        ("trained top-1 (%)", lambda r, c: _share(r)),
        ("top-1 (%)", lambda r, c: _percent(c.accuracy)),
        ("sd", lambda r, c: _number(r["top1_sd"], 1, 1)),
        ("paper top-1", lambda r, c: _number(r["top1_paper"], 1, 1)),
        ("difference", lambda r, c: _points(c.difference)),
        ("p", lambda r, c: _p(c.p_holm)),
        ("paper difference", lambda r, c: "-" if c.paper is None or c.difference is None else f"{c.paper:+.1f}"),
        ("seeds needed", lambda r, c: _number(r["seeds_needed"], 1, 0)),
        ("verdict", lambda r, c: c.verdict),
        ("note", lambda r, c: r["note"]),
    ]
    cells = [[cell(row, comparison) for _, cell in columns] for row, comparison in table]
    keep = [i for i in range(len(columns)) if i == 1 or any(row[i] not in ("", "-") for row in cells)]
    words = ("factor", "variant", "verdict", "note")
    header = [columns[i][0] for i in keep]
    return Section(
        report.outcome.title, header, [[row[i] for i in keep] for row in cells],
        tuple(place for place, name in enumerate(header) if name in words), grouped=header[0] == "factor",
    )  # fmt: skip


def _speed_columns(speed: str) -> Iterator[tuple[str, Callable[[dict[str, Any], Comparison], str]]]:
    yield f"{speed} (img/s)", lambda r, c: _throughput(r[f"{speed}_img_s"])
    yield f"{speed} ratio", lambda r, c: _number(r[f"{speed}_ratio"], 1, 2)
    yield f"paper {speed} ratio", lambda r, c: _number(r[f"{speed}_ratio_paper"], 1, 2)


def _importance(report: Report) -> Section:
    axes = report.outcome.importance["axes"]
    cells = []
    for axis in axes:
        own = [c for c in report.comparisons if axis["axis"] in c.result.changes and c.difference]
        largest = max(own, key=lambda c: abs(c.difference.mean) if c.difference else 0, default=None)
        said = f"{largest.result.name}: {_points(largest.difference)}" if largest else "-"
        cells.append([axis["axis"], f"{axis['share']:.2f} ({axis['low']:.2f} to {axis['high']:.2f})", said])
    title = f"Importance in the search {report.outcome.importance['study']} (fANOVA), beside this ablation"
    return Section(title, ["axis", "share of variance", "largest difference here"], cells, (0, 2))


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _size(value: float | None, scale: float) -> str:
    """As the paper prints it; small networks with the digits that they have."""
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


def notes(report: Report) -> list[str]:
    """How to read the tables, and all that it takes to repeat them."""
    outcome, recipe = report.outcome, report.outcome.recipe
    lines = [*_reading(report), *_networks(outcome)]
    if "proxy" in recipe and "data" in recipe:
        lines.append("proxy: " + _fields(recipe["proxy"] | {"trainer": recipe.get("trainer")}))
        data = recipe["data"]
        words = ", ".join(map(str, outcome.seeds)) or "none yet"
        samples = f"{data.get('train_samples')} images, {data.get('val_samples')} to choose by"
        lines.append(f"data: {data.get('name')} ({data.get('fingerprint')}), {samples}; seeds {words}")
    if "bench" in recipe and any(result.speeds for result in outcome.results):
        sizes = {str(d["img_size"]) for r in outcome.results for d in r.speeds.values() if "img_size" in d}
        lines.append("timing: " + _fields(recipe["bench"] | {"img_size": " and ".join(sorted(sizes))}))
    if "device" in recipe:
        environment = recipe.get("environment", {})
        facts = ("torch", "cuda", "cudnn", "timm", "python", "commit")
        versions = [f"{name} {environment[name]}" for name in facts if environment.get(name)]
        lines.append(f"device: {recipe['device']}" + (f"; {', '.join(versions)}" if versions else ""))
    return [*lines, f"command: {outcome.command}"] if outcome.command else lines


def _reading(report: Report) -> Iterator[str]:
    outcome, base = report.outcome, report.outcome.baseline.name
    speeds = any(result.speeds for result in outcome.results)
    if speeds:
        yield f"Parameters, MACs and images/s are the target's; ratio: blocks of {base} and of the variant in turns" + (
            f", and images/s over those of {base} on {outcome.device} in the paper." if outcome.baseline.paper else "."
        )
    if any(result.trained for result in outcome.results):
        yield "Trained top-1 is that of published weights on the images named above; 95 % intervals: Wilson's."
    if not outcome.seeds:
        return
    others = dict.fromkeys(f"{r.factor} to {r.base}" for r in outcome.results if r.base != base)
    compared = f"to {base}" + (f" ({', '.join(others)})" if others else "")
    yield f"Top-1 is that of a proxy after its last epoch, mean over seeds; difference: in points, {compared}, " + (
        f"paired by seed; 95 % intervals: {INTERVALS[report.method]}; p: paired t-test, corrected by Holm for "
        f"{_number_of('comparison', sum(c.p_holm is not None for c in report.comparisons))}."
        if report.method != "none"
        else "paired by seed; no intervals."
    )
    deviation = typical_deviation(outcome if outcome.full else replace(outcome, results=outcome.singles))
    if deviation:
        needed = any(c.seeds_needed for c in report.comparisons)
        yield f"A difference deviates by {deviation:.2f} points from seed to seed" + (
            "; seeds needed: to find the paper's difference in that by a test of its own, with a probability of 0.8."
            if needed
            else "."
        )
    yield from _pairs(outcome)


def _number_of(what: str, number: int) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _networks(outcome: Outcome) -> Iterator[str]:
    """What the names stand for, where it takes more than the names."""
    base = outcome.baseline
    if base.name not in NETWORKS and "arch" in base.network:
        yield f"{base.name}: {json.dumps(base.network['arch'])}"
    changes = [f"{r.name}: {_fields(dict(r.changes))}" for r in outcome.singles if r.changes]
    if changes:
        yield "changes: " + "; ".join(changes)


def _pairs(outcome: Outcome) -> Iterator[str]:
    screened, tested = (outcome.pairs.get(stage, []) for stage in ("screened", "tested"))
    names = [result for result in outcome.results if len(result.parts) == 2]
    if screened:
        seeds = ", ".join(map(str, screened))
        words = f"{_number_of('pair', len(names))} of the largest effects were trained with seeds {seeds}; "
        yield words + f"those farthest from the sum were then tested with seeds {', '.join(map(str, tested))} alone."


def _fields(recipe: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in recipe.items()
    )


def as_table(report: Report) -> str:
    """For the terminal."""
    parts = [f"{s.title}\n\n{terminal_table(s.header, s.cells, s.left)}" for s in sections(report)]
    return "\n\n".join([parts[0], "\n".join(notes(report)), *parts[1:]])


def as_markdown(report: Report) -> str:
    """Markdown tables of the same."""
    first, *others = [f"**{_marked(s.title)}**\n\n{_markdown(s)}" for s in sections(report)]
    return "\n\n".join([first, "\n".join(f"- {line}" for line in notes(report)), *others])


def _marked(text: str) -> str:
    """Plain text for Markdown."""
    return re.sub(r"([\\*_`])", r"\\\1", text).replace("<", "&lt;")


def _markdown(section: Section) -> str:
    cells = [[cell.replace("<", "&lt;") for cell in row] for row in section.cells]
    return markdown_table(section.header, cells, section.left)


def as_latex(report: Report) -> str:
    """Tables for the package booktabs, with the recipe under the first."""
    return "\n\n".join(_latex(section, notes(report) if i == 0 else []) for i, section in enumerate(sections(report)))


_ESCAPED = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "|": r"\textbar{}",
    "'": r"\textquotesingle{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_text(text: str) -> str:
    r"""Plain text for LaTeX.

    >>> print(latex_text("branch_ratio 1/8, 50 %"))
    branch\_ratio 1/8, 50 \%
    """
    escaped = "".join(_ESCAPED.get(c, c) for c in text)
    return escaped.replace("<", r"$<$").replace(">", r"$>$").replace("--", "-{}-")


def _latex(section: Section, under: Sequence[str]) -> str:
    columns = "".join("l" if i in section.left else "r" for i in range(len(section.header)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(section.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_text, section.header)) + r" \\",
    ]
    group: str | None = None
    for row in section.cells:
        begins = row[0] != group
        if group is None or (section.grouped and begins):
            lines.append(r"\midrule")
        cells = row if begins or not section.grouped else ["", *row[1:]]
        group = row[0]
        lines.append(" & ".join(map(_latex_cell, cells)) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [r"\par\smallskip\footnotesize " + latex_text(line) for line in under]
    return "\n".join([*lines, r"\end{table}"])


def _latex_cell(cell: str) -> str:
    """Numbers take LaTeX's minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", latex_text(cell))


def as_csv(report: Report) -> str:
    """All columns of the first table."""
    flat = rows(report)
    return csv_text(list(flat[0]), (list(row.values()) for row in flat))


def as_json(report: Report) -> str:
    """The outcome, which ``ablate --from`` reads, and what follows from it."""
    told = {
        "interval": report.method,
        "rows": rows(report),
        "judgements": [asdict(judgement) for judgement in report.judgements],
        "interactions": [
            {"pair": i.result.name, **asdict(i.excess), "p_holm": i.p_holm, "seeds": i.seeds}
            for i in report.interactions
        ],
        "main_effects": [{"value": e.name, **asdict(e.effect), "p_holm": e.p_holm} for e in report.effects],
    }
    return json.dumps(report.outcome.to_dict() | told, indent=1)


#: Output formats by name.
FORMATS: dict[str, Callable[[Report], str]] = {
    "table": as_table,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "json": as_json,
}
