"""Studies that are running, followed for a page: what came since it was last told."""

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from archsearch.report.page.payload import common, study_heads, trial_columns
from archsearch.report.view import StudyView
from archsearch.search.storage.opening import in_words

if TYPE_CHECKING:
    import optuna

    from archsearch.search.importance import Importance
    from archsearch.trial import Trial

#: Seconds between two looks at the storage, and at least between two estimates of importance.
LOOK_S, IMPORTANCE_S = 0.5, 30.0
#: Trials that are turned into JSON once and for all.
CHUNK = 200


class Followed:
    """A study's finished trials, in the order in which they were seen to be."""

    def __init__(self, record: "optuna.Study") -> None:
        """Args: record: of the study, open."""
        from archsearch.search.definition import recipe_of
        from archsearch.search.storage.records import Tail

        self.record, self.name, self.recipe, self._tail = record, record.study_name, recipe_of(record), Tail(record)
        self.trials: list[Trial] = []
        self.running, self.command, self.images = 0, "", 0
        self.importance: dict[str, list[Importance]] = {}
        self._chunks: list[str] = []

    def look(self) -> bool:
        """Takes in what is new; whether anything is."""
        from archsearch.search.definition import validation_images

        fresh, before = self._tail.look(), self.running
        self.trials += fresh
        self.running, self.command = self._tail.running, self.record.user_attrs.get("command", "")
        self.images = validation_images(self.record)
        return bool(fresh) or self.running != before

    @property
    def trouble(self) -> str | None:
        """Of trials that cannot be read."""
        return self._tail.trouble

    def estimate(self) -> "dict[str, list[Importance]]":
        """Grows the forests that tell the importance of the axes, which takes seconds."""
        from archsearch.search.importance import importances

        return importances(self.record, self.recipe["objectives"])

    def chunks(self) -> list[str]:
        """Trials in parts of the same size, as JSON; they never change."""
        while (len(self._chunks) + 1) * CHUNK <= len(self.trials):
            start = len(self._chunks) * CHUNK
            self._chunks.append(_json(trial_columns(self.trials[start : start + CHUNK])))
        return self._chunks

    def view(self) -> StudyView:
        """The study as far as it was seen."""
        told = (self.command, dict(self.importance), self.running, self.images)
        return StudyView(self.name, self.recipe, list(self.trials), *told)


class Follower:
    """Looks at studies from a thread of its own, so that whoever asks is answered from memory.

    Attributes:
        run: tells this follower from others: trials are counted in its own order.
        version: grows with every change.
        trouble: why the storage could not be read the last time; None where it could.
    """

    def __init__(self, records: "Sequence[optuna.Study]") -> None:
        """Reads the studies once; ``start`` goes on."""
        self.run, self.version = secrets.token_hex(4), 0
        self.trouble: str | None = None
        self._followed = [Followed(record) for record in records]
        self._lock, self._working, self._end = threading.Lock(), threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._look, self._estimate)]
        for followed in self._followed:
            followed.look()
        self._publish()

    def start(self) -> None:
        """Goes on looking until ``stop``."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the threads."""
        self._end.set()

    def views(self) -> list[StudyView]:
        """The studies as they were last seen."""
        with self._lock:
            return list(self._views)

    def news(self, version: int, have: Sequence[int]) -> str:
        """What came since, as JSON.

        Args:
            version: that the page has.
            have: how many trials of each study it has.
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
        """Importance takes seconds: it comes when it is there, and again when a tenth more trials have come."""
        told = 0
        while True:
            count = sum(len(followed.trials) for followed in self._followed)
            if count > 1.1 * told:
                told = count
                for followed in self._followed:
                    with suppress(Exception):  # a page without it is a page
                        followed.importance = followed.estimate()
                with self._working:
                    self._publish()
            if self._end.wait(IMPORTANCE_S):
                return

    def _publish(self) -> None:
        """Whatever takes long is done here, and not when somebody asks; one thread at a time."""
        views = [followed.view() for followed in self._followed]
        heads, shared = [_json(head) for head in study_heads(views)], _json(common(views))
        chunks = [list(followed.chunks()) for followed in self._followed]
        with self._lock:
            self._views, self._heads, self._common, self._chunks = views, heads, shared, chunks
            self.version += 1


def _parts(trials: "Sequence[Trial]", chunks: Sequence[str], start: int) -> Iterator[str]:
    """The trials from one on: those up to a whole chunk, whole chunks, the rest."""
    while start < len(trials):
        place, within = divmod(start, CHUNK)
        if not within and place < len(chunks):
            yield chunks[place]
        else:
            yield _json(trial_columns(trials[start : (place + 1) * CHUNK]))
        start = (place + 1) * CHUNK


def _json(what: Any) -> str:
    return json.dumps(what, separators=(",", ":"))
