"""Speeds that ``benchmark`` measured on another machine, read from the JSON that it wrote there.

They stand in for timings of this machine: a study is given them by architecture (``StudySpec.speeds``), and a stored
study's front is drawn with them (``archsearch.report.other_speeds``).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archsearch.arch import Arch
from archsearch.benchmark.timing import KINDS, Setting, Timing
from archsearch.errors import ArchError, OptionError, TrialError, UserError, first_line
from archsearch.objectives import Objective, Tier
from archsearch.recipes import BenchRecipe

#: What wrote such a file, for messages.
WRITES = "`benchmark ... --results-file FILE.json` writes one"


@dataclass(frozen=True)
class Conditions:
    """What the timings of a file have in common: two that differ in it cannot be compared.

    Attributes:
        device: Name of the device.
        host: Name of its machine.
        mode: Execution mode, of ``archsearch.recipes.MODES``.
        precision: Arithmetic, of ``archsearch.recipes.PRECISIONS``.
        batch_size: Images per step of a throughput.
        form: Form of the networks at inference, of ``archsearch.recipes.FORMS``.
        reference: Name of the network that throughputs are relative to; it need not be in common.
    """

    device: str
    host: str
    mode: str
    precision: str
    batch_size: int
    form: str
    reference: str = field(compare=False)

    @property
    def parts(self) -> tuple[str, ...]:
        """What tells conditions apart, in words."""
        form = "" if self.form == "train" else f"{self.form} form"
        words = (self.device, self.host, self.mode, self.precision, f"batch {self.batch_size}", form)
        return tuple(word for word in words if word)

    def __str__(self) -> str:
        return ", ".join(self.parts)

    def form_of(self, kind: str) -> str:
        """Return the form that networks were in for a kind of step."""
        return "train" if kind == "train" else self.form


@dataclass(frozen=True)
class Speeds:
    """Timings of architectures on another machine; call it in place of a timer.

    Attributes:
        path: File that they come from, as it was named.
        digest: Hash of the file's content, 12 hexadecimal digits.
        conditions: What all timings have in common.
        archs: Architectures at the resolution they were timed at, by key.
        timings: Timings by kind of step, by key of the architecture.
        unknown: Why networks of the file are not known here and left out, in one line, by their name there.
    """

    path: str
    digest: str
    conditions: Conditions
    archs: Mapping[str, Arch] = field(repr=False)
    timings: Mapping[str, Mapping[str, Timing]] = field(repr=False)
    unknown: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"speeds in {self.path} ({self.conditions})"

    @property
    def remark(self) -> str:
        """Which networks of the file are left out, in one line; empty where all are known here."""
        if not self.unknown:
            return ""
        name, why = next(iter(self.unknown.items()))
        several = f"; and {len(self.unknown) - 1} more" if len(self.unknown) > 1 else ""
        return f"{self.path} has networks that are not known here and left out: {name} ({why}){several}"

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.conditions.device

    @property
    def img_size(self) -> int:
        """Side of the images in pixels; 0 where architectures were timed at several."""
        sizes = {arch.img_size for arch in self.archs.values()}
        return sizes.pop() if len(sizes) == 1 else 0

    def of(self, arch: Arch) -> Mapping[str, Timing]:
        """Return the timings of an architecture by kind of step; empty where it is not in the file.

        Where the file has one size of images, that size stands for the architecture's own.
        """
        known = self.timings.get(arch.key)
        if known is None and self.img_size and arch.stride <= self.img_size:
            known = self.timings.get(arch.replace(img_size=self.img_size).key)
        return known or {}

    def knows(self, arch: Arch, quantities: Iterable[Objective]) -> bool:
        """Return whether the file has all measured ones among some quantities of an architecture."""
        known = self.of(arch)
        return all(_has(known, quantity) for quantity in quantities if quantity.tier is Tier.MEASURED)

    def __call__(self, arch: Arch, kinds: Sequence[str], anew: bool = False) -> dict[str, Timing]:
        """Return the timing of an architecture for each kind of step.

        Raises:
            TrialError: The file lacks one.
        """
        known = self.of(arch)
        if lacking := [kind for kind in kinds if kind not in known]:
            raise TrialError(f"{self.path} has no {lacking[0]} timing of this architecture")
        return {kind: known[kind] for kind in kinds}

    def bench(self) -> BenchRecipe:
        """Return how they were timed, as far as the file tells, as a recipe.

        Raises:
            OptionError: A newer version timed in a way that this one does not know.
        """
        told = self.conditions
        try:
            return BenchRecipe(
                batch_size=told.batch_size,
                img_size=self.img_size,
                precision=told.precision,
                mode=told.mode,
                form=told.form,
                reference=told.reference,
            )
        except UserError as error:
            raise OptionError(f"--speeds {self.path}: {error}; update archsearch if a newer one wrote it") from None

    def recipe(self) -> dict[str, Any]:
        """Return what identifies them in a study's record, as JSON-ready data."""
        told = self.conditions
        form = {} if told.form == "train" else {"form": told.form}
        return {"device": told.device, "host": told.host, "mode": told.mode, **form, "content": self.digest}


