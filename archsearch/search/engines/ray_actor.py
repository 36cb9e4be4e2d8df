"""What runs in an actor of Ray Tune: one candidate after another, step by step."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from archsearch.arch import Arch
from archsearch.errors import ArchsearchError, UserError
from archsearch.search.engines.job import MakeEvaluate
from archsearch.trial import Evaluation, WorkerEvent


@dataclass(frozen=True)
class Begun:
    """An actor begins with a candidate, or says why it cannot evaluate any."""

    error: Exception | None = None


@dataclass(frozen=True)
class Message:
    """What an actor says; the last of a candidate has the environment. No mapping, which Tune would take apart."""

    what: Evaluation | WorkerEvent | Begun
    environment: dict[str, Any] | None = None


class _Conversation:
    """A thread that evaluates candidates and reports as it goes, for an actor that is asked step by step."""

    def __init__(self, make_evaluate: MakeEvaluate, parameters: Mapping[str, Any]) -> None:
        self.jobs: SimpleQueue[tuple[Arch, int, Evaluation | None]] = SimpleQueue()
        self.said: SimpleQueue[Message | BaseException] = SimpleQueue()
        self.answers: SimpleQueue[bool] = SimpleQueue()
        self.make_evaluate, self.parameters = make_evaluate, parameters
        self.go_on, self.unanswered, self.busy = True, False, False
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, config: Mapping[str, Any]) -> None:
        """Starts on a candidate; what was under way is given up."""
        while self.busy:
            self.go_on = False
            self.next()
        self.go_on, self.busy = True, True
        self.jobs.put((Arch.from_dict(config["arch"]), config["seed"], config["known"]))

    def next(self) -> Message:
        """What the evaluation says next, after an answer to what it said last."""
        if self.unanswered:
            self.answers.put(self.go_on)
        said = self.said.get()
        self.unanswered = self.busy = isinstance(said, Message) and said.environment is None
        if isinstance(said, BaseException):
            raise said
        return said

    def _work(self) -> None:
        evaluate: Any = None
        while True:
            arch, seed, known = self.jobs.get()
            try:
                evaluate = evaluate or self.make_evaluate(0, **self.parameters)
            except Exception as error:
                self.said.put(Message(Begun(_plain(error)), {}))
                continue
            try:
                self._report(Begun())
                evaluation, environment = evaluate(arch, seed, self._report, known)
                self.said.put(Message(evaluation, environment))
            except BaseException as error:  # whatever it is, it is the actor's end, and told as that
                self.said.put(error)

    def _report(self, what: WorkerEvent | Begun) -> bool:
        self.said.put(Message(what))
        return self.answers.get()


def _plain(error: Exception) -> Exception:
    """An error that the driver can read."""
    if isinstance(error, UserError):
        return error
    return ArchsearchError(str(error) if isinstance(error, ArchsearchError) else f"{type(error).__name__}: {error}")


def trainable() -> Any:
    """The class whose actors evaluate candidates, one after another."""
    from ray import tune

    class Candidates(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any], make_evaluate: MakeEvaluate, parameters: Mapping[str, Any]) -> None:
            self.conversation = _Conversation(make_evaluate, parameters)
            self.conversation.begin(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.conversation.begin(new_config)
            return True

        def decline(self) -> None:
            self.conversation.go_on = False

        def step(self) -> dict[str, Any]:
            return {"message": self.conversation.next()}

    return Candidates
