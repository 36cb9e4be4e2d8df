"""Which memory layout is faster on a device, as far as the timings of earlier networks agree on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.benchmark.timing import Timing
from archsearch.recipes import LAYOUTS, PROTOCOL, BenchRecipe

if TYPE_CHECKING:
    from archsearch.benchmark.timer import Timings

#: Number of networks that have to agree, and how many times as fast the layout has to be with each of them.
NETWORKS, FASTER = 2, 1.05


class KnownLayouts:
    """The faster layout of networks, by the types of their token mixers, for one timing recipe.

    Depthwise convolutions decide it, whose kernels in TF32 and FP32 are faster in one layout on one GPU, and in the
    other on another.
    """

    def __init__(self, timings: "Timings", bench: BenchRecipe) -> None:
        """Read nothing yet.

        Args:
            timings: Disk cache that the outcomes are kept in, of the device that is timed.
            bench: Recipe of the timings.
        """
        self.timings, self.bench = timings, bench

    def of(self, network: Arch | TimmModel, kinds: Sequence[str]) -> dict[str, str]:
        """Return the layout that is known to be faster, by kind of step; nothing for those where both are to be timed.

        Args:
            network: Network to time.
            kinds: Kinds of step.
        """
        known = {}
        for kind in kinds if self.bench.layout == "best" else ():
            clear = [outcome["layout"] for outcome in self._outcomes(network, kind) if outcome["faster"] > FASTER]
            if len(clear) == NETWORKS and len({*clear}) == 1:
                known[kind] = clear[0]
        return known

    def learn(self, network: Arch | TimmModel, timings: Sequence[Timing]) -> None:
        """Keep which layout was faster, for each kind of step that was timed in both.

        Args:
            network: Network that was timed.
            timings: Its timings.
        """
        within = self.bench.known_within
        usable = [timing for timing in timings if timing.ratio and timing.known(within)]
        for kind in dict.fromkeys(timing.setting.kind for timing in usable):
            ours = {timing.setting.layout: timing.ratio or 0.0 for timing in usable if timing.setting.kind == kind}
            if self.bench.layout != "best" or len(ours) < len(LAYOUTS):
                continue
            layout = max(ours, key=lambda name: ours[name])
            outcome = {"network": _name(network), "layout": layout, "faster": ours[layout] / min(ours.values())}
            others = [one for one in self._outcomes(network, kind) if one["network"] != outcome["network"]]
            self.timings.store.put(self._key(network, kind), [*others, outcome][-NETWORKS:])

    def _outcomes(self, network: Arch | TimmModel, kind: str) -> list[dict[str, Any]]:
        return self.timings.store.get(self._key(network, kind)) or []

    def _key(self, network: Arch | TimmModel, kind: str) -> Mapping[str, Any]:
        mixers = (
            sorted({mixer.token_mixer for mixer in network.mixers}) if isinstance(network, Arch) else [str(network)]
        )
        conditions = {name: getattr(self.bench, name) for name in ("precision", "mode", "batch_size")}
        if (form := self.bench.form_of(kind)) != "train":
            conditions["form"] = form
        return {"protocol": PROTOCOL, "layouts": kind, "mixers": mixers, **conditions, **self.timings.device}


def _name(network: Arch | TimmModel) -> str:
    return network.key if isinstance(network, Arch) else str(network)
