"""Top-1 of published weights: of the target network itself, not of a proxy network."""

import os
from pathlib import Path
from typing import Any

import torch

from archsearch.data.validation import validation_batches
from archsearch.nn import build_trained

#: Images per batch; on a GPU four times as many.
BATCH_SIZE = 32


@torch.inference_mode()
def trained_top1(weights: str, folder: Path | None, root: Path, device: torch.device) -> dict[str, Any]:
    """Count the validation images that a trained network classifies correctly.

    Args:
        weights: Name of the weights in timm.
        folder: Folder with ``NAME.safetensors``; None to download them from timm's hub.
        root: Folder of the images, with ``val/<class>/``.
        device: Device to evaluate on.

    Returns:
        ``weights``, ``correct`` and ``images``, as ``ablation.outcome.Result.trained`` keeps them.

    Raises:
        DataError: There are no such weights, or no images for them.
    """
    model = build_trained(weights, folder).to(device)
    size, workers = BATCH_SIZE * (4 if device.type == "cuda" else 1), min(8, os.cpu_count() or 1)
    correct = images = 0
    for pixels, labels in validation_batches(root, model, size, workers):
        named = model(pixels.to(device)).argmax(dim=1).cpu()
        correct, images = correct + int((named == labels).sum()), images + len(labels)
    return {"weights": weights, "correct": correct, "images": images}
