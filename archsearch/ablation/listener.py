"""Progress of an ablation, for whoever shows it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.ablation.outcome import Result
    from archsearch.ablation.spec import AblationRecord
    from archsearch.ablation.variants import Variant
    from archsearch.trial import Evaluation


class AblationListener:
    """Progress listener that ignores everything; subclasses override what they show."""

    def note(self, text: str) -> None:
        """Receive a remark of one line."""

    def track(self, items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
        """Return the items, whose progress may be shown while they are iterated over.

        Args:
            items: Images to decode, say.
            length: Number of items.
            what: Description of the work.
        """
        return items

    def timed(self, result: "Result", number: int, total: int) -> None:
        """Receive the speeds of a network, or why it could not be timed, as the ``number``-th of ``total``."""

    def training(self, total: int) -> None:
        """Receive the number of trainings that begin now."""

    def trained(self, variant: "Variant", seed: int, evaluation: "Evaluation") -> None:
        """Receive a finished training."""

    def interrupted(self, record: "AblationRecord") -> None:
        """Receive what is stored when an error or Ctrl-C ends the run; the exception is raised again afterwards."""
