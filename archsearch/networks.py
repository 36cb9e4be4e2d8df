"""Named networks: the baselines of spaces and ablations."""

from archsearch.arch import Arch, Mixer
from archsearch.errors import ArchError, unknown


def _inceptionnext(depths: tuple[int, ...], dims: tuple[int, ...], drop_path_rate: float, **mixer: float) -> Arch:
    return Arch(
        depths=depths,
        dims=dims,
        mixers=(Mixer.of("inception", **mixer),) * 4,
        mlp_ratios=(4, 4, 4, 3),
        drop_path_rate=drop_path_rate,
    )


def _convnext(depths: tuple[int, ...], dims: tuple[int, ...], drop_path_rate: float) -> Arch:
    return Arch(
        depths=depths,
        dims=dims,
        mixers=(Mixer.of("depthwise", kernel_size=7),) * 4,
        mlp_ratios=(4, 4, 4, 4),
        norm="layer",
        head="linear",
        drop_path_rate=drop_path_rate,
    )


#: Networks by name. InceptionNeXt: the paper's Table 3; ConvNeXt: Liu et al. 2022 (atto: timm).
NETWORKS: dict[str, Arch] = {
    "inceptionnext_atto": _inceptionnext((2, 2, 6, 2), (40, 80, 160, 320), 0.0, band_kernel_size=9, branch_ratio=0.25),
    "inceptionnext_tiny": _inceptionnext((3, 3, 9, 3), (96, 192, 384, 768), 0.1),
    "inceptionnext_small": _inceptionnext((3, 3, 27, 3), (96, 192, 384, 768), 0.3),
    "inceptionnext_base": _inceptionnext((3, 3, 27, 3), (128, 256, 512, 1024), 0.4),
    "convnext_atto": _convnext((2, 2, 6, 2), (40, 80, 160, 320), 0.0),
    "convnext_tiny": _convnext((3, 3, 9, 3), (96, 192, 384, 768), 0.1),
    "convnext_small": _convnext((3, 3, 27, 3), (96, 192, 384, 768), 0.4),
    "convnext_base": _convnext((3, 3, 27, 3), (128, 256, 512, 1024), 0.5),
}


def network(name: str) -> Arch:
    """A named network.

    Raises:
        ArchError: there is none of that name; the nearest one is offered.
    """
    if name not in NETWORKS:
        raise ArchError(unknown("network", name, NETWORKS))
    return NETWORKS[name]
