"""How well each schedule ranks: from records of trainings to rank correlations and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from archsearch.errors import DataError
from archsearch.fidelity.paper_lines import PaperLine, paper_lines
from archsearch.fidelity.plan import FEWEST, REFERENCE
from archsearch.fidelity.training_records import by_seed, log_likelihood
from archsearch.stats.agreement import (
    Agreement,
    Estimate,
    Shift,
    agreement,
    lead,
    rank_shifts,
    retest,
    tau_difference,
)

#: Scores that cost no training: columns of the records, and names in tables.
BASELINES = {"params": "number of parameters", "macs": "MACs", "synflow": "synflow", "naswot": "NASWOT"}
#: A ranking is reliable where the lower end of tau's interval is above the first, and rough above the second.
TRUSTED, ROUGH = 0.55, 0.3


@dataclass(frozen=True)
class ScoreLine:
    """A schedule, or a score without training, against the reference.

    Attributes:
        name: Name of the schedule or score.
        archs: Number of architectures that both finished.
        seconds: Median seconds of a training, times ``trainings``; None for a score without.
        retest: Kendall's tau between its own seeds; None for a score without training, NaN with a single seed and for
            a mean of seeds.
        agreement: Agreement with the reference.
        verdict: Verdict in words.
        lead: How much more its tau in bins of the MACs is than that of the best score without training; None for such
            a score itself, and without any.
        trainings: Number of trainings of a candidate that the score is the mean of; 0 for a score without.
        machine_seconds: Those seconds divided by the trainings at a time: what a candidate takes of the machine's
            time. NaN where that number is not known.
        behind: How much more its tau is than that of the schedule with the highest one; None for that one itself, and
            for scores without training.
    """

    name: str
    archs: int
    seconds: float | None
    retest: float | None
    agreement: Agreement
    verdict: str
    lead: Estimate | None = None
    trainings: int = 0
    machine_seconds: float | None = None
    behind: Estimate | None = None


@dataclass(frozen=True)
class FidelityReport:
    """How far each schedule agrees with the reference and with the paper.

    Attributes:
        archs: Number of architectures that finished the reference with every seed.
        left_out: By schedule, how many of them did not finish it, and why.
        reference_retest: Kendall's tau between the reference's own seeds; NaN with a single seed.
        reference_seconds: Median seconds of one of its trainings.
        reference_seeds: Number of its trainings of each architecture, whose mean is the truth.
        truth: Images that they were judged on, in words.
        conditions: Trainings at a time, threads and device, in words; each combination once.
        disjoint: Whether no seed of the reference is one of a schedule.
        best: Name of the schedule with the highest tau; None without any.
        lines: Schedules, each followed by its ranking by loss where that is known, and by the mean of its seeds where
            it has several; then scores without training.
        biases: By schedule, the traits that it over- or underrates.
        paper: Schedules against the paper's tables.
    """

    archs: int
    left_out: dict[str, str]
    reference_retest: float
    reference_seconds: float
    reference_seeds: int
    truth: str
    conditions: tuple[str, ...]
    disjoint: bool
    best: str | None
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
        runs = {str(name): by_seed(group) for name, group in own.groupby("schedule", sort=False)}
        reference = runs.pop(REFERENCE, pd.DataFrame()).dropna()
        if len(reference) < FEWEST:
            raise DataError(
                f"{len(reference)} architectures finished the {REFERENCE}{_first_error(own, REFERENCE)}; "
                f"a ranking needs at least {FEWEST}"
            )
        compared = _Comparison(own, reference)
        shares = {name: f"{len(compared.finished(run))} of {len(reference)}" for name, run in runs.items()}
        complete = f"{len(reference)} of {len(reference)}"
        ranked = {name: run for name, run in runs.items() if len(compared.finished(run)) >= FEWEST}
        lines = compared.lines(ranked)
        return cls(
            archs=len(reference),
            left_out={
                name: f"{share} architectures finished{_first_error(own, name)}"
                for name, share in shares.items()
                if share != complete
            },
            reference_retest=retest(reference.to_numpy().T),
            reference_seconds=compared.seconds[REFERENCE],
            reference_seeds=reference.shape[1],
            truth=_truth(own[own["schedule"] == REFERENCE]),
            conditions=_conditions(own),
            disjoint=not any(set(run.columns) & set(reference.columns) for run in ranked.values()),
            best=_best(lines),
            lines=(*lines, *compared.baseline_lines()),
            biases={name: compared.biases(run) for name, run in ranked.items()},
            paper=tuple(paper_lines(theirs)),
        )


class _Comparison:
    """The reference's ranking, and scores against it."""

    def __init__(self, own: pd.DataFrame, reference: pd.DataFrame) -> None:
        """Take the records of drawn architectures, and the reference's accuracies by network and seed."""
        facts = own.drop_duplicates("network").set_index("network").loc[reference.index]
        self.reference = reference
        self.likelihood = {str(name): log_likelihood(group) for name, group in own.groupby("schedule", sort=False)}
        self.truth, self.macs = reference.to_numpy().mean(axis=1), facts["macs"].to_numpy(float)
        self.traits = [_traits(row) for _, row in facts.iterrows()]
        self.seconds = _medians(own, own["seconds"])
        together = pd.to_numeric(own["workers"]) if "workers" in own else float("nan")  # None where all were cached
        self.machine_seconds = _medians(own, own["seconds"] / together)
        free = {label: facts[name].to_numpy(float) for name, label in BASELINES.items() if name in facts}
        self.free = {k: v for k, v in free.items() if np.isfinite(v).all() and len(np.unique(v)) > 1}
        self.baselines = {name: agreement(score, self.truth, self.macs) for name, score in self.free.items()}
        self.best_free = max(self.baselines, key=lambda name: self.baselines[name].within.value, default=None)

    def finished(self, run: pd.DataFrame) -> pd.DataFrame:
        """Return the accuracies of architectures that finished both a schedule and the reference with every seed."""
        return run.loc[run.index.intersection(self.reference.index, sort=False)].dropna()

    def lines(self, runs: dict[str, pd.DataFrame]) -> list[ScoreLine]:
        """Compare schedules with the reference, and with the best of them."""
        scores: dict[str, tuple[pd.DataFrame, ScoreLine]] = {}
        for name, run in runs.items():
            whole, count = self.finished(run), run.shape[1]
            scores[name] = whole, self._line(name, name, whole, 1)
            by_loss = self.likelihood[name].reindex(index=whole.index, columns=whole.columns)
            if by_loss.notna().all(axis=None):
                label = f"{name}, by loss"
                scores[label] = by_loss, self._line(name, label, by_loss, 1)
            if count > 1:
                mean = f"{name}, mean of {count} seeds"
                averaged = whole.mean(axis=1).to_frame()
                scores[mean] = averaged, self._line(name, mean, averaged, count)
        best = _best([line for _, line in scores.values()])
        return [
            line if line.name == best else replace(line, behind=self._behind(whole, scores[str(best)][0]))
            for whole, line in scores.values()
        ]

    def _behind(self, run: pd.DataFrame, best: pd.DataFrame) -> Estimate:
        """Compare the tau of two schedules, over the architectures that both finished."""
        both = run.index.intersection(best.index, sort=False)
        truth = self.truth[self.reference.index.get_indexer(both)]
        return tau_difference(run.loc[both].to_numpy().T, best.loc[both].to_numpy().T, truth)

    def _line(self, schedule: str, name: str, whole: pd.DataFrame, trainings: int) -> ScoreLine:
        """Compare a score, by network and seed, with the reference; it takes so many trainings of a schedule."""
        places, scores = self.reference.index.get_indexer(whole.index), whole.to_numpy().T
        found = agreement(scores, self.truth[places], self.macs[places])
        ahead, words = None, verdict(found)
        if self.best_free is not None:
            free = np.array([score[places] for score in self.free.values()])
            ahead = lead(scores, free, self.truth[places], self.macs[places])
            words += f"; within MACs bins {comparison(ahead)} the best score without training ({self.best_free})"
        return ScoreLine(
            name=name,
            archs=len(whole),
            seconds=trainings * self.seconds[schedule],
            retest=retest(scores),
            agreement=found,
            verdict=words,
            lead=ahead,
            trainings=trainings,
            machine_seconds=trainings * self.machine_seconds.get(schedule, float("nan")),
        )

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


