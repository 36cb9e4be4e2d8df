"""View of a study: the trials and facts that a page or figure shows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from archsearch.arch import Arch
from archsearch.errors import OptionError, StorageError, UserError
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.recipes import ProxyRecipe
from archsearch.report.frame import trials_frame
from archsearch.report.smoothed import OBSERVED, SmoothedScores, Smoothing, smoothed_scores
from archsearch.stats.fronts import costs, nondominated
from archsearch.stats.hypervolume import Box, box_of
from archsearch.stats.noise import AccuracyNoise, accuracy_noise, front_chances, with_level_seeds
from archsearch.trial import Trial
from archsearch.utils.key_fields import restored

if TYPE_CHECKING:
    import optuna

    from archsearch.handover.confirmation import Confirmation
    from archsearch.search.importance import Importance


@dataclass(frozen=True)
class StudyView:
    """One study with the trials that have finished so far.

    Attributes:
        name: Name in the storage.
        recipe: Recipe of the study.
        trials: Finished trials, in the order in which they ended.
        command: Command that repeats or continues the study; may be empty.
        importance: Importance of the axes by objective; empty where there are too few trials.
        running: Number of running trials.
        images: Number of validation images; 0 if unknown.
        smoother: Function that smooths accuracies; another one where a study is followed.
        confirmation: Last confirmation of its front; None where there is none.
        small_maps: Which kernel sizes the proxy's maps are too small to judge, and what to do, in sentences.
        ranking: What is known of how its recipe ranks, in a sentence; empty where nothing is on record.
    """

    name: str
    recipe: dict[str, Any]
    trials: Sequence[Trial]
    command: str = ""
    importance: dict[str, "list[Importance]"] = field(default_factory=dict)
    running: int = 0
    images: int = 0
    smoother: Smoothing = smoothed_scores
    confirmation: "Confirmation | None" = None
    small_maps: tuple[str, ...] = ()
    ranking: str = ""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Objectives in the order of the study."""
        return tuple(OBJECTIVES[name].on(self.timed_on).in_form(self.form) for name in self.recipe["objectives"])

    @property
    def form(self) -> str:
        """Form of the targets whose inference the study has timed."""
        return str(self.recipe.get("bench", {}).get("form", "train"))

    @property
    def timed_on(self) -> str | None:
        """Name of the other machine's device that the speeds are of; None where the study's own timed."""
        speeds = self.recipe.get("speeds")
        return speeds["device"] if speeds else None

    @cached_property
    def proxy_outline(self) -> str:
        """The size of the baseline's proxy network, as the study's record has it; empty where it cannot be told."""
        baseline, proxy = self.recipe.get("space", {}).get("baseline"), self.recipe.get("proxy")
        if baseline is None or proxy is None:
            return ""
        try:
            target = Arch.from_dict(baseline)
            return restored(ProxyRecipe, proxy).shrink(target, target.num_classes).outline
        except UserError:  # a newer version's, or a mixer of the user's own that is not here
            return ""

    @cached_property
    def level(self) -> Sequence[Trial]:
        """The trials with accuracies that can be compared, where they were trained with unequal seeds."""
        return with_level_seeds(self.trials)

    @cached_property
    def front(self) -> list[int]:
        """Numbers of the trials on the front of observed scores, ascending."""
        return self._numbers(nondominated(costs(self.level, self.objectives)))

    @property
    def smoothed_front(self) -> list[int] | None:
        """Numbers of the trials on the front of smoothed accuracies, ascending; None without a model."""
        return self._numbers(self.smoothed.front) if self.smoothed else None

    def _numbers(self, marks: np.ndarray) -> list[int]:
        return sorted(self.trials[place].number for place in np.flatnonzero(marks).tolist())

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Scores of all trials, (N,) for each objective that any trial has; NaN where a trial lacks it."""
        return _scores_of(self.trials)

    @cached_property
    def level_scores(self) -> dict[str, np.ndarray]:
        """The same of ``level``, by which trials are compared."""
        return _scores_of(self.level)

    @cached_property
    def noise(self) -> AccuracyNoise | None:
        """Noise of the accuracies; None if unknown."""
        return accuracy_noise(self.trials, self.images) if "accuracy" in self.recipe["objectives"] else None

    @cached_property
    def smoothed(self) -> SmoothedScores | None:
        """Smoothed accuracies; None where no model can be made."""
        return self.smoother(self.level, self.objectives, self.noise, self.recipe.get("space", {}).get("axes", {}))

    @cached_property
    def observed_chances(self) -> np.ndarray | None:
        """Share of draws around the observed scores in which each trial is on the front, (N,); None without noise."""
        return front_chances(self.level, self.objectives, self.noise)

    @property
    def chances(self) -> np.ndarray | None:
        """Probability of each trial to be on the front, (N,); NaN for those not complete; None without noise.

        By the smoothed accuracies, or the observed ones where no model can be made (``chance_words``).
        """
        return self.smoothed.chances if self.smoothed else self.observed_chances

    @property
    def chance_words(self) -> str:
        """What ``chances`` are, as a text for people; empty without them."""
        return self.smoothed.words if self.smoothed else OBSERVED if self.chances is not None else ""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Frame of ``trials_frame``, with the noise."""
        made = trials_frame(list(self.trials), self.objectives, self.noise, self.observed_chances, self.smoothed)
        return made.assign(speeds=self.timed_on) if self.timed_on else made


