"""A teacher: one network per data set, trained for longer, whose class probabilities all candidates learn from.

A short training learns more from the probabilities of all classes than from one label per image (Hinton et al. 2015,
*Distilling the Knowledge in a Neural Network*). The teacher is the same for every candidate and every recipe of the
same shape, so that it cannot prefer one candidate by what it knows. It is trained once, and kept in the disk cache.
"""

import dataclasses

import torch
from filelock import FileLock
from torch import Tensor, nn

from archsearch.arch.networks import network
from archsearch.data.images import ImageData
from archsearch.data.stream import fetch
from archsearch.errors import ArchsearchError, DivergedError
from archsearch.evaluate.pipeline import build_proxy
from archsearch.recipes import ProxyRecipe
from archsearch.train.accuracy import at_once
from archsearch.train.cache import Trainings
from archsearch.train.precision import autocasts, forward
from archsearch.train.training import Training, channel_statistics, repeatable
from archsearch.trial import OnWait, ignore_wait
from archsearch.utils.whole_file import replacing

#: Target network whose proxy is the teacher, and the seed of its training.
NETWORK, SEED = "inceptionnext_tiny", 0
#: Epochs of the teacher, and training samples of each, whatever the recipe of the candidates.
EPOCHS, SAMPLES = 5, 36_864


def taught(
    data: ImageData, proxy: ProxyRecipe, device: torch.device, trainings: Trainings, on_wait: OnWait = ignore_wait
) -> ImageData:
    """Return a data set with the class probabilities of its teacher, where a recipe has one; else the same.

    Args:
        data: Data set, reduced to the recipe's samples.
        proxy: Recipe of the candidates.
        device: Device that trains.
        trainings: Disk cache, in which the teacher is found or kept.
        on_wait: Callback for the wait until it is trained, here or by another process.

    Raises:
        ArchsearchError: The teacher's training diverged.
    """
    if not proxy.teacher:
        return data
    soft = _probabilities(data, teacher_recipe(proxy), device, trainings, on_wait)
    return dataclasses.replace(data, soft=soft.to(device))


def teacher_recipe(proxy: ProxyRecipe) -> ProxyRecipe:
    """Return the recipe of the teacher of candidates that are trained by a recipe.

    >>> recipe = teacher_recipe(ProxyRecipe(teacher=0.7, epochs=2))
    >>> recipe.epochs, recipe.teacher, recipe.crop_padding
    (5, 0.0, 4)
    """
    return dataclasses.replace(
        proxy.with_crops(),
        epochs=EPOCHS,
        epoch_samples=SAMPLES,
        batch_size=64,
        accumulate=1,
        lr=6e-3,
        ema=0.0,
        teacher=0.0,
    )


def _probabilities(
    data: ImageData, proxy: ProxyRecipe, device: torch.device, trainings: Trainings, on_wait: OnWait
) -> Tensor:
    """Return the class probabilities of the training images by a teacher of a recipe, (N, classes), on the CPU."""
    arch = proxy.shrink(network(NETWORK), len(data.classes))
    key = trainings.key(arch, proxy, data, SEED)
    file = trainings.store.path(key, ".teacher.pt")
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        on_wait("the teacher of this data set, which is trained once")
    with FileLock(file.with_suffix(".lock")):  # of several workers, one trains and the others wait
        if file.exists():
            return torch.load(file, weights_only=True)
        model = build_proxy(arch, proxy, SEED).to(device)
        training = Training(model, data, proxy, SEED)
        try:
            for _ in trainings.epochs(key, lambda: training):
                pass
        except DivergedError as error:
            raise ArchsearchError(f"the teacher {error}; do without it (--set proxy.teacher=0)") from None
        found = class_probabilities(model, data, proxy, device)
        with replacing(file) as scratch:
            torch.save(found, scratch)
        return found


@torch.no_grad()
def class_probabilities(model: nn.Module, data: ImageData, proxy: ProxyRecipe, device: torch.device) -> Tensor:
    """Return the class probabilities of the training images by a trained model.

    Args:
        model: Trained model on the device.
        data: Data set that it was trained on.
        proxy: Recipe of its training.
        device: Device that computes.

    Returns:
        (N, classes) in float32, on the CPU.
    """
    mean, std = (value.to(device) for value in channel_statistics(data.train))
    autocast = autocasts(proxy.precision, device)
    chunks = torch.arange(len(data.train), device=data.train.labels.device).split(at_once(device, data.img_size))
    model.eval()
    with repeatable(device, proxy.precision):
        logits = [forward(model, (x.float() - mean) / std, autocast) for x, _ in fetch(data.train, chunks, device)]
    return torch.cat(logits).softmax(1).cpu()
