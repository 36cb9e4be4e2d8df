"""The drawn data set: synthetic images that need both local and long-range token mixing.

Every image is noise with a fine texture, which shows in a few neighbouring pixels, and long, faint, slightly bent
lines. A class is a pair of texture and side that the lines bend to. Short pieces of a line look much the same
whichever side it bends to; only pixels far apart tell. Contrast and curvature vary from image to image, so accuracy
is a matter of degree. Nothing is downloaded, and the seed determines every pixel.
"""

import numpy as np
import torch

from archsearch.data.images import SPLITS, ImageData, Split

TEXTURES = ("checks", "diamonds")
BENDS = ("up", "right", "down", "left")
CLASSES = tuple(f"{texture}/{bend}" for texture in TEXTURES for bend in BENDS)

#: Side of the images, in pixels.
SIZE = 32
COUNTS = {"train": 4096, "val": 2048, "test": 2048}

#: Standard deviation of the noise and amplitude of texture and lines, in grey levels of 255.
NOISE, TEXTURE, LINE = 40.0, 30.0, 50.0
#: Share of the amplitude that the faintest lines have.
FAINTEST = 0.2
LINES = 3
#: Least and greatest radius of curvature, in pixels: a line deviates by 1 to 2 pixels over half the image.
RADIUS = (16.0, 40.0)
#: Lines run neither along rows and columns nor along diagonals, which a kernel's shape could favour.
TURN, TILT = np.pi / 8, 0.15


def load_drawn(seed: int = 0) -> ImageData:
    """Draw the data set: 8 balanced classes of 32 x 32 RGB images.

    The lines of a mirrored image bend to another side, so ``flip`` is off.

    Args:
        seed: Seed of every pixel.
    """
    rngs = np.random.default_rng(seed).spawn(len(COUNTS))
    train, val, test = (_draw(COUNTS[name], rng) for name, rng in zip(SPLITS, rngs, strict=True))
    return ImageData("drawn", train, val, test, CLASSES, flip=False, fingerprint=f"drawn-1-{seed}")


def _draw(count: int, rng: np.random.Generator) -> Split:
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    textures = TEXTURE * _textures(labels // len(BENDS), rng)[:, None]
    contrast = _uniform(rng, (FAINTEST, 1), count)[:, None]
    lines = LINE * contrast * _lines(labels % len(BENDS), rng)[:, None]
    tint = rng.uniform(0.6, 1.4, (count, 3, 1, 1)).astype(np.float32)
    noise = NOISE * rng.standard_normal((count, 3, SIZE, SIZE), dtype=np.float32)
    pixels = np.clip(np.rint(128 + textures * tint + lines + noise), 0, 255).astype(np.uint8)
    return Split(torch.from_numpy(pixels), torch.from_numpy(labels))


def _uniform(rng: np.random.Generator, bounds: tuple[float, float], count: int) -> np.ndarray:
    """Draw one float32 per image, of shape (N, 1, 1)."""
    return rng.uniform(*bounds, (count, 1, 1)).astype(np.float32)


def _textures(kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw checks, or checks turned by 45 degrees, in [-1, 1], (N, S, S).

    Args:
        kind: Index into ``TEXTURES`` of each image, (N,).
        rng: Random generator for periods and phases.
    """
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    turn = (kind * np.pi / 4).astype(np.float32)[:, None, None]
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    wave = 2 * np.float32(np.pi) / _uniform(rng, (4, 6), len(kind))
    shift_u, shift_v = (_uniform(rng, (0, 2 * np.pi), len(kind)) for _ in range(2))
    return np.sin(wave * u + shift_u) * np.sin(wave * v + shift_v)


def _lines(bend: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw long, slightly bent lines, with a brightness in [0, 1], (N, S, S).

    Args:
        bend: Index into ``BENDS`` of each image, (N,).
        rng: Random generator for offsets, curvatures and tilts.
    """
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) - (SIZE - 1) / 2
    quarter = (bend * np.pi / 2).astype(np.float32)[:, None, None]
    angle = quarter + np.float32(TURN) + _uniform(rng, (-TILT, TILT), len(bend))
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    curve = across + along**2 / (2 * _uniform(rng, RADIUS, len(bend)))
    offsets = [_uniform(rng, (-6, 14), len(bend)) for _ in range(LINES)]
    return np.maximum.reduce([np.exp(-0.5 * (curve - offset) ** 2) for offset in offsets])
