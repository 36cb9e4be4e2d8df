"""Audit of the counts: a second counter, the operators that fvcore skips, and the bytes that operators move."""

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from archsearch.complexity.counts import analyse, at_rest, attention_macs

#: Patterns of the names of operators, in traces and in kernels, and the family's name; the first match counts.
FAMILIES = (
    (r".*scaled_dot_product.*", "attention"),
    (r"conv|conv\dd|.*convolution.*", "convolution"),
    (r".*batch_norm.*", "batch_norm"),
    (r".*layer_norm", "layer_norm"),
    (r".*group_norm", "group_norm"),
    (r".*mm|mv|linear|matmul|einsum", "matmul"),
    (r".*softmax", "softmax"),
    (r".*adaptive_avg_pool2d", "adaptive_avg_pool2d"),
    (r".*avg_pool2d", "avg_pool2d"),
    (r".*max_pool2d.*", "max_pool2d"),
    (r"split.*", "split"),
)


@dataclass(frozen=True)
class Operator:
    """Counts of one family of operators in a forward pass of one image.

    Attributes:
        name: Name of the family in ``FAMILIES``, else torch's name.
        calls: Number of calls; 0 where the operator appears in fvcore's trace alone, under another name.
        fvcore_macs: Multiply-adds as fvcore counts them (norms and pooling by their elements);
            None where it skips the operator.
        flop_counter_macs: Half the FLOPs of ``torch.utils.flop_counter``; None where it skips the operator.
        bytes_moved: Activations read and written, each once, in bytes (including values computed from
            weights); views move none.
    """

    name: str
    calls: int
    fvcore_macs: int | None
    flop_counter_macs: int | None
    bytes_moved: int


@dataclass(frozen=True)
class Audit:
    """Counts of a forward pass of one image.

    Attributes:
        operators: Families of operators, the most expensive first.
        macs: Multiply-adds by module path, as fvcore counts them; ``""`` is the whole network.
        bytes_moved: Bytes read and written, by module path.
        outputs: Shape of each module's last output without the batch, by module path.
    """

    operators: tuple[Operator, ...]
    macs: Mapping[str, int]
    bytes_moved: Mapping[str, int]
    outputs: Mapping[str, tuple[int, ...]]

    @property
    def flop_counter_macs(self) -> int:
        """Multiply-adds of the whole network by ``torch.utils.flop_counter``."""
        return sum(operator.flop_counter_macs or 0 for operator in self.operators)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Operators that compute or move something and that fvcore does not count."""
        return tuple(o.name for o in self.operators if o.fvcore_macs is None and (o.bytes_moved or o.name == "split"))


def family(operator: str) -> str:
    """Return the name of an operator's family.

    >>> family("aten::native_layer_norm"), family("_convolution"), family("aten::add_"), family("addmm")
    ('layer_norm', 'convolution', 'add', 'matmul')
    >>> family("upsample_bilinear2d"), family("lgamma")
    ('upsample_bilinear2d', 'lgamma')
    """
    name = operator.rpartition("::")[2].strip("_")
    return next((shared for pattern, shared in FAMILIES if re.fullmatch(pattern, name)), name)


def audit(model: nn.Module, x: Tensor) -> Audit:
    """Count a forward pass of a batch of one in evaluation mode, without output to the terminal."""
    analysis = analyse(model, x)
    trace = _Trace({tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())})
    flops = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    with warnings.catch_warnings(), at_rest(model), trace.follow(model), flops, trace:
        warnings.simplefilter("ignore")
        model(x)
    return Audit(
        operators=_operators(analysis.by_operator(), flops.get_flop_counts().get("Global", {}), trace),
        macs={name: int(macs) for name, macs in analysis.by_module().items()},
        bytes_moved=trace.bytes_by_module,
        outputs=trace.outputs,
    )


def _operators(fvcore: Mapping[str, float], flops: Mapping[Any, int], trace: "_Trace") -> tuple[Operator, ...]:
    macs: Counter[str] = Counter()
    for name, value in fvcore.items():
        macs[family(name)] += int(value)
    others: Counter[str] = Counter()
    for packet, value in flops.items():
        others[family(str(packet).removeprefix("aten."))] += value // 2
    rows = [
        Operator(name, calls, macs.get(name), others.get(name), trace.bytes_by_operator[name])
        for name, calls in {**dict.fromkeys((*macs, *others), 0), **trace.calls}.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-(row.fvcore_macs or 0), -row.bytes_moved, row.name)))


def _attention_flops(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return 2 * attention_macs(query, key, value)


#: Fused attention on a CPU, which torch's counter has no formula for.
_CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops
}


class _Trace(TorchDispatchMode):
    """Trace of a forward pass: operators, the bytes that they move, and the modules that call them.

    Args:
        constants: Storages whose reading is not counted: parameters and buffers, which all images of a batch share.
    """

    def __init__(self, constants: set[int]) -> None:
        super().__init__()
        self.constants = constants
        self.calls: Counter[str] = Counter()
        self.bytes_by_operator: Counter[str] = Counter()
        self.bytes_by_module: defaultdict[str, int] = defaultdict(int)
        self.outputs: dict[str, tuple[int, ...]] = {}
        self._stack: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = family(func._schema.name)
        moved = 0
        if not _is_view(func, args, out):
            moved = self._bytes(_read(func, args, kwargs or {})) + self._bytes(_written(func, out))
        self.calls[name] += 1
        self.bytes_by_operator[name] += moved
        for path in {"", *self._stack}:
            self.bytes_by_module[path] += moved
        return out

    def _bytes(self, tree: Any) -> int:
        tensors = {id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}.values()
        return sum(_held(t) * t.element_size() for t in tensors if t.untyped_storage().data_ptr() not in self.constants)

    @contextmanager
    def follow(self, model: nn.Module) -> Iterator[None]:
        """Keep track, inside the context, of the modules of a model that are running."""
        hooks = []
        for path, module in model.named_modules():

            def enter(module: nn.Module, inputs: Any, path: str = path) -> None:
                self._stack.append(path)

            def leave(module: nn.Module, inputs: Any, output: Any, path: str = path) -> None:
                self._stack.pop()
                if isinstance(output, Tensor):
                    self.outputs[path] = tuple(output.shape[1:])

            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _is_view(func: Any, args: Any, out: Any) -> bool:
    """Whether an operator returns a view of its input."""
    if torch.Tag.inplace_view in func.tags:  # unsqueeze_ and similar
        return True
    if func._schema.is_mutable:
        return False
    return bool(_storages(args) & _storages(out))


def _read(func: Any, args: Any, kwargs: Any) -> Any:
    """Return the arguments that are read: not those overwritten, nor those whose shape alone is used."""
    name = func._schema.name.removeprefix("aten::")
    unread = name in ("copy_", "fill_", "zero_") or name.endswith("_like") or name.startswith("new_")
    return args[unread:], {key: value for key, value in kwargs.items() if key != "out"}


def _written(func: Any, out: Any) -> Any:
    return () if func._schema.name.startswith(("aten::empty", "aten::new_empty")) else out


def _held(t: Tensor) -> int:
    """Return the number of elements in memory; an expanded axis holds one."""
    return prod(size for size, stride in zip(t.shape, t.stride(), strict=True) if stride)


def _storages(tree: Any) -> set[int]:
    return {
        leaf.untyped_storage().data_ptr() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.numel()
    }
