"""The ``config.json`` of a folder that timm loads by ``local-dir:``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timm.data.constants import DEFAULT_CROP_PCT, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from archsearch.arch import Arch

#: Name of the file.
CONFIG = "config.json"
#: Name of the file beside it with the architecture as archsearch reads it.
ARCHITECTURE = "architecture.json"
#: Field of the file that says what archsearch wrote; timm passes over it.
OWN = "archsearch"


@dataclass(frozen=True)
class Preprocessing:
    """How images become the input of a network: the shorter side resized, the centre cropped, normalised.

    Attributes:
        img_size: Side of the square images, in pixels.
        mean: Mean per channel, of pixels from 0 to 1.
        std: Standard deviation per channel, likewise.
        crop_pct: Share of the resized image's side that the crop keeps.
        interpolation: timm's name of the resampling.
    """

    img_size: int
    mean: Sequence[float] = IMAGENET_DEFAULT_MEAN
    std: Sequence[float] = IMAGENET_DEFAULT_STD
    crop_pct: float = DEFAULT_CROP_PCT
    interpolation: str = "bicubic"

    @classmethod
    def of(cls, arch: Arch, facts: Mapping[str, Any], options: Mapping[str, Any]) -> "Preprocessing":
        """Return that of a network.

        Args:
            arch: Architecture of the network.
            facts: What is known of trained weights; where they tell no mean, it is ImageNet's.
            options: Fields that a checkpoint of timm's tells.
        """
        known = {key: tuple(facts[key]) for key in ("mean", "std") if key in facts}
        whole = {"crop_pct": 1.0} if known else {}
        return cls(**{"img_size": arch.img_size, **known, **whole, **options})


def pretrained_cfg(arch: Arch, classifier: str, images: Preprocessing) -> dict[str, Any]:
    """Return timm's description of weights and preprocessing, JSON-ready.

    Args:
        arch: Architecture of the network.
        classifier: Name of the last linear layer.
        images: Preprocessing of images.
    """
    side = max(images.img_size // arch.stride, 1)
    return {
        "num_classes": arch.num_classes,
        "input_size": [3, images.img_size, images.img_size],
        "pool_size": [side, side],
        "crop_pct": images.crop_pct,
        "interpolation": images.interpolation,
        "mean": list(images.mean),
        "std": list(images.std),
        "first_conv": "stem.0",
        "classifier": classifier,
    }


def timm_config(
    architecture: str,
    arch: Arch,
    model_args: Mapping[str, Any],
    cfg: Mapping[str, Any],
    classes: Sequence[str],
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of the file.

    Args:
        architecture: Name of the entry point of timm's.
        arch: Architecture of the network.
        model_args: Arguments of the entry point.
        cfg: Description of weights and preprocessing.
        classes: Names of the classes in label order; empty where they are not known.
        own: What archsearch says of the folder.
    """
    return {
        "architecture": architecture,
        "num_classes": arch.num_classes,
        "num_features": arch.dims[-1],
        "global_pool": "avg",
        **({"label_names": list(classes)} if len(classes) == arch.num_classes else {}),
        **({"model_args": dict(model_args)} if model_args else {}),
        "pretrained_cfg": dict(cfg),
        OWN: dict(own),
    }
