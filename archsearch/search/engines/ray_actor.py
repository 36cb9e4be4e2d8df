"""The class of Ray Tune's actors: each evaluates one candidate after another, step by step.

This module imports Ray; actors import it, so it must not load Optuna.
"""

import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

from ray import tune

from archsearch.arch import Arch
from archsearch.errors import ArchsearchError, UserError
from archsearch.search.engines.job import Job, MakeEvaluate
from archsearch.search.engines.ray_messages import Begun, Message
from archsearch.trial import WorkerEvent


class Conversation:
    """A thread that evaluates candidates, and reports to an actor that asks for one message at a time."""

    def __init__(self, make_evaluate: MakeEvaluate, parameters: Mapping[str, Any]) -> None:
        """Start the thread.

        Args:
            make_evaluate: Called once, with the first candidate.
            parameters: Keyword arguments of that call.
        """
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.said: SimpleQueue[Message | BaseException] = SimpleQueue()
        self.answers: SimpleQueue[bool] = SimpleQueue()
        self.make_evaluate, self.parameters = make_evaluate, parameters
        self.go_on, self.unanswered, self.busy = True, False, False
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, config: Mapping[str, Any]) -> None:
        """Start a candidate, after ending the one under way.

        Args:
            config: Configuration of Tune's trial: ``arch``, ``seed`` and ``known``.
        """
        while self.busy:
            self.go_on = False
            self.next()
        self.go_on, self.busy = True, True
        self.jobs.put(Job(Arch.from_dict(config["arch"]), config["seed"], config["known"]))

    def next(self) -> Message:
        """Answer the last message by ``go_on``, and return the next one."""
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
            job = self.jobs.get()
            try:
                evaluate = evaluate or self.make_evaluate(0, **self.parameters)
            except Exception as error:
                self.said.put(Message(Begun(_portable(error)), {}))
                continue
            try:
                self._report(Begun())
                evaluation, environment = evaluate(job.arch, job.seed, self._report, job.known)
                self.said.put(Message(evaluation, environment))
            except BaseException as error:  # whatever it is, it ends the actor, which raises it
                self.said.put(error)

    def _report(self, what: WorkerEvent | Begun) -> bool:
        self.said.put(Message(what))
        return self.answers.get()


def _portable(error: Exception) -> Exception:
    """Return an error that the driver can unpickle."""
    if isinstance(error, UserError):
        return error
    return ArchsearchError(str(error) if isinstance(error, ArchsearchError) else f"{type(error).__name__}: {error}")


class Candidates(tune.Trainable):  # type: ignore[misc]
    """An actor of Tune; it keeps its evaluator from one candidate to the next."""

    def setup(self, config: dict[str, Any], make_evaluate: MakeEvaluate, parameters: Mapping[str, Any]) -> None:
        """Start the first candidate."""
        self.conversation = Conversation(make_evaluate, parameters)
        self.conversation.begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another candidate."""
        self.conversation.begin(new_config)
        return True

    def decline(self) -> None:
        """Answer the last message by False: stop the training, or train no further seed."""
        self.conversation.go_on = False

    def step(self) -> dict[str, Any]:
        """Return the next message."""
        return {"message": self.conversation.next()}
