"""Where a study's candidates are evaluated: a device of this machine, or a share of a Ray cluster."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from archsearch.errors import OptionError, unknown
from archsearch.objectives import Objective, Tier
from archsearch.recipes import BenchRecipe
from archsearch.search.spec import Engine

if TYPE_CHECKING:
    import torch

    from archsearch.search.engines.ray_cluster import Share

Answer = TypeVar("Answer")

ENGINES = ("local", "ray")
#: Settings of an engine that speak of Ray alone.
RAY_SETTINGS = ("ray_address", "gpus_per_trial", "cpus_per_trial")


def check_engine(engine: Engine, quantities: Sequence[Objective]) -> None:
    """Check that the settings of an engine go together.

    Args:
        engine: Settings of the engine.
        quantities: Objectives and constrained quantities that the study evaluates there; none where speeds come from
            another machine.

    Raises:
        OptionError: They do not; the message says what to change.
    """
    if engine.name not in ENGINES:
        raise OptionError(unknown("engine", engine.name, ENGINES))
    if engine.trial_timeout and engine.workers == 0:
        raise OptionError("--trial-timeout ends processes, and --workers 0 has none; give --workers 1")
    given = [name for name in RAY_SETTINGS if getattr(engine, name) is not None]
    if engine.name != "ray" and given:
        raise OptionError(f"--{given[0].replace('_', '-')} is for --engine ray; add that, or leave it out")
    if engine.name == "ray" and engine.workers == 0:
        raise OptionError("--workers 0 is this process itself; leave --engine ray out, or give more workers")
    speeds = [quantity.name for quantity in quantities if quantity.tier is Tier.MEASURED]
    if engine.gpus_per_trial is not None and engine.gpus_per_trial % 1 and speeds:
        raise OptionError(
            f"--gpus-per-trial {engine.gpus_per_trial:g}: {speeds[0]} is measured on a whole GPU; "
            f"give 1, or leave {speeds[0]} out"
        )


@dataclass(frozen=True)
class Place:
    """Where candidates are evaluated.

    Attributes:
        device: Device that trains and is timed, as it is called there.
        name: Name of its make.
        share: Share of a Ray cluster that a candidate has; None without one.
        remote: Whether it may be another machine than this one.
        alone: Whether this process does the work itself.
    """

    device: str
    name: str
    share: "Share | None" = None
    remote: bool = False
    alone: bool = False

    @property
    def kind(self) -> str:
        """Kind of device that default recipes are named after: ``cpu`` or ``gpu``."""
        return "cpu" if self.device == "cpu" else "gpu"

    @property
    def here(self) -> "torch.device":
        """The device for what this process does itself."""
        from archsearch.nn.device import pick_device

        return pick_device(self.device if self.alone else "cpu")

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the device that speeds depend on, as ``archsearch.benchmark.reference_speed`` names them."""
        from archsearch.benchmark.reference_speed import DEVICE_FACTS
        from archsearch.nn.device import environment, pick_device

        device = self.device
        here = self.ask(lambda: environment(pick_device(device)))
        return {name: here.get(name) for name in DEVICE_FACTS}

    @property
    def versions(self) -> dict[str, str]:
        """Versions that speeds depend on, on the machine that evaluates candidates."""
        from archsearch.nn.device import pick_device, versions

        device = self.device
        return self.ask(lambda: versions(pick_device(device)))

    def suited(self, bench: BenchRecipe, chosen: bool) -> BenchRecipe:
        """Return the recipe of the timing as the device can follow it.

        Args:
            bench: Recipe of the timing.
            chosen: Whether its precision was chosen, and not left to the device.

        Raises:
            OptionError: The device cannot do what the recipe asks for.
        """
        from archsearch.benchmark.timed_steps import recipe_on_device

        device = self.device
        return self.ask(lambda: recipe_on_device(bench, chosen, device))

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return a function's result on the machine that evaluates candidates."""
        if self.share is None or not self.remote:
            return question()
        from archsearch.search.engines.ray_cluster import ask_cluster

        answer: Answer = ask_cluster(question, self.share)
        return answer


@contextlib.contextmanager
def place_of(engine: Engine, device: str) -> Iterator[Place]:
    """Find the place where candidates are evaluated; a Ray cluster lasts as long as the context.

    Args:
        engine: Settings of the engine.
        device: Name of the device that is asked for.

    Raises:
        OptionError: There is no such device, or no such cluster.
    """
    from archsearch.nn.device import device_name, pick_device

    if engine.name == "local":
        picked = pick_device(device)
        yield Place(str(picked), device_name(picked), alone=engine.workers == 0)
        return
    from archsearch.evaluate.machine import available_cores
    from archsearch.search.engines.ray_cluster import ask_cluster, cluster

    with cluster(engine.ray_address, len(available_cores()) or None) as machines:
        share = share_of(engine, device, machines)
        device_there = "cuda:0" if share.gpus else "cpu"
        if engine.ray_address is None:
            yield Place(device_there, device_name(pick_device(device_there)), share)
        else:
            name: str = ask_cluster(lambda: device_name(pick_device(device_there)), share)
            yield Place(device_there, name, share, remote=True)


def share_of(engine: Engine, device: str, machines: Sequence[Mapping[str, float]]) -> "Share":
    """Return each candidate's share of a Ray cluster, with GPUs of one make alone, as others have other speeds.

    Args:
        engine: Settings of the engine.
        device: ``auto``, ``cpu`` or ``cuda``.
        machines: Resources of each machine, as Ray names them.

    Raises:
        OptionError: No machine has room for it.
    """
    from archsearch.search.engines.ray_cluster import Share

    if device not in ("auto", "cpu", "cuda"):
        raise OptionError(f"--device {device}: Ray chooses among its devices; give auto, cpu or cuda")
    with_gpu = [there for there in machines if there.get("GPU")]
    if device == "cuda" and not with_gpu:
        raise OptionError("--device cuda: the Ray cluster has no GPU")
    if device == "cpu" or not with_gpu:
        share = Share(engine.cpus_per_trial or 1.0, 0.0)
    else:
        share = _gpu_share(engine, with_gpu)
    if not share.slots(machines):
        raise OptionError(
            f"no machine of the Ray cluster has {share.cpus:g} cores and {share.gpus:g} GPUs for a candidate; "
            "give fewer by --cpus-per-trial and --gpus-per-trial"
        )
    return share


def _gpu_share(engine: Engine, machines: Sequence[Mapping[str, float]]) -> "Share":
    """Share of machines with GPUs: of the most frequent make, with the cores that go with a GPU."""
    from archsearch.search.engines.ray_cluster import Share

    gpus = engine.gpus_per_trial or 1.0
    makes = Counter(name for there in machines for name in there if name.startswith("accelerator_type:"))
    others = {makes.most_common(1)[0][0]: 0.001} if len(makes) > 1 else {}
    fitting = [there for there in machines if set(others) <= set(there)]
    cores = min(there.get("CPU", 1.0) * gpus / there["GPU"] for there in fitting)
    return Share(engine.cpus_per_trial or max(1.0, cores // 1), gpus, others)
