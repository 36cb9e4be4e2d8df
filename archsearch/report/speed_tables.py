"""Results of a benchmark as a table and as records, with timm's columns first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from archsearch.ablation.variants import ListStudy
from archsearch.arch import Arch
from archsearch.arch.paper import Published
from archsearch.benchmark import BenchmarkRecord
from archsearch.benchmark.jobs import Measured, Network
from archsearch.benchmark.timing import KINDS, Timing
from archsearch.recipes import BenchRecipe
from archsearch.utils.tables import Document, Table

#: Mark of the better layout.
BETTER = "*"
#: What is in the deploy form, where inference is.
DEPLOYED = (
    "deploy form, of the networks and of the reference: counts, inference and latency are those of folded norms and "
    "merged branches; training steps are those of the train form"
)


@dataclass(frozen=True)
class Entry:
    """One network of a benchmark and its results.

    Attributes:
        name: Name as given by the user.
        network: The network; None where there is none of that name.
        measured: Its results, or why there are none.
        paper: Its row of the paper, if it has one.
        paper_ratios: Throughputs relative to the baseline as the paper prints them, by ``infer`` and ``train``.
    """

    name: str
    network: Network | None
    measured: Measured
    paper: Published | None = None
    paper_ratios: dict[str, float] = field(default_factory=dict)


def entries(records: Sequence[BenchmarkRecord], study: ListStudy | None = None) -> list[Entry]:
    """Return the records of a benchmark, with the paper's rows beside them where it timed a study.

    Args:
        records: Records, in the order of the table.
        study: Study whose networks were timed, each under the name of its variant; None for other networks.
    """
    variants = {variant.name: variant for variant in study.variants} if study else {}
    found = []
    for record in records:
        paper, ratios = None, {}
        if study and (variant := variants.get(record.name)):
            paper = variant.row
            known = {speed: study.paper_ratio(variant, speed) for speed in study.columns}
            ratios = {speed: ratio for speed, ratio in known.items() if ratio is not None}
        found.append(Entry(record.name, record.network, record.measured, paper, ratios))
    return found


def rows(entries: Sequence[Entry], reference: str, nested: bool = False) -> list[dict[str, Any]]:
    """Return a row per network, mode and layout; unknown values are None.

    The first columns are those that timm's benchmark writes (throughput in images/s, step time in
    ms, MACs in billions, activations and parameters in millions), then the rest.

    Args:
        entries: Networks and their results.
        reference: Name of the network that throughputs are relative to.
        nested: Whether to include architectures and rooflines, which are no single values.
    """
    flat = [row for entry in entries for row in _entry_rows(entry, reference, nested)]
    columns = dict.fromkeys(name for row in flat for name in row)
    first = [name for name in _timm_columns() if name in columns]
    return [{name: row.get(name) for name in dict.fromkeys((*first, *columns))} for row in flat]


def _timm_columns() -> Iterator[str]:
    yield "model"
    for kind in ("infer", "train"):
        yield from (f"{kind}_{name}" for name in ("samples_per_sec", "step_time", "batch_size", "img_size"))
        yield from (f"{kind}_{name}" for name in ("gmacs", "macts"))
    yield "param_count"


def _entry_rows(entry: Entry, reference: str, nested: bool) -> Iterator[dict[str, Any]]:
    measured = entry.measured
    facts: dict[str, Any] = {"model": entry.name, "error": measured.error, "reference": reference}
    if isinstance(entry.network, Arch):
        facts |= {"key": entry.network.key} | ({"arch": entry.network.to_dict()} if nested else {})
    if nested and measured.roofline:
        facts["roofline"] = measured.roofline
    if measured.params is not None:
        facts |= {"param_count": round(measured.params / 1e6, 2), "form": measured.form}
        facts |= {"params": measured.params, "macs": measured.macs, "activations": measured.activations}
    if entry.paper:
        facts |= {"paper_table": entry.paper.table, "paper_row": entry.paper.row}
        facts |= {f"{speed}_paper_ratio": ratio for speed, ratio in entry.paper_ratios.items()}
    environment = {f"env_{name}": value for name, value in measured.environment.items()}
    groups: dict[tuple[str, str], list[Timing]] = {}
    for timing in measured.timings:
        groups.setdefault((timing.setting.mode, timing.setting.layout), []).append(timing)
    for timings in groups.values():
        row = dict(facts)
        setting = timings[0].setting
        row |= {"precision": setting.precision, "mode": setting.mode, "layout": setting.layout}
        row |= next((_runtime(timing.runtime) for timing in timings if timing.runtime), {})
        for timing in timings:
            row |= _timing_columns(timing, measured)
        yield {**row, **environment, **_conditions(timings)}
    if not groups:
        yield {**facts, **environment}


def _runtime(facts: dict[str, Any]) -> dict[str, Any]:
    return {"onnxruntime": facts["onnxruntime"], "provider": facts["provider"], "provider_threads": facts["threads"]}


def _timing_columns(timing: Timing, measured: Measured) -> dict[str, Any]:
    prefix, setting = timing.setting.kind, timing.setting
    columns: dict[str, Any] = {"batch_size": setting.batch_size, "img_size": setting.img_size}
    if setting.kind == "infer" and measured.macs is not None:
        columns["gmacs"] = round(measured.macs / 1e9, 2)
    if setting.kind == "infer" and measured.activations is not None:
        columns["macts"] = round(measured.activations / 1e6, 2)
    if timing.error:
        return {f"{prefix}_{name}": value for name, value in (columns | {"error": timing.error}).items()}
    columns |= {
        "samples_per_sec": timing.throughput,
        "step_time": timing.step_s * 1e3,
        "best": timing.best,
        "samples_per_sec_low": timing.throughput_interval[0],
        "samples_per_sec_high": timing.throughput_interval[1],
        "step_time_q1": timing.quartiles_s[0] * 1e3,
        "step_time_q3": timing.quartiles_s[1] * 1e3,
        "ratio": timing.ratio,
        "ratio_low": timing.ratio_interval and timing.ratio_interval[0],
        "ratio_high": timing.ratio_interval and timing.ratio_interval[1],
        "peak_memory_mb": timing.peak_memory_mb,
        "energy_mj": timing.energy_mj,
        "settled": timing.settled,
        **_single_steps(timing),
        "remarks": timing.remarks,
        "steps_per_block": timing.steps_per_block,
        "blocks_ms": [block * 1e3 for block in timing.blocks_s],
        "reference_blocks_ms": [block * 1e3 for block in timing.reference_s],
    }
    return {f"{prefix}_{name}": value for name, value in columns.items()}


def _single_steps(timing: Timing) -> dict[str, float]:
    if timing.single_steps_s is None:
        return {}
    middle, tail = timing.single_steps_s
    return {"step_time_median": middle * 1e3, "step_time_p95": tail * 1e3}


def _conditions(timings: Sequence[Timing]) -> dict[str, Any]:
    return next((timing.conditions for timing in timings if timing.conditions), {})


def speed_table(entries: Sequence[Entry], reference: str) -> Document:
    """Return a benchmark as a table; as JSON, with architectures and rooflines.

    Args:
        entries: At least one network and what was measured of it.
        reference: Name of the network that throughputs are relative to.
    """
    header, cells = _cells(entries, reference)
    words = [index for index, name in enumerate(header) if index == 0 or name in ("mode", "layout", "note")]
    table = Table(header, cells, words)
    return Document([table], rows(entries, reference), data=rows(entries, reference, nested=True), bare=True)


def _cells(entries: Sequence[Entry], reference: str) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the table; columns without any value are left out."""
    compared = any(entry.paper for entry in entries)
    flat = _better(entries, reference) if compared else rows(entries, reference)
    of_form = ", deploy" if any(entry.measured.form == "deploy" for entry in entries) else ""
    kinds = [kind for kind in ("train", "infer") if any(f"{kind}_batch_size" in row for row in flat)]
    speeds = [column for kind in kinds for column in _speed_columns(kind, compared, of_form)]
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("row of the paper" if compared else "model", lambda row: row.get("paper_row") or row["model"]),
        (f"params (M){of_form}", lambda row: _number(row.get("params"), 1e-6, 1)),
        (f"GMACs{of_form}", lambda row: _number(row.get("macs"), 1e-9, 2)),
        ("mode", lambda row: row.get("mode") or ""),
        ("layout", lambda row: row.get("layout") or ""),
        *speeds,
        (f"latency (ms){of_form}", lambda row: _number(row.get("latency_step_time"), 1, 2)),
        ("median", lambda row: _number(row.get("latency_step_time_median"), 1, 2)),
        ("p95", lambda row: _number(row.get("latency_step_time_p95"), 1, 2)),
        ("train memory (MiB)", lambda row: _number(row.get("train_peak_memory_mb"), 1, 0)),
        (f"energy (mJ/img){of_form}", lambda row: _number(row.get("infer_energy_mj"), 1, 1)),
        ("note", _note),
    ]
    cells = [[cell(row) for _, cell in columns] for row in flat]
    asked = {"model", "row of the paper", *(name for name, _ in speeds)}
    keep = [i for i, (name, _) in enumerate(columns) if name in asked or any(row[i] not in ("", "-") for row in cells)]
    return [columns[i][0] for i in keep], [[row[i] for i in keep] for row in cells]


