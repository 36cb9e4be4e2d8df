"""A measured ranking, as ``fidelity`` leaves it."""

from collections.abc import Mapping
from typing import Any

from archsearch.rankings.known import Ranking


def ranking_of(recipe: Mapping[str, Any], **changes: Any) -> Ranking:
    """Return the ranking of a recipe on images called CIFAR-10, with some fields changed."""
    return Ranking(
        **{
            "recipe": recipe,
            "space": "inception_dw",
            "data": "folder",
            "fingerprint": "abc",
            "title": "CIFAR-10",
            "device": "two cores",
            "date": "2026-11-28",
            "archs": 24,
            "tau": (0.78, 0.63, 0.89),
            "within": (0.7, 0.5, 0.8),
            "regret": (0.003, 0.001, 0.006),
            "noise": 0.0034,
            "reference": "3 seeds",
            "seconds": 26.0,
            "machine_seconds": 13.0,
            "records": "r.csv",
            **changes,
        }
    )
