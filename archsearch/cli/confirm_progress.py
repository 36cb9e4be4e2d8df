"""Progress of a confirmation on stderr."""

from typing import TYPE_CHECKING

from archsearch.cli.meters import Tally, track
from archsearch.handover.confirming import ConfirmListener

if TYPE_CHECKING:
    from archsearch.handover.candidates import Candidate
    from archsearch.trial import Evaluation


class ConfirmProgress(ConfirmListener):
    """Progress listener that prints a line per training."""

    def __init__(self, quiet: bool) -> None:
        """Prepare the output.

        Args:
            quiet: Whether to print nothing.
        """
        self.track = None if quiet else track
        self.tally = Tally(quiet)

    def note(self, text: str) -> None:
        """Print a remark."""
        self.tally.say(text)

    def training(self, total: int) -> None:
        """Begin to count trainings."""
        self.tally.begin(total, total)

    def trained(self, candidate: "Candidate", seed: int, evaluation: "Evaluation") -> None:
        """Print the accuracy of a candidate and the time that is left."""
        seconds = sum(epoch.seconds for epoch in evaluation.curve)
        line = {"group": candidate.role, "seed": seed, "network": candidate.name, "seconds": seconds}
        self.tally.tell({**line, "accuracy": evaluation.scores.get("accuracy"), "error": evaluation.error}, 1)
