"""Top-1 of trained weights, where there are some: no proxy, the target itself."""

import os
from pathlib import Path
from typing import Any

import torch

from archsearch.data.validation import validation_batches
from archsearch.nn import build_trained

#: Images at a time; on a GPU four times as many.
BATCH_SIZE = 32


@torch.inference_mode()
def trained_top1(weights: str, folder: Path | None, root: Path, device: torch.device) -> dict[str, Any]:
    """Count the validation images that a trained network classifies correctly (``ablation.outcome.Result.trained``).

    Args:
        weights: timm's name for them.
        folder: with ``NAME.safetensors``; None takes them from timm's hub.
        root: of the images, with ``val/<class>/``.
        device: that evaluates.

    Raises:
        DataError: there are no such weights, or no images for them.
    """
    model = build_trained(weights, folder).to(device)
    size, workers = BATCH_SIZE * (4 if device.type == "cuda" else 1), min(8, os.cpu_count() or 1)
    correct = images = 0
    for pixels, labels in validation_batches(root, model, size, workers):
        named = model(pixels.to(device)).argmax(dim=1).cpu()
        correct, images = correct + int((named == labels).sum()), images + len(labels)
    return {"weights": weights, "correct": correct, "images": images}
