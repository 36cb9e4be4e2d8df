"""Speeds of another machine, from the JSON that ``benchmark`` writes."""

import json
import re

import pytest
from elsewhere import DEVICE, record, rows, speed, write

from archsearch.arch.networks import network
from archsearch.benchmark.speeds import read_speeds
from archsearch.benchmark.timing import Timing
from archsearch.errors import OptionError, TrialError
from archsearch.objectives import OBJECTIVES, parse_objectives

ARCHS = [network(name) for name in ("inceptionnext_atto", "convnext_atto", "convnext_femto")]


def test_timings_are_those_of_the_table(tmp_path):
    speeds = read_speeds(write(tmp_path / "f.json", rows(ARCHS)))
    assert (speeds.device, speeds.img_size, len(speeds.archs)) == (DEVICE, 224, 3)
    for place, arch in enumerate(ARCHS):
        timings = speeds(arch, ("infer", "latency"))
        assert timings["infer"].throughput == pytest.approx(speed(place))
        assert timings["infer"].setting.layout == "channels_last"
        assert timings["latency"].score_s == pytest.approx(1 / speed(place, "latency"))
        assert timings["infer"].ratio == pytest.approx(0.5 * speed(place) / 8)
        assert timings["infer"].device == DEVICE


def test_a_timing_survives_the_file(tmp_path):
    (row,) = [row for row in rows(ARCHS[:1]) if row["layout"] == "channels_last"]
    timed = {t.setting.kind: t for t in record("x", ARCHS[0], 0).measured.timings if t.best}
    for kind, timing in read_speeds(write(tmp_path / "f.json", [row])).of(ARCHS[0]).items():
        assert timing.setting == timed[kind].setting
        assert timing.blocks_s == pytest.approx(timed[kind].blocks_s)
        assert timing.interval_s == pytest.approx(timed[kind].interval_s)
        assert Timing.from_details(timing.details()).device == DEVICE


def test_one_size_of_images_stands_for_the_architectures_own(tmp_path):
    small = [arch.replace(img_size=96) for arch in ARCHS]
    speeds = read_speeds(write(tmp_path / "f.json", rows(small)))
    assert speeds.of(ARCHS[1]) == speeds.of(small[1]) != {}
    assert speeds.bench().img_size == 96
    mixed = read_speeds(write(tmp_path / "g.json", rows([small[0], ARCHS[1]])))
    assert mixed.img_size == 0
    assert not mixed.of(ARCHS[0])


def test_what_is_not_in_the_file_is_not_known(tmp_path):
    speeds = read_speeds(write(tmp_path / "f.json", rows(ARCHS[:1])))
    assert speeds.knows(ARCHS[0], parse_objectives("accuracy,infer_throughput,latency_ms"))
    assert speeds.knows(ARCHS[1], parse_objectives("accuracy,macs"))
    assert not speeds.knows(ARCHS[1], [OBJECTIVES["infer_throughput"]])
    assert not speeds.knows(ARCHS[0], [OBJECTIVES["energy_mj"]])
    with pytest.raises(TrialError, match=r"f\.json has no infer timing"):
        speeds(ARCHS[1], ("infer",))


def test_networks_without_an_architecture_and_failed_ones_are_left_out(tmp_path):
    timms = {k: v for k, v in rows(ARCHS[1:2])[0].items() if k not in ("arch", "key")}
    failed = {"model": "net9", "arch": ARCHS[2].to_dict(), "error": "out of memory"}
    strange = dict(rows(ARCHS[2:])[0])
    strange["arch"] = {**strange["arch"], "mixers": [{"token_mixer": "mine"}] * 4}
    speeds = read_speeds(write(tmp_path / "f.json", rows(ARCHS[:1]), [timms, failed, strange]))
    assert [*speeds.archs.values()] == ARCHS[:1]
    empty = [{**timms, "arch": None, "key": None}, {**failed, "mode": None}]  # as in a table with architectures
    assert read_speeds(write(tmp_path / "e.json", rows(ARCHS[:1]), empty)).remark == ""
    strangers = [{**strange, "model": "x"}, {**strange, "model": "y"}, {**strange, "model": "y"}]
    told = read_speeds(write(tmp_path / "g.json", rows(ARCHS[:1]), strangers)).remark
    assert re.search(r"g\.json has networks that are not known here .*: x \(.*'mine'.*\); and 1 more$", told)
    assert read_speeds(write(tmp_path / "h.json", rows(ARCHS[:1]))).remark == ""


def test_a_mixer_whose_file_has_changed_since_is_another_one(tmp_path):
    before = [{**row, "key": "0123456789ab"} for row in rows(ARCHS[:1])]
    speeds = read_speeds(write(tmp_path / "f.json", before, rows(ARCHS[1:])))
    assert [*speeds.archs.values()] == ARCHS[1:]
    assert "net0 (the file of one of its mixers is another one here" in speeds.remark
    with pytest.raises(OptionError, match=r"known here: the file of one of its mixers is another one"):
        read_speeds(write(tmp_path / "g.json", before))


