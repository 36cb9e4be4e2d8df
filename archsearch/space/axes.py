"""Names of the axes that a space may have, and how their choices are written."""

from typing import Any

from archsearch.arch.params import Value

#: Fields of ``Arch`` that an axis may set.
ARCH_AXES = (
    "depths", "dims", "mlp_ratios", "norm", "act", "head", "stem_patch_size", "layer_scale_init_value",
    "drop_path_rate", "img_size", "block",
)  # fmt: skip
#: Fields whose choices are lists, and the type of their entries: integers alone, or any numbers.
LIST_AXES: dict[str, type[int] | type[float]] = {"depths": int, "dims": int, "mlp_ratios": float}
#: Fields of one stage, written with the prefix ``stageN.``, and the field of ``Arch`` that lists all stages; mixers
#: and their parameters take the prefix too.
STAGE_AXES = {"depth": "depths", "dim": "dims", "mlp_ratio": "mlp_ratios"}


def decode(name: str, value: Value) -> Any:
    """Return a choice of an axis as ``Arch`` has it; a study, which takes plain values, keeps lists as text.

    >>> decode("depths", "3-3-9-3"), decode("norm", "batch")
    ((3, 3, 9, 3), 'batch')
    """
    if name not in LIST_AXES:
        return value
    return tuple(float(part) if "." in part else int(part) for part in str(value).split("-"))
