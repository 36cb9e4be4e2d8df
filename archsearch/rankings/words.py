"""What is known of a recipe's ranking, in a sentence."""

from archsearch.rankings.known import Known, Question, Ranking

#: Data sets in words, by their names.
TITLES = {
    "drawn": "the drawn data",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "folder": "these images",
}


def title_of(data: str) -> str:
    """Return a data set in words.

    >>> title_of("cifar10"), title_of("mine")
    ('CIFAR-10', 'mine')
    """
    return TITLES.get(data, data)


def sentence(question: Question, known: Known, command: str) -> str:
    """Say what is known of a study's recipe, in one line.

    Args:
        question: The study's recipe, space and data.
        known: What was found.
        command: Command that measures the rest.
    """
    if known.exact is not None:
        return f"this recipe orders {_found(known.exact)}; {_noise(known.exact)}"
    measures = f"`{command}` measures it"
    if known.nearest is None:
        return f"nothing is known of how this recipe ranks; {measures}"
    what = f"space {question.space}" if known.same_data else title_of(question.data)
    return f"nothing is known of how this recipe orders {what}; it orders {_found(known.nearest)}; {measures}"


def _found(ranking: Ranking) -> str:
    value, low, high = ranking.tau
    when = f", measured{f' {ranking.date}' if ranking.date else ''} on {ranking.device}"
    return (
        f"{ranking.title} with tau {value:.2f} ({low:.2f} to {high:.2f}; {ranking.archs} architectures of "
        f"{ranking.space}{when})"
    )


def _noise(ranking: Ranking) -> str:
    if ranking.indistinct is None:
        return "how far differences are noise is not known, as it was trained with one seed"
    return f"differences below {100 * ranking.indistinct:.1f} points are noise"
