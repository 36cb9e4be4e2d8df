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
from functools import cache

import torch

from archsearch.trial import OWN, OnWait, ignore_wait


class Turn:
    """The turn of a training that has its process to itself; the base class of those that share one.

    Attributes:
        shared: Whether others share the process.
    """

    shared = False

    def taken(self, on_wait: OnWait = ignore_wait) -> AbstractContextManager[None]:
        """Wait for the turn, and compute until the context ends.

        Args:
            on_wait: Callback for a wait until another training no longer has to be alone.
        """
        return nullcontext()

    def alone(self, on_wait: OnWait = ignore_wait) -> "AbstractContextManager[Turn]":
        """Wait until nobody else uses the process, for a training that did not fit beside others; then yield a turn."""
        return nullcontext(self)

    def pass_on(self) -> None:
        """Let others compute before going on."""

    def apart(self) -> AbstractContextManager[None]:
        """Let others compute while the context waits for something; nothing in it may use torch but to wait."""
        return nullcontext()

    def capture_stream(self, device: torch.device) -> torch.cuda.Stream:
        """Return the stream on which this training's CUDA graphs are captured, always the same.

        CUDA has few streams and hands them out again and again, and what is captured on one shares memory of cuBLAS:
        trainings whose graphs are replayed at the same time must not have one in common.
        """
        return _stream_of(device)


@cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class SharedTurn(Turn):
    """The turn of one of several trainings, which stands in line with the others."""

    shared = True

    def __init__(self, line: "Line", device: torch.device) -> None:
        """Stand in no line yet.

        Args:
            line: Line of the trainings of this process.
            device: Device that trains.
        """
        self._line, self._fresh = line, _process_state()
        self._streams = (torch.cuda.Stream(device), torch.cuda.Stream(device)) if device.type == "cuda" else None
        self._random = _OwnGenerator(device) if device.type == "cuda" else None

    @contextmanager
    def taken(self, on_wait: OnWait = ignore_wait) -> Iterator[None]:
        """Wait for the turn, and compute on a stream of one's own until the context ends."""
        with self._line.guest(on_wait):
            self._enter(self._fresh)
            try:
                with nullcontext() if self._streams is None else torch.cuda.stream(self._streams[0]):
                    yield
            finally:
                self._leave()

    @contextmanager
    def alone(self, on_wait: OnWait = ignore_wait) -> Iterator[Turn]:
        """Wait until all others have finished what they were at, and keep them from beginning anything else."""
        with self._line.only_guest(on_wait):
            yield Turn()

    def pass_on(self) -> None:
        """Let those compute who stand in line now."""
        if self._line.wanted:
            with self.apart():
                pass

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leave the line for the time of the context, and stand in it again."""
        restore = _process_state()
        self._leave()
        try:
            yield
        finally:
            self._enter(restore)

    def _enter(self, restore: Callable[[], None]) -> None:
        self._line.enter()
        restore()
        if self._random is not None:
            self._random.use()

    def _leave(self) -> None:
        if self._random is not None:
            self._random.put_away()
        self._line.leave()

    def capture_stream(self, device: torch.device) -> torch.cuda.Stream:
        """Return a stream of one's own."""
        return super().capture_stream(device) if self._streams is None else self._streams[1]


class Line:
    """Threads that wait for their turn, first come, first served, for as long as they are guests."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False
        self._door = threading.Condition()
        self._guests, self._closed = 0, False

    @contextmanager
    def guest(self, on_wait: OnWait = ignore_wait) -> Iterator[None]:
        """Be one of those who stand in line again and again, as soon as nobody has to be the only one."""
        with _waiting(on_wait if self._closed else ignore_wait), self._door:
            self._door.wait_for(lambda: not self._closed)
            self._guests += 1
        try:
            yield
        finally:
            with self._door:
                self._guests -= 1
                self._door.notify_all()

    @contextmanager
    def only_guest(self, on_wait: OnWait = ignore_wait) -> Iterator[None]:
        """Wait until no guest is left, and let none in until the context ends."""
        with _waiting(on_wait), self._door:
            self._door.wait_for(lambda: not self._closed)
            self._closed = True
            self._door.wait_for(lambda: not self._guests)
        try:
            yield
        finally:
            with self._door:
                self._closed = False
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


@contextmanager
def _waiting(on_wait: OnWait) -> Iterator[None]:
    on_wait(OWN)
    yield
    on_wait(None)


class _OwnGenerator:
    """Random numbers of one training on a GPU.

    CUDA graphs read seed and offset from the state that the generator had when they were captured, and a state has room
    for one graph at a time: trainings whose graphs are replayed at the same time need a state each.
    """

    def __init__(self, device: torch.device) -> None:
        torch.cuda.init()
        self._default = torch.cuda.default_generators[device.index or 0]
        self._own, self._usual = self._default.clone_state(), self._default.graphsafe_get_state()

    def use(self) -> None:
        """Let the device's generator have this state."""
        self._usual = self._default.graphsafe_get_state()
        self._default.graphsafe_set_state(self._own)

    def put_away(self) -> None:
        """Give the device's generator the state that it had before."""
        self._own = self._default.graphsafe_get_state()  # a failed capture has given it another one
        self._default.graphsafe_set_state(self._usual)


def _process_state() -> Callable[[], None]:
    """Return a function that restores what torch keeps per process and trainings change: the seed, and settings."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    random, matmul = torch.get_rng_state(), torch.get_float32_matmul_precision()
    settings = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    attention = cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled()

    def restore() -> None:
        torch.set_rng_state(random)
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = settings
        torch.set_float32_matmul_precision(matmul)
        cuda.enable_flash_sdp(attention[0])
        cuda.enable_mem_efficient_sdp(attention[1])
        cuda.enable_cudnn_sdp(attention[2])

    return restore
