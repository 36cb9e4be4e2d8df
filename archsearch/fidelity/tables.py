"""How far rungs agree with the reference and with the paper: records of trainings to a table and its verdicts."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from archsearch.errors import DataError
from archsearch.fidelity.plan import FEWEST, REFERENCE
from archsearch.stats.agreement import Agreement, Estimate, Shift, agreement, rank_shifts, retest
from archsearch.utils.tables import Document, Table

NEEDED = ("network", "table", "rung", "seed", "accuracy", "seconds", "top1", "macs", "params")
#: Scores that cost no training, from records' columns.
BASELINES = {"params": "number of parameters", "macs": "MACs", "synflow": "synflow", "naswot": "NASWOT"}
#: A ranking is trusted where the lower end of tau's interval is above the first; above the second it narrows the field.
TRUSTED, ROUGH = 0.55, 0.3


@dataclass(frozen=True)
class Line:
    """A rung, or a score without training.

    Attributes:
        name: of the rung or score.
        archs: architectures that it is judged by.
        seconds: median of a training; None for a score without.
        retest: tau between its own seeds; None likewise, NaN where there is but one.
        agreement: with the reference.
        verdict: in words.
    """

    name: str
    archs: int
    seconds: float | None
    retest: float | None
    agreement: Agreement
    verdict: str


@dataclass(frozen=True)
class PaperLine:
    """A rung against a table of the paper.

    Attributes:
        rung: its name.
        table: its number.
        rows: how many were trained.
        tau: between the mean proxy accuracy and the printed top-1.
        low: of a bootstrap interval over rows.
        high: likewise.
        retest: tau between the rung's own seeds.
        order: networks, best proxy first, with proxy and paper top-1 in percent.
    """

    rung: str
    table: str
    rows: int
    tau: float
    low: float
    high: float
    retest: float
    order: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Report:
    """All that the records say.

    Attributes:
        archs: architectures that finished the reference with every seed.
        left_out: by rung, how many of them did not finish it, and why.
        reference_retest: tau between the reference's own seeds; NaN where there is but one.
        reference_seconds: median of one of its trainings.
        lines: rungs, then scores without training.
        biases: by rung: traits that it over- or underrates.
        paper: against the paper's tables.
    """

    archs: int
    left_out: dict[str, str]
    reference_retest: float
    reference_seconds: float
    lines: tuple[Line, ...]
    biases: dict[str, list[Shift]]
    paper: tuple[PaperLine, ...]

    @classmethod
    def of(cls, records: pd.DataFrame) -> "Report":
        """From records as ``archsearch.fidelity.run`` makes them.

        Raises:
            DataError: too few architectures finished the reference.
        """
        own, theirs = records[records["table"].isna()], records[records["table"].notna()]
        runs = {str(rung): _by_seed(group) for rung, group in own.groupby("rung", sort=False)}
        reference = runs.pop(REFERENCE, pd.DataFrame()).dropna()
        if len(reference) < FEWEST:
            raise DataError(
                f"{len(reference)} architectures finished the {REFERENCE}{_first_error(own, REFERENCE)}; "
                f"a ranking needs at least {FEWEST}"
            )
        facts = own.drop_duplicates("network").set_index("network").loc[reference.index]
        truth, macs = reference.to_numpy().mean(axis=1), facts["macs"].to_numpy(float)
        traits = [_traits(row) for _, row in facts.iterrows()]
        seconds = own.groupby("rung")["seconds"].median()
        free = {label: facts[name].to_numpy(float) for name, label in BASELINES.items() if name in facts}
        found = {
            name: agreement(score, truth, macs)
            for name, score in free.items()
            if np.isfinite(score).all() and len(np.unique(score)) > 1
        }
        best = max(((each.within.value, name) for name, each in found.items()), default=None)
        lines, biases, left_out = [], {}, {}
        for name, run in runs.items():
            whole = run.loc[run.index.intersection(reference.index, sort=False)].dropna()
            if len(whole) < len(reference):
                left_out[name] = f"{len(whole)} of {len(reference)} architectures finished{_first_error(own, name)}"
            if len(whole) < FEWEST:
                continue
            places, scores = reference.index.get_indexer(whole.index), whole.to_numpy().T
            each = agreement(scores, truth[places], macs[places])
            lines.append(Line(name, len(whole), float(seconds[name]), retest(scores), each, verdict(each, best)))
            biases[name] = rank_shifts(scores.mean(0), truth[places], [traits[place] for place in places])
        lines += [Line(name, len(reference), None, None, each, verdict(each, None)) for name, each in found.items()]
        return cls(
            archs=len(reference),
            left_out=left_out,
            reference_retest=retest(reference.to_numpy().T),
            reference_seconds=float(seconds[REFERENCE]),
            lines=tuple(lines),
            biases=biases,
            paper=tuple(_paper_lines(theirs)),
        )


def _by_seed(records: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by network and seed; what failed is missing."""
    return records.pivot_table(index="network", columns="seed", values="accuracy", sort=False, dropna=False)


def _first_error(records: pd.DataFrame, rung: str) -> str:
    errors = records.loc[records["rung"] == rung, "error"].dropna() if "error" in records else pd.Series()
    return f" (the first error: {errors.iloc[0]})" if len(errors) else ""


def _traits(row: pd.Series) -> dict[str, object]:
    """Values of the open axes; pandas has made numbers out of those that some rows lack."""
    axes = {str(name).removeprefix("axis."): value for name, value in row.items() if str(name).startswith("axis.")}
    return {name: f"{v:g}" if isinstance(v, float) else v for name, v in axes.items() if pd.notna(v)}


