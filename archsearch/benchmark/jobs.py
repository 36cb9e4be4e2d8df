"""What is asked of a benchmark and what comes back, as plain data that travels between processes."""

from dataclasses import asdict, dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.benchmark.timing import Setting, Timing
from archsearch.recipes import BenchRecipe

#: A network at the resolution that it is timed with.
Network = Arch | TimmModel


@dataclass(frozen=True)
class Job:
    """Networks that are timed together.

    Attributes:
        networks: at their resolution (``bench.img_size`` is not looked at).
        reference: likewise; what ratios are to.
        bench: the recipe; its layouts and, of ``latency``, batch 1 instead of its own.
        kinds: of ``archsearch.benchmark.timing.KINDS``.
        modes: of ``archsearch.recipes.MODES``.
        seed: of the order within rounds.
        thorough: whether activations are counted and energy is read too.
        energy: Whether the energy of inference is read in any case.
        roofline: whether the parts of each network are timed beside the device's roofs.
        probe: only whether everything fits is wanted; nothing is timed.
    """

    networks: tuple[Network, ...]
    reference: Network
    bench: BenchRecipe
    kinds: tuple[str, ...] = ("infer",)
    modes: tuple[str, ...] = ("eager",)
    seed: int = 0
    thorough: bool = False
    energy: bool = False
    roofline: bool = False
    probe: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data; ``from_dict`` reads it."""
        return {
            **{
                name: getattr(self, name)
                for name in ("kinds", "modes", "seed", "thorough", "energy", "roofline", "probe")
            },
            "networks": [network_to_dict(network) for network in self.networks],
            "reference": network_to_dict(self.reference),
            "bench": asdict(self.bench),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Job":
        """What ``to_dict`` gave, also after a way through JSON."""
        return cls(
            networks=tuple(network_from_dict(network) for network in data["networks"]),
            reference=network_from_dict(data["reference"]),
            bench=BenchRecipe(**data["bench"]),
            kinds=tuple(data["kinds"]),
            modes=tuple(data["modes"]),
            seed=data["seed"],
            thorough=data["thorough"],
            energy=data["energy"],
            roofline=data["roofline"],
            probe=data["probe"],
        )

    def settings(self, img_size: int) -> list[Setting]:
        """Everything that is timed of a network."""
        bench = self.bench
        return [
            Setting(kind, mode, layout, bench.precision, 1 if kind == "latency" else bench.batch_size, img_size)
            for mode in self.modes
            for layout in bench.layouts
            for kind in self.kinds
        ]


def network_to_dict(network: Network) -> dict[str, Any]:
    """JSON-ready data; ``network_from_dict`` reads it."""
    return {"arch": network.to_dict()} if isinstance(network, Arch) else {"timm": asdict(network)}


def network_from_dict(data: dict[str, Any]) -> Network:
    """What ``network_to_dict`` gave."""
    return Arch.from_dict(data["arch"]) if "arch" in data else TimmModel(**data["timm"])


@dataclass(frozen=True)
class Measured:
    """What became of one network of a job.

    Attributes:
        params: trainable parameters; None where it could not be built.
        macs: multiply-adds of one image.
        activations: elements that convolutions and matrix products give out for one image.
        img_size: side of an image in pixels.
        timings: one per setting.
        roofline: ``roofs`` and ``parts``, where asked for.
        environment: device and versions.
        reference_errors: why the reference could not be timed in some way, so that ratios are missing.
        error: why nothing of it could be timed.
        users_fault: whether that is for the user to mend: an unknown name, an impossible size.
        deferred: it did not fit beside the others, and has to be asked for again.
    """

    params: int | None = None
    macs: int | None = None
    activations: int | None = None
    img_size: int | None = None
    timings: tuple[Timing, ...] = ()
    roofline: dict[str, Any] | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    reference_errors: tuple[str, ...] = ()
    error: str | None = None
    users_fault: bool = False
    deferred: bool = False

    @property
    def out_of_memory(self) -> bool:
        """Whether some step of more than one image did not fit, of the network or of the reference."""
        own = [timing.error or "" for timing in self.timings if timing.setting.batch_size > 1]
        return any(OUT_OF_MEMORY in error for error in (*own, *self.reference_errors))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data; ``from_dict`` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Measured":
        """What ``to_dict`` gave, also after a way through JSON."""
        timings = tuple(Timing.from_dict(timing) for timing in data["timings"])
        return cls(**{**data, "timings": timings, "reference_errors": tuple(data["reference_errors"])})


#: Errors of steps that did not fit begin with this.
OUT_OF_MEMORY = "out of memory"
