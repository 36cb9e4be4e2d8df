"""Jobs of a process that times, and their results, as plain data that travels between processes."""

from dataclasses import asdict, dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.benchmark.timing import Setting, Timing
from archsearch.recipes import LAYOUTS, ONNXRUNTIME, BenchRecipe

#: A network at the resolution it is timed at.
Network = Arch | TimmModel
#: Index of the reference among the networks of a job.
REFERENCE = -1


@dataclass(frozen=True)
class Job:
    """Networks to time together.

    Attributes:
        networks: Networks at their resolution; the recipe's ``img_size`` is not applied.
        reference: Network that relative throughputs are relative to, at its resolution.
        bench: Timing recipe. ``latency`` uses batch 1 instead of the recipe's.
        kinds: Kinds of step, of ``archsearch.benchmark.timing.KINDS``.
        modes: Execution modes, of ``archsearch.recipes.MODES``; they replace the recipe's.
        seed: Seed of the order within rounds.
        thorough: Whether to count activations too, and to look longer for what is asked for.
        energy: Whether to read the energy per image of inference; in thorough jobs, of every kind of step.
        roofline: Whether to time the parts of each network, for a roofline.
        probe: Whether to load the networks only, to see if they fit, and time nothing.
        layouts: Layout that is known to be faster, by kind of step; the networks are timed in that one alone, and the
            reference in all of the recipe.
        failed: Steps that are not tried, as they failed in a process that they made useless: index of the network (of
            the reference, ``REFERENCE``), setting, and why, in one line.
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
    layouts: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[int, Setting, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data for ``from_dict``."""
        return {
            **{
                name: getattr(self, name)
                for name in ("kinds", "modes", "seed", "thorough", "energy", "roofline", "probe")
            },
            "networks": [network_to_dict(network) for network in self.networks],
            "reference": network_to_dict(self.reference),
            "bench": asdict(self.bench),
            "layouts": self.layouts,
            "failed": [[index, setting.to_dict(), error] for index, setting, error in self.failed],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Job":
        """Read what ``to_dict`` returned, also after a round trip through JSON."""
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
            layouts=tuple((kind, layout) for kind, layout in data["layouts"]),
            failed=tuple((index, Setting(**setting), error) for index, setting, error in data["failed"]),
        )

    @property
    def form(self) -> str:
        """Form that counts are of: the recipe's, unless training steps alone are timed."""
        return self.bench.form if any(kind != "train" for kind in self.kinds) else "train"

    def failures(self, index: int) -> dict[Setting, str]:
        """Return why steps of a network are not tried, by setting; ``index`` is its own in the job."""
        return {setting: error for other, setting, error in self.failed if other == index}

    def settings(self, img_size: int, index: int = 0) -> list[Setting]:
        """Return the setting of every step to time.

        Args:
            img_size: Side of the network's images in pixels.
            index: Its index in the job, or ``REFERENCE``.
        """
        bench, known = self.bench, {} if index == REFERENCE else dict(self.layouts)
        return [
            Setting(
                kind,
                mode,
                layout,
                bench.precision,
                1 if kind == "latency" else bench.batch_size,
                img_size,
                bench.form_of(kind),
            )
            for mode in self.modes
            for layout in (bench.layouts if mode != ONNXRUNTIME else LAYOUTS[:1])
            for kind in self.kinds
            if mode == ONNXRUNTIME or known.get(kind, layout) == layout
        ]


def network_to_dict(network: Network) -> dict[str, Any]:
    """Return JSON-ready data for ``network_from_dict``."""
    return {"arch": network.to_dict()} if isinstance(network, Arch) else {"timm": network.to_dict()}


def network_from_dict(data: dict[str, Any]) -> Network:
    """Read what ``network_to_dict`` returned."""
    return Arch.from_dict(data["arch"]) if "arch" in data else TimmModel.from_dict(data["timm"])


@dataclass(frozen=True)
class Measured:
    """Results of one network of a job.

    Attributes:
        params: Number of trainable parameters; None where the network could not be built.
        macs: Multiply-adds per image.
        activations: Output elements of convolutions and matrix products per image.
        img_size: Side of an image in pixels.
        timings: One timing per setting.
        roofline: ``roofs`` and ``parts`` of ``archsearch.benchmark.roofline.view``, where asked for.
        environment: Device and versions.
        reference_errors: Why the reference could not be timed in some setting, so that ratios are missing.
        error: Why the network could not be timed at all.
        users_fault: Whether the user can mend the error: an unknown name, an impossible size.
        deferred: Whether the network did not fit beside the others, and has to be timed in another process.
        form: Form of the network that the counts are of: the one that it is in at inference, if that is timed.
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
    form: str = "train"

    @property
    def out_of_memory(self) -> bool:
        """Whether a step of more than one image ran out of memory, of the network or of the reference."""
        own = [timing.error or "" for timing in self.timings if timing.setting.batch_size > 1]
        return any(OUT_OF_MEMORY in error for error in (*own, *self.reference_errors))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data for ``from_dict``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Measured":
        """Read what ``to_dict`` returned, also after a round trip through JSON."""
        timings = tuple(Timing.from_dict(timing) for timing in data["timings"])
        return cls(**{**data, "timings": timings, "reference_errors": tuple(data["reference_errors"])})


#: First words of the errors of steps that ran out of memory.
OUT_OF_MEMORY = "out of memory"