def test_several_conditions_are_chosen_among_by_words(tmp_path):
    both = rows(ARCHS), rows(ARCHS[:1], mode="compile"), rows(ARCHS[:2], device="Another Board")
    file = write(tmp_path / "f.json", *both)
    with pytest.raises(OptionError, match=r"3 conditions: Toy Board, board, eager.*; .*compile.*; Anot") as e:
        read_speeds(file)
    assert "\n" not in str(e.value)
    assert len(read_speeds(f"{file}:compile").archs) == 1
    assert len(read_speeds(f"{file}:Another Board").archs) == 2
    assert len(read_speeds(f"{file}:Toy Board,eager").archs) == 3
    with pytest.raises(OptionError, match=r"no timings for fp16; it has Toy"):
        read_speeds(f"{file}:fp16")
    offered = str(e.value).rpartition("as in ")[2]
    assert read_speeds(offered).conditions.mode == "eager"


def test_what_ran_the_steps_goes_on_record(tmp_path):
    (row,) = [row for row in rows(ARCHS[:1]) if row["layout"] == "channels_last"]
    assert read_speeds(write(tmp_path / "f.json", [row])).of(ARCHS[0])["infer"].runtime is None
    facts = {"onnxruntime": "1.20", "provider": "CPUExecutionProvider", "provider_threads": 4}
    told = read_speeds(write(tmp_path / "g.json", [{**row, **facts, "mode": "onnxruntime"}])).of(ARCHS[0])["infer"]
    assert told.runtime == {"onnxruntime": "1.20", "provider": "CPUExecutionProvider", "threads": 4}


def test_the_form_is_that_of_the_file(tmp_path):
    file = write(tmp_path / "f.json", rows(ARCHS), rows(ARCHS, form="deploy"))
    with pytest.raises(OptionError, match="deploy form"):
        read_speeds(file)
    speeds = read_speeds(f"{file}:deploy")
    assert {kind: timing.setting.form for kind, timing in speeds.of(ARCHS[0]).items()} == {
        "infer": "deploy",
        "latency": "deploy",
        "train": "train",
    }
    assert speeds.bench().form == speeds.recipe()["form"] == "deploy"


def test_the_identity_is_the_content(tmp_path):
    one, same = (read_speeds(write(tmp_path / name, rows(ARCHS))) for name in ("f.json", "g.json"))
    other = read_speeds(write(tmp_path / "h.json", rows(ARCHS[::-1])))
    assert one.recipe() == same.recipe() != other.recipe()
    assert one.recipe()["device"] == DEVICE


BROKEN = {
    "nothing": None,
    "csv": "model,infer_samples_per_sec\nx,3\n",
    "an object": '{"model": "x"}',
    "an empty list": "[]",
    "another list": '[{"name": "x"}]',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_other_files_are_refused_in_one_line(kind, tmp_path):
    file = tmp_path / "f.json"
    if BROKEN[kind] is not None:
        file.write_text(BROKEN[kind])
    with pytest.raises(OptionError, match=r"--results-file FILE\.json") as refused:
        read_speeds(file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env_device_name", None),
        ("infer_blocks_ms", []),
        ("infer_blocks_ms", [0.0]),
        ("infer_blocks_ms", ["soon"]),
        ("precision", 32),
        ("infer_batch_size", "many"),
        ("infer_batch_size", float("inf")),
        ("infer_steps_per_block", float("inf")),
    ],
)
def test_rows_of_another_kind_are_refused_by_number(field, value, tmp_path):
    wrong = rows(ARCHS)
    wrong[2][field] = value
    with pytest.raises(OptionError, match="row 3 is not as `benchmark` writes it") as refused:
        read_speeds(write(tmp_path / "f.json", wrong))
    assert "\n" not in str(refused.value)


def test_rows_without_a_batch_size_are_refused_by_number(tmp_path):
    wrong = [{name: cell for name, cell in row.items() if "batch_size" not in name} for row in rows(ARCHS)]
    with pytest.raises(OptionError, match=r"row 1 is not as `benchmark` writes it: .*no batch size"):
        read_speeds(write(tmp_path / "f.json", wrong))


def test_a_file_without_architectures_is_refused(tmp_path):
    timms = [{k: v for k, v in row.items() if k not in ("arch", "key")} for row in rows(ARCHS)]
    with pytest.raises(OptionError, match="no architecture that was timed"):
        read_speeds(write(tmp_path / "f.json", timms))


def test_a_mode_of_a_newer_version_is_named(tmp_path):
    newer = json.loads(json.dumps(rows(ARCHS)).replace('"eager"', '"telepathy"'))
    with pytest.raises(OptionError, match=r"telepathy.*update archsearch"):
        read_speeds(write(tmp_path / "f.json", newer)).bench()
