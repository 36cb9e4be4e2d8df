"""Train the front of a study for longer and with seeds, judge it on the test split, and keep the weights."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import (
    STORAGE,
    add_format,
    add_mixers,
    add_storage,
    assignments,
    natural,
    positive_int,
)
from archsearch.cli.recipe_options import command_line
from archsearch.errors import ArchsearchError

if TYPE_CHECKING:
    from archsearch.handover import Confirmation, ConfirmSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("study", metavar="STUDY", help="name of a study in the storage")
    add("--top", type=positive_int, metavar="K", help="number of members: those of the front first, then others by "
        "P(front) (default: the front)")  # fmt: skip
    add("--controls", type=natural, default=3, metavar="N", help="number of dominated trials beside them (%(default)s)")
    add("--seeds", type=positive_int, default=3, metavar="N", help="maximum number of training seeds: every candidate "
        "gets two, or the one asked for, close rivals more (%(default)s)")  # fmt: skip
    add("--proxy", metavar="NAME|FILE", help="proxy recipe: a name, or a YAML file (default: that of the study, four "
        "times as long or longer, at random crops, without a teacher)")  # fmt: skip
    add("--epochs", type=positive_int, metavar="N", help="number of epochs; short for --set proxy.epochs=N")
    add("--set", nargs="+", action="extend", default=[], metavar="proxy.FIELD=VALUE", help="fields of it to change")
    add(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder for weights (default: weights/STUDY-confirm beside the storage)",
    )
    add("--data-root", type=Path, metavar="DIR", help="folder of the images (default: where the study had them)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    add("--workers", type=natural, metavar="N", help="trainings at a time (default: one per core; up to 4 per GPU)")
    add("--study-name", metavar="NAME", help="name of the confirmation's own record (default: STUDY-confirm)")
    add("--retrain", action="store_true", help="repeat trainings that are known")
    add("--page", type=Path, metavar="FILE", help="HTML page to write (default: that of the study, beside the storage)")
    add("-q", "--quiet", action="store_true", help="no progress")
    add_mixers(parser)
    add_storage(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Confirm, print the table, and write the study's page again."""
    from archsearch.cli.report import page_path
    from archsearch.handover import ConfirmSpec

    changes = assignments(args.set, ("proxy",))["proxy"]
    if args.epochs is not None:
        changes["epochs"] = args.epochs
    spec = ConfirmSpec(
        study=args.study,
        storage=args.storage,
        top=args.top,
        controls=args.controls,
        seeds=args.seeds,
        proxy=args.proxy,
        proxy_changes=changes,
        weights=args.weights,
        data_root=args.data_root,
        device=args.device,
        workers=args.workers,
        mixers=tuple(args.mixers),
        study_name=args.study_name,
        retrain=args.retrain,
        command=command_line(args.storage),
    )
    page = page_path(args.study, args.storage, args.page, "--page")
    confirm_and_show(spec, page, args.quiet, args.format)
    return 0


def confirm_and_show(spec: "ConfirmSpec", page: Path, quiet: bool, style: str) -> None:
    """Carry out a confirmation, print its table and write the study's page; after Ctrl-C, as far as it has come.

    Raises:
        ArchsearchError: Everything was trained in vain.
    """
    from archsearch.cli.confirm_progress import ConfirmProgress
    from archsearch.handover import confirm, confirmation_of

    try:
        confirmation = confirm(spec, ConfirmProgress(quiet))
    except KeyboardInterrupt:
        if (stored := confirmation_of(spec.study, spec.storage, spec.record_name)) is not None:
            _show(spec, stored, page, style)
        raise
    _show(spec, confirmation, page, style)
    _tell(spec, confirmation, page, quiet)


def _show(spec: "ConfirmSpec", confirmation: "Confirmation", page: Path, style: str) -> None:
    from archsearch.cli.report import open_studies, views_of, write
    from archsearch.report.confirm_tables import confirmation_document
    from archsearch.utils.tables import render

    sys.stdout.write(render(confirmation_document(confirmation), style) + "\n")
    sys.stdout.flush()
    write(page, views_of(open_studies([spec.study], spec.storage)[0]))


def _tell(spec: "ConfirmSpec", confirmation: "Confirmation", page: Path, quiet: bool) -> None:
    """Say where the weights and the page are, and what to do next."""
    trained = [one for one in confirmation.members if one.trained.weights]
    if not trained:
        errors = [error for one in confirmation.members for error in one.trained.errors.values()]
        raise ArchsearchError(f"all trainings failed; {errors[0] if errors else 'see the table'}")
    best = max(trained, key=lambda one: (bool(one.on_front), one.accuracy or 0.0))
    if not quiet:
        folder = Path(next(iter(best.trained.weights.values()))).parent
        print(f"weights: {folder}\npage: {page}", file=sys.stderr)
        if best.candidate.number is not None:
            name = shlex.quote(f"{spec.study}#{best.candidate.number}")
            where = "" if spec.storage == STORAGE else f" --storage {shlex.quote(spec.storage)}"
            where += "".join(f" --mixers {shlex.quote(str(path))}" for path in spec.mixers)
            print(f"take one away: python cli.py export {name} --out DIR{where}", file=sys.stderr)
