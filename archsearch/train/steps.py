"""One step of training: run operator by operator, or captured once and replayed as a CUDA graph."""

import logging

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.nn.device import has_bfloat16
from archsearch.recipes import ProxyRecipe
from archsearch.train.optimizer import adamw

#: Steps that run on their own before one is captured: libraries choose their kernels in them.
WARMUP_STEPS = 3

logger = logging.getLogger(__name__)


def forward(model: nn.Module, images: Tensor) -> Tensor:
    """Logits in float32 of normalised images; in between bfloat16, where the hardware has it."""
    images = images.contiguous(memory_format=torch.channels_last)
    enabled = has_bfloat16(images.device)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=enabled, cache_enabled=not _capturing(images)):
        logits: Tensor = model(images)
    return logits.float()


def _capturing(images: Tensor) -> bool:
    return images.is_cuda and torch.cuda.is_current_stream_capturing()


class Step:
    """Takes uint8 images and targets to changed weights; adds up the loss without waiting for the device.

    Attributes:
        optimizer: whose state goes with the model's.
    """

    def __init__(
        self, model: nn.Module, proxy: ProxyRecipe, mean: Tensor, std: Tensor, capturable: bool = False
    ) -> None:
        """Args: mean, std: of ``archsearch.train.training.channel_statistics``."""
        self.model, self.proxy, self.mean, self.std = model, proxy, mean, std
        self.optimizer = adamw(model, proxy, capturable)
        self._lr = torch.tensor(float(proxy.lr), device=mean.device) if capturable else None
        self._loss_sum = torch.zeros((), device=mean.device)
        self._count = 0

    def __call__(self, images: Tensor, targets: Tensor, lr: float) -> None:
        """One step.

        Args:
            images: (B, 3, S, S) as uint8.
            targets: labels (B,) or shares (B, classes).
            lr: learning rate of this step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr if self._lr is None else self._lr
        if self._lr is not None:
            self._lr.fill_(lr)
        self._run(images, targets)
        self._count += 1

    def mean_loss(self) -> float:
        """Mean over the steps since it was asked for last; waits for the device."""
        mean = self._loss_sum.item() / max(1, self._count)
        self._loss_sum.zero_()
        self._count = 0
        return mean

    def _run(self, images: Tensor, targets: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._backward(images, targets)
        self.optimizer.step()

    def _backward(self, images: Tensor, targets: Tensor) -> None:
        parts = self.proxy.accumulate
        for part, wanted in zip(images.chunk(parts), targets.chunk(parts), strict=True):
            logits = forward(self.model, (part.float() - self.mean) / self.std)
            loss = F.cross_entropy(logits, wanted, label_smoothing=self.proxy.label_smoothing)
            loss = loss * (len(part) / len(images))
            loss.backward()
            self._loss_sum += loss.detach()


class GraphStep(Step):
    """The same, where launching a small network's kernels takes longer than running them.

    The first steps run as they are; then one is captured and replayed. What cannot be captured
    goes on as it is, and the log says why.
    """

    def __init__(self, model: nn.Module, proxy: ProxyRecipe, mean: Tensor, std: Tensor) -> None:
        super().__init__(model, proxy, mean, std, capturable=True)
        self._done = 0
        self._stream = torch.cuda.Stream(mean.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._images = self._targets = mean
        self._possible = True

    def _run(self, images: Tensor, targets: Tensor) -> None:
        if not self._possible:
            super()._run(images, targets)
            return
        if self._done < WARMUP_STEPS:
            self._run_beside(images, targets)
        elif self._graph is None:
            self._capture(images, targets)
        if self._graph is not None:
            self._images.copy_(images)
            self._targets.copy_(targets)
            self._graph.replay()
        self._done += 1

    def _run_beside(self, images: Tensor, targets: Tensor) -> None:
        """On the stream that is going to capture, as capturing asks for."""
        usual = torch.cuda.current_stream(images.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            super()._run(images, targets)
        usual.wait_stream(self._stream)

    def _capture(self, images: Tensor, targets: Tensor) -> None:
        """Records a step without running it; where that fails, runs this one and all others as they are."""
        self._images, self._targets = images.clone(), targets.clone()
        self.optimizer.zero_grad(set_to_none=True)  # gradients are allocated in the graph's own memory
        graph, usual = torch.cuda.CUDAGraph(), torch.cuda.current_stream(images.device)
        try:
            # Thread-local: images may be on their way to the device from another thread meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._backward(self._images, self._targets)
                self.optimizer.step()
        except RuntimeError as error:
            logger.warning("this network's step cannot be captured as a CUDA graph: %s", str(error).partition("\n")[0])
            torch.cuda.set_stream(usual)  # which a failed capture may leave behind
            self._possible = False
            super()._run(images, targets)
            return
        self._graph = graph
