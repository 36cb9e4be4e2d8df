"""The storage mirror: a study's trials, written to the storage and read from memory.

Only the process that runs a study writes to it, so its copy in memory is complete. Every change goes to the storage
first, in as few transactions as Optuna allows, and waits while the storage cannot be reached. An interrupt comes before
or after a change, never between the storage and the memory.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from archsearch.errors import ArchsearchError, StorageError
from archsearch.search.storage.opening import reason_of, set_attrs
from archsearch.utils.interrupts import DeferredInterrupts

#: Seconds to wait for a storage that cannot be reached, during a run and while a run is ending.
PATIENCE_S, LAST_PATIENCE_S = 600.0, 5.0
#: Seconds between two attempts.
RETRY_S = 1.0

#: Part of the names of study attributes that list the parents of a generation.
PARENTS = "Sampler:parent:"
#: Prefix of the trial attributes in which Optuna keeps constraints.
CONSTRAINTS = "constraints"

T = TypeVar("T")


class StorageMirror:
    """The trials of one study, in its storage and in memory.

    Attributes:
        record: Study in its storage.
        in_memory: Study in memory with the same trials by the same numbers; samplers read this one.
        trouble: Callback with a message, called once while the storage cannot be reached.
        check: Function called before every write; raises if another process has taken over the study.
        patience_s: Seconds to wait for a storage that cannot be reached.
        ending: Function that tells whether the run is ending, so that the wait is short.
    """

    def __init__(
        self,
        record: optuna.Study,
        check: Callable[[], None] = lambda: None,
        scored: Callable[[FrozenTrial], FrozenTrial] = lambda trial: trial,
    ) -> None:
        """Read the trials.

        Args:
            record: Study in its storage.
            check: Function called before every write.
            scored: Function from a trial of the storage to the same with the scores that it has now.
        """
        self.record, self.check, self.patience_s = record, check, PATIENCE_S
        self.trouble: Callable[[str], None] = lambda words: None
        self.ending: Callable[[], bool] = lambda: False
        self._deferred = DeferredInterrupts()
        self.in_memory = optuna.create_study(storage=InMemoryStorage(), directions=record.directions)
        self._ids: list[int] = []
        for trial in record.get_trials(deepcopy=False):
            self._copy(scored(trial))
        self._parents: set[str] = set()
        self._recall_parents()

    def written(self, number: int) -> bool:
        """Whether a trial is in the storage, not only in memory."""
        return number < len(self._ids)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number; not to be modified."""
        return self.in_memory.get_trials(deepcopy=False)

    def blank(self) -> FrozenTrial:
        """Return the newest trial, which is in memory only and has no parameters yet."""
        if len(self.trials) == len(self._ids):
            self._mirrored.create_new_trial(self.in_memory._study_id)
        return self.trials[-1]

    def fill(self, params: Mapping[str, Any], axes: Mapping[str, BaseDistribution]) -> None:
        """Set the parameters of the newest trial, which is in memory only until ``begin``."""
        mirror_id = self.blank()._trial_id
        for name, axis in axes.items():
            self._mirrored.set_trial_param(mirror_id, name, axis.to_internal_repr(params[name]), axis)
        self._keep_parents()

    def begin(self, attrs: Mapping[str, Any]) -> int:
        """Write the newest trial, whose parameters are set, to the storage.

        Args:
            attrs: User attributes of the trial.

        Returns:
            Number of the trial.

        Raises:
            StorageError: Another program has written trials to the study.
        """
        newest = self.trials[-1]
        number, mirror_id = newest.number, newest._trial_id
        for name, value in attrs.items():
            self._mirrored.set_trial_user_attr(mirror_id, name, value)
        template, study_id = self.trials[number], self.record._study_id

        def create(again: bool) -> int:
            if again:  # the storage may have written it and failed before it answered
                try:
                    return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
                except KeyError:
                    pass
            return self._storage.create_new_trial(study_id, template)

        with self._deferred:
            trial_id = self._write(create)
            first = self._write(lambda again: self._storage.get_trial_id_from_study_id_trial_number(study_id, number))
            if first == trial_id:
                self._ids.append(trial_id)
            else:
                self._take_twice_written(first, trial_id, attrs)
        return number

    def _take_twice_written(self, first: int, second: int, attrs: Mapping[str, Any]) -> None:
        """Handle a trial that Optuna wrote twice because the storage failed before it answered the first time."""
        theirs = self._storage.get_trial(first).user_attrs
        if any(theirs.get(name) != attrs.get(name) for name in ("arch_key", "draw")):
            raise StorageError(
                f"another program writes trials to study {self.record.study_name!r}; "
                "end it, and run this command again: nothing that was finished is lost"
            )
        self._ids.append(first)
        extra = self._storage.get_trial(second)
        if not extra.state.is_finished():
            self._storage.set_trial_user_attr(second, "duplicate_of", len(self._ids) - 1)
            self._storage.set_trial_state_values(second, TrialState.FAIL)
        self._copy(self._storage.get_trial(second))

    def end(
        self,
        number: int,
        attrs: Mapping[str, Any],
        state: TrialState,
        values: Sequence[float] | None = None,
        excess: Mapping[str, float] | None = None,
    ) -> FrozenTrial:
        """Add attributes to a trial and finish it.

        Args:
            number: Number of the trial.
            attrs: User attributes to add.
            state: Final state.
            values: Value per objective of a complete trial.
            excess: Violation of each constraint, for Optuna's own constraint mechanism.

        Returns:
            The finished trial.
        """
        system = {f"{CONSTRAINTS}:{name}": share for name, share in sorted((excess or {}).items())}

        def finish(again: bool) -> None:
            try:
                self._storage.set_trial_state_values(self._ids[number], state, values)
            except UpdateFinishedTrialError:
                if not again:
                    raise

        with self._deferred:
            self._write(lambda again: set_attrs(self._storage, self._ids[number], attrs, system))
            self._write(finish)
            self._remember_end(number, attrs, system, state, values)
        return self.trials[number]

    def _remember_end(
        self,
        number: int,
        attrs: Mapping[str, Any],
        system: Mapping[str, Any],
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Finish a trial in memory."""
        mirror_id = self.trials[number]._trial_id
        for name, value in attrs.items():
            self._mirrored.set_trial_user_attr(mirror_id, name, value)
        for name, share in system.items():
            self._mirrored.set_trial_system_attr(mirror_id, name, share)
        self._mirrored.set_trial_state_values(mirror_id, state, values)

    def read(self, question: Callable[[], T]) -> T:
        """Return the answer of a query to the storage; wait while the storage cannot be reached."""
        return self._write(lambda again: question())

    @property
    def _storage(self) -> BaseStorage:
        return self.record._storage

    @property
    def _mirrored(self) -> BaseStorage:
        return self.in_memory._storage

    def _recall_parents(self) -> None:
        """Copy the parents of each generation, which Optuna keeps as trial ids of the storage, to memory."""
        numbers = {trial_id: number for number, trial_id in enumerate(self._ids)}
        for name, ids in self._storage.get_study_system_attrs(self.record._study_id).items():
            if PARENTS in name:
                known = [numbers[trial_id] for trial_id in ids]
                self._mirrored.set_study_system_attr(self.in_memory._study_id, name, known)
                self._parents.add(name)

    def _keep_parents(self) -> None:
        for name, numbers in self._mirrored.get_study_system_attrs(self.in_memory._study_id).items():
            if PARENTS in name and name not in self._parents:
                ids = [self._ids[number] for number in numbers]
                self._write(lambda again, name=name, ids=ids: self._study_attr(name, ids))  # type: ignore[misc]
                self._parents.add(name)

    def _study_attr(self, name: str, value: Any) -> None:
        self._storage.set_study_system_attr(self.record._study_id, name, value)

    def _copy(self, trial: FrozenTrial) -> None:
        self._ids.append(trial._trial_id)
        trial.system_attrs = dict(sorted(trial.system_attrs.items()))  # samplers tell constraints by their place
        self._mirrored.create_new_trial(self.in_memory._study_id, trial)

    def _write(self, change: Callable[[bool], T]) -> T:
        """Make a change; wait while the storage cannot be reached or is locked.

        Args:
            change: Function that makes the change; its argument tells whether it was tried before.
        """
        start, again = time.monotonic(), False
        while True:
            try:
                self.check()
                return change(again)
            except (StorageInternalError, SQLAlchemyError) as error:
                reason = _passing(error)
                if reason is None:
                    raise
                if time.monotonic() - start > self.patience_s or self.ending():
                    self.patience_s = 0.0  # cleaning up does not wait as long again
                    raise ArchsearchError(
                        f"the storage cannot be written to: {reason}; fix that and run this command again: "
                        "nothing that was finished is lost"
                    ) from error
                if not again:
                    self.trouble(f"waiting for the storage: {reason}")
                again = True
                time.sleep(RETRY_S)
                self._deferred.deliver()  # whoever interrupts does not wait for a storage


def _passing(error: Exception) -> str | None:
    """Return the reason of a failure that may pass (locked, full, restarting, unreachable); None for others."""
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
    away = isinstance(cause, OperationalError) or (isinstance(cause, DBAPIError) and cause.connection_invalidated)
    return reason_of(error) if away else None