def _scores_of(trials: Sequence[Trial]) -> dict[str, np.ndarray]:
    known = [trial.evaluation.scores for trial in trials]
    names = [name for name in OBJECTIVES if any(name in scores for scores in known)]
    return {name: np.array([scores.get(name, np.nan) for scores in known], dtype=float) for name in names}


def read_view(name: str, storage: str) -> StudyView:
    """Read a study from a storage, for notebooks, with the importance of its axes, which takes seconds.

    Args:
        name: Name of the study.
        storage: URL, or path of an SQLite file.

    Raises:
        StorageError: There is no such storage or study.
        OptionError: The study is an ablation, whose trials are seeds.
    """
    from archsearch.search.definition import check_search, load
    from archsearch.search.importance import importances
    from archsearch.search.storage.opening import open_storage

    record = load(name, open_storage(storage, create=False))
    check_search(record)
    view = view_of(record)
    return replace(view, importance=importances(record, view.recipe["objectives"]))


def view_of(record: "optuna.Study") -> StudyView:
    """Return the view of an open study, without the importance of its axes.

    Raises:
        StorageError: A trial cannot be read.
    """
    from archsearch.search.definition import recipe_of, validation_images
    from archsearch.search.known_ranking import ranking_words
    from archsearch.search.small_maps_record import recorded_maps
    from archsearch.search.storage.records import Tail

    tail = Tail(record)
    trials = tail.look()
    if tail.trouble:
        raise StorageError(f"{tail.trouble}; was it written by another version of archsearch?")
    command = record.user_attrs.get("command", "")
    recipe, images = recipe_of(record), validation_images(record)
    told = confirmation_in(record)
    return StudyView(
        record.study_name,
        recipe,
        trials,
        command,
        running=tail.running,
        images=images,
        confirmation=told,
        small_maps=recorded_maps(record),
        ranking=ranking_words(record),
    )


def confirmation_in(record: "optuna.Study") -> "Confirmation | None":
    """Return the last confirmation of an open study, from its storage; None where there is none."""
    from archsearch.handover.confirm_record import stored_confirmation
    from archsearch.search.storage.studies import storage_of

    return stored_confirmation(record.study_name, storage_of(record))


def named_objective(views: Sequence[StudyView], name: str) -> Objective:
    """Return an objective as a picture of several studies names it: with device and form where they matter.

    Args:
        views: Studies in one picture.
        name: Name of the objective.
    """
    devices = {view.timed_on for view in views}
    forms = {view.form for view in views if name in view.scores} or {view.form for view in views}
    known = OBJECTIVES[name].on(devices.pop() if len(devices) == 1 else None)
    return known.in_form(" or ".join(sorted(forms, reverse=True)))


def own_box(view: StudyView) -> Box:
    """Return the best and worst scores of one study."""
    return box_of(view.objectives, view.trials)


def common_box(views: Sequence[StudyView]) -> Box | None:
    """Return the best and worst scores of several studies; None where their objectives differ."""
    objectives = views[0].objectives
    if any(view.objectives != objectives for view in views):
        return None
    return box_of(objectives, [trial for view in views for trial in view.trials])


def shared_objectives(views: Sequence[StudyView]) -> list[Objective]:
    """Return the objectives that all studies have, in the order of the first study.

    Raises:
        OptionError: There is none, so that no picture can show them all.
    """
    shared = [o for o in views[0].objectives if all(o in view.objectives for view in views)]
    if not shared:
        names = "; ".join(f"{view.name}: {', '.join(o.name for o in view.objectives)}" for view in views)
        raise OptionError(f"these studies have no objective in common ({names}); show them one by one")
    return shared
