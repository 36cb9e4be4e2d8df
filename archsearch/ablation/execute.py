"""Run an ablation: count, time and train its networks, and store what is found as soon as it is known."""

from contextlib import suppress
from typing import TYPE_CHECKING

from archsearch.ablation.listener import AblationListener
from archsearch.ablation.outcome import Outcome
from archsearch.ablation.record import create_or_resume, outcome_of
from archsearch.ablation.resolve import ResolvedAblation, resolve
from archsearch.ablation.spec import AblationRecord, AblationSpec
from archsearch.ablation.stages import Stages
from archsearch.data import ImageData, load_for
from archsearch.errors import ArchsearchError
from archsearch.nn.device import environment
from archsearch.search.definition import recipe_of
from archsearch.search.storage.lock import owned
from archsearch.search.storage.opening import masked, open_storage

if TYPE_CHECKING:
    import optuna


def run(spec: AblationSpec | ResolvedAblation, listener: AblationListener | None = None) -> AblationRecord:
    """Run an ablation, or what is missing of it.

    Everything that the user may have got wrong is checked before anything is written. Each training is stored as soon
    as it is finished, so that an interrupted ablation continues when it is run again.
    A network that cannot be trained or timed is a recorded failure and does not end the ablation.

    Args:
        spec: Networks to compare, how to train and time them, and where to store the results.
        listener: Progress listener; None for no progress.

    Returns:
        The results, and where they are stored.

    Raises:
        UserError: The spec is wrong; the message says what would be right.
        StorageError: Another process runs the ablation, or it was begun with another recipe.
        ArchsearchError: The storage cannot be used, or worker processes keep dying.
    """
    plan = spec if isinstance(spec, ResolvedAblation) else resolve(spec)
    spec, listener = plan.spec, listener or AblationListener()
    recipe = plan.recipe(_load_data(plan, listener))  # workers load their own
    storage = open_storage(spec.storage, create=True)
    with owned(plan.name, spec.storage):
        record = create_or_resume(plan.name, recipe, storage)
        try:
            _run_stages(plan, record, listener)
        except BaseException:
            with suppress(ArchsearchError):  # the error that ended the run matters more
                listener.interrupted(_found(plan, record))
            raise
        return _found(plan, record)


def _load_data(plan: ResolvedAblation, listener: AblationListener) -> ImageData | None:
    if not plan.train:
        return None
    return load_for(plan.proxy, plan.dataset, plan.spec.data_root, plan.device, listener.track)


def _run_stages(plan: ResolvedAblation, record: "optuna.Study", listener: AblationListener) -> None:
    study, spec = plan.study, plan.spec
    recipe = {**recipe_of(record), "environment": environment(plan.device)}
    outcome = Outcome(study.name, study.title, (), recipe, spec.command, study.device, study.full)
    stages = Stages(plan, record, outcome, listener)
    stages.count()
    if spec.speed:
        stages.time()
    if spec.weights is not None:
        stages.evaluate_weights()
    stages.explain_search()
    if plan.train:
        stages.train()


def _found(plan: ResolvedAblation, record: "optuna.Study") -> AblationRecord:
    """Return what is stored by now."""
    stored = outcome_of(record)
    chosen = stored.of({variant.name for variant in plan.chosen.variants})
    return AblationRecord(chosen, stored, plan.name, masked(plan.spec.storage))
