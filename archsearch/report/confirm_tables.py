"""A confirmation as a table, and its findings in sentences."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archsearch.objectives import OBJECTIVES
from archsearch.utils.tables import Document, Table

if TYPE_CHECKING:
    from archsearch.handover.confirmation import Confirmation, Confirmed
    from archsearch.objectives import Objective

#: Column of words.
ROLE = 1


def confirmation_document(confirmation: "Confirmation") -> Document:
    """Return the table of a confirmation with its findings, and the rows in plain units."""
    others = [objective for objective in confirmation.objectives if objective.name != "accuracy"]
    accuracy = OBJECTIVES["accuracy"]
    header = [
        "candidate",
        "role",
        *(objective.label for objective in others),
        f"search: {accuracy.label}",
        "confirmed: test top-1 (%)",
        "seeds",
        "rank",
        "P(front) (%)",
        "front",
    ]
    rows = [_cells(one, others) for one in confirmation.members]
    title = f"Confirmation of {confirmation.study}{_training(confirmation)}"
    table = Table(header, rows, words=(0, ROLE, len(header) - 1), title=title, notes=list(findings(confirmation)))
    return Document([table], [row_of(one, confirmation) for one in confirmation.members], data=data_of(confirmation))


def _training(confirmation: "Confirmation") -> str:
    """Return how candidates were trained, to follow a title; empty where that is not on record."""
    proxy = confirmation.recipe.get("proxy")
    if not proxy:
        return ""
    epochs, images = proxy["epochs"], proxy.get("epoch_samples") or proxy["train_samples"] or "all"
    return f" ({confirmation.name}): {epochs} epoch{'s' if epochs > 1 else ''} of {images} images"


def _cells(one: "Confirmed", others: "list[Objective]") -> list[str]:
    scores, seeds = one.candidate.scores, len(one.trained.accuracies)
    return [
        one.candidate.name,
        role_of(one),
        *(_number(scores.get(o.name), o.scale, o.precision) for o in others),
        _number(scores.get("accuracy"), 100, 1),
        interval_of(one),
        f"{seeds}",
        "-" if one.rank is None else f"{one.rank_before} -> {one.rank}",
        f"{_number(one.chance_before, 100, 0)} -> {_number(one.chance, 100, 0)}",
        _place(one),
    ]


def role_of(one: "Confirmed") -> str:
    """Return why a candidate was trained, as a text for people."""
    role = one.candidate.role
    return f"{role}, baseline" if one.candidate.baseline and role != "baseline" else role


def interval_of(one: "Confirmed") -> str:
    """Return the confirmed accuracy with its 95 % interval in percent, as a text for people."""
    if one.accuracy is None:
        return next(iter(one.trained.errors.values()), "not trained yet")
    return f"{100 * one.accuracy:.1f} ({_number(one.low, 100, 1)} to {_number(one.high, 100, 1)})"


def _place(one: "Confirmed") -> str:
    if one.on_front is None:
        return "-"
    if one.candidate.role == "front":
        return "stays" if one.on_front else "leaves"
    return "joins" if one.on_front else "-"


def _number(value: float | None, scale: float, precision: int) -> str:
    return "-" if value is None else f"{value * scale:.{precision}f}"


def findings(confirmation: "Confirmation") -> Iterator[str]:
    """Yield what a confirmation has found, a sentence each."""
    untrained = sum(not one.trained.accuracies and not one.trained.errors for one in confirmation.members)
    if untrained:
        count = f"{untrained} of {len(confirmation.members)} candidates"
        yield f"Not finished: {count} are not trained yet, and the same command goes on."
    judged = [one for one in confirmation.members if one.candidate.role == "front" and one.on_front is not None]
    stay, joined = sum(bool(one.on_front) for one in judged), _joined(confirmation)
    yield (
        f"{stay} of {len(judged)} members stay on the front"
        + (f"; {', '.join(joined)} would join it" if joined else "")
        + f". Accuracies are those on {confirmation.images} images of the test split; other scores are the search's."
    )
    if (found := confirmation.agreement) is not None:
        cost = "" if confirmation.budget is None else f" within a budget of {confirmation.budget.name}"
        yield (
            f"The search ranks these candidates with tau {found.tau.value:.2f} ({found.tau.low:.2f} to "
            f"{found.tau.high:.2f}), rho {found.rho.value:.2f}. Choosing by it{cost} loses "
            f"{100 * found.regret.value:.1f} points on average, {100 * found.worst_regret:.1f} at worst."
        )
    if confirmation.noise is not None:
        yield f"Intervals are of 95 %, {confirmation.noise.words}."


def _joined(confirmation: "Confirmation") -> list[str]:
    return [one.candidate.name for one in confirmation.members if one.on_front and one.candidate.role != "front"]


def row_of(one: "Confirmed", confirmation: "Confirmation") -> dict[str, Any]:
    """Return what is known of a candidate in plain units, JSON-ready."""
    searched = {
        f"search.{objective.name}": one.candidate.scores.get(objective.name) for objective in confirmation.objectives
    }
    seeds = sorted(one.trained.accuracies)
    return {
        "candidate": one.candidate.name,
        "trial": one.candidate.number,
        "role": one.candidate.role,
        "baseline": one.candidate.baseline,
        "key": one.candidate.arch.key,
        **searched,
        "accuracy": one.accuracy,
        "accuracy.low": one.low,
        "accuracy.high": one.high,
        "seeds": seeds,
        "accuracies": [one.trained.accuracies[seed] for seed in seeds],
        "rank_before": one.rank_before,
        "rank": one.rank,
        "front_probability_before": one.chance_before,
        "front_probability": one.chance,
        "on_front": one.on_front,
        "errors": list(one.trained.errors.values()),
    }


def data_of(confirmation: "Confirmation") -> dict[str, Any]:
    """Return a confirmation as JSON-ready data."""
    found = confirmation.agreement
    estimates = {} if found is None else {name: vars(getattr(found, name)) for name in ("tau", "rho")}
    return {
        "study": confirmation.study,
        "name": confirmation.name,
        "recipe": dict(confirmation.recipe),
        "images": confirmation.images,
        "candidates": [row_of(one, confirmation) for one in confirmation.members],
        **estimates,
        **({} if found is None else {"regret": found.regret.value, "worst_regret": found.worst_regret}),
    }
