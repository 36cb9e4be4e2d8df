"""The page: one HTML file with everything in it, for mail and for machines without a network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from archsearch.arch import Arch
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.report.figures import pairs, pareto_figure
from archsearch.report.frame import front_rows, score_range
from archsearch.report.tables import describe_params, shown
from archsearch.trial import Trial

TEMPLATE = Path(__file__).with_name("page.html")


def write_page(
    path: Path, name: str, recipe: dict[str, Any], trials: list[Trial], frame: pd.DataFrame, command: str
) -> None:
    """Writes the page of a study.

    Args:
        path: the file; replaced in one step if it is there.
        name: of the study.
        recipe: of the study.
        trials: the same trials as in ``frame``.
        frame: of ``trials_frame``.
        command: that repeats or continues the study.
    """
    objectives = tuple(OBJECTIVES[o] for o in recipe["objectives"])
    data = {
        "name": name,
        "command": command,
        "summary": _summary(recipe, frame),
        "recipe": recipe,
        "figures": [json.loads(pareto_figure(frame, x, y).to_json()) for x, y in pairs(objectives)],
        "front": shown(front_rows(frame, objectives), objectives).to_dict(orient="split"),
        "trials": {trial.number: _trial(trial, row) for trial, (_, row) in zip(trials, frame.iterrows(), strict=True)},
    }
    write_html(path, TEMPLATE, data)


def write_html(path: Path, template: Path, data: Any) -> None:
    """Writes a page with plotly.js and its data inside, in one step.

    Args:
        path: the file; replaced if it is there.
        template: with ``/*PLOTLY*/`` and ``/*DATA*/`` in script elements.
        data: JSON-ready.
    """
    html = template.read_text(encoding="utf-8")
    html = html.replace("/*PLOTLY*/", get_plotlyjs().replace("</script", r"<\/script"))
    html = html.replace("/*DATA*/", _script_safe(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_text(html, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _script_safe(data: Any) -> str:
    """JSON that no name in it can break out of its script element."""
    return json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _summary(recipe: dict[str, Any], frame: pd.DataFrame) -> str:
    failed = int((frame["state"] == "failed").sum())
    return (
        f"{len(frame)} trials of space {recipe['space_name']}, {int(frame['front'].sum())} on the front"
        + (f", {failed} failed" if failed else "")
        + f". Accuracy is that of a proxy trained on {recipe['data']['name']}; "
        f"costs are the target's, on {recipe['device']}."
    )


def _trial(trial: Trial, row: pd.Series) -> dict[str, Any]:
    evaluation = trial.evaluation
    return {
        "title": describe_params(row),
        "state": trial.state,
        "front": bool(row["front"]),
        "scores": [_score(name, value, evaluation.details.get(name)) for name, value in evaluation.scores.items()],
        "curve": [[epoch.epoch, epoch.train_loss, epoch.accuracy] for epoch in evaluation.curve],
        "error": evaluation.error,
        "seed": trial.seed,
        "seconds": {phase: round(value, 2) for phase, value in evaluation.seconds.items()},
        "environment": trial.environment,
        "stages": list(_stages(trial.arch)),
        "arch": trial.arch.to_dict(),
        "key": trial.arch.key,
    }


def _stages(arch: Arch) -> Iterator[str]:
    """A line per stage: how many of which blocks."""
    for number, mixer in enumerate(arch.mixers, 1):
        depth, dim, ratio = arch.depths[number - 1], arch.dims[number - 1], arch.mlp_ratios[number - 1]
        yield f"stage {number}: {depth} {arch.block} blocks, {mixer}, dim {dim}, MLP ratio {ratio:g}"


def _score(name: str, value: float, detail: dict[str, Any] | None) -> list[str]:
    objective: Objective = OBJECTIVES[name]
    text = f"{value * objective.scale:.{objective.precision}f}"
    return [objective.label, text + _behind(objective, detail) if detail else text]


def _behind(objective: Objective, detail: dict[str, Any]) -> str:
    """How sure a timing is, and what exactly was timed."""
    what = "95 % interval" if "interval_s" in detail else "quartiles"  # before there were intervals
    low, high = score_range(objective.name, detail, detail.get("interval_s") or detail["quartiles_s"])
    words = [f"{what} {low:.{objective.precision}f} to {high:.{objective.precision}f}"]
    if objective.name == "peak_memory_mb":  # counted by the allocator, not timed
        words = []
    if detail.get("ratio"):
        (below, above), ratio = detail["ratio_interval"], detail["ratio"]
        words.append(f"{ratio:.3f} times as fast as the reference ({below:.3f} to {above:.3f})")
    setting = [f"batch {detail['batch_size']}", f"{detail['img_size']} px"]
    words.append(", ".join([*setting, *(detail[k] for k in ("precision", "layout", "mode") if k in detail)]))
    words += detail.get("conditions", {}).get("warnings", ())
    return f" ({'; '.join(words)})"
