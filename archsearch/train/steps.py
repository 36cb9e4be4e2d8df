"""Training steps: run operator by operator, or captured once and replayed as a CUDA graph."""

import logging

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.nn.device import has_bfloat16
from archsearch.recipes import ProxyRecipe
from archsearch.train.optimizer import adamw

#: Number of steps before one is captured; libraries choose their kernels during them.
WARMUP_STEPS = 3

logger = logging.getLogger(__name__)


def forward(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of normalised images in float32; computed in bfloat16 where the hardware supports it."""
    images = images.contiguous(memory_format=torch.channels_last)
    enabled = has_bfloat16(images.device)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=enabled, cache_enabled=not _capturing(images)):
        logits: Tensor = model(images)
    return logits.float()


def _capturing(images: Tensor) -> bool:
    return images.is_cuda and torch.cuda.is_current_stream_capturing()


class Step:
    """A training step that sums the loss without waiting for the device.

    Attributes:
        optimizer: Optimizer of the model's weights.
    """

    def __init__(
        self, model: nn.Module, proxy: ProxyRecipe, mean: Tensor, std: Tensor, capturable: bool = False
    ) -> None:
        """Create the optimizer.

        Args:
            model: Model on the device that trains.
            proxy: Recipe of the training.
            mean: Mean per channel, from ``archsearch.train.training.channel_statistics``.
            std: Standard deviation per channel.
            capturable: Whether a step can be captured in a CUDA graph.
        """
        self.model, self.proxy, self.mean, self.std = model, proxy, mean, std
        self.optimizer = adamw(model, proxy, capturable)
        self._lr = torch.tensor(float(proxy.lr), device=mean.device) if capturable else None
        self._loss_sum = torch.zeros((), device=mean.device)
        self._count = 0

    def __call__(self, images: Tensor, targets: Tensor, lr: float) -> None:
        """Update the weights once.

        Args:
            images: Images, (B, 3, S, S) as uint8.
            targets: Labels (B,) or class probabilities (B, classes).
            lr: Learning rate of this step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr if self._lr is None else self._lr
        if self._lr is not None:
            self._lr.fill_(lr)
        self._run(images, targets)
        self._count += 1

    def mean_loss(self) -> float:
        """Return the mean loss of the steps since the last call; waits for the device."""
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
    """A training step as a CUDA graph, for small networks whose kernels take longer to launch than to run.

    The first steps run operator by operator; then one is captured and replayed. A network that cannot be captured
    goes on operator by operator, and a warning says why.
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
        """Run a step on the stream that will capture, as CUDA graphs require."""
        usual = torch.cuda.current_stream(images.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            super()._run(images, targets)
        usual.wait_stream(self._stream)

    def _capture(self, images: Tensor, targets: Tensor) -> None:
        """Capture a step without running it; if that fails, run this and all later steps operator by operator."""
        self._images, self._targets = images.clone(), targets.clone()
        self.optimizer.zero_grad(set_to_none=True)  # so that gradients are allocated in the graph's memory
        graph, usual = torch.cuda.CUDAGraph(), torch.cuda.current_stream(images.device)
        try:
            # Thread-local: another thread may copy images to the device meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._backward(self._images, self._targets)
                self.optimizer.step()
        except RuntimeError as error:
            logger.warning("this network's step cannot be captured as a CUDA graph: %s", str(error).partition("\n")[0])
            torch.cuda.set_stream(usual)  # a failed capture may leave another one
            self._possible = False
            super()._run(images, targets)
            return
        self._graph = graph
