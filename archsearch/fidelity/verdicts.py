"""How well each schedule ranks: from records of trainings to rank correlations and verdicts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from archsearch.errors import DataError
from archsearch.fidelity.plan import FEWEST, REFERENCE
from archsearch.stats.agreement import Agreement, Estimate, Shift, agreement, lead, rank_shifts, retest

#: Scores that cost no training: columns of the records, and names in tables.
BASELINES = {"params": "number of parameters", "macs": "MACs", "synflow": "synflow", "naswot": "NASWOT"}
#: A ranking is reliable where the lower end of tau's interval is above the first, and rough above the second.
TRUSTED, ROUGH = 0.55, 0.3
#: Fewest rows of one of the paper's tables that are compared with it.
FEWEST_ROWS = 3


@dataclass(frozen=True)
class ScoreLine:
    """A schedule, or a score without training, against the reference.

    Attributes:
        name: Name of the schedule or score.
        archs: Number of architectures that both finished.
        seconds: Median seconds of a training; None for a score without.
        retest: Kendall's tau between its own seeds; None for a score without training, NaN with a single seed.
        agreement: Agreement with the reference.
        verdict: Verdict in words.
        lead: How much more its tau in bins of the MACs is than that of the best score without training; None for such
            a score itself, and without any.
    """

    name: str
    archs: int
    seconds: float | None
    retest: float | None
    agreement: Agreement
    verdict: str
    lead: Estimate | None = None


@dataclass(frozen=True)
class PaperLine:
    """A schedule against a table of the paper.

    Attributes:
        schedule: Name of the schedule.
        table: Number of the table.
        rows: Number of its rows that were trained.
        tau: Kendall's tau between the mean proxy accuracy and the printed top-1.
        low: Lower end of its bootstrap interval over rows.
        high: Upper end.
        retest: Kendall's tau between the schedule's own seeds; NaN with a single seed.
        order: Networks, best proxy first, with the top-1 of the proxy and of the paper in percent.
    """

    schedule: str
    table: str
    rows: int
    tau: float
    low: float
    high: float
    retest: float
    order: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class FidelityReport:
    """How far each schedule agrees with the reference and with the paper.

    Attributes:
        archs: Number of architectures that finished the reference with every seed.
        left_out: By schedule, how many of them did not finish it, and why.
        reference_retest: Kendall's tau between the reference's own seeds; NaN with a single seed.
        reference_seconds: Median seconds of one of its trainings.
        lines: Schedules, then scores without training.
        biases: By schedule, the traits that it over- or underrates.
        paper: Schedules against the paper's tables.
    """

    archs: int
    left_out: dict[str, str]
    reference_retest: float
    reference_seconds: float
    lines: tuple[ScoreLine, ...]
    biases: dict[str, list[Shift]]
    paper: tuple[PaperLine, ...]

    @classmethod
    def of(cls, records: pd.DataFrame) -> "FidelityReport":
        """Evaluate the records that ``archsearch.fidelity.run`` returns or ``read_records`` reads.

        Raises:
            DataError: Too few architectures finished the reference.
        """
        own, theirs = records[records["table"].isna()], records[records["table"].notna()]
        runs = {str(name): _by_seed(group) for name, group in own.groupby("schedule", sort=False)}
        reference = runs.pop(REFERENCE, pd.DataFrame()).dropna()
        if len(reference) < FEWEST:
            raise DataError(
                f"{len(reference)} architectures finished the {REFERENCE}{_first_error(own, REFERENCE)}; "
                f"a ranking needs at least {FEWEST}"
            )
        compared = _Comparison(own, reference)
        shares = {name: f"{len(compared.finished(run))} of {len(reference)}" for name, run in runs.items()}
        complete = f"{len(reference)} of {len(reference)}"
        lines = [compared.line(name, run) for name, run in runs.items() if len(compared.finished(run)) >= FEWEST]
        return cls(
            archs=len(reference),
            left_out={
                name: f"{share} architectures finished{_first_error(own, name)}"
                for name, share in shares.items()
                if share != complete
            },
            reference_retest=retest(reference.to_numpy().T),
            reference_seconds=compared.seconds[REFERENCE],
            lines=(*lines, *compared.baseline_lines()),
            biases={line.name: compared.biases(runs[line.name]) for line in lines},
            paper=tuple(_paper_lines(theirs)),
        )


class _Comparison:
    """The reference's ranking, and scores against it."""

    def __init__(self, own: pd.DataFrame, reference: pd.DataFrame) -> None:
        """Take the records of drawn architectures, and the reference's accuracies by network and seed."""
        facts = own.drop_duplicates("network").set_index("network").loc[reference.index]
        self.reference = reference
        self.truth, self.macs = reference.to_numpy().mean(axis=1), facts["macs"].to_numpy(float)
        self.traits = [_traits(row) for _, row in facts.iterrows()]
        medians = own.groupby("schedule")["seconds"].median()
        self.seconds = {str(name): float(seconds) for name, seconds in medians.items()}
        free = {label: facts[name].to_numpy(float) for name, label in BASELINES.items() if name in facts}
        self.free = {k: v for k, v in free.items() if np.isfinite(v).all() and len(np.unique(v)) > 1}
        self.baselines = {name: agreement(score, self.truth, self.macs) for name, score in self.free.items()}
        self.best_free = max(self.baselines, key=lambda name: self.baselines[name].within.value, default=None)

    def finished(self, run: pd.DataFrame) -> pd.DataFrame:
        """Return the accuracies of architectures that finished both a schedule and the reference with every seed."""
        return run.loc[run.index.intersection(self.reference.index, sort=False)].dropna()

    def line(self, name: str, run: pd.DataFrame) -> ScoreLine:
        """Compare a schedule's accuracies, by network and seed, with the reference."""
        whole = self.finished(run)
        places, scores = self.reference.index.get_indexer(whole.index), whole.to_numpy().T
        found = agreement(scores, self.truth[places], self.macs[places])
        ahead, words = None, verdict(found)
        if self.best_free is not None:
            free = np.array([score[places] for score in self.free.values()])
            ahead = lead(scores, free, self.truth[places], self.macs[places])
            words += f"; within MACs bins {comparison(ahead)} the best score without training ({self.best_free})"
        return ScoreLine(name, len(whole), self.seconds[name], retest(scores), found, words, ahead)

    def baseline_lines(self) -> list[ScoreLine]:
        """Compare the scores without training with the reference."""
        count = len(self.reference)
        return [ScoreLine(name, count, None, None, each, verdict(each)) for name, each in self.baselines.items()]

    def biases(self, run: pd.DataFrame) -> list[Shift]:
        """Find the traits that a schedule over- or underrates."""
        whole = self.finished(run)
        places = self.reference.index.get_indexer(whole.index)
        mean = whole.to_numpy().T.mean(0)
        return rank_shifts(mean, self.truth[places], [self.traits[place] for place in places])