def _speed_columns(kind: str, compared: bool, of_form: str) -> Iterator[tuple[str, Callable[[dict[str, Any]], str]]]:
    yield f"{kind} (img/s){of_form if kind == 'infer' else ''}", lambda row: _speed(row, kind)
    yield f"{kind} ratio", lambda row: _ratio(row, kind)
    if compared:
        yield f"{kind} ratio, paper", lambda row: _number(row.get(f"{kind}_paper_ratio"), 1, 2)


def _better(entries: Sequence[Entry], reference: str) -> list[dict[str, Any]]:
    """Return a row per network and mode, with each speed in its better layout, as the paper reports them."""
    merged = []
    for entry in entries:
        flat = rows([entry], reference)
        for mode in dict.fromkeys(row.get("mode") for row in flat):
            ours = [row for row in flat if row.get("mode") == mode]
            row, layouts = dict(ours[0]), {}
            for kind in KINDS:
                best = next((row for row in ours if row.get(f"{kind}_best")), ours[0])
                row |= {name: value for name, value in best.items() if name.startswith(f"{kind}_")}
                if best.get(f"{kind}_best"):
                    layouts[kind] = best["layout"]
            same = len(set(layouts.values())) == 1
            row["layout"] = next(iter(layouts.values())) if same else ", ".join(f"{k} {v}" for k, v in layouts.items())
            merged.append(row)
    return merged


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _speed(row: dict[str, Any], kind: str) -> str:
    speed = row.get(f"{kind}_samples_per_sec")
    if speed is None:
        return "-"
    digits = 1 if speed < 1000 else 0
    return f"{speed:.{digits}f}{BETTER if row[f'{kind}_best'] else ''}"


