"""Progress of an ablation on stderr."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from archsearch.ablation.listener import AblationListener
from archsearch.cli.meters import Tally, track

if TYPE_CHECKING:
    from archsearch.ablation.outcome import Result
    from archsearch.ablation.spec import AblationRecord
    from archsearch.ablation.variants import Variant
    from archsearch.trial import Evaluation


class AblationProgress(AblationListener):
    """Progress listener that prints a line per network and training."""

    def __init__(self, quiet: bool, show: "Callable[[AblationRecord], None]") -> None:
        """Prepare the output.

        Args:
            quiet: Whether to print nothing.
            show: Function that prints the stored results if the ablation is interrupted.
        """
        self.quiet, self.show, self.tally = quiet, show, Tally(quiet)

    def note(self, text: str) -> None:
        """Print a remark."""
        self.tally.say(text)

    def track(self, items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
        """Show a progress bar while images are decoded."""
        return items if self.quiet else track(items, length, what)

    def timed(self, result: "Result", number: int, total: int) -> None:
        """Print the speeds of a network."""
        self.tally.say(f"[{number}/{total}] {result.name}: {_speeds(result)}")

    def training(self, total: int) -> None:
        """Begin to count trainings."""
        self.tally.begin(total, total)

    def trained(self, variant: "Variant", seed: int, evaluation: "Evaluation") -> None:
        """Print the accuracy of a network and the time that is left."""
        line = {"group": variant.factor or "baseline", "seed": seed, "network": variant.name}
        seconds = sum(epoch.seconds for epoch in evaluation.curve)
        result = {"seconds": seconds, "accuracy": evaluation.scores.get("accuracy"), "error": evaluation.error}
        self.tally.tell({**line, **result}, 1)

    def interrupted(self, record: "AblationRecord") -> None:
        """Show what is stored."""
        self.show(record)


def _speeds(result: "Result") -> str:
    if "error" in result.speeds:
        return f"not timed: {result.speeds['error']['error']}"
    speeds = []
    for speed, detail in result.speeds.items():
        ratio = "" if detail["ratio"] is None else f", ratio {detail['ratio']:.3f}"  # None: the baseline failed
        form = f" of the {detail['form']} form" if "form" in detail else ""
        speeds.append(f"{speed}{form} {detail['throughput']:.1f} img/s{ratio}")
    return "; ".join(speeds)
