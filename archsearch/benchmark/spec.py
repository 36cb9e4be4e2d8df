"""What a benchmark times, and how: the frozen spec that ``archsearch.benchmark.run`` takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archsearch.arch import Arch
from archsearch.benchmark.jobs import Network
from archsearch.errors import OptionError, unknown
from archsearch.recipes import BENCHES, MODES, NO_TRAINING, ONNXRUNTIME, PATIENT, BenchRecipe, override

#: Steps that are timed unless a spec names others, in the order of the columns.
ALL_KINDS = ("train", "infer", "latency")
#: Changes to the recipe of a study: a benchmark has more patience than a study has for each of its trials, and shows
#: what it could not find out better.
THOROUGH = {"layout": "both", "max_rounds": 100, "known_within": 0.0}
#: Longest warm-up on a CPU, in seconds: it picks no kernels and hardly heats up, so waiting longer settles nothing.
CPU_WARMUP_S = 5.0


@dataclass(frozen=True)
class NamedNetwork:
    """A network under the name that results show.

    Attributes:
        name: Name in the results.
        network: The network, or one for each kind of device (``cpu`` and ``gpu``); None where there is none.
        error: Why there is no network, in one line.
    """

    name: str
    network: Network | Mapping[str, Network] | None = None
    error: str | None = None

    def on(self, kind: str) -> Network | None:
        """Return the network that is timed on a kind of device, ``cpu`` or ``gpu``."""
        return self.network[kind] if isinstance(self.network, Mapping) else self.network


@dataclass(frozen=True)
class BenchmarkSpec:
    """Networks to time side by side, and the conditions they are timed under.

    Attributes:
        networks: Networks to time: named ones (``inceptionnext_tiny``, ``timm:resnet50``, ``my.json``), or networks
            under names of the caller's choice. Those given twice are timed once.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        kinds: Steps to time: any of ``train``, ``infer`` and ``latency`` (inference at batch 1).
        modes: Execution modes to time, of ``archsearch.recipes.MODES``; none for the recipe's.
        recipe: Recipe to start from; None for the device's default (``default_recipe``).
        device_changes: Fields of the recipe to change on one kind of device, ``cpu`` or ``gpu``.
        changes: Fields of the recipe to change, whatever the device. They win over ``device_changes``.
            ``img_size`` applies to all networks; ``reference`` may be the name of one of ``networks``.
        seed: Seed of the order of the networks within each round.
        roofline: Whether to time the parts of each network too, and compare them with the device's limits.
        fit_batch: Whether to halve the batch, for all networks alike, until every network fits.
        energy: Whether to read the energy per image on a GPU that counts it, which takes three seconds per step.
        model_kwargs: Arguments that all networks but the reference are made with (``archsearch.arch.networks.varied``),
            ready for JSON.
        mixers: Files of the user's own mixers, loaded by the process that times. To build architectures with
            them in this process, load them first (``archsearch.nn.load_mixers``).

    Raises:
        OptionError: A kind or mode is unknown.
        UserError: A field of the recipe is unknown, or its value is not allowed.
    """

    networks: tuple[NamedNetwork | str, ...]
    device: str = "auto"
    kinds: tuple[str, ...] = ALL_KINDS
    modes: tuple[str, ...] = ()
    recipe: BenchRecipe | None = None
    device_changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    roofline: bool = False
    fit_batch: bool = False
    energy: bool = True
    mixers: tuple[Path, ...] = ()
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, given, known in (("kind of step", self.kinds, ALL_KINDS), ("mode", self.modes, MODES)):
            for word in given:
                if word not in known:
                    raise OptionError(unknown(name, word, known))
        recipe = override(self.recipe or BenchRecipe(), self.changes)
        if {*(self.modes or (recipe.mode,))} == {ONNXRUNTIME} and {*self.kinds} == {"train"}:
            raise OptionError(f"{NO_TRAINING}; time infer or latency, or add another mode")

    @property
    def img_size(self) -> int | None:
        """Side of the images in pixels; None for each network's own."""
        return override(self.recipe or BenchRecipe(), self.changes).img_size or None

    def recipe_on(self, kind: str, has_tf32: bool) -> BenchRecipe:
        """Return the complete recipe for a kind of device.

        Args:
            kind: ``cpu`` or ``gpu``.
            has_tf32: Whether the device multiplies in TF32; float32 replaces it where nothing in ``changes`` asks for
                it.

        Raises:
            UserError: A field in ``device_changes`` is unknown, or its value is not allowed.
        """
        recipe = override(self.recipe or default_recipe(kind), self.device_changes.get(kind, {}))
        if recipe.precision == "tf32" and not has_tf32:
            recipe = replace(recipe, precision="fp32")
        return override(recipe, self.changes)


def default_recipe(kind: str) -> BenchRecipe:
    """Return the recipe of a benchmark on a kind of device.

    >>> default_recipe("cpu").warmup_limit_s, default_recipe("gpu").max_rounds
    (5.0, 100)
    """
    limit = {"warmup_limit_s": CPU_WARMUP_S} if kind == "cpu" else {}
    return override(BENCHES[kind], PATIENT[kind] | THOROUGH | limit)


def resized(network: Network, img_size: int | None) -> Network:
    """Return a network for images of another size; None keeps its own.

    Raises:
        ArchError: The images are too small or too large for it.
    """
    if img_size is None:
        return network
    return network.replace(img_size=img_size) if isinstance(network, Arch) else replace(network, img_size=img_size)
