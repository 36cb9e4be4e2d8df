"""What ``archsearch.handover.explain`` is asked for, and the records that it returns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archsearch.arch.mixer_types import ReceptiveField
from archsearch.errors import OptionError


@dataclass(frozen=True)
class ExplainSpec:
    """Networks with weights, images, and what of them to explain.

    Attributes:
        networks: ``STUDY#TRIAL`` or ``study:STUDY#TRIAL`` (weights of ``confirm``), a ``.safetensors`` file of ours, a
            folder that ``export`` wrote (its generated model file, if it has one, is executed), or ``timm:NAME``.
        images: Image files, and folders that are searched for images with all folders inside them.
        limit: Number of images that are taken from each folder, spread over its classes.
        target: Class to explain, its name or index; None for the class that each network predicts.
        stage: Number of the stage, from 1, whose output Grad-CAM weighs; None for the last one. For timm's networks,
            the number of a feature map as timm lists them.
        storage: URL of the storage of the studies, or the path of its SQLite file.
        weights: Folder with ``NAME.safetensors`` for ``timm:NAME``; None for timm's own cache and downloads.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        OptionError: There is no network or no image, or a number is less than 1.
    """

    networks: tuple[str, ...]
    images: tuple[Path, ...]
    limit: int = 8
    target: str | int | None = None
    stage: int | None = None
    storage: str = "sqlite:///runs/archsearch.db"
    weights: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.networks or not self.images:
            raise OptionError("name at least one network and one image, or a folder of images")
        if self.limit < 1 or (self.stage is not None and self.stage < 1):
            raise OptionError(f"limit {self.limit}, stage {self.stage}: both count from 1")


@dataclass(frozen=True, eq=False)
class Sight:
    """A network's view of one image, and what in it speaks for a class.

    Attributes:
        view: The image as the network takes it, resized and cropped, (S, S, 3) as uint8.
        heat: Grad-CAM, (S, S) from 0 to 1, its maximum; all 0 where nothing speaks for the class.
        predicted: Class that the network predicts.
        probability: Probability that it gives that class.
        target: Class that is explained.
        target_probability: Probability that it gives that one.
    """

    view: np.ndarray
    heat: np.ndarray
    predicted: str
    probability: float
    target: str
    target_probability: float


@dataclass(frozen=True, eq=False)
class StageField:
    """Receptive fields of the central output of one stage.

    Attributes:
        stage: Number of the stage, from 1.
        layer: Path of its module.
        theoretical: Rows and columns of the image that the output may depend on, or ``image`` for all of it; None
            where that is not known.
        effective: Side of the smallest square that holds 95 % of the gradient, in pixels; None where the output is no
            map or depends on nothing.
        gradient: Share of each pixel, (S, S) that sum to 1; None likewise.
    """

    stage: int
    layer: str
    theoretical: ReceptiveField | None
    effective: int | None
    gradient: np.ndarray | None


@dataclass(frozen=True, eq=False)
class ExplainedNetwork:
    """A network and what it looks at.

    Attributes:
        name: Its name: as it was asked for, but without folders and suffix where that is a path.
        weights: What its weights are and where they come from, in words.
        accuracy: Its accuracy and on what, in words.
        preprocessing: How it takes an image, in words.
        img_size: Side of its images, in pixels.
        stage: Number of the explained stage, from 1.
        layer: Path of the module whose output Grad-CAM weighs.
        map_side: Side of that output, in positions.
        sights: Its view of each image.
        fields: Receptive fields of its stages.
    """

    name: str
    weights: str
    accuracy: str
    preprocessing: str
    img_size: int
    stage: int
    layer: str
    map_side: int
    sights: tuple[Sight, ...]
    fields: tuple[StageField, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Several networks on the same images.

    Attributes:
        images: Files of the images.
        networks: Networks, in the order in which they were named.
    """

    images: tuple[Path, ...]
    networks: tuple[ExplainedNetwork, ...]
