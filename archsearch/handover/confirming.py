"""Confirm a study's front: train it for longer, with seeds, and judge it on the test split."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from archsearch.data.folder import Track
from archsearch.errors import DataError
from archsearch.evaluate.machine import Source
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.handover.candidates import Candidate
from archsearch.handover.confirm_record import (
    add,
    confirmation_from,
    create_or_resume,
    set_candidates,
    settled,
    trainings,
)
from archsearch.handover.confirm_resolve import ResolvedConfirmation, resolve
from archsearch.handover.confirm_spec import ConfirmSpec
from archsearch.handover.confirmation import Confirmation
from archsearch.handover.halving import FIRST, close_rivals
from archsearch.handover.weights import Weights, load_weights, save_weights
from archsearch.nn.device import environment
from archsearch.search.storage.lock import owned
from archsearch.search.storage.opening import in_words, open_storage
from archsearch.train.training import channel_statistics
from archsearch.trial import Evaluation
from archsearch.utils.key_fields import key_fields

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

#: A training that is to be made: which candidate, and the seed.
Job = tuple[Candidate, int]


class ConfirmListener:
    """Progress listener that ignores everything; subclasses override what they show."""

    #: Progress display for decoding a folder of images; None for no display.
    track: Track | None = None

    def note(self, text: str) -> None:
        """Receive a remark of one line."""

    def training(self, total: int) -> None:
        """Receive the number of trainings that begin now."""

    def trained(self, candidate: Candidate, seed: int, evaluation: Evaluation) -> None:
        """Receive a finished training."""


def confirm(spec: ConfirmSpec, listener: ConfirmListener | None = None) -> Confirmation:
    """Train a study's front for longer and with seeds, and judge it on the test split, which nothing was chosen by.

    The space's baseline and a few dominated trials are trained beside it. Every candidate gets two seeds; from then on
    the half whose place on the front is least decided gets one more each time. Each training is stored as soon as it is
    finished, beside the study, so that an interrupted confirmation goes on when it is run again; the disk cache of
    trainings is shared with studies. Where several workers train, a script calls this under
    ``if __name__ == "__main__"``.

    Args:
        spec: Study, how to train, and where the weights go.
        listener: Progress listener; None for no progress.

    Returns:
        What was found, this run and earlier ones together. A candidate that cannot be trained is a recorded failure.

    Raises:
        UserError: The spec is wrong, or the study cannot be confirmed; the message says what would be right.
        StorageError: Another process confirms the study, or it was begun with another recipe.
        ArchsearchError: The storage cannot be used, or worker processes keep dying.
    """
    listener = listener or ConfirmListener()
    plan = resolve(spec, listener.track)
    storage = open_storage(spec.storage, create=False)
    with owned(spec.record_name, spec.storage), in_words():
        record = create_or_resume(spec.record_name, plan.recipe(), storage)
        set_candidates(record, plan.candidates)
        listener.note(_outline(plan))
        run = _Run(plan, record, storage, listener)
        run.all_rounds()
        return run.found()


def _outline(plan: ResolvedConfirmation) -> str:
    roles = [one.role for one in plan.candidates]
    counts = {"front": "of the front", "contender": "next to it", "control": "as controls"}
    words = [f"{roles.count(role)} {what}" for role, what in counts.items() if role in roles]
    baseline = next(one for one in plan.candidates if one.baseline)
    samples = plan.proxy.per_epoch(len(plan.data.train))
    trained = f"{plan.proxy.epochs} epoch{'s' if plan.proxy.epochs > 1 else ''} of {samples} images"
    return (
        f"confirms {', '.join(words)}, and the baseline ({baseline.name}): {trained}, "
        f"judged on {len(plan.data.test)} of the test split"
    )


class _Run:
    """A confirmation under way."""

    def __init__(
        self, plan: ResolvedConfirmation, record: "optuna.Study", storage: "BaseStorage", listener: ConfirmListener
    ) -> None:
        self.plan, self.record, self.storage, self.listener = plan, record, storage, listener
        self.facts = environment(plan.machine.device(0))
        self.mean, self.std = (_fractions(levels) for levels in channel_statistics(plan.data.train))

    def found(self) -> Confirmation:
        """Return what is stored by now."""
        return confirmation_from(self.record, self.storage)

    def all_rounds(self) -> None:
        """Train everything with the first seeds, then close rivals with one more seed at a time."""
        seeds, left = self.plan.seeds, list(self.plan.candidates)
        self._train([(one, seed) for seed in seeds[:FIRST] for one in left])
        for place, seed in enumerate(seeds[FIRST:], FIRST):
            before = self.found().up_to(seeds[:place])  # so that a run that goes on decides as one that was not ended
            names = close_rivals(before, [one.name for one in left])
            left = [one for one in left if one.name in names]
            if left:
                self.listener.note(f"seed {seed} for those whose place is least decided: {', '.join(names)}")
                self._train([(one, seed) for one in left])

    def _train(self, jobs: Sequence[Job]) -> None:
        """Train what is not known, or whose weights are not where they are wanted."""
        known = {} if self.plan.spec.retrain else trainings(self.record)
        missing = [job for job in jobs if not self._is_known(*job, known.get((job[0].arch.key, job[1])))]
        if len(missing) < len(jobs):
            self.listener.note(f"{len(jobs) - len(missing)} trainings are known")
        if not missing:
            return
        self.listener.training(len(missing))
        plan = self.plan
        source = Source(plan.dataset, plan.root, plan.spec.mixers, plan.spec.retrain)
        asked = [TrainJob(one.arch, plan.proxy, seed, tested=True) for one, seed in missing]
        for index, evaluation in train_all(asked, source, plan.machine):
            candidate, seed = missing[index]
            kept = evaluation if evaluation.error else self._keep(candidate, seed, evaluation)
            add(self.record, candidate, seed, kept, self.facts)
            self.listener.trained(candidate, seed, kept)

    def _is_known(self, candidate: Candidate, seed: int, attrs: Mapping[str, Any] | None) -> bool:
        if attrs is None or not settled(attrs):
            return False
        return "error" in attrs or self._has_weights(candidate, seed, attrs)

    def _has_weights(self, candidate: Candidate, seed: int, attrs: Mapping[str, Any]) -> bool:
        """Whether the file of a finished training is where it is wanted, and of that training."""
        path = self._file(candidate, seed)
        if Path(attrs["details"]["accuracy"]["weights"]) != path or not path.is_file():
            return False
        with suppress(DataError):
            return load_weights(path).facts.get("accuracy") == attrs["scores"]["accuracy"]
        return False

    def _file(self, candidate: Candidate, seed: int) -> Path:
        return (self.plan.weights / f"{candidate.name.replace(' ', '-')}-seed-{seed}.safetensors").resolve()

    def _keep(self, candidate: Candidate, seed: int, evaluation: Evaluation) -> Evaluation:
        """Write the weights of a training, and return its evaluation with their place."""
        detail, path = evaluation.details["accuracy"], self._file(candidate, seed)
        arch = self.plan.proxy.shrink(candidate.arch, len(self.plan.data.classes))
        state = torch.load(detail["weights"], weights_only=True, map_location="cpu")
        save_weights(path, Weights(arch, state, self._known_of(candidate, seed, evaluation)))
        return replace(evaluation, details={**evaluation.details, "accuracy": {**detail, "weights": str(path)}})

    def _known_of(self, candidate: Candidate, seed: int, evaluation: Evaluation) -> dict[str, Any]:
        """Return the facts that stand beside weights."""
        plan = self.plan
        return {
            "classes": list(plan.data.classes),
            "mean": self.mean,
            "std": self.std,
            "target": candidate.arch.to_dict(),
            "study": plan.spec.study,
            "trial": candidate.number,
            "seed": seed,
            "proxy": key_fields(plan.proxy),
            "data": {"name": plan.data.name, "fingerprint": plan.data.fingerprint},
            "split": "test",
            "accuracy": evaluation.scores["accuracy"],
            "environment": self.facts,
        }


def _fractions(levels: torch.Tensor) -> list[float]:
    """Return grey levels, (1, 3, 1, 1), as fractions of the brightest one."""
    return [round(float(level) / 255, 6) for level in levels.flatten()]
