"""Recipes and data as verbs that train take them from the command line."""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.options import assignments, positive_int
from archsearch.errors import OptionError, UserError, unknown

if TYPE_CHECKING:
    import torch

    from archsearch.data import ImageData
    from archsearch.recipes import BenchRecipe, ProxyRecipe


def add_data(parser: argparse.ArgumentParser, default: str | None = "drawn") -> None:
    """``--dataset`` and ``--data-root``."""
    add = parser.add_argument
    help_text = "drawn, folder, cifar10, cifar100, fashion_mnist (default: drawn)"
    add("--dataset", default=default, metavar="NAME", help=help_text)
    add("--data-root", type=Path, metavar="DIR", help="folder with train/ and val/ or test/; or where to download to")


def add_recipes(parser: argparse.ArgumentParser, proxy: str = "by device") -> None:
    """``--proxy``, ``--bench``, ``--epochs``, ``--set``, ``--remeasure``, ``--retrain``."""
    add = parser.add_argument
    add("--proxy", metavar="NAME|FILE", help=f"smoke, cpu, cpu_long, gpu, paper, or a YAML file (default: {proxy})")
    add("--bench", metavar="NAME", help="recipe of the timing: smoke, cpu, gpu (default: by device)")
    add("--epochs", type=positive_int, metavar="N", help="short for --set proxy.epochs=N")
    add("--set", nargs="+", action="extend", default=[], metavar="RECIPE.FIELD=VALUE", help="change a recipe's field")
    add("--remeasure", action="store_true", help="time again what earlier studies timed on this device")
    add("--retrain", action="store_true", help="train again what earlier studies trained on this device")


def read_recipes(
    args: argparse.Namespace,
    kind: str,
    proxy: str | None,
    changes: Mapping[str, Any],
    bench_changes: Mapping[str, Any] | None = None,
) -> tuple["ProxyRecipe", "BenchRecipe"]:
    """The recipes for a kind of device: by name, then the file's changes, then the command line's.

    Args:
        args: with the options of ``add_recipes``.
        kind: of device, ``cpu`` or ``gpu``.
        proxy: the recipe where no option names one; None for that of the device.
        changes: to the proxy.
        bench_changes: to the timing.

    Raises:
        OptionError: a recipe or a field is unknown, or a value is not allowed.
    """
    from archsearch.recipes import BENCHES, override
    from archsearch.space.proxy_yaml import load_proxy

    bench = args.bench or kind
    if bench not in BENCHES:
        raise OptionError(unknown("bench", bench, BENCHES))
    given = asked_changes(args)
    made = load_proxy(args.proxy or proxy or kind, kind, changes)
    base = override(BENCHES[bench], bench_changes if bench_changes and bench == kind else {})
    try:
        return override(made, given["proxy"]), override(base, given["bench"])
    except UserError as error:
        raise OptionError(f"--set: {error}") from None


def asked_changes(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the command line changes about each recipe."""
    given = assignments(args.set, ("proxy", "bench"))
    if args.epochs is not None:
        given["proxy"]["epochs"] = args.epochs
    return given


def command_line(storage: str) -> str:
    """The command line as it was typed, without the passwords of its storage."""
    from archsearch.search.storage.opening import masked

    words = ["python", "cli.py", *sys.argv[1:]]
    return shlex.join(word.replace(storage, masked(storage)) for word in words)


def precision_asked(args: argparse.Namespace) -> bool:
    """Whether the precision of the timing is the user's wish."""
    return any(word.startswith("bench.precision=") for word in args.set)


def load_data(args: argparse.Namespace, proxy: "ProxyRecipe", device: "torch.device") -> "ImageData":
    """The data set, reduced to the proxy's samples, on the device."""
    from archsearch.cli.progress import track
    from archsearch.data import load_for

    return load_for(proxy, args.dataset, args.data_root, device, None if args.quiet else track)
