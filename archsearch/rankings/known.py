"""Rankings on record: how well one training by a recipe orders the architectures of a space on a data set."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archsearch.data.folder import cache_folder
from archsearch.recipes import TEACHER, TRAINER, ProxyRecipe
from archsearch.utils.key_fields import completed, key_fields
from archsearch.utils.package_data import shipped
from archsearch.utils.whole_file import replacing

#: The table that ships, made of the committed records by ``benchmarks/rankings.py``.
TABLE = shipped("studies") / "results" / "rankings.json"
#: Name of a data set that says nothing of its images: any folder's.
ANY_FOLDER = "folder"
#: 97.5th percentile of the normal distribution, times the deviation of a difference of two alike.
APART = 1.96 * 2**0.5
#: A statistic and the ends of its interval.
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Ranking:
    """How well one training by a recipe orders architectures, compared with the mean of long ones.

    Attributes:
        recipe: What its trainings depend on in the recipe, as ``recipe_fields``.
        space: Name of the space.
        data: Name of the data set; empty where it is not on record.
        fingerprint: Fingerprint of its images at the recipe's resolution; empty where it is not on record.
        title: Data set in words.
        device: Device that trained, in words.
        date: Day of the measurement, as 2026-11-28; empty where it is not on record.
        archs: Number of architectures.
        tau: Kendall's tau-b with the reference.
        within: Tau-b within bins of the MACs.
        regret: Reference accuracy lost by choosing at every MACs budget, a fraction.
        noise: Standard deviation of one training's accuracy between seeds, a fraction; None where one seed trained.
        reference: Seeds, images and recipe of the reference, in words.
        seconds: Seconds of a training.
        machine_seconds: Seconds of the whole machine per candidate; None where the records do not tell.
        records: Name of the file of the records.
    """

    recipe: Mapping[str, Any]
    space: str
    data: str
    fingerprint: str
    title: str
    device: str
    date: str
    archs: int
    tau: Interval
    within: Interval
    regret: Interval
    noise: float | None
    reference: str
    seconds: float
    machine_seconds: float | None
    records: str

    @property
    def indistinct(self) -> float | None:
        """Difference of two accuracies below which seeds alone explain it at 95 %; None where noise is not known."""
        return None if self.noise is None else APART * self.noise

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Ranking":
        """Return the ranking that ``asdict`` made a mapping of; raises TypeError where it is none."""
        ends = {name: tuple(stored[name]) for name in ("tau", "within", "regret") if name in stored}
        return cls(**{**stored, **ends})


@dataclass(frozen=True)
class Question:
    """What a study wants to know.

    Attributes:
        recipe: What its trainings depend on in its recipe, as ``recipe_fields``.
        space: Name of its space.
        data: Name of its data set.
        fingerprint: Fingerprint of its images.
    """

    recipe: Mapping[str, Any]
    space: str
    data: str
    fingerprint: str

    def same_recipe(self, ranking: Ranking) -> bool:
        """Whether a ranking is of this recipe."""
        return completed(ProxyRecipe, self.recipe) == completed(ProxyRecipe, ranking.recipe)

    def same_data(self, ranking: Ranking) -> bool:
        """Whether a ranking is of these images: by fingerprint, or by name where it has none."""
        if ranking.fingerprint:
            return self.fingerprint == ranking.fingerprint
        return self.data == ranking.data != ANY_FOLDER


@dataclass(frozen=True)
class Known:
    """What is known.

    Attributes:
        exact: Ranking of this recipe on these images, for this space; None where there is none.
        nearest: Ranking of this recipe for another space or on other images; None where there is none.
        same_data: Whether the nearest is on these images.
    """

    exact: Ranking | None = None
    nearest: Ranking | None = None
    same_data: bool = False


def recipe_fields(proxy: ProxyRecipe) -> dict[str, Any]:
    """Return what a training's result depends on in a recipe: its keyed fields, and versions of training and teacher.

    >>> list(recipe_fields(ProxyRecipe()))[:3], list(recipe_fields(ProxyRecipe(teacher=0.5)))[:3]
    (['trainer', 'width', 'width_step'], ['trainer', 'taught', 'width'])
    """
    return {"trainer": TRAINER, **({"taught": TEACHER} if proxy.teacher else {}), **key_fields(proxy)}


def kept_folder() -> Path:
    """Return the folder of the rankings that were measured on this machine."""
    return cache_folder() / "rankings"


def find(question: Question, rankings: Iterable[Ranking]) -> Known:
    """Return what rankings say of a study; of several that say the same thing, the last one counts.

    Args:
        question: The study's recipe, space and data.
        rankings: Rankings, least trusted first.
    """
    own = [ranking for ranking in rankings if question.same_recipe(ranking)]
    here = [ranking for ranking in own if question.same_data(ranking)]
    exact = [ranking for ranking in here if ranking.space == question.space]
    if exact:
        return Known(exact[-1])
    near = here or [ranking for ranking in own if ranking.space == question.space] or own
    return Known(nearest=near[-1] if near else None, same_data=bool(here))


def read_rankings(kept: Path | None = None, table: Path = TABLE) -> list[Ranking]:
    """Return the rankings that ship, then those that this machine keeps, oldest first.

    Args:
        kept: Folder that ``keep`` writes to; None for the table alone.
        table: Table that ships.
    """
    files = sorted(kept.glob("*.json"), key=lambda path: path.stat().st_mtime) if kept and kept.is_dir() else []
    return [ranking for path in (table, *files) for ranking in _in_file(path)]


def _in_file(path: Path) -> Iterator[Ranking]:
    """Yield the rankings of a file; what cannot be read, or is of another version, counts as missing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        yield from [Ranking.of(stored) for stored in found]
    except (OSError, ValueError, TypeError):
        return


def rankings_text(rankings: Sequence[Ranking]) -> str:
    """Return rankings as the text of a file."""
    return json.dumps([asdict(ranking) for ranking in rankings], indent=1) + "\n"


def keep(rankings: Sequence[Ranking], folder: Path, name: str) -> None:
    """Write rankings into a folder of this machine, in place of earlier ones of the same name.

    Args:
        rankings: Rankings.
        folder: Folder, made where it is missing.
        name: Name of the file, without its ending.

    Raises:
        OSError: They cannot be written.
    """
    with replacing(folder / f"{name}.json") as scratch:
        scratch.write_text(rankings_text(rankings), encoding="utf-8")
