"""Training steps: run operator by operator, or captured once and replayed as a CUDA graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.recipes import ProxyRecipe
from archsearch.train.capture import capture, failed, run_beside
from archsearch.train.optimizer import Average, adamw
from archsearch.train.precision import ShadowWeights, autocasts, forward
from archsearch.train.turns import Turn

#: Number of steps before one is captured; libraries choose their kernels during them.
WARMUP_STEPS = 3


class Step:
    """A training step that sums the loss without waiting for the device.

    Attributes:
        optimizer: Optimizer of the model's weights.
        average: Moving average of the model, updated by every step; None for no average.
    """

    def __init__(self, model: nn.Module, proxy: ProxyRecipe, mean: Tensor, std: Tensor, captured: bool = False) -> None:
        """Create the optimizer and the moving average.

        Args:
            model: Model on the device that trains.
            proxy: Recipe of the training.
            mean: Mean per channel, from ``archsearch.train.training.channel_statistics``.
            std: Standard deviation per channel.
            captured: Whether the step is going to be captured in a CUDA graph.
        """
        self.model, self.proxy, self.mean, self.std = model, proxy, mean, std
        self.optimizer = adamw(model, proxy, captured)
        self.average = Average(model, proxy.ema) if proxy.ema else None
        self._autocast = autocasts(proxy.precision, mean.device)
        self._shadow = ShadowWeights(model, proxy.precision) if self._wants_shadow(captured) else None
        self._lr = torch.tensor(float(proxy.lr), device=mean.device) if captured else None
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

    def mean_loss(self, turn: Turn | None = None) -> float:
        """Return the mean loss of the steps since the last call; waits for the device.

        Args:
            turn: Turn of the training, where others share its process.
        """
        with (turn or Turn()).apart():
            total = self._loss_sum.item()
        mean = total / max(1, self._count)
        self._loss_sum.zero_()
        self._count = 0
        return mean

    def _wants_shadow(self, captured: bool) -> bool:
        """Whether weights are copied in bfloat16: on a GPU, or where a recipe says so; a CPU has kernels of its own."""
        return self._autocast and (captured or self.proxy.precision == "bf16")

    def _run(self, images: Tensor, targets: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._update(images, targets)

    def _update(self, images: Tensor, targets: Tensor) -> None:
        """Compute the gradients, and change weights and average; what a CUDA graph holds."""
        if self._shadow is not None:
            self._shadow.refresh()
        self._backward(images, targets)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()

    def _backward(self, images: Tensor, targets: Tensor) -> None:
        parts, weights = self.proxy.accumulate, None if self._shadow is None else self._shadow.copies
        for part, wanted in zip(images.chunk(parts), targets.chunk(parts), strict=True):
            logits = forward(self.model, (part.float() - self.mean) / self.std, self._autocast, weights)
            loss = F.cross_entropy(logits, wanted, label_smoothing=self.proxy.label_smoothing)
            loss = loss * (len(part) / len(images))
            loss.backward()
            if self._shadow is not None:
                self._shadow.collect()
            self._loss_sum += loss.detach()


class GraphStep(Step):
    """A training step as a CUDA graph, for small networks whose kernels take longer to launch than to run.

    The first steps run operator by operator; then one is captured and replayed. A network that cannot be captured
    goes on operator by operator, and a warning says why.
    """

    def __init__(
        self, model: nn.Module, proxy: ProxyRecipe, mean: Tensor, std: Tensor, stream: torch.cuda.Stream
    ) -> None:
        """Create the optimizer and the moving average; ``stream`` is the one to capture, the others as for ``Step``."""
        super().__init__(model, proxy, mean, std, captured=True)
        self._done, self._stream = 0, stream
        self._graph: torch.cuda.CUDAGraph | None = None
        self._images = self._targets = mean

    def _run(self, images: Tensor, targets: Tensor) -> None:
        if failed():
            self._graph = None  # in some versions of torch it cannot be replayed any more
        elif self._graph is None and self._done >= WARMUP_STEPS:
            self._capture(images, targets)
        if self._graph is not None:
            self._images.copy_(images)
            self._targets.copy_(targets)
            self._graph.replay()
        else:
            run_beside(lambda: super(GraphStep, self)._run(images, targets), self._stream)
        self._done += 1

    def _capture(self, images: Tensor, targets: Tensor) -> None:
        """Capture a step without running it."""
        self._images, self._targets = images.clone(), targets.clone()
        self.optimizer.zero_grad(set_to_none=True)  # so that gradients are allocated in the graph's memory
        self._graph = capture(lambda: self._update(self._images, self._targets), self._stream)