def _best(lines: Sequence[ScoreLine]) -> str | None:
    """Return the name of the schedule, or mean of seeds, with the highest tau."""
    return max(lines, key=lambda line: line.agreement.tau.value).name if lines else None


def _medians(own: pd.DataFrame, seconds: pd.Series) -> dict[str, float]:
    medians = seconds.groupby(own["schedule"]).median()
    return {str(name): float(value) for name, value in medians.items()}


def _truth(reference: pd.DataFrame) -> str:
    """Put into words what the reference was judged on; older records do not say, and mean validation images."""
    if "judged" not in reference or reference["judged"].isna().all():
        return "validation images"
    kinds = reference.loc[reference["judged"].notna(), ["judged", "images"]].drop_duplicates()
    words = {"test": "test images", "val": "validation images"}
    return " and ".join(f"{count:.0f} {words.get(str(split), str(split))}" for split, count in kinds.to_numpy())


def _conditions(own: pd.DataFrame) -> tuple[str, ...]:
    """Put into words how the seconds were taken, where the records say so."""
    names = ["workers", "threads", "device"]
    known = own[[name for name in names if name in own]].dropna().drop_duplicates()
    if list(known) != names:
        return ()
    return tuple(
        f"{workers:.0f} at a time, {threads:.0f} thread{'s' if threads > 1 else ''} each, on {device}"
        for workers, threads, device in known.to_numpy()
    )


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
