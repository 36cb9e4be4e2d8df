"""A network taken apart: costs, output shape and receptive field of each part."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from archsearch.arch import Arch
from archsearch.arch.mixer_types import ReceptiveField
from archsearch.complexity.audit import Audit, audit
from archsearch.complexity.counts import count_params, one_image
from archsearch.complexity.receptive import mixer_fields, stage_fields, traced_fields
from archsearch.nn import MetaNeXt

#: Containers whose children are listed as parts.
CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Part:
    """A part of a network. Its costs are those of one image and include the parts inside it.

    Attributes:
        level: Depth in the tree of parts, from 0.
        name: ``stem``, ``stage 2``, ``token mixer``, or the path of a module.
        what: Description of the part: its layers, or the class of its module.
        params: Number of trainable parameters.
        macs: Multiply-adds, as fvcore counts them.
        bytes_moved: Activations that its operators read and write, in bytes, at the model's dtype.
        output: Shape of the output without the batch; empty where there is none.
        receptive_field: Rows and columns of the image (of the map, for a token mixer) that one
            output depends on, or ``image`` for all of it; None where it is not known.
        modules: Paths of the modules of the part; none for operators between modules.
    """

    level: int
    name: str
    what: str
    params: int
    macs: int
    bytes_moved: int
    output: tuple[int, ...]
    receptive_field: ReceptiveField | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Breakdown:
    """The parts of a network and the audit of its counts.

    Attributes:
        parts: Parts in the order in which they run, each followed by the parts inside it.
        audit: Counts of the whole network by two counters.
        params: Number of trainable parameters.
        img_size: Side of the image that costs are counted at, in pixels.
    """

    parts: tuple[Part, ...]
    audit: Audit
    params: int
    img_size: int


def breakdown(model: nn.Module, img_size: int) -> Breakdown:
    """Return the parts of a network with their costs for one image of ``img_size`` pixels a side."""
    checked = audit(model, one_image(model, img_size))
    if isinstance(model, MetaNeXt):
        parts = tuple(_Tree(model, checked).metanext(model.arch.replace(img_size=img_size)))
    else:
        parts = tuple(_Tree(model, checked).modules(img_size))
    return Breakdown(parts, checked, count_params(model), img_size)


class _Tree:
    """Builder of the parts of one network."""

    def __init__(self, model: nn.Module, checked: Audit) -> None:
        self.model, self.audit = model, checked

    def part(self, level: int, name: str, what: str, paths: list[str], field: ReceptiveField | None = None) -> Part:
        """Make a part of several modules; its output is that of the last one."""
        modules = [self.model.get_submodule(path) for path in paths]
        return Part(
            level,
            name,
            what,
            params=sum(count_params(module) for module in modules),
            macs=sum(self.audit.macs.get(path, 0) for path in paths),
            bytes_moved=sum(self.audit.bytes_moved.get(path, 0) for path in paths),
            output=self.audit.outputs.get(paths[-1], ()),
            receptive_field=field,
            modules=tuple(paths),
        )

    def folded(self, path: str) -> bool:
        """Whether a norm has been folded into the layer beside it, as in a deploy form."""
        return isinstance(self.model.get_submodule(path), nn.Identity)

    def metanext(self, arch: Arch) -> Iterator[Part]:
        of_mixers = mixer_fields(arch)
        fields = stage_fields(arch, of_mixers)
        patch, norm = arch.stem_patch_size, "" if self.folded("stem.1") else f", {arch.norm} norm"
        yield self.part(0, "stem", f"{patch} x {patch} convolution{norm}", ["stem"], fields[0])
        for stage in range(len(arch.depths)):
            yield from self.stage(arch, stage, fields[stage + 1], of_mixers[stage])
        heads = {"linear": "average, layer norm, linear", "mlp": "average, linear, GELU, layer norm, linear"}
        yield self.part(0, "head", heads[arch.head], ["head"])

    def stage(
        self, arch: Arch, stage: int, field: ReceptiveField | None, of_mixer: ReceptiveField | None
    ) -> Iterator[Part]:
        path, depth, dim = f"stages.{stage}", arch.depths[stage], arch.dims[stage]
        blocks = [f"{path}.blocks.{i}" for i in range(depth)]
        times = f"{depth} blocks" if depth > 1 else "1 block"
        whole = self.part(0, f"stage {stage + 1}", f"{times}, {dim} channels", [path], field)
        children = list(self.children(arch, stage, blocks, of_mixer))
        if stage:
            words = ("" if self.folded(f"{path}.downsample.0") else f"{arch.norm} norm, ") + "2 x 2 convolution"
            children.insert(0, self.part(1, "downsampling", words, [f"{path}.downsample"]))
        yield whole
        yield from children
        own = [name for name, _ in self.model.get_submodule(blocks[0]).named_parameters(recurse=False)]
        what = "layer scale, residual" if own else "residual"
        yield Part(
            1,
            "block",
            what,
            params=whole.params - sum(child.params for child in children),
            macs=whole.macs - sum(child.macs for child in children),
            bytes_moved=whole.bytes_moved - sum(child.bytes_moved for child in children),
            output=whole.output,
        )

    def children(self, arch: Arch, stage: int, blocks: list[str], of_mixer: ReceptiveField | None) -> Iterator[Part]:
        """Yield the parts of a stage's blocks, each summed over the blocks."""
        mixer, dim = arch.mixers[stage], arch.dims[stage]
        hidden = int(arch.mlp_ratios[stage] * dim)
        what = {"token_mixer": ("token mixer", str(mixer)), "mlp": ("MLP", f"{dim} to {hidden} to {dim}, {arch.act}")}
        for child, _ in self.model.get_submodule(blocks[0]).named_children():
            if child == "drop_path" or (child not in what and self.folded(f"{blocks[0]}.{child}")):
                continue
            name, words = what.get(child, ("norm", arch.norm))
            paths = [f"{block}.{child}" for block in blocks]
            yield self.part(1, name, words, paths, of_mixer if child == "token_mixer" else None)

    def modules(self, img_size: int) -> Iterator[Part]:
        """Yield the modules of a network that is not ours, containers opened one level deep."""
        lines: list[tuple[int, str]] = []
        for name, child in self.model.named_children():
            lines.append((0, name))
            if isinstance(child, CONTAINERS) and name not in ("head", "stem"):
                lines += [(1, f"{name}.{inner}") for inner, _ in child.named_children()]
        fields = traced_fields(self.model, [path for _, path in lines], img_size)
        parts = [
            self.part(level, path, type(self.model.get_submodule(path)).__name__, [path], fields.get(path))
            for level, path in lines
        ]
        yield from (part for part in parts if part.params or part.macs or part.bytes_moved)
        yield from self.elsewhere([part for part in parts if part.level == 0])

    def elsewhere(self, top: list[Part]) -> Iterator[Part]:
        """Yield what belongs to no module: parameters of the network itself, and operators between its modules."""
        own = [name for name, _ in self.model.named_parameters(recurse=False)]
        params = sum(p.numel() for p in self.model.parameters(recurse=False))
        macs = self.audit.macs[""] - sum(part.macs for part in top)
        moved = self.audit.bytes_moved[""] - sum(part.bytes_moved for part in top)
        if params or macs or moved:
            yield Part(0, "elsewhere", ", ".join(["operators between modules", *own]), params, macs, moved, ())
