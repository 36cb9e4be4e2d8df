"""Explain what networks look at: Grad-CAM side by side on the same images, and effective receptive fields."""

import argparse
import sys
from pathlib import Path

from archsearch.cli.options import add_format, add_mixers, add_storage, load_own_mixers, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add(
        "networks",
        nargs="+",
        metavar="NETWORK",
        help="STUDY#TRIAL with weights of confirm, a .safetensors file, timm:NAME, or a folder of export (a generated "
        "model file in it is executed)",
    )
    add(
        "--images",
        nargs="+",
        type=Path,
        required=True,
        metavar="DIR|FILE",
        help="images, and folders that are searched for images",
    )
    add(
        "--limit",
        type=positive_int,
        default=8,
        metavar="N",
        help="images of a folder, spread over its classes (%(default)s)",
    )
    add("--class", dest="target", metavar="NAME|INDEX", help="class to explain (default: the predicted one)")
    add(
        "--stage",
        type=positive_int,
        metavar="N",
        help="stage whose output is explained, from 1; of timm's networks, a feature map (default: the last)",
    )
    _add_surroundings(parser)


def _add_surroundings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where results go, and where networks are found and run."""
    add = parser.add_argument
    add(
        "-o",
        "--out",
        type=Path,
        default=Path("runs/explain"),
        metavar="DIR",
        help="folder for explain.png and explain.html (%(default)s)",
    )
    add("--force", action="store_true", help="replace these files where they are there already")
    add(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder with NAME.safetensors for timm:NAME (default: timm's own cache)",
    )
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (%(default)s)")
    add_storage(parser)
    add_mixers(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Write the picture and the page, and print predictions and receptive fields to stdout."""
    from archsearch.handover import ExplainSpec, explain, write_explanation
    from archsearch.handover.explain_files import check_place
    from archsearch.handover.explain_tables import explanation_document
    from archsearch.utils.tables import render

    target = args.target
    spec = ExplainSpec(
        networks=tuple(args.networks),
        images=tuple(args.images),
        limit=args.limit,
        target=int(target) if target is not None and target.isascii() and target.isdigit() else target,
        stage=args.stage,
        storage=args.storage,
        weights=args.weights,
        device=args.device,
    )
    check_place(args.out, args.force)
    load_own_mixers(args.mixers)
    explanation = explain(spec)
    for path in write_explanation(explanation, args.out, args.force):
        sys.stderr.write(f"{path}\n")
    sys.stdout.write(render(explanation_document(explanation), args.format) + "\n")
    return 0