def verdict(found: Agreement, best_free: tuple[float, str] | None) -> str:
    """What an agreement means for somebody who searches with it.

    Args:
        found: with the reference.
        best_free: tau within MACs bins of the best score without training, and its name; None for such a score itself.
    """
    low, high = found.tau.low, found.tau.high
    if low >= TRUSTED:
        words = "ranks reliably"
    elif low >= ROUGH:
        words = "ranks roughly: confirm the best"
    elif high < TRUSTED:
        words = "does not rank reliably"
    else:
        words = "too few architectures to tell"
    if best_free is not None and not found.within.value > best_free[0]:
        words += f"; within MACs bins no better than {best_free[1]}"
    return words


def _paper_lines(records: pd.DataFrame) -> list[PaperLine]:
    lines = []
    for (rung, table), group in records.groupby(["rung", "table"], sort=False):
        accuracy = _by_seed(group).dropna()
        if len(accuracy) < 3:
            continue
        top1 = group.drop_duplicates("network").set_index("network")["top1"].loc[accuracy.index].to_numpy(float)
        mean = accuracy.to_numpy().mean(axis=1)
        found = agreement(mean, top1, np.arange(len(mean)), bins=1)
        order = sorted(zip(accuracy.index, mean * 100, top1, strict=True), key=lambda row: -row[1])
        lines.append(
            PaperLine(
                str(rung),
                str(table).removesuffix(".0"),
                len(mean),
                found.tau.value,
                found.tau.low,
                found.tau.high,
                retest(accuracy.to_numpy().T),
                tuple((str(name), float(ours), float(printed)) for name, ours, printed in order),
            )
        )
    return lines


def read_records(path: Path) -> pd.DataFrame:
    """Records that ``--results-file`` wrote.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        frame = pd.read_csv(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, pd.errors.ParserError):
        raise DataError(f"{path} holds no table of comma-separated values") from None
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; name a file that `fidelity --results-file` wrote")
    numbers = ["seed", "accuracy", "seconds", "top1", "macs", "params"]
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce")
    return frame


HEADER = (
    "score",
    "tau",
    "95 %",
    "rho",
    "95 %",
    "tau in bins",
    "95 %",
    "top 10 %",
    "regret",
    "worst",
    "retest",
    "seconds",
    "verdict",
)


def _cells(line: Line) -> list[str]:
    found = line.agreement
    cells = [line.name]
    for estimate in (found.tau, found.rho, found.within):
        cells += [f"{estimate.value:.2f}", f"{estimate.low:.2f} to {estimate.high:.2f}"]
    cells += [f"{found.recall:.0%}", f"{100 * found.regret:.1f}", f"{100 * found.worst_regret:.1f}"]
    return [*cells, _or_dash(line.retest, 2), _or_dash(line.seconds, 1), line.verdict]


def _or_dash(value: float | None, digits: int) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _notes(report: Report) -> list[str]:
    again = f"tau between its own seeds {report.reference_retest:.2f}"
    if not np.isfinite(report.reference_retest):
        again = "one seed, so that its own noise is not known"
    notes = [
        f"{report.archs} architectures. Reference: {again}, {report.reference_seconds:.0f} s per training.",
        "tau: Kendall's tau-b of one training with the mean of the reference's seeds; intervals: bootstrap over "
        "architectures; in bins: pairs of the same third of the MACs; top 10 %: recall; regret: points of reference "
        "accuracy lost by choosing at every MACs budget, mean and worst; retest: tau between two of the rung's seeds, "
        "which is about the most that one noisy training can reach.",
    ]
    notes += [f"{rung}: {what}." for rung, what in report.left_out.items()]
    for rung, found in report.biases.items():
        shifts = [f"{s.trait} {s.places:+.1f} places ({s.count} of them, chance {s.chance:.3f})" for s in found]
        if shifts:
            notes.append(f"{rung} overrates (+) or underrates (-): {'; '.join(shifts)}.")
    if not any(report.biases.values()):
        notes.append("No choice of an axis was found to be over- or underrated beyond what chance explains.")
    for line in report.paper:
        again = f", between own seeds {line.retest:.2f}" if np.isfinite(line.retest) else ""
        notes.append(
            f"{line.rung} (mean of seeds) against the paper's Table {line.table} ({line.rows} rows): "
            f"tau {line.tau:.2f} ({line.low:.2f} to {line.high:.2f}){again}. Proxy and paper top-1: "
            + ", ".join(f"{name} {ours:.1f} ({printed:.1f})" for name, ours, printed in line.order)
            + "."
        )
    return notes


def agreement_table(report: Report) -> Document:
    """Return a row per score, rounded for people, unrounded for CSV; as JSON everything, undefined values as null."""
    table = Table(
        HEADER,
        [_cells(line) for line in report.lines],
        words=(0, len(HEADER) - 1),
        notes=_notes(report),
        paragraphs=True,
    )
    return Document([table], [_flat(line) for line in report.lines], data=_finite(asdict(report)))


def _flat(line: Line) -> dict[str, object]:
    found = line.agreement
    flat: dict[str, object] = {"score": line.name, "archs": line.archs}
    for name in ("tau", "rho", "within"):
        estimate: Estimate = getattr(found, name)
        flat |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    flat |= {f"bin{i}": tau for i, tau in enumerate(found.bins, 1)}
    flat |= {"top10_recall": found.recall, "regret": found.regret, "worst_regret": found.worst_regret}
    return flat | {"retest": line.retest, "seconds": line.seconds, "verdict": line.verdict}


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