def _has(known: Mapping[str, Timing], quantity: Objective) -> bool:
    how = quantity.measured
    return how is not None and how.step in known and known[how.step].score(how) is not None


def read_speeds(named: str | Path) -> Speeds:
    """Read the JSON that ``benchmark`` wrote.

    Networks of timm's, networks that could not be timed, and those with mixers that are not known here are left out;
    of the last, ``Speeds.unknown`` tells why. A mixer whose file has changed since is another one.
    Of an architecture that was timed twice, the last timing counts.

    Args:
        named: Path of the file, for one that holds timings under several conditions followed by a colon and words that
            choose among them: ``jetson.json:compile,fp16``.

    Raises:
        OptionError: It is no such file, it has no architecture, or the choice among conditions is open.
    """
    path, words = _parts(str(named))
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise OptionError(f"--speeds: cannot read {path}: {error.strerror}; {WRITES}") from None
    rows = _rows(path, content)
    by_conditions: dict[Conditions, list[tuple[Arch, dict[str, Timing]]]] = {}
    unknown: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if row.get("arch") is None or row.get("mode") is None:  # timm's, and what failed
            continue
        try:
            arch, told = _arch(row), _conditions(row)
            by_conditions.setdefault(told, []).append((arch, _timings(row, told)))
        except ArchError as error:
            unknown.setdefault(str(row["model"]), first_line(error))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise OptionError(
                f"--speeds {path}: row {number} is not as `benchmark` writes it: {first_line(error)}; {WRITES}"
            ) from None
    chosen = _chosen(path, by_conditions, words, unknown)
    archs, timings = {arch.key: arch for arch, _ in by_conditions[chosen]}, dict[str, dict[str, Timing]]()
    for arch, timed in by_conditions[chosen]:
        timings.setdefault(arch.key, {}).update(timed)
    return Speeds(path, hashlib.sha256(content).hexdigest()[:12], chosen, archs, timings, unknown)


def _parts(named: str) -> tuple[str, tuple[str, ...]]:
    """Split a path from the words that follow a colon; a file with a colon in its name is itself."""
    path, colon, words = named.rpartition(":")
    if not colon or not path or Path(named).exists():
        return named, ()
    return path, tuple(word.strip() for word in words.split(",") if word.strip())


def _rows(path: str, content: bytes) -> list[dict[str, Any]]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise OptionError(f"--speeds {path}: not JSON; {WRITES}") from None
    rows = data if isinstance(data, list) else []
    if not rows or not all(isinstance(row, dict) and "model" in row for row in rows):
        raise OptionError(f"--speeds {path}: not a list of timed networks; {WRITES}")
    return rows


