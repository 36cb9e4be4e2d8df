"""The Python file of one network: what timm needs to build it, without archsearch."""

import json
import re
from collections.abc import Mapping
from typing import Any

from archsearch import __version__
from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.errors import MixerError
from archsearch.handover.export_spec import other_meaning
from archsearch.handover.source_cut import cut, name_of
from archsearch.handover.timm_blocks import MetaFormerBlock, MetaNeXtBlock
from archsearch.handover.timm_network import LinearHead, MetaNeXt, MlpHead
from archsearch.nn.mixers import MIXERS

#: Classes by the words of an ``Arch``.
BLOCKS: dict[str, type] = {"metanext": MetaNeXtBlock, "metaformer": MetaFormerBlock}
HEADS: dict[str, type] = {"linear": LinearHead, "mlp": MlpHead}
#: Expressions by the words of an ``Arch``, and the import that they need besides ``nn``.
NORMS = {"batch": ("nn.BatchNorm2d", None), "layer": ("LayerNorm2d", "from timm.layers import LayerNorm2d")}
ACTS = {"gelu": "nn.GELU", "relu": "nn.ReLU", "silu": "nn.SiLU"}
#: Name of the last linear layer by the word for the head.
CLASSIFIERS = {"linear": "head.fc", "mlp": "head.fc2"}
#: Length of a line.
WIDTH = 120
#: Imports of the entry point.
ENTRY = (
    "from pathlib import Path",
    "from typing import Any",
    "from timm.models import build_model_with_cfg",
    "from timm.models import generate_default_cfgs",
    "from timm.models import register_model",
)

HEADING = '''"""{name}: {outline}.

``import {name}`` registers the network with timm; then ``timm.create_model("{name}", pretrained=True)`` builds it with
the weights beside this file. Written by archsearch {version}; needs torch, timm (1.0.20 or later) and
Python 3.10 or later.
"""'''

#: The line by which importing the file makes the network known to timm.
REGISTER = "@register_model\n"
ENTRY_POINT = '''default_cfgs = generate_default_cfgs(
    {{
        "{name}": {{
{cfg}
            "file": str(Path(__file__).with_name("model.safetensors")),
        }}
    }}
)


@register_model
def {name}(pretrained: bool = False, **kwargs: Any) -> MetaNeXt:
    """{outline}."""
    model_args: dict[str, Any] = {{
{args}
    }}
    return build_model_with_cfg(
        MetaNeXt,
        "{name}",
        pretrained,
        feature_cfg={{"out_indices": {indices}, "flatten_sequential": True}},
        **{{**model_args, **kwargs}},
    )
'''


def identifier(text: str) -> str:
    """Return a name for a Python module and an entry point of timm's.

    >>> identifier("My study#3"), identifier("3rd"), identifier("class")
    ('my_study_3', 'net_3rd', 'net_class')
    """
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "net"
    return f"net_{name}" if name[0].isdigit() or other_meaning(name) else name


def model_source(arch: Arch, name: str, pretrained_cfg: Mapping[str, Any], deploy: bool = False) -> str:
    """Return the source of a Python file that registers a network with timm; it needs torch and timm only.

    Args:
        arch: Architecture of the network.
        name: Name of the entry point.
        pretrained_cfg: timm's description of weights and preprocessing.
        deploy: Whether its weights are those of the deploy form.

    Raises:
        MixerError: A mixer of the user's cannot be copied into the file; the message says why.
    """
    mixers = {mixer.token_mixer: MIXERS[mixer.token_mixer] for mixer in arch.mixers}
    for kind, make in mixers.items():
        try:
            cut([make])
        except MixerError as error:
            raise MixerError(f"token_mixer {kind!r} cannot be copied into a file of its own: {error}") from None
    needed = NORMS[arch.norm][1]
    imports = [*ENTRY, *([needed] if needed else [])]
    makers = [_maker(mixer, name_of(mixers[mixer.token_mixer])) for mixer in arch.mixers]
    if any(maker.startswith("partial") for maker in makers):
        imports.append("from functools import partial")
    parts = cut([*mixers.values(), BLOCKS[arch.block], HEADS[arch.head], MetaNeXt], imports)
    arguments = _arguments(arch, makers, deploy)
    heading = HEADING.format(name=name, outline=arch.outline, version=__version__)
    entry = ENTRY_POINT.format(
        name=name,
        cfg="\n".join(f"            {_code(key)}: {_code(value)}," for key, value in pretrained_cfg.items()),
        outline=arch.outline[0].upper() + arch.outline[1:],
        args="\n".join(f"        {_code(key)}: {value}," for key, value in arguments.items()),
        indices=_code(tuple(range(len(arch.depths)))),
    )
    head, first = f"{heading}\n\n{parts.imports}", parts.definitions[0]
    gap = "\n\n\n" if re.search(r"^(def|class|@)", first, re.MULTILINE) else "\n\n"
    return head + gap + "\n\n\n".join((*parts.definitions, entry))


def _arguments(arch: Arch, makers: list[str], deploy: bool) -> dict[str, str]:
    """Return the arguments of the entry point as source, by name."""
    return {
        "depths": _code(arch.depths),
        "dims": _code(arch.dims),
        "token_mixers": _wrapped("(", [_indented(maker, 12) for maker in makers], ")", 8),
        "mlp_ratios": _code(arch.mlp_ratios),
        "block": BLOCKS[arch.block].__name__,
        "norm_layer": NORMS[arch.norm][0],
        "act_layer": ACTS[arch.act],
        "head": HEADS[arch.head].__name__,
        "patch_size": _code(arch.stem_patch_size),
        "ls_init_value": _code(arch.layer_scale_init_value),
        "drop_path_rate": _code(arch.drop_path_rate),
        **({"deploy": "True"} if deploy else {}),
    }


def _maker(mixer: Mixer, name: str) -> str:
    """Return an expression that makes a mixer for a number of channels; what is the default is not said."""
    defaults = mixer.type.params
    given = [f"{key}={_code(value)}" for key, value in mixer.params if value != defaults[key].default]
    return f"partial({', '.join((name, *given))})" if given else name


def _indented(call: str, indent: int) -> str:
    """Wrap a call as ruff does, where it does not fit the line."""
    if indent + len(call) < WIDTH:
        return call
    name, _, inner = call.removesuffix(")").partition("(")
    if indent + 4 + len(inner) <= WIDTH:
        return f"{name}(\n{' ' * (indent + 4)}{inner}\n{' ' * indent})"
    return _wrapped(f"{name}(", inner.split(", "), ")", indent)


def _wrapped(start: str, items: list[str], end: str, indent: int) -> str:
    """Return items with a line each."""
    return "\n".join((start, *(f"{' ' * (indent + 4)}{item}," for item in items), f"{' ' * indent}{end}"))


def _code(value: Any) -> str:
    """Return a literal as ruff formats it."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_code, value))}{',' * (len(value) == 1)})"
    return repr(value)
