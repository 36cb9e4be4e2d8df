"""Export a network with its weights into a folder that timm loads."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import STORAGE, add_mixers, add_storage, natural

if TYPE_CHECKING:
    from archsearch.handover import Exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("network", metavar="STUDY#TRIAL|NETWORK", help="trial of a study, network's name, or an architecture's .json")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    add(
        "--weights",
        metavar="none|proxy|FILE",
        help="none: the target, untrained; proxy: the trial's proxy network, as `confirm` trained it; FILE: weights of "
        "the target, as of timm's train.py (default: proxy, where there is one)",
    )
    add_storage(parser)
    add("--name", metavar="NAME", help="name of the model in timm, where its own classes cannot be the network")
    add("--seed", type=natural, default=0, metavar="N", help="seed of untrained weights (%(default)s)")
    add("--deploy", action="store_true", help="write the deploy form: norms and scales folded, for inference alone")
    add("--onnx", action="store_true", help="also write model.onnx, checked against onnxruntime")
    add("--force", action="store_true", help="replace the folder of an earlier export")
    add_mixers(parser)


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what it holds and how it is used."""
    from archsearch.handover import ExportSpec, export

    made = export(
        ExportSpec(
            network=args.network,
            out=args.out,
            weights=args.weights,
            storage=args.storage,
            name=args.name,
            seed=args.seed,
            deploy=args.deploy,
            onnx=args.onnx,
            force=args.force,
            mixers=tuple(args.mixers),
        )
    )
    sys.stdout.write("\n".join(_lines(made, args)) + "\n")
    return 0


def _lines(made: "Exported", args: argparse.Namespace) -> list[str]:
    """Return what is printed."""
    built = f"timm's own classes build it, as {made.entry}"
    if made.module is not None:
        built = f"timm's own classes cannot be this network ({made.reason}); {made.module}.py builds it"
    lines = [
        f"{made.subject}: {made.params:,} parameters, {made.arch.num_classes} classes, {made.arch.outline}",
        f"weights {made.weights}",
        built,
        f"written to {made.folder}: {', '.join(made.files)}",
        "",
        "Load it:",
        *(f"  {line}" for line in made.loading),
        "",
    ]
    if made.training is not None:
        recipe = "Train it in full, with the paper's recipe (train.py is in timm's repository):"
        return [*lines, recipe, f"  {made.training}"]
    words = ["archsearch", "export", args.network, "--weights", "none", "--out", f"{made.folder}-target"]
    words += ["--storage", args.storage] if args.storage != STORAGE else []
    again = shlex.join([*words, *(word for path in args.mixers for word in ("--mixers", str(path)))])
    return [*lines, "For full training, export the target in its train form:", f"  {again}"]
