"""Turns of several trainings in one process, so that a GPU works on one while the host prepares the next.

Small networks leave most of a GPU idle. Trainings in threads of one process, each on a stream of its own, keep it busy
with less memory than processes need. They compute in turns, a step each, because torch keeps random numbers and the
settings of its libraries per process: each training has its own, which are exchanged at every turn. So a training gives
the same numbers beside others as alone.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


class Turn:
    """The turn of a training that has its process to itself; the base class of those that share one.

    Attributes:
        shared: Whether others share the process.
    """

    shared = False

    def taken(self) -> AbstractContextManager[None]:
        """Wait for the turn, and compute until the context ends."""
        return nullcontext()

    def alone(self) -> "AbstractContextManager[Turn]":
        """Wait until nobody else uses the process, for a training that did not fit beside others; then yield a turn."""
        return nullcontext(self)

    def pass_on(self) -> None:
        """Let others compute before going on."""

    def apart(self) -> AbstractContextManager[None]:
        """Let others compute while the context waits for something; nothing in it may use torch but to wait."""
        return nullcontext()


class SharedTurn(Turn):
    """The turn of one of several trainings, which stands in line with the others."""

    shared = True

    def __init__(self, line: "Line", device: torch.device) -> None:
        """Stand in no line yet.

        Args:
            line: Line of the trainings of this process.
            device: Device that trains.
        """
        self._line, self._device = line, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # of one's own

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and compute on a stream of one's own until the context ends."""
        with self._line.guest():
            yield from self._turn()

    def _turn(self) -> Iterator[None]:
        self._line.enter()
        try:
            with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
                yield
        finally:
            self._line.leave()

    @contextmanager
    def alone(self) -> Iterator[Turn]:
        """Wait until all others have finished what they were at, and keep them from beginning anything else."""
        with self._line.only_guest():
            yield Turn()

    def pass_on(self) -> None:
        """Let those compute who stand in line now."""
        if self._line.wanted:
            with self.apart():
                pass

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leave the line for the time of the context, and stand in it again."""
        restore = _process_state(self._device)
        self._line.leave()
        try:
            yield
        finally:
            self._line.enter()
            restore()


class Line:
    """Threads that wait for their turn, first come, first served, for as long as they are guests."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False
        self._door = threading.Condition()
        self._guests, self._closed = 0, False

    @contextmanager
    def guest(self) -> Iterator[None]:
        """Be one of those who stand in line again and again, as soon as nobody has to be the only one."""
        with self._door:
            self._door.wait_for(lambda: not self._closed)
            self._guests += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def only_guest(self) -> Iterator[None]:
        """Wait until no guest is left, and let none in until the context ends."""
        with self._door:
            self._door.wait_for(lambda: not self._closed)
            self._closed = True
            self._door.wait_for(lambda: not self._guests)
        try:
            yield
        finally:
            with self._door:
                self._closed = False
                self._door.notify_all()

    def _leave(self) -> None:
        with self._door:
            self._guests -= 1
            self._door.notify_all()

    @property
    def wanted(self) -> bool:
        """Whether a thread waits."""
        return bool(self._waiting)

    def enter(self) -> None:
        """Wait until all who came before have left."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def leave(self) -> None:
        """Give the turn to the first in line."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False


def _process_state(device: torch.device) -> Callable[[], None]:
    """Return a function that restores what torch keeps per process and trainings change: seeds and settings."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    generators: list[tuple[Callable[[torch.Tensor], Any], torch.Tensor]] = [
        (torch.set_rng_state, torch.get_rng_state())
    ]
    if device.type == "cuda":
        generators.append((lambda state: torch.cuda.set_rng_state(state, device), torch.cuda.get_rng_state(device)))
    settings = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    matmul = torch.get_float32_matmul_precision()
    attention = (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled())

    def restore() -> None:
        for set_state, state in generators:
            set_state(state)
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = settings
        torch.set_float32_matmul_precision(matmul)
        cuda.enable_flash_sdp(attention[0])
        cuda.enable_mem_efficient_sdp(attention[1])
        cuda.enable_cudnn_sdp(attention[2])

    return restore