def _arch(row: Mapping[str, Any]) -> Arch:
    """The architecture of a row.

    Raises:
        ArchError: It is not known here, or has another key here, by which a mixer of a user's file is told apart.
    """
    arch = Arch.from_dict(row["arch"])
    if row.get("key", arch.key) != arch.key:
        raise ArchError("the file of one of its mixers is another one here; time it again with this one")
    return arch


def _conditions(row: Mapping[str, Any]) -> Conditions:
    batches = [batch for kind in ("infer", "train", "latency") if (batch := row.get(f"{kind}_batch_size"))]
    if not batches:
        raise ValueError("it has no batch size")
    return Conditions(
        device=_text(row["env_device_name"]),
        host=_text(row.get("env_host") or ""),
        mode=_text(row["mode"]),
        precision=_text(row["precision"]),
        batch_size=int(batches[0]),
        form=_text(row.get("form") or "train"),
        reference=_text(row["reference"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _timings(row: Mapping[str, Any], told: Conditions) -> dict[str, Timing]:
    """Timings of a row by kind of step, where its layout is the faster one."""
    return {kind: _timing(row, kind, told) for kind in KINDS if row.get(f"{kind}_best")}


def _timing(row: Mapping[str, Any], kind: str, told: Conditions) -> Timing:
    def cell(name: str) -> Any:
        return row.get(f"{kind}_{name}")

    layout, batch, size = _text(row["layout"]), cell("batch_size"), cell("img_size")
    singles = (cell("step_time_median"), cell("step_time_p95"))
    blocks = _seconds(cell("blocks_ms"))
    if not blocks:
        raise ValueError(f"{kind}_blocks_ms is empty")
    return Timing(
        Setting(kind, told.mode, layout, told.precision, int(batch), int(size), told.form_of(kind)),
        blocks_s=blocks,
        reference_s=_seconds(cell("reference_blocks_ms") or ()),
        steps_per_block=int(cell("steps_per_block") or 0),
        settled=bool(cell("settled")),
        peak_memory_mb=_number(cell("peak_memory_mb")),
        energy_mj=_number(cell("energy_mj")),
        best=True,
        conditions={"warnings": list(row.get("warnings") or ())},
        single_steps_s=None if None in singles else (singles[0] / 1e3, singles[1] / 1e3),
        runtime=_runtime(row),
        device=told.device,
    )


def _runtime(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What ran the step, where it was onnxruntime."""
    if not row.get("onnxruntime"):
        return None
    return {"onnxruntime": row["onnxruntime"], "provider": row["provider"], "threads": row["provider_threads"]}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _seconds(blocks_ms: Iterable[float]) -> tuple[float, ...]:
    seconds = tuple(block / 1e3 for block in blocks_ms)
    if not all(0 < block < float("inf") for block in seconds):
        raise ValueError("a block took no time, or for ever")
    return seconds


def _chosen(
    path: str,
    found: Mapping[Conditions, Sequence[tuple[Arch, Mapping[str, Timing]]]],
    words: Sequence[str],
    unknown: Mapping[str, str],
) -> Conditions:
    """Return the one set of conditions that words choose, or the only one."""
    if not found:
        why = f": {next(iter(unknown.values()))}" if unknown else " (networks of timm's have none)"
        raise OptionError(f"--speeds {path}: it has no architecture that was timed and is known here{why}")
    fitting = [told for told in found if all(any(word in part for part in told.parts) for word in words)]
    if len(fitting) == 1:
        return fitting[0]
    several = "; ".join(map(str, fitting or found))
    if not fitting:
        raise OptionError(f"--speeds {path}: no timings for {', '.join(words)}; it has {several}")
    raise OptionError(
        f"--speeds {path}: it has timings under {len(fitting)} conditions: {several}; choose by words that only one "
        f"has, as in {path}:{_telling(fitting)}"
    )


def _telling(several: Sequence[Conditions]) -> str:
    """Return words of the first conditions that, taken together, no others have."""
    first, others = several[0].parts, [told.parts for told in several[1:]]
    return ",".join(part for part in first if any(part not in parts for parts in others))