def _by_seed(records: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by network and seed; failed trainings are missing."""
    return records.pivot_table(index="network", columns="seed", values="accuracy", sort=False, dropna=False)


def _first_error(records: pd.DataFrame, schedule: str) -> str:
    errors = records.loc[records["schedule"] == schedule, "error"].dropna() if "error" in records else pd.Series()
    return f" (the first error: {errors.iloc[0]})" if len(errors) else ""


def _traits(row: pd.Series) -> dict[str, object]:
    """Values of the open axes; pandas has turned those that some rows lack into numbers."""
    axes = {str(name).removeprefix("axis."): value for name, value in row.items() if str(name).startswith("axis.")}
    return {name: f"{v:g}" if isinstance(v, float) else v for name, v in axes.items() if pd.notna(v)}


def comparison(ahead: Estimate) -> str:
    """Put a lead into words: by whether 0 is outside its interval.

    >>> comparison(Estimate(0.3, 0.1, 0.5)), comparison(Estimate(0.3, -0.1, 0.7))
    ('better than', 'not told apart from')
    """
    if ahead.low > 0:
        return "better than"
    return "worse than" if ahead.high < 0 else "not told apart from"


def verdict(found: Agreement) -> str:
    """Put into words what an agreement with the reference means for a search."""
    low, high = found.tau.low, found.tau.high
    if low >= TRUSTED:
        return "ranks reliably"
    if low >= ROUGH:
        return "ranks roughly: confirm the best"
    return "does not rank reliably" if high < TRUSTED else "too few architectures to tell"


def _paper_lines(records: pd.DataFrame) -> list[PaperLine]:
    groups = records.groupby(["schedule", "table"], sort=False)
    lines = (_paper_line(str(schedule), str(table), group) for (schedule, table), group in groups)
    return [line for line in lines if line is not None]


def _paper_line(schedule: str, table: str, group: pd.DataFrame) -> PaperLine | None:
    """Compare a schedule with a table of the paper; None where too few rows finished."""
    accuracy = _by_seed(group).dropna()
    if len(accuracy) < FEWEST_ROWS:
        return None
    top1 = group.drop_duplicates("network").set_index("network")["top1"].loc[accuracy.index].to_numpy(float)
    mean = accuracy.to_numpy().mean(axis=1)
    found = agreement(mean, top1, np.arange(len(mean)), bins=1)
    order = sorted(zip(accuracy.index, mean * 100, top1, strict=True), key=lambda row: -row[1])
    return PaperLine(
        schedule=schedule,
        table=table.removesuffix(".0"),
        rows=len(mean),
        tau=found.tau.value,
        low=found.tau.low,
        high=found.tau.high,
        retest=retest(accuracy.to_numpy().T),
        order=tuple((str(name), float(ours), float(printed)) for name, ours, printed in order),
    )
