"""Options for recipes and data of the verbs that train."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.options import assignments, positive_int
from archsearch.recipes import PROXIES

if TYPE_CHECKING:
    from archsearch.search.recipe_choice import RecipeChoice


def add_data(parser: argparse.ArgumentParser, default: str | None = "drawn") -> None:
    """Add ``--dataset`` and ``--data-root``."""
    add = parser.add_argument
    help_text = "data set: drawn, folder, cifar10, cifar100, fashion_mnist (default: drawn)"
    add("--dataset", default=default, metavar="NAME", help=help_text)
    add("--data-root", type=Path, metavar="DIR", help="folder with train/ and val/ or test/; or where to download to")


def add_recipes(parser: argparse.ArgumentParser) -> None:
    """Add ``--proxy``, ``--bench``, ``--epochs``, ``--set``, ``--remeasure`` and ``--retrain``."""
    add = parser.add_argument
    add_proxy(parser)
    add("--bench", metavar="NAME", help="recipe of the timing: smoke, cpu, gpu (default: by device)")
    add("--remeasure", action="store_true", help="repeat timings of earlier studies on this device")
    add("--retrain", action="store_true", help="repeat trainings of earlier studies on this device")


def add_proxy(parser: argparse.ArgumentParser, example: str = "proxy.lr=2e-3 bench.batch_size=1") -> None:
    """Add ``--proxy``, ``--epochs`` and ``--set``; the example is of what it sets."""
    add = parser.add_argument
    add("--proxy", metavar="NAME|FILE", help=f"proxy recipe: {', '.join(PROXIES)}, or a YAML file "
        "(default: by device and data set)")  # fmt: skip
    add("--epochs", type=positive_int, metavar="N", help="number of epochs; short for --set proxy.epochs=N")
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="RECIPE.FIELD=VALUE",
        help=f"fields of the recipes to change, as in {example}",
    )


def recipe_choice(args: argparse.Namespace) -> "RecipeChoice":
    """Return the recipes that the options choose, with their changes.

    Raises:
        OptionError: A ``--set`` has another form.
    """
    from archsearch.search.recipe_choice import RecipeChoice

    changes = asked_changes(args)
    return RecipeChoice(args.proxy, changes["proxy"], args.bench, changes["bench"])


def asked_changes(args: argparse.Namespace, recipes: tuple[str, ...] = ("proxy", "bench")) -> dict[str, dict[str, Any]]:
    """Return the fields that ``--set`` and ``--epochs`` change, by recipe.

    Raises:
        OptionError: A ``--set`` has another form, or names another recipe.
    """
    given = assignments(args.set, recipes)
    return {**given, "proxy": {**given["proxy"], "epochs": args.epochs}} if args.epochs is not None else given


def command_line(storage: str) -> str:
    """Return the command line as it was typed, without the passwords of its storage.

    Raises:
        StorageError: The storage is no URL.
    """
    from archsearch.search.storage.opening import masked, storage_url

    storage_url(storage)
    words = ["python", "cli.py", *sys.argv[1:]]
    return shlex.join(word.replace(storage, masked(storage)) for word in words)
