"""Run a study: the library's entry point. ``archsearch.search.run`` is ``run``."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from archsearch.complexity.parts import PartCounter
from archsearch.evaluate import COMPILER
from archsearch.objectives import Tier
from archsearch.search.definition import DATA_ROOT, VAL_IMAGES, create_or_resume, validation_images
from archsearch.search.dispatch import carry_out
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.runner import ProgressListener, Runner
from archsearch.search.fixed_speed import Speeds, fix_speeds, fixed_speeds, step_seconds
from archsearch.search.known_ranking import RANKING, look_up, ranking_words
from archsearch.search.place import Place, place_of
from archsearch.search.reachable import check_reachable
from archsearch.search.resolve import ResolvedStudy, define, resolve
from archsearch.search.result import StudyResult
from archsearch.search.search import Search
from archsearch.search.small_maps_record import record_maps, recorded_maps
from archsearch.search.spec import StudySpec
from archsearch.search.storage.lock import owned, sign
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import in_words, masked, open_storage
from archsearch.search.storage.records import rescoring_of
from archsearch.search.storage.reuse import ResultReuse
from archsearch.search.warm_start import Start, read_starts
from archsearch.utils.worker_process import prepare

if TYPE_CHECKING:
    from archsearch.data import ImageData
    from archsearch.search.definition import Study


class Progress:
    """How a run shows its progress; this one shows nothing, but tells a listener."""

    def __init__(self, listener: ProgressListener | None = None) -> None:
        self.listener = listener or ProgressListener()

    def say(self, text: str) -> None:
        """Show a remark in words, before the first trial."""
        self.listener.say(text)

    def track(self, items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
        """Show how far an iterable has come while images are decoded."""
        return items

    @contextmanager
    def following(self, search: Search, n_trials: int) -> Iterator[ProgressListener]:
        """Follow a search whose trials are about to run.

        Args:
            search: The search; it has the trials of earlier runs.
            n_trials: Number of trials in all.

        Yields:
            The listener of what happens from then on.
        """
        yield self.listener


def run(spec: StudySpec | ResolvedStudy, progress: Progress | ProgressListener | None = None) -> StudyResult:
    """Run a study, or go on with it, until it has the trials that are asked for.

    Everything that the user may have got wrong is checked before anything is written. Where more than one worker
    evaluates candidates, a script calls this under ``if __name__ == "__main__"``.

    Args:
        spec: What the study is to do.
        progress: Listener of its progress, or what makes one once the search exists.

    Returns:
        The study with all its trials, those of earlier runs included.

    Raises:
        UserError: The specification is wrong; the message says what would be right.
        StorageError: Another process runs the study, or it was begun with another recipe.
        ArchsearchError: Workers cannot be started, or the storage is gone.
    """
    shown = progress if isinstance(progress, Progress) else Progress(progress)
    resolved = spec if isinstance(spec, ResolvedStudy) else resolve(spec)
    spec, remarks = resolved.spec, list[str]()
    starts = read_starts(spec.start_from, resolved.space, resolved.name, spec.storage, remarks.append)
    if spec.engine.name == "local" and spec.engine.workers != 0:
        prepare(["archsearch.search.engines.job", "archsearch.evaluate.evaluator", COMPILER])
    with place_of(spec.engine, spec.device) as place:
        study, data = define(resolved, place, shown.track)
        count = PartCounter("activations" in {quantity.name for quantity in study.quantities})
        speeds = fixed_speeds(study, spec.storage, place, spec.remeasure, shown.say)
        if not resolved.begun:
            starts += check_reachable(study, count, place, starts, spec.mixers, shown.say, step_seconds(speeds))
        if resolved.speeds:
            known = f"{study.space.points()} architectures of space {study.space.name}"
            remarks.append(f"candidates are the {known} that have {resolved.speeds}")
            remarks += [resolved.speeds.remark] if resolved.speeds.remark else []
        for remark in remarks:
            shown.say(remark)
        return _search(resolved, study, data, place, count, starts, shown, speeds)


def _search(
    resolved: ResolvedStudy,
    study: "Study",
    data: "ImageData",
    place: Place,
    count: PartCounter,
    starts: Sequence[Start],
    shown: Progress,
    speeds: Speeds,
) -> StudyResult:
    """Take the study up in its storage, and evaluate candidate after candidate."""
    spec = resolved.spec
    storage = open_storage(spec.storage, create=True)
    with owned(study.name, spec.storage) as check:
        with in_words():
            record = create_or_resume(study, storage)
            sign(record)
            if spec.command:
                record.set_user_attr("command", spec.command)
            record.set_user_attr(VAL_IMAGES, len(data.val))
            if spec.data_root:
                record.set_user_attr(DATA_ROOT, str(spec.data_root.resolve()))
            maps = record_maps(study, record)
            record.set_user_attr(RANKING, look_up(study, spec))
            fix_speeds(record, speeds)
            search = Search(study, StorageMirror(record, check, rescoring_of(record)), count, starts)
        reuse = ResultReuse(
            study, search.mirror, place.versions, not spec.retrain, not spec.remeasure, step_seconds(speeds)
        )
        stop = EarlyStopping(search, study.proxy.epochs)
        _tell_proxy(study, data, shown)
        for line in maps:
            shown.say(line)
        with shown.following(search, resolved.n_trials) as listener:
            search.mirror.trouble = listener.say
            runner = Runner(search, resolved.n_trials, listener, spec.timeout, stop, reuse)
            carry_out(spec, runner, study, data, place, step_seconds(speeds))
        return result_of(search, spec.storage)


def _tell_proxy(study: "Study", data: "ImageData", shown: Progress) -> None:
    """Say how large the networks are whose accuracies follow."""
    if any(quantity.tier is Tier.TRAINED for quantity in study.quantities):
        proxy = study.proxy.shrink(study.space.baseline, len(data.classes))
        shown.say(f"proxy network of the baseline: {proxy.outline}")


def result_of(search: Search, storage: str) -> StudyResult:
    """Return what a search has found so far.

    Args:
        search: The search.
        storage: URL of its storage.
    """
    study, record = search.study, search.record
    return StudyResult(
        name=study.name,
        objectives=study.objectives,
        trials=tuple(search.trials),
        storage=masked(storage),
        recipe=study.recipe(),
        study=search.mirror.in_memory,
        command=record.user_attrs.get("command", ""),
        val_images=validation_images(record),
        ranking=ranking_words(record),
        exhausted=search.samplers.spent,
        small_maps=recorded_maps(record),
    )
