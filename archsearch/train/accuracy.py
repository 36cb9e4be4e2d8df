"""Top-1 accuracy of a model on a split, without waiting for the device between batches."""

import torch
from torch import Tensor, nn

from archsearch.data.images import Split
from archsearch.data.stream import fetch
from archsearch.train.capture import capture, failed, run_beside
from archsearch.train.precision import forward
from archsearch.train.turns import Turn

#: Number of pixels of all images of one batch, by type of device.
EVAL_PIXELS = {"cpu": 1 << 18, "cuda": 1 << 21}
#: Label of no image, which fills up the last batch of a captured pass.
NOTHING = -1


class Validation:
    """Counts the images that a model classifies correctly; on a GPU by a CUDA graph."""

    def __init__(
        self, model: nn.Module, split: Split, mean: Tensor, std: Tensor, autocast: bool, most: int | None = None
    ) -> None:
        """Capture nothing yet.

        Args:
            model: Model on the device of ``mean``; its weights may change between calls, but not their place.
            split: Images and labels; they may be on another device.
            mean: Mean per channel, (1, 3, 1, 1) in grey levels.
            std: Standard deviation per channel.
            autocast: Whether to compute in bfloat16 by autocast.
            most: Maximum number of images at once; None for as many as is fast.
        """
        self.model, self.split, self.mean, self.std, self.autocast = model, split, mean, std, autocast
        side, device = split.store.shape[-1], mean.device
        at_once = EVAL_PIXELS.get(device.type, EVAL_PIXELS["cpu"]) // side**2
        self.batch_size = max(1, min(at_once, len(split), most or at_once))
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._captured: _CapturedCount | None = None

    @torch.no_grad()
    def __call__(self, turn: Turn | None = None) -> float:
        """Return the top-1 accuracy, a fraction; leaves the model in evaluation mode.

        Args:
            turn: Turn of the training, where others share its process.
        """
        turn = turn or Turn()
        self.model.eval()
        self._correct.zero_()
        for images, labels in fetch(self.split, torch.arange(len(self.split)).split(self.batch_size), self.mean.device):
            if self.mean.is_cuda and not failed():
                self._captured = self._captured or _CapturedCount(self)
                self._captured(images, labels)
            else:
                self.count(images, labels)
            turn.pass_on()
        with turn.apart():
            correct = int(self._correct.item())
        return correct / len(self.split)

    def count(self, images: Tensor, labels: Tensor) -> None:
        """Add the number of correctly classified images to the sum on the device.

        Args:
            images: Images, (N, 3, S, S) as uint8.
            labels: Labels, (N,).
        """
        logits = forward(self.model, (images.float() - self.mean) / self.std, self.autocast)
        self._correct += (logits.argmax(1) == labels).sum()


class _CapturedCount:
    """``Validation.count`` as a CUDA graph for a batch of fixed size."""

    def __init__(self, validation: Validation) -> None:
        store, device = validation.split.store, validation.mean.device
        self._validation = validation
        self._images = torch.zeros((validation.batch_size, *store.shape[1:]), dtype=torch.uint8, device=device)
        self._labels = torch.full((validation.batch_size,), NOTHING, device=device)
        self._stream, self._warm = torch.cuda.Stream(device), False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self._images[: len(images)].copy_(images)
        self._labels.fill_(NOTHING)
        self._labels[: len(labels)].copy_(labels)
        if self._graph is None and self._warm:
            self._graph = capture(self._count, self._stream)
        if self._graph is not None:
            self._graph.replay()
        else:
            run_beside(self._count, self._stream)
            self._warm = True

    @torch.no_grad()
    def _count(self) -> None:
        self._validation.count(self._images, self._labels)
