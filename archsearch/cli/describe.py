"""Take a network apart: parameters, MACs, bytes, output shapes, receptive fields; draw its block."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import add_format, add_mixers, load_own_mixers, positive_int, write_file
from archsearch.errors import OptionError

if TYPE_CHECKING:
    from archsearch.arch import Arch
    from archsearch.arch.networks import TimmModel
    from archsearch.complexity.anatomy import Anatomy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "network",
        nargs="?",
        metavar="NETWORK",
        help="a name, timm:NAME, or an architecture's .json (default: list names)",
    )
    parser.add_argument(
        "--img-size", type=positive_int, metavar="PX", help="side of the image (default: the network's)"
    )
    parser.add_argument("--audit", action="store_true", help="every operator: two counters, and the bytes it moves")
    parser.add_argument(
        "--operators", action="store_true", help="instead: what operators cost by kernel size (Table 2)"
    )
    parser.add_argument(
        "--drawing",
        type=Path,
        metavar="FILE",
        help="the network's blocks as .svg (Figure 2); with --operators, their costs as .html (Figure 3)",
    )
    add_mixers(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the network to stdout."""
    suffix = ".html" if args.operators else ".svg"
    if args.drawing and args.drawing.suffix.lower() != suffix:
        raise OptionError(f"--drawing {args.drawing}: the file's name must end in {suffix}")
    if args.operators:
        return _operators(args)
    if args.network is None:
        return _names(args)
    from archsearch.arch.networks import find
    from archsearch.arch.paper import published

    load_own_mixers(args.mixers)
    network = find(args.network, args.img_size)
    arch = _arch(network)
    if args.drawing and arch is None:
        raise OptionError("--drawing shows the blocks of our own networks; those of timm's are not known")

    from archsearch.report.network_tables import Description, description_table, operators_table
    from archsearch.utils.tables import render

    told = Description(args.network, arch, _anatomy(network), published(args.network))
    text = render(operators_table(told) if args.audit else description_table(told), args.format)
    if args.drawing and arch:
        from archsearch.report.drawing import block_svg

        write_file(args.drawing, block_svg(arch), "--drawing")
    sys.stdout.write(text + "\n")
    return 0


def _names(args: argparse.Namespace) -> int:
    """Every named network."""
    from archsearch.arch.networks import NETWORKS
    from archsearch.arch.paper import published
    from archsearch.report.network_tables import names_table
    from archsearch.utils.tables import render

    if args.img_size or args.audit or args.drawing or args.mixers:
        raise OptionError("name a network, or leave these options out to see all names")
    sys.stdout.write(render(names_table(NETWORKS, published), args.format) + "\n")
    return 0


def _arch(network: "Arch | TimmModel") -> "Arch | None":
    from archsearch.arch import Arch

    return network if isinstance(network, Arch) else None


def _anatomy(network: "Arch | TimmModel") -> "Anatomy":
    from archsearch.complexity.anatomy import anatomy
    from archsearch.nn import build_network

    try:
        model, img_size = build_network(network)
        return anatomy(model, img_size)
    except (AssertionError, MemoryError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, MemoryError) or "alloc" in reason:
            raise OptionError("the network or its image needs more memory than there is; make one smaller") from error
        if _arch(network):
            raise
        raise OptionError(f"{network} takes no such images: {reason}; try another --img-size") from error


def _operators(args: argparse.Namespace) -> int:
    """Table 2 on stdout and Figure 3 in a file, on the first map of InceptionNeXt-T."""
    from archsearch.arch.networks import network

    if args.network or args.audit or args.mixers:
        raise OptionError("--operators stands alone; leave out the network, --audit and --mixers")
    from archsearch.complexity.operators import kernel_costs
    from archsearch.report.kernel_costs import figure_html, kernel_figure, kernels_table, kernels_title
    from archsearch.utils.tables import render

    tiny = network("inceptionnext_tiny")
    if args.img_size:
        tiny = tiny.replace(img_size=args.img_size)
    costs, title = kernel_costs(tiny.dims[0], tiny.side(0)), kernels_title(tiny.dims[0], tiny.side(0))
    if args.drawing:
        write_file(args.drawing, figure_html(kernel_figure(costs, title)), "--drawing")
    sys.stdout.write(render(kernels_table(costs, title), args.format) + "\n")
    return 0
