"""A fidelity report as a table."""

from dataclasses import asdict

import numpy as np

from archsearch.fidelity.verdicts import FidelityReport, ScoreLine
from archsearch.stats.agreement import Estimate
from archsearch.utils.tables import Document, Table

HEADER = (
    "score",
    "tau",
    "95 %",
    "rho",
    "95 %",
    "tau in bins",
    "95 %",
    "lead",
    "95 %",
    "top 10 %",
    "regret",
    "95 %",
    "worst",
    "retest",
    "vs best",
    "95 %",
    "seconds",
    "of machine",
    "verdict",
)


def _cells(line: ScoreLine) -> list[str]:
    found = line.agreement
    cells: list[str] = [line.name]
    for estimate in (found.tau, found.rho, found.within):
        cells += [f"{estimate.value:.2f}", f"{estimate.low:.2f} to {estimate.high:.2f}"]
    cells += [*_signed(line.lead), f"{found.recall:.0%}"]
    cells += [f"{100 * found.regret.value:.1f}", f"{100 * found.regret.low:.1f} to {100 * found.regret.high:.1f}"]
    cells += [f"{100 * found.worst_regret:.1f}", _or_dash(line.retest, 2), *_signed(line.behind)]
    return [*cells, _or_dash(line.seconds, 1), _or_dash(line.machine_seconds, 1), line.verdict]


def _signed(difference: Estimate | None) -> list[str]:
    if difference is None:
        return ["-", "-"]
    return [f"{difference.value:+.2f}", f"{difference.low:+.2f} to {difference.high:+.2f}"]


def _or_dash(value: float | None, digits: int) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _notes(report: FidelityReport) -> list[str]:
    again = f"tau between its own seeds {report.reference_retest:.2f}"
    if not np.isfinite(report.reference_retest):
        again = "one seed, so that its own noise is not known"
    notes = [
        f"{report.archs} architectures. Truth: {_truth(report)} by the reference, judged on "
        f"{report.truth}; {again}, {report.reference_seconds:.0f} s per training.",
        "tau: Kendall's tau-b of one training with the mean of the reference's seeds; intervals: bootstrap over "
        "architectures; in bins: pairs of the same third of the MACs; lead: tau in bins less that of the best score "
        "without training, by a paired bootstrap that chooses it anew in every resample; top 10 %: recall; regret: "
        "points of reference accuracy lost by choosing at every MACs budget, mean and worst; retest: tau between two "
        "of the schedule's seeds, which is about the most that one noisy training can reach; vs best: tau less that of "
        f"{report.best}, which is the highest here, by a paired bootstrap; by loss: ranked by the cross-entropy on the "
        "validation images instead of the accuracy; seconds: of one training, or of as many as "
        f"the mean takes; of machine: seconds of the whole machine per candidate, {_taken(report)}.",
    ]
    if not report.disjoint:
        notes.append("Reference and schedules share seeds, as in older versions, which may lend them agreement.")
    notes += [f"{schedule}: {what}." for schedule, what in report.left_out.items()]
    for schedule, found in report.biases.items():
        shifts = [f"{s.trait} {s.places:+.1f} places ({s.count} of them, chance {s.chance:.3f})" for s in found]
        if shifts:
            notes.append(f"{schedule} overrates (+) or underrates (-): {'; '.join(shifts)}.")
    if not any(report.biases.values()):
        notes.append("No choice of an axis was found to be over- or underrated beyond what chance explains.")
    for line in report.paper:
        again = f", between own seeds {line.retest:.2f}" if np.isfinite(line.retest) else ""
        notes.append(
            f"{line.schedule} (mean of seeds) against the paper's Table {line.table} ({line.rows} rows): "
            f"tau {line.tau:.2f} ({line.low:.2f} to {line.high:.2f}){again}. Proxy and paper top-1: "
            + ", ".join(f"{name} {ours:.1f} ({printed:.1f})" for name, ours, printed in line.order)
            + "."
        )
    return notes


def _truth(report: FidelityReport) -> str:
    return "one training" if report.reference_seeds == 1 else f"mean of {report.reference_seeds} trainings"


def _taken(report: FidelityReport) -> str:
    """How the seconds were taken, in words."""
    return " or ".join(report.conditions) or "not known, as the records do not say how many trained at a time"


def agreement_table(report: FidelityReport) -> Document:
    """Return a row per score, rounded for people, unrounded for CSV; as JSON everything, undefined values as null."""
    table = Table(
        HEADER,
        [_cells(line) for line in report.lines],
        words=(0, len(HEADER) - 1),
        notes=_notes(report),
        paragraphs=True,
    )
    return Document([table], [_flat(line) for line in report.lines], data=_finite(_data(report)))


def _data(report: FidelityReport) -> dict[str, object]:
    """Everything in a report; in ``paper``, a schedule's key is ``rung``, as in earlier versions."""
    paper = [{"rung": line.schedule, **asdict(line)} for line in report.paper]
    return asdict(report) | {"paper": [{k: v for k, v in line.items() if k != "schedule"} for line in paper]}


def _flat(line: ScoreLine) -> dict[str, object]:
    found = line.agreement
    flat: dict[str, object] = {"score": line.name, "archs": line.archs}
    for name in ("tau", "rho", "within"):
        flat |= _ends(name, getattr(found, name))
    flat |= _ends("lead", line.lead) | {f"bin{i}": tau for i, tau in enumerate(found.bins, 1)}
    flat |= {"top10_recall": found.recall, **_ends("regret", found.regret), "worst_regret": found.worst_regret}
    flat |= {"retest": line.retest, **_ends("behind", line.behind), "trainings": line.trainings}
    return flat | {"seconds": line.seconds, "machine_seconds": line.machine_seconds, "verdict": line.verdict}


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    ends = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
