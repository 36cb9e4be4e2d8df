"""Data of a page, ready for JSON: trials by column, and everything that its views need beside them.

Fronts, confidence intervals, marks, ticks and edges are computed here; the page's scripts draw them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from archsearch.arch.mixer import Mixer
from archsearch.arch.sketch import Box as Rectangle
from archsearch.arch.sketch import Shape, tree
from archsearch.objectives import OBJECTIVES, FromTime, Objective
from archsearch.report import backdrop
from archsearch.report.confirm_tables import confirmation_document, interval_of
from archsearch.report.drawing import block_shape
from archsearch.report.looks import CONFIRMED, LOOKS, PALETTE, SCALE
from archsearch.report.marks import COUNTED
from archsearch.report.page.columns import clean, columns, number, scaled
from archsearch.report.smoothed import SmoothedScores
from archsearch.report.view import StudyView, common_box, named_objective, own_box
from archsearch.stats.hypervolume import Box, hypervolume_trace
from archsearch.stats.noise import AccuracyNoise, score_interval, seed_values
from archsearch.trial import Evaluation, Trial

if TYPE_CHECKING:
    from archsearch.handover.confirmation import Confirmation, Confirmed

#: Curves are sent as whole numbers: thousandths of the loss, hundredths of a percent.
LOSS_SCALE, ACCURACY_SCALE = 1e3, 1e4
#: Placeholder of the mixer in a block's drawing; the mixer is drawn apart.
MIXER = Rectangle("mixer", "mixer")


def page_data(views: Sequence[StudyView], *, trials: bool = True) -> dict[str, Any]:
    """Return everything that a page of searches shows.

    Args:
        views: Studies that share an objective.
        trials: Whether to include the trials and what is computed from them; a served page asks for them later.
    """
    heads = study_heads(views) if trials else [_head(view, [], None, {}) for view in views]
    parts = [[trial_columns(view.trials)] if trials else [] for view in views]
    return {
        "studies": [head | {"parts": part} for head, part in zip(heads, parts, strict=True)],
        "objectives": {name: _objective(named_objective(views, name)) for name in OBJECTIVES},
        "looks": {status: asdict(look) for status, look in LOOKS.items()},
        "confirmed": asdict(CONFIRMED),
        "palette": PALETTE,
        "scale": SCALE,
        "counted": COUNTED,
        "common": common(views if trials else []),
        "curve": "accuracy",
    }


def study_heads(views: Sequence[StudyView]) -> list[dict[str, Any]]:
    """Return what is known of each study as a whole."""
    box = common_box(views) if views else None
    return [_head(view, view.front, box or own_box(view), _noise(view)) for view in views]


def common(views: Sequence[StudyView]) -> dict[str, Any]:
    """Return what the axes of a picture of all studies show: ticks, edges for trials without a score, marks."""
    scored = [objective for name, objective in OBJECTIVES.items() if any(name in view.scores for view in views)]
    counted = [names for size in (1, 2) for names in combinations(COUNTED, size)]
    return {
        "ticks": {objective.name: backdrop.ticks(views, objective) for objective in scored},
        "beyond": {o.name: {kind: number(edge) for kind, edge in backdrop.beyond(views, o).items()} for o in scored},
        "marks": {" ".join(names): [asdict(mark) for mark in backdrop.marks(views, names)] for names in counted},
    }


def _noise(view: StudyView) -> dict[str, Any]:
    """Return the noise of scores; as it changes with every trial, it is no part of the columns."""
    told: dict[str, Any] = {}
    if view.noise:
        told["accuracy"] = {"words": view.noise.words, **_intervals(view.noise, view.trials)}
    if view.chances is not None:
        told["chances"] = {"words": view.chance_words, **_likely(view.trials, view.chances)}
    if view.smoothed is not None and view.observed_chances is not None:
        told["observed"] = _likely(view.trials, view.observed_chances)
        told["smoothed"] = _smoothed(view, view.smoothed)
    return told


def _likely(trials: Sequence[Trial], chances: np.ndarray) -> dict[str, list[Any]]:
    """Return the probabilities that are not 0; None of complete trials that are not in the model yet."""
    complete = ((trial, share) for trial, share in zip(trials, chances, strict=True) if trial.state == "complete")
    likely = [(trial.number, share) for trial, share in complete if share != 0]
    return {"numbers": [n for n, _ in likely], "shares": [number(share) for _, share in likely]}


def _smoothed(view: StudyView, found: SmoothedScores) -> dict[str, list[Any]]:
    """Return the smoothed accuracies of the trials that have one, and the front of them."""
    places = np.flatnonzero(~np.isnan(found.accuracy)).tolist()
    return {
        "numbers": [view.trials[place].number for place in places],
        **{
            name: [number(float(values[place])) for place in places]
            for name, values in (("value", found.accuracy), ("low", found.low), ("high", found.high))
        },
        "front": view.smoothed_front or [],
    }


def _intervals(noise: AccuracyNoise, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return the confidence intervals of accuracies, by accuracy and number of seeds: most trials share theirs."""
    known = [trial.evaluation for trial in trials if "accuracy" in trial.evaluation.scores]
    means = sorted({(one.scores["accuracy"], len(seed_values(one)) or 1) for one in known})
    ends = [noise.interval(*mean) for mean in means]
    return {
        "values": [number(value) for value, _ in means],
        "seeds": [seeds for _, seeds in means],
        "low": [number(low) for low, _ in ends],
        "high": [number(high) for _, high in ends],
    }


