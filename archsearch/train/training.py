"""``Training``: an iterator over the epochs of a training, which its caller may stop after any of them."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from archsearch.data.images import ImageData, Split
from archsearch.data.stream import batches
from archsearch.errors import DivergedError
from archsearch.recipes import ProxyRecipe
from archsearch.train.accuracy import Validation
from archsearch.train.kernels import speed_up
from archsearch.train.optimizer import Schedule
from archsearch.train.precision import autocasts
from archsearch.train.steps import GraphStep, Step
from archsearch.train.turns import Turn
from archsearch.trial import Epoch

#: Number of images that mean and standard deviation are estimated from.
STATISTICS_IMAGES = 2048
#: Whether float32 is multiplied in TF32, for precisions that say so.
TF32 = {"tf32": True, "fp32": False}
#: A training has diverged when the loss of an epoch exceeds that of a uniform guess by this much. The first epoch is
#: exempt: its loss may be that high and still come down.
DIVERGED = 2.0


class Training(Iterator[Epoch]):
    """Train a model in place; each ``next`` is one pass over the samples and one validation.

    The same seed on the same device gives the same results, whether the training ran in one go or was stopped after
    some epoch and resumed from its state, alone or beside others.

    Attributes:
        done: Number of epochs so far.
        judged: Model that is validated: the one that trains, or the moving average of its weights.
    """

    def __init__(
        self, model: nn.Module, data: ImageData, proxy: ProxyRecipe, seed: int, turn: Turn | None = None
    ) -> None:
        """Prepare the training.

        Args:
            model: Model on the device that trains; maps normalised images (N, 3, S, S) to logits (N, classes).
            data: Data set, reduced to the recipe's samples; its images may be on another device.
            proxy: Recipe of the training.
            seed: Seed of data order and augmentation.
            turn: Turn of this training, where others share its process; the caller has taken it.
        """
        self.model, self.data, self.proxy, self.seed = model, data, proxy, seed
        self.turn = turn or Turn()
        self.device = next(model.parameters()).device
        model.to(memory_format=torch.channels_last)
        if self.device.type == "cpu":
            speed_up(model)
        self.mean, self.std = (value.to(self.device) for value in channel_statistics(data.train))
        self.step = self._step()
        self.judged = model if self.step.average is None else self.step.average.model
        autocast = autocasts(proxy.precision, self.device)
        part = proxy.batch_size // proxy.accumulate  # what fits in training fits here, too
        most = part if self.device.type == "cuda" else None
        self.validate = Validation(self.judged, data.val, self.mean, self.std, autocast, most, self._stream)
        samples = proxy.per_epoch(len(data.train))
        self.per_epoch = samples // min(proxy.batch_size, samples)
        self.schedule = Schedule(self.per_epoch * proxy.epochs, proxy.warmup)
        self.done = 0

    def __next__(self) -> Epoch:
        """Train and validate for one epoch.

        Raises:
            StopIteration: All epochs are done.
            DivergedError: The loss is not finite, or far worse than that of a uniform guess.
        """
        if self.done == self.proxy.epochs:
            raise StopIteration
        start = time.perf_counter()
        epoch = self.done + 1
        with repeatable(self.device, self.proxy.precision):
            train_loss = self._pass(epoch)
            self._check(train_loss, epoch)
            accuracy, val_loss = self.validate(self.turn)
        self.done = epoch
        return Epoch(epoch, train_loss, accuracy, time.perf_counter() - start, val_loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last complete epoch, for ``torch.save``."""
        average = None if self.step.average is None else self.step.average.state_dict()
        optimizer = self.step.optimizer.state_dict()
        return {"done": self.done, "model": self.model.state_dict(), "optimizer": optimizer, "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state of a training with the same model, data, recipe and seed."""
        self.model.load_state_dict(state["model"])
        self.step.optimizer.load_state_dict(state["optimizer"])
        if self.step.average is not None:
            self.step.average.load_state_dict(state["average"])
        self.done = state["done"]

    @property
    def _stream(self) -> torch.cuda.Stream | None:
        """Stream for captures; None where nothing can be captured."""
        return self.turn.capture_stream(self.device) if self.device.type == "cuda" else None

    def _step(self) -> Step:
        if (stream := self._stream) is None:
            return Step(self.model, self.proxy, self.mean, self.std)
        return GraphStep(self.model, self.proxy, self.mean, self.std, stream)

    def _pass(self, epoch: int) -> float:
        """Train on every sample once; return the mean loss."""
        # Seeds what the model itself draws: stochastic depth, dropout.
        torch.manual_seed(int(np.random.SeedSequence((self.seed, epoch)).generate_state(1)[0]))
        self.model.train()
        number = (epoch - 1) * self.per_epoch
        for images, targets in batches(self.data, self.proxy, self.seed, epoch, self.device):
            self.step(images, targets, self.proxy.lr * self.schedule(number))
            number += 1
            self.turn.pass_on()
        return self.step.mean_loss(self.turn)

    def _check(self, train_loss: float, epoch: int) -> None:
        if not math.isfinite(train_loss):
            raise DivergedError(f"diverged: the training loss of epoch {epoch} is {train_loss}")
        guess = math.log(max(2, len(self.data.classes)))
        if epoch > 1 and train_loss > guess + DIVERGED:
            raise DivergedError(
                f"diverged: the training loss of epoch {epoch} is {train_loss:.3g}, that of a uniform guess {guess:.3g}"
            )


@contextmanager
def repeatable(device: torch.device, precision: str) -> Iterator[None]:
    """Compute on a GPU with deterministic kernels, and in a precision.

    Args:
        device: Device that trains.
        precision: One of ``archsearch.recipes.PROXY_PRECISIONS``.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    cudnn.benchmark, cudnn.deterministic = False, True
    if precision in TF32:
        cudnn.allow_tf32 = TF32[precision]
        torch.set_float32_matmul_precision("high" if TF32[precision] else "highest")
    try:
        with torch.cuda.device(device), sdpa_kernel(SDPBackend.MATH):  # the others sum gradients in any order
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = before
        torch.set_float32_matmul_precision(matmul)


def accuracy_on_test(model: nn.Module, data: ImageData, proxy: ProxyRecipe) -> float:
    """Return the top-1 accuracy on the test split, a fraction, computed as ``Training`` validates.

    Args:
        model: Trained model on the device that computes; left in evaluation mode.
        data: Data set that it was trained on, reduced to the recipe's samples, whose statistics normalise the images.
        proxy: Recipe of its training.
    """
    model.to(memory_format=torch.channels_last)
    device = next(model.parameters()).device
    mean, std = (value.to(device) for value in channel_statistics(data.train))
    most = proxy.batch_size // proxy.accumulate if device.type == "cuda" else None  # as much as fitted in training
    with repeatable(device, proxy.precision):
        return Validation(model, data.test, mean, std, autocasts(proxy.precision, device), most)().accuracy


def channel_statistics(split: Split) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel, each (1, 3, 1, 1), in grey levels."""
    every = -(-len(split) // STATISTICS_IMAGES)  # a folder's images are sorted by class
    # On the CPU, so that they do not depend on where the images are.
    sample = split.pixels(torch.arange(0, len(split), every, device=split.labels.device)).cpu().float()
    mean = sample.mean((0, 2, 3), keepdim=True)
    return mean, sample.std((0, 2, 3), keepdim=True).clamp_min(1.0)
