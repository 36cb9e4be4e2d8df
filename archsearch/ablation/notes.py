"""Notes under the tables of an ablation: how to read them, and everything that it takes to repeat them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from archsearch.ablation.analysis import Report, without_pairs
from archsearch.ablation.outcome import Outcome
from archsearch.ablation.statistics import typical_deviation
from archsearch.arch.networks import NETWORKS

#: Confidence intervals by method, in words.
INTERVALS = {
    "t": "Student's t over seeds",
    "pooled": "Student's t with the noise of all networks together, which are taken to be equally noisy",
    "bootstrap": "bootstrap-t over seeds",
    "none": "none",
}
#: Facts about the environment that results depend on.
VERSIONS = ("torch", "cuda", "cudnn", "timm", "python", "commit")


def notes(report: Report) -> list[str]:
    """Return the notes, one line each."""
    outcome, recipe = report.outcome, report.outcome.recipe
    lines = [*report.small_maps.judgement.lines, *_how_to_read(report), *_names(outcome)]
    if "proxy" in recipe and "data" in recipe:
        lines += _training(outcome)
    if "bench" in recipe and any(result.speeds for result in outcome.results):
        sizes = {str(d["img_size"]) for r in outcome.results for d in r.speeds.values() if "img_size" in d}
        lines.append("timing: " + _fields(recipe["bench"] | {"img_size": " and ".join(sorted(sizes))}))
    if "device" in recipe:
        environment = recipe.get("environment", {})
        versions = [f"{name} {environment[name]}" for name in VERSIONS if environment.get(name)]
        lines.append(f"device: {recipe['device']}" + (f"; {', '.join(versions)}" if versions else ""))
    return [*lines, f"command: {outcome.command}"] if outcome.command else lines


def _how_to_read(report: Report) -> Iterator[str]:
    outcome = report.outcome
    if any(result.speeds for result in outcome.results):
        yield _about_speeds(outcome)
    if any(result.trained for result in outcome.results):
        yield "Trained top-1: published weights on the validation images in --data-root; 95 % Wilson intervals."
    if outcome.seeds:
        yield _about_accuracies(report)
        yield from _about_noise(report)
        yield from _about_pairs(outcome)


def _about_speeds(outcome: Outcome) -> str:
    base, deployed = outcome.baseline, outcome.form_of("infer") == "deploy"
    printed = f", and images/s over those of {base.name} on {outcome.device} in the paper" if base.paper else ""
    return (
        "Parameters, MACs and images/s are those of the target; ratio: relative throughput, from blocks of "
        f"{base.name} and of the variant in turns{printed}."
        + (" Inference is that of the deploy form of both, counts of the train form." if deployed else "")
    )


def _about_accuracies(report: Report) -> str:
    outcome, base = report.outcome, report.outcome.baseline.name
    others = dict.fromkeys(f"{r.factor} to {r.base}" for r in outcome.results if r.base != base)
    compared = f"to {base}" + (f" ({', '.join(others)})" if others else "")
    text = f"Top-1: proxy network after its last epoch, mean over seeds; difference: in points, {compared}, "
    if report.method == "none":
        return text + "paired by seed; no confidence intervals."
    number = _number_of("comparison", sum(c.p_holm is not None for c in report.comparisons))
    return (
        f"{text}paired by seed; 95 % confidence intervals: {INTERVALS[report.method]}; "
        f"p: of the same distribution, corrected by Holm for {number}."
    )


def _about_noise(report: Report) -> Iterator[str]:
    if report.unequal is not None:
        yield (
            "Pooled intervals were asked for, but some networks are noisier than others "
            f"(p = {report.unequal:.3f}), and pooling would underrate their noise: every comparison has Student's "
            "interval over its own seeds."
        )
    deviation = typical_deviation(without_pairs(report.outcome))
    if deviation:
        text = f"The standard deviation of a difference between seeds is {deviation:.2f} points"
        if any(c.seeds_needed for c in report.comparisons):
            text += "; seeds needed: to find the paper's difference in this noise by a single test with a power of 0.8"
        yield text + "."


def _about_pairs(outcome: Outcome) -> Iterator[str]:
    screened, tested = (outcome.pairs.get(stage, []) for stage in ("screened", "tested"))
    if screened:
        pairs = _number_of("pair", sum(len(result.parts) == 2 for result in outcome.results))
        yield (
            f"{pairs} of the largest effects: screened with seeds {', '.join(map(str, screened))}; those farthest "
            f"from the sum of both effects: tested with seeds {', '.join(map(str, tested))} alone."
        )


def _number_of(what: str, number: int) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _names(outcome: Outcome) -> Iterator[str]:
    """Explain the names of networks that do not explain themselves."""
    base = outcome.baseline
    if base.name not in NETWORKS and "arch" in base.network:
        yield f"{base.name}: {json.dumps(base.network['arch'])}"
    changes = [f"{r.name}: {_fields(r.changes)}" for r in outcome.singles if r.changes]
    if changes:
        yield "changes: " + "; ".join(changes)


def _training(outcome: Outcome) -> Iterator[str]:
    recipe, data = outcome.recipe, outcome.recipe["data"]
    yield "proxy: " + _fields(recipe["proxy"] | {"trainer": recipe.get("trainer")})
    seeds = ", ".join(map(str, outcome.seeds)) or "none yet"
    images = f"{data.get('train_samples')} training images, {data.get('val_samples')} validation images"
    yield f"data: {data.get('name')} ({data.get('fingerprint')}), {images}; seeds {seeds}"


def _fields(recipe: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in recipe.items()
    )