def _head(view: StudyView, front: list[int], box: Box | None, noise: dict[str, Any]) -> dict[str, Any]:
    counts, seconds, shares = hypervolume_trace(view.objectives, view.trials, box) if box else ([], [], [])
    return {
        "name": view.name,
        "command": view.command,
        "recipe": clean(view.recipe),
        "proxy_network": view.proxy_outline,
        "small_maps": list(view.small_maps),
        "ranking": view.ranking,
        "objectives": view.recipe["objectives"],
        "running": view.running,
        "front": front,
        "fronts": {f"{x} {y}": places for x, y, places in backdrop.pair_fronts(view)} if box else {},
        "noise": noise,
        "hypervolume": {
            "trials": counts,
            "seconds": [number(second) for second in seconds],
            "share": [number(share) for share in shares],
        },
        "importance": {name: [asdict(axis) for axis in found] for name, found in view.importance.items()},
        "confirmation": None if view.confirmation is None else _confirmation(view.confirmation),
    }


def _confirmation(found: "Confirmation") -> dict[str, Any]:
    """Return a confirmation: its table and findings as they are printed, and its candidates for the picture."""
    (table,) = confirmation_document(found).tables
    return {
        "name": found.name,
        "score": "accuracy",
        "title": table.title,
        "header": list(table.header),
        "cells": [list(row) for row in table.rows],
        "left": list(table.words),
        "notes": list(table.notes),
        "members": [_member(one, one.accuracy) for one in found.members if one.accuracy is not None],
    }


def _member(one: "Confirmed", accuracy: float) -> dict[str, Any]:
    return {
        "number": one.candidate.number,
        "name": one.candidate.name,
        "told": f"{interval_of(one)} with {len(one.trained.accuracies)} seeds",
        "scores": {name: number(value) for name, value in one.candidate.scores.items()},
        "value": number(accuracy),
        "low": None if one.low is None else number(one.low),
        "high": None if one.high is None else number(one.high),
    }


def trial_columns(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return trials by column, and the drawings that they share."""
    mixers: dict[Mixer, int] = {}
    blocks: dict[Shape, int] = {}
    cells = [dict(_cells(trial, mixers, blocks)) for trial in trials]
    drawn = [{"text": str(m), "config": m.to_dict(), "shape": tree(m.sketch)} for m in mixers]
    return {
        "count": len(cells),
        "columns": columns(cells),
        "mixers": drawn,
        "blocks": [tree(block) for block in blocks],
    }


def _cells(trial: Trial, mixers: dict[Mixer, int], blocks: dict[Shape, int]) -> Iterator[tuple[str, Any]]:
    known, arch = trial.evaluation, trial.arch
    yield from {"number": trial.number, "state": trial.state, "seed": trial.seed, "error": known.error}.items()
    for name, value in known.scores.items():
        yield f"score.{name}", number(value)
    for name, detail in known.details.items():
        yield from _behind(name, detail)
    yield from _seeds(known)
    for constraint, share in known.excess.items():
        yield f"excess.{constraint}", number(share)
    for name, origin in known.reused.items():
        yield f"reused.{name}", origin
    if known.disturbances:
        yield "warned", "; ".join(sorted(known.disturbances))
    for name, value in trial.params.items():
        yield f"param.{name}", value
    for phase, seconds in known.seconds.items():
        yield f"seconds.{phase}", number(round(seconds, 2))
    for name, value in trial.environment.items():
        yield f"env.{name}", value
    if known.curve:
        yield "curve.epoch", [epoch.epoch for epoch in known.curve]
        yield "curve.loss", scaled((epoch.train_loss for epoch in known.curve), LOSS_SCALE)
        yield "curve.score", scaled((epoch.accuracy for epoch in known.curve), ACCURACY_SCALE)
    for name, value in arch.to_dict().items():
        if name != "mixers":
            yield f"arch.{name}", value
    yield "mixers", [mixers.setdefault(mixer, len(mixers)) for mixer in arch.mixers]
    drawn = (block_shape(arch, stage, MIXER) for stage in range(len(arch.mixers)))
    yield "blocks", [blocks.setdefault(block, len(blocks)) for block in drawn]


def _seeds(known: Evaluation) -> Iterator[tuple[str, Any]]:
    """Yield the accuracy of each training seed, where a study trains several."""
    if known.accuracies:
        yield "seeds.accuracy", list(known.accuracies)
        yield "values.accuracy", [number(value) for value in known.accuracies.values()]
    if known.seed_error:
        yield "note.accuracy", known.seed_error


def _behind(name: str, detail: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the interval, ratio and setting of a measured score."""
    if ends := score_interval(name, detail):
        yield f"low.{name}", number(ends[0])
        yield f"high.{name}", number(ends[1])
    if detail.get("ratio") and isinstance(OBJECTIVES[name].measured, FromTime):
        yield f"ratio.{name}", [number(x) for x in (detail["ratio"], *detail["ratio_interval"])]
    setting = [f"batch {detail['batch_size']}", f"{detail['img_size']} px"]
    words = [*setting, *(detail[k] for k in ("precision", "layout", "mode") if k in detail)]
    if "form" in detail:
        words.append(f"{detail['form']} form")
    if runtime := detail.get("runtime"):
        words.append(f"{runtime['provider']} of onnxruntime {runtime['onnxruntime']}, {runtime['threads']} thread(s)")
    if "device" in detail:
        words.append(f"on {detail['device']}")
    if "fixed_reference_s" in detail:
        words.append(f"{detail['throughput']:.4g} img/s while it was timed")
    yield f"setting.{name}", "; ".join([", ".join(words), *detail.get("conditions", {}).get("warnings", ())])


def _objective(objective: Objective) -> dict[str, Any]:
    return {
        "title": objective.title,
        "axis": objective.axis,
        "noun": objective.noun,
        "subject": objective.subject,
        "si": objective.si,
        "unit": objective.unit,
        "ticks": objective.ticks,
        "maximize": objective.direction == "maximize",
    }
