"""Top-1 accuracy and loss of a model on a split, without waiting for the device between batches."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.data.images import Split
from archsearch.data.stream import fetch
from archsearch.train.capture import capture, failed, run_beside
from archsearch.train.precision import forward
from archsearch.train.turns import Turn

#: Number of pixels of all images of one batch, by type of device.
EVAL_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 21}
#: Label of no image, which fills up the last batch of a captured pass.
NOTHING = -1


def at_once(device: torch.device, side: int) -> int:
    """Return the number of images of a batch that is fast without gradients.

    Args:
        device: Device that computes.
        side: Side of the images, in pixels.

    >>> at_once(torch.device("cpu"), 32)
    128
    """
    return max(1, EVAL_PIXELS.get(device.type, EVAL_PIXELS["cpu"]) // side**2)


class Judgement(NamedTuple):
    """How well a model does on a split.

    Attributes:
        accuracy: Top-1 accuracy, a fraction.
        loss: Mean cross-entropy, in nats.
    """

    accuracy: float
    loss: float


class Validation:
    """Counts the images that a model classifies correctly, and sums its loss; on a GPU by a CUDA graph."""

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        mean: Tensor,
        std: Tensor,
        autocast: bool,
        most: int | None = None,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        """Capture nothing yet.

        Args:
            model: Model on the device of ``mean``; its weights may change between calls, but not their place.
            split: Images and labels; they may be on another device.
            mean: Mean per channel, (1, 3, 1, 1) in grey levels.
            std: Standard deviation per channel.
            autocast: Whether to compute in bfloat16 by autocast.
            most: Maximum number of images at once; None for as many as is fast.
            stream: Stream to capture; None to compute operator by operator.
        """
        self.split, self._counter = split, _Counter(model, mean, std, autocast)
        side, self.device = split.store.shape[-1], mean.device
        fast = at_once(self.device, side)
        self.batch_size = min(fast, len(split), most or fast)
        self._captured = None if stream is None else _CapturedCounter(self._counter, stream)

    @torch.no_grad()
    def __call__(self, turn: Turn | None = None) -> Judgement:
        """Return accuracy and loss; leaves the model in evaluation mode.

        Args:
            turn: Turn of the training, where others share its process.
        """
        turn = turn or Turn()
        self._counter.model.eval()
        self._counter.correct.zero_()
        self._counter.loss.zero_()
        count = self._counter if self._captured is None or failed() else self._captured
        order = torch.arange(len(self.split), device=self.split.labels.device)
        for images, labels in fetch(self.split, order.split(self.batch_size), self.device):
            count(images, labels)
            turn.pass_on()
        with turn.apart():
            correct, loss = int(self._counter.correct.item()), self._counter.loss.item()
        return Judgement(correct / len(self.split), loss / len(self.split))


class _Counter:
    """Adds the number of correctly classified images, and their loss, to sums on the device."""

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor, autocast: bool) -> None:
        self.model, self.mean, self.std, self.autocast = model, mean, std, autocast
        self.correct = torch.zeros((), dtype=torch.int64, device=mean.device)
        self.loss = torch.zeros((), dtype=torch.float64, device=mean.device)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        logits = forward(self.model, (images.float() - self.mean) / self.std, self.autocast)
        self.correct += (logits.argmax(1) == labels).sum()
        self.loss += F.cross_entropy(logits, labels, ignore_index=NOTHING, reduction="sum")


class _CapturedCounter:
    """The same as a CUDA graph, for batches as large as the first one or smaller."""

    def __init__(self, counter: _Counter, stream: torch.cuda.Stream) -> None:
        self._counter, self._stream = counter, stream
        self._batch: tuple[Tensor, Tensor] | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        if self._batch is None:  # operator by operator, which libraries choose their kernels in
            self._batch = images.clone(), labels.clone()
            run_beside(self._count, self._stream)
            return
        filled(self._batch, images, labels)
        if self.graph is None and not failed():
            self.graph = capture(self._count, self._stream)
        if self.graph is None:
            run_beside(self._count, self._stream)
        else:
            self.graph.replay()

    @torch.no_grad()
    def _count(self) -> None:
        assert self._batch is not None  # noqa: S101 - it is set before
        self._counter(*self._batch)


def filled(batch: tuple[Tensor, Tensor], images: Tensor, labels: Tensor) -> None:
    """Write images and labels into a batch that may be larger, whose other labels are those of no image.

    Args:
        batch: Images (B, 3, S, S) and labels (B,), which are overwritten.
        images: Images, (N, 3, S, S) with N <= B.
        labels: Labels, (N,).
    """
    batch[0][: len(images)].copy_(images)
    batch[1].fill_(NOTHING)
    batch[1][: len(labels)].copy_(labels)
