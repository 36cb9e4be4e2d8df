"""What a page shows of one study, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from archsearch.errors import OptionError, StorageError
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.report.frame import trials_frame
from archsearch.stats.fronts import costs, nondominated
from archsearch.stats.hypervolume import Box, box_of
from archsearch.stats.noise import AccuracyNoise, accuracy_noise, front_chances
from archsearch.trial import Trial

if TYPE_CHECKING:
    import optuna

    from archsearch.search.importance import Importance


@dataclass(frozen=True)
class StudyView:
    """One study, as far as it came.

    Attributes:
        name: in the storage.
        recipe: that it is run by.
        trials: the finished ones, in the order in which they ended.
        command: that repeats or continues it; may be empty.
        importance: of the axes, by objective; empty where nothing can be told.
        running: trials that are under way.
        images: that accuracies are counted on; 0 where that is not known.
    """

    name: str
    recipe: dict[str, Any]
    trials: Sequence[Trial]
    command: str = ""
    importance: dict[str, "list[Importance]"] = field(default_factory=dict)
    running: int = 0
    images: int = 0

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """In the order of the study."""
        return tuple(OBJECTIVES[name] for name in self.recipe["objectives"])

    @cached_property
    def front(self) -> list[int]:
        """Numbers of the trials on the front."""
        marks = nondominated(costs(self.trials, self.objectives))
        return sorted(self.trials[place].number for place in np.flatnonzero(marks).tolist())

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Scores of all trials, (N,) for each objective that any trial has; NaN where a trial lacks it."""
        known = [trial.evaluation.scores for trial in self.trials]
        names = [name for name in OBJECTIVES if any(name in scores for scores in known)]
        return {name: np.array([scores.get(name, np.nan) for scores in known], dtype=float) for name in names}

    @cached_property
    def noise(self) -> AccuracyNoise | None:
        """What is known of the scatter of accuracies."""
        return accuracy_noise(self.trials, self.images) if "accuracy" in self.recipe["objectives"] else None

    @cached_property
    def chances(self) -> np.ndarray | None:
        """How probably each trial is on the front, (N,); NaN for those that are not complete, None without noise."""
        return front_chances(self.trials, self.objectives, self.noise)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Of ``trials_frame``, with the noise."""
        return trials_frame(list(self.trials), self.objectives, self.noise, self.chances)


def read_view(name: str, storage: str) -> StudyView:
    """A study from a storage, for notebooks, with the importance of its axes, which takes seconds.

    Args:
        name: of the study.
        storage: URL, or the path of an SQLite file.

    Raises:
        StorageError: there is no such storage or study.
        OptionError: it is an ablation, whose trials are seeds.
    """
    from archsearch.ablation.record import is_ablation
    from archsearch.search.definition import load
    from archsearch.search.importance import importances
    from archsearch.search.storage.opening import open_storage

    record = load(name, open_storage(storage, create=False))
    if is_ablation(record):
        raise OptionError(f"study {name!r} is an ablation, whose trials are seeds; see `ablate` and `report`")
    view = view_of(record)
    return replace(view, importance=importances(record, view.recipe["objectives"]))


def view_of(record: "optuna.Study") -> StudyView:
    """A study's record as far as it came, without importances.

    Raises:
        StorageError: a trial cannot be read.
    """
    from archsearch.search.definition import recipe_of, validation_images
    from archsearch.search.storage.records import Tail

    tail = Tail(record)
    trials = tail.look()
    if tail.trouble:
        raise StorageError(f"{tail.trouble}; was it written by another version of archsearch?")
    command = record.user_attrs.get("command", "")
    recipe, images = recipe_of(record), validation_images(record)
    return StudyView(record.study_name, recipe, trials, command, running=tail.running, images=images)


def own_box(view: StudyView) -> Box:
    """The best and worst scores of one study."""
    return box_of(view.objectives, view.trials)


def common_box(views: Sequence[StudyView]) -> Box | None:
    """The best and worst scores of studies with the same objectives; None where they have others."""
    objectives = views[0].objectives
    if any(view.objectives != objectives for view in views):
        return None
    return box_of(objectives, [trial for view in views for trial in view.trials])


def shared_objectives(views: Sequence[StudyView]) -> list[Objective]:
    """The objectives that all studies have, in the order of the first.

    Raises:
        OptionError: there is none, so that no picture holds them all.
    """
    shared = [o for o in views[0].objectives if all(o in view.objectives for view in views)]
    if not shared:
        names = "; ".join(f"{view.name}: {', '.join(o.name for o in view.objectives)}" for view in views)
        raise OptionError(f"these studies have no objective in common ({names}); show them one by one")
    return shared