def _ratio(row: dict[str, Any], kind: str) -> str:
    ratio = row.get(f"{kind}_ratio")
    if ratio is None:
        return "-"
    return f"{ratio:.3f} ({row[f'{kind}_ratio_low']:.3f} to {row[f'{kind}_ratio_high']:.3f})"


def _note(row: dict[str, Any]) -> str:
    errors = [row.get("error"), *(row.get(f"{kind}_error") for kind in KINDS)]
    remarks: dict[str, list[str]] = {}
    for kind in KINDS:
        for remark in row.get(f"{kind}_remarks") or ():
            remarks.setdefault(remark, []).append(kind)
    words = [f"{', '.join(kinds)}: {remark}" for remark, kinds in remarks.items()]
    return "; ".join([*dict.fromkeys(filter(None, errors)), *words])


def told(entries: Sequence[Entry], bench: BenchRecipe, study: ListStudy | None) -> str:
    """Return the text over the table: the device, the settings, and how to read the columns."""
    timings = [timing for entry in entries for timing in entry.measured.timings]
    environment = next((entry.measured.environment for entry in entries if entry.measured.environment), {})
    batch = next((t.setting.batch_size for t in timings if t.setting.kind != "latency"), bench.batch_size)
    rounds = max((len(timing.blocks_s) for timing in timings), default=0)
    versions = [f"torch {environment.get('torch')}"]
    versions += [f"{name} {environment[name]}" for name in ("cuda", "cudnn", "threads") if environment.get(name)]
    lines = [
        f"{environment.get('device_name', 'no device')}; {', '.join(versions)}",
        f"batch {batch}, {bench.precision}, {rounds} interleaved rounds; {BETTER} marks the better layout; "
        f"ratio: images/s over those of {bench.reference} in its better layout, with its 95 % interval",
    ]
    if runtime := next((timing.runtime for timing in timings if timing.runtime), None):
        threads = f"{runtime['threads']} thread{'' if runtime['threads'] == 1 else 's'}"
        lines.append(f"mode onnxruntime: onnxruntime {runtime['onnxruntime']}, {runtime['provider']}, {threads}")
    if bench.form == "deploy":
        lines.append(DEPLOYED)
    if study:
        sizes = ", ".join(dict.fromkeys(str(entry.measured.img_size) for entry in entries if entry.measured.img_size))
        lines = [study.title, *lines, f"images of {sizes} px; paper: the same ratio on {study.device}, as printed"]
    return "\n".join(lines)


def warnings(entries: Sequence[Entry]) -> list[str]:
    """Return errors of single networks, and what disturbed the timing of all, each once."""
    wrong = [(entry.name, str(entry.measured.error)) for entry in entries if entry.measured.error]
    lines = [error if name and name in error else f"{name}: {error}" for name, error in wrong]
    for entry in entries:
        errors = {t.error: None for t in entry.measured.timings if t.error}
        hint = "; lower -b, or let --fit-batch lower it for all" if entry.measured.out_of_memory else ""
        lines += [f"{entry.name}: {', '.join(errors)}{hint}"] if errors else []
    unknown = {error: None for entry in entries for error in entry.measured.reference_errors}
    lines += [f"the reference could not be timed, so that ratios are missing: {error}" for error in unknown]
    notes = {t.conditions.get("nvml"): None for e in entries for t in e.measured.timings}
    lines += filter(None, notes)
    disturbed = {w: None for e in entries for t in e.measured.timings for w in t.conditions.get("warnings", ())}
    return lines + list(disturbed)
