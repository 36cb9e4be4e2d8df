"""Networks by name, ours from their ``Arch`` and timm's from timm."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.errors import ArchError, DataError, first_line, unknown
from archsearch.nn.metanext import build
from archsearch.nn.user_mixers import check_mixers


def build_network(network: Arch | TimmModel) -> tuple[nn.Module, int]:
    """Build a network in evaluation mode; return it and the side of its image in pixels.

    Raises:
        ArchError: timm has no such network, or a user's mixer fails.
    """
    if isinstance(network, TimmModel):
        return build_timm(network)
    check_mixers([network])
    return build(network).eval(), network.img_size


def build_timm(wanted: TimmModel) -> tuple[nn.Module, int]:
    """Build a network from timm without weights; return it and the side of its image in pixels.

    Nothing is downloaded.

    Raises:
        ArchError: timm has no such network, or not for this size of image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns of its own deprecations
        import timm

        if not timm.is_model(wanted.name):
            raise ArchError(unknown("network of timm's", wanted.name, timm.list_models()))
        own = timm.get_pretrained_cfg(wanted.name)
        size = wanted.img_size or (own.input_size[-1] if own else 224)
        try:
            model = _create(timm.create_model, wanted, size).eval()
        except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ArchError(f"{wanted} cannot be built for images of {size} px: {first_line(error)}") from None
        return model, size


def build_trained(weights: str, folder: Path | None = None) -> nn.Module:
    """Build a network from timm with its trained weights, in evaluation mode.

    Args:
        weights: Name of the weights in timm, ``convnext_tiny.fb_in1k``.
        folder: Folder that holds ``NAME.safetensors``; None downloads it, or takes it from timm's own cache.

    Raises:
        ArchError: timm has no such network.
        DataError: The weights are missing, or do not fit the network.
    """
    file = folder / f"{weights}.safetensors" if folder else None
    if file and not file.is_file():
        raise DataError(f"no weights file {file}; download it, or give another --weights")
    overlay = {"file": str(file), "hf_hub_id": None, "url": ""} if file else None
    with warnings.catch_warnings(), _quiet_hub():
        warnings.simplefilter("ignore")
        import timm

        if not timm.is_model(weights):
            raise ArchError(unknown("network of timm's", weights.partition(".")[0], timm.list_models()))
        try:
            return timm.create_model(weights, pretrained=True, pretrained_cfg_overlay=overlay).eval()
        except Exception as error:  # whatever a hub or a damaged file may raise
            where = file or "the hub"
            raise DataError(
                f"cannot load the weights {weights} from {where}: {first_line(error).rstrip('.')}; "
                "--weights DIR takes NAME.safetensors from a folder"
            ) from error


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the hub's client from telling of every try to reach it; that none succeeded is raised."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _create(create: Any, wanted: TimmModel, size: int) -> nn.Module:
    """Create the network; only transformers take the size of the image as an argument."""
    if wanted.img_size is None:
        return create(wanted.name, **wanted.kwargs)
    try:
        return create(wanted.name, img_size=size, **wanted.kwargs)
    except TypeError:
        return create(wanted.name, **wanted.kwargs)
