"""Show a network's parts: parameters, MACs, bytes, output shapes, receptive fields; draw its blocks."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import add_format, add_mixers, load_own_mixers, positive_int, write_file
from archsearch.errors import ArchError, OptionError, first_line
from archsearch.recipes import PROXIES

if TYPE_CHECKING:
    from torch import nn

    from archsearch.arch import Arch
    from archsearch.arch.networks import TimmModel
    from archsearch.arch.paper import Published
    from archsearch.report.network_tables import Description

#: Number of classes of a proxy whose data set is not known: that of CIFAR-10.
PROXY_CLASSES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "network",
        nargs="?",
        metavar="NETWORK",
        help="network: a name, timm:NAME, or a .json file of an architecture (default: list the names)",
    )
    parser.add_argument(
        "--img-size", type=positive_int, metavar="PX", help="side of the image in pixels (default: the network's)"
    )
    parser.add_argument(
        "--proxy",
        metavar="NAME|FILE",
        help=f"describe the network's proxy by this recipe: {', '.join(PROXIES)}, or a YAML file",
    )
    parser.add_argument(
        "--space", metavar="NAME|FILE", help="with --proxy: search space whose proxies it is one of (default: none)"
    )
    parser.add_argument(
        "--deploy",
        action="store_true",
        help="describe the network's deploy form: norms folded and branches merged, as for inference",
    )
    parser.add_argument(
        "--audit", action="store_true", help="show MACs by two counters and bytes moved of every operator"
    )
    parser.add_argument(
        "--operators",
        action="store_true",
        help="show the costs of convolutions by kernel size instead of a network (Table 2)",
    )
    parser.add_argument(
        "--drawing",
        type=Path,
        metavar="FILE",
        help="write the network's blocks as .svg (Figure 2); with --operators, their costs as .html (Figure 3)",
    )
    add_mixers(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the parts of a network, the names of all, or the costs of operators to stdout."""
    suffix = ".html" if args.operators else ".svg"
    if args.drawing and args.drawing.suffix.lower() != suffix:
        raise OptionError(f"--drawing {args.drawing}: the file's name must end in {suffix}")
    if args.operators:
        return _operators(args)
    return _names(args) if args.network is None else _network(args)


def _network(args: argparse.Namespace) -> int:
    """Describe a network, or its proxy."""
    from archsearch.arch.networks import find
    from archsearch.arch.paper import published

    load_own_mixers(args.mixers)
    network = find(args.network, args.img_size)
    if args.proxy or args.space:
        return _show(args, *_proxy(args, network), (), target=_arch(network))
    return _show(args, args.network, network, published(args.network))


def _proxy(args: argparse.Namespace, network: "Arch | TimmModel") -> "tuple[str, Arch]":
    """Return the name and the architecture of a network's proxy."""
    from archsearch.space.proxy_yaml import load_proxy
    from archsearch.space.yaml import load_space

    arch = _arch(network)
    if not args.proxy:
        raise OptionError(f"--space {args.space} fits a recipe of proxies; name one by --proxy")
    if arch is None:
        raise OptionError(f"{network} comes ready made from timm and has no proxy; leave --proxy out")
    if args.img_size:
        raise OptionError("--img-size: the recipe says how large a proxy's images are; leave one of them out")
    recipe = load_proxy(args.proxy, "cpu", load_space(args.space).fitted if args.space else lambda named: named)
    made = recipe.shrink(arch, arch.num_classes if recipe.full_size else PROXY_CLASSES)
    where = f", space {args.space}" if args.space else ""
    return f"proxy of {args.network} (recipe {args.proxy}{where}, {made.num_classes} classes)", made


def _show(
    args: argparse.Namespace,
    name: str,
    network: "Arch | TimmModel",
    published: "tuple[Published, ...]",
    target: "Arch | None" = None,
) -> int:
    """Print the parts of a network, or of the proxy of a target, and draw its blocks where asked for."""
    arch = _arch(network)
    if args.drawing and arch is None:
        raise OptionError("--drawing draws the blocks of our own networks, not of timm's; leave it out")

    from archsearch.report.network_tables import description_table, operators_table
    from archsearch.utils.tables import render

    told = replace(_described(args, name, network), published=published, target=target)
    text = render(operators_table(told) if args.audit else description_table(told), args.format)
    if args.drawing and arch:
        from archsearch.report.drawing import block_svg

        write_file(args.drawing, block_svg(arch), "--drawing")
    sys.stdout.write(text + "\n")
    return 0


def _names(args: argparse.Namespace) -> int:
    """Print the names of all networks."""
    from archsearch.arch.networks import NETWORKS
    from archsearch.arch.paper import published
    from archsearch.report.network_tables import names_table
    from archsearch.utils.tables import render

    if args.img_size or args.audit or args.drawing or args.mixers or args.proxy or args.space or args.deploy:
        raise OptionError("name a network, or leave these options out to see all names")
    sys.stdout.write(render(names_table(NETWORKS, published), args.format) + "\n")
    return 0


def _arch(network: "Arch | TimmModel") -> "Arch | None":
    from archsearch.arch import Arch

    return network if isinstance(network, Arch) else None


def _described(args: argparse.Namespace, name: str, network: "Arch | TimmModel") -> "Description":
    """Count a network in the form that is asked for, and its other one beside it."""
    from archsearch.complexity.breakdown import breakdown
    from archsearch.complexity.counts import count
    from archsearch.nn import build_network
    from archsearch.report.network_tables import Description

    try:
        model, img_size = build_network(network)
        deployed = _deployed(model, str(network), needed=args.deploy)
        if deployed is None:
            return Description(name, _arch(network), breakdown(model, img_size))
        form, shown, other = ("deploy", deployed, model) if args.deploy else ("train", model, deployed)
        counts = count(other, img_size)
        return Description(name, _arch(network), breakdown(shown, img_size), form=form, other=counts)
    except (AssertionError, MemoryError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        if isinstance(error, MemoryError) or "alloc" in reason:
            raise OptionError(
                "the network and its image need more memory than is available; make one of them smaller"
            ) from error
        if _arch(network):
            raise
        raise OptionError(f"{network} takes no such images: {reason}; try another --img-size") from error


def _deployed(model: "nn.Module", name: str, needed: bool) -> "nn.Module | None":
    """Return the deploy form of a network; None where it has none, or cannot be merged, and that is not asked for."""
    from archsearch.nn import deploy_form, has_deploy_form

    if not has_deploy_form(model):
        if needed:
            raise OptionError(f"{name} has one form only, as nothing in it merges; leave --deploy out")
        return None
    try:
        return deploy_form(model)
    except ArchError:
        if needed:
            raise
        return None


def _operators(args: argparse.Namespace) -> int:
    """Print Table 2 and write Figure 3, for the first map of InceptionNeXt-T."""
    from archsearch.arch.networks import network

    if args.network or args.audit or args.mixers or args.proxy or args.space or args.deploy:
        options = "--audit, --deploy, --mixers, --proxy or --space"
        raise OptionError(f"--operators takes no network, {options}; leave them out")
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
