"""Follow running studies for a page, and send what is new."""

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from archsearch.report.page.payload import common, study_heads, trial_columns
from archsearch.report.smoothed import Smoother
from archsearch.report.view import StudyView, confirmation_in
from archsearch.search.storage.opening import in_words

if TYPE_CHECKING:
    import optuna

    from archsearch.handover.confirmation import Confirmation
    from archsearch.search.importance import Importance
    from archsearch.trial import Trial

#: Seconds between two reads of the trials, and between two of a confirmation or estimates of importance.
LOOK_S, IMPORTANCE_S = 0.5, 30.0
#: Number of trials per part; a full part is turned into JSON once.
CHUNK = 200


class Followed:
    """The finished trials of one study, in the order in which they were read."""

    def __init__(self, record: "optuna.Study") -> None:
        """Start before the first trial.

        Args:
            record: Open study.
        """
        from archsearch.search.definition import recipe_of
        from archsearch.search.storage.records import Tail

        self.record, self.name, self.recipe, self._tail = record, record.study_name, recipe_of(record), Tail(record)
        self.trials: list[Trial] = []
        self.running, self.command, self.images, self.ranking = 0, "", 0, ""
        self.small_maps: tuple[str, ...] = ()
        self.importance: dict[str, list[Importance]] = {}
        self.confirmation: Confirmation | None = None
        self._chunks: list[str] = []
        self._smoother = Smoother()

    def look(self) -> bool:
        """Read what is new; return whether anything is."""
        from archsearch.search.definition import validation_images
        from archsearch.search.known_ranking import ranking_words
        from archsearch.search.small_maps_record import recorded_maps

        fresh, before = self._tail.look(), self.running
        self.trials += fresh
        self.running, self.command = self._tail.running, self.record.user_attrs.get("command", "")
        self.images, self.small_maps = validation_images(self.record), recorded_maps(self.record)
        self.ranking = ranking_words(self.record)
        return bool(fresh) or self.running != before

    @property
    def trouble(self) -> str | None:
        """Message about trials that cannot be read; None if there are none."""
        return self._tail.trouble

    def look_for_confirmation(self) -> bool:
        """Read the study's confirmation; return whether it has changed."""
        before, self.confirmation = self.confirmation, confirmation_in(self.record)
        return self.confirmation != before

    def estimate(self) -> "dict[str, list[Importance]]":
        """Estimate the importance of the axes, which takes seconds."""
        from archsearch.search.importance import importances

        return importances(self.record, self.recipe["objectives"])

    def chunks(self) -> list[str]:
        """Return the full parts of trials as JSON; they never change."""
        while (len(self._chunks) + 1) * CHUNK <= len(self.trials):
            start = len(self._chunks) * CHUNK
            self._chunks.append(_json(trial_columns(self.trials[start : start + CHUNK])))
        return self._chunks

    def view(self) -> StudyView:
        """Return the view of the study as far as it was read."""
        told = (
            self.command, dict(self.importance), self.running, self.images, self._smoother, self.confirmation,
            self.small_maps,
        )  # fmt: skip
        return StudyView(self.name, self.recipe, list(self.trials), *told, self.ranking)


class Follower:
    """Read studies in a background thread, so that requests are answered from memory.

    Attributes:
        run: Identifier of this follower; each follower numbers trials in its own order.
        version: Counter that grows with every change.
        trouble: Reason why the storage could not be read the last time; None if it could.
    """

    def __init__(self, records: "Sequence[optuna.Study]") -> None:
        """Read the studies once; ``start`` continues."""
        self.run, self.version = secrets.token_hex(4), 0
        self.trouble: str | None = None
        self._followed = [Followed(record) for record in records]
        self._lock, self._working, self._end = threading.Lock(), threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._look, self._estimate)]
        for followed in self._followed:
            followed.look()
            followed.look_for_confirmation()
        self._publish()

    def start(self) -> None:
        """Keep reading until ``stop``."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._end.set()

    def views(self) -> list[StudyView]:
        """Return the studies as they were last read."""
        with self._lock:
            return list(self._views)

    def news(self, version: int, have: Sequence[int]) -> str:
        """Return what is new for a page, as JSON.

        Args:
            version: Version that the page has.
            have: Number of trials that it has of each study.
        """
        with self._lock:
            now, views, heads, shared, chunks = self.version, self._views, self._heads, self._common, self._chunks
        told = {"version": now, "trouble": self.trouble}
        if now == version:
            return _json(told)
        studies = [
            f'{head[:-1]},"parts":[{",".join(_parts(view.trials, known, start))}]}}'
            for view, head, known, start in zip(views, heads, chunks, have, strict=True)
        ]
        return f'{_json(told)[:-1]},"common":{shared},"studies":[{",".join(studies)}]}}'

    def _look(self) -> None:
        while not self._end.wait(LOOK_S):
            try:
                with self._working:
                    self._look_once()
            except Exception as error:
                self.trouble = f"this page has stopped following: {error}"
                raise

    def _look_once(self) -> None:
        changed, troubles = False, []
        for followed in self._followed:
            try:
                with in_words():
                    changed |= followed.look()
                if followed.trouble:
                    troubles.append(followed.trouble)
            except Exception as error:  # one study that cannot be read leaves the others
                troubles.append(f"{followed.name}: {str(error) or type(error).__name__}")
        if changed:
            self._publish()
        self.trouble = "; ".join(troubles) or None

    def _estimate(self) -> None:
        """Read confirmations; estimate importance, which takes seconds, again when there are a tenth more trials."""
        told = 0
        while True:
            count, changed = sum(len(followed.trials) for followed in self._followed), False
            for followed in self._followed:
                with suppress(Exception):  # a page without it is a page
                    changed |= followed.look_for_confirmation()
            if count > 1.1 * told:
                told, changed = count, True
                for followed in self._followed:
                    with suppress(Exception):  # as above
                        followed.importance = followed.estimate()
            if changed:
                with self._working:
                    self._publish()
            if self._end.wait(IMPORTANCE_S):
                return

    def _publish(self) -> None:
        """Prepare the answers to requests in advance; one thread at a time."""
        views = [followed.view() for followed in self._followed]
        heads, shared = [_json(head) for head in study_heads(views)], _json(common(views))
        chunks = [list(followed.chunks()) for followed in self._followed]
        with self._lock:
            self._views, self._heads, self._common, self._chunks = views, heads, shared, chunks
            self.version += 1


def _parts(trials: "Sequence[Trial]", chunks: Sequence[str], start: int) -> Iterator[str]:
    """Yield the trials from one on as JSON: the rest of a part, full parts, the last ones."""
    while start < len(trials):
        place, within = divmod(start, CHUNK)
        if not within and place < len(chunks):
            yield chunks[place]
        else:
            yield _json(trial_columns(trials[start : (place + 1) * CHUNK]))
        start = (place + 1) * CHUNK


def _json(what: Any) -> str:
    return json.dumps(what, separators=(",", ":"))
