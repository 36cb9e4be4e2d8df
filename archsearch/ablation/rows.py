"""One flat row per network of an ablation, for CSV, JSON and tables."""

from typing import Any

from archsearch.ablation.analysis import Report
from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.statistics import Comparison
from archsearch.ablation.variants import SPEEDS
from archsearch.stats.paired import Mean, share_interval


def rows(report: Report) -> list[dict[str, Any]]:
    """Return a row per network: accuracies in percent, differences in points, images/s, counts; None if unknown."""
    return [_row(report, comparison) for comparison in report.comparisons]


def _row(report: Report, c: Comparison) -> dict[str, Any]:
    outcome, result = report.outcome, c.result
    row: dict[str, Any] = {"factor": result.factor, "variant": result.name, "compared_to": result.base}
    row |= {"paper_row": result.paper.get("row"), "params": result.params, "macs": result.macs}
    for speed in SPEEDS:
        row |= _speed(outcome, result, speed)
    row |= _weights(result)
    row |= {"seeds": c.accuracy.n if c.accuracy else 0} | _estimate("top1", c.accuracy) | {"top1_paper": result.top1}
    row |= _estimate("difference", c.difference) | {"p": c.difference.p if c.difference else None, "p_holm": c.p_holm}
    row |= {"difference_paper": c.paper, "seeds_needed": c.seeds_needed, "verdict": c.verdict or None}
    return row | {"note": _note(result, bool(outcome.seeds), report.small_maps.rows.get(result.name))}


def _speed(outcome: Outcome, result: Result, speed: str) -> dict[str, Any]:
    detail = result.speeds.get(speed, {})
    low, high = detail.get("ratio_interval") or (None, None)
    form = outcome.form_of(speed)
    return {
        **({} if form == "train" else {f"{speed}_form": form}),
        f"{speed}_img_s": detail.get("throughput"),
        f"{speed}_ratio": detail.get("ratio"),
        f"{speed}_ratio_low": low,
        f"{speed}_ratio_high": high,
        f"{speed}_ratio_paper": paper_ratio(outcome, result, speed),
    }


def paper_ratio(outcome: Outcome, result: Result, speed: str) -> float | None:
    """Return the paper's images/s relative to the baseline's; None where one is missing.

    Args:
        outcome: Outcome of the ablation.
        result: One of its networks.
        speed: ``train`` or ``infer``.
    """
    own, base = result.paper.get(speed), outcome.baseline.paper.get(speed)
    return own / base if own and base else None


def _weights(result: Result) -> dict[str, float | None]:
    """Return the top-1 of published weights, and its confidence interval."""
    trained = result.trained
    share = share_interval(trained["correct"], trained["images"]) if trained else (None, None, None)
    return dict(zip(("trained_top1", "trained_top1_low", "trained_top1_high"), share, strict=True))


def _estimate(name: str, found: Mean | None) -> dict[str, Any]:
    parts = (None,) * 4 if found is None else (found.mean, found.sd, found.low, found.high)
    return dict(zip((name, f"{name}_sd", f"{name}_low", f"{name}_high"), parts, strict=True))


def _note(result: Result, trained: bool, maps: str | None) -> str:
    words = [f"{len(result.errors)} failed: {next(iter(result.errors.values()))}"] if result.errors else []
    if "error" in result.speeds:
        words.append(f"not timed: {result.speeds['error']['error']}")
    if trained and "timm" in result.network:
        words.append("from timm, has no proxy")
    if maps:
        words.append(maps)
    return "; ".join(words)
