import dataclasses
import json

import pytest
import tiny
import torch
from newer import add_parameter, newer

from archsearch.arch.networks import TimmModel, network
from archsearch.benchmark.reported import reported
from archsearch.benchmark.timer import Timer, Timings
from archsearch.benchmark.timing import Setting, Timing
from archsearch.errors import TrialError
from archsearch.nn.device import environment
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, FORMER_BENCHES, BenchRecipe

BENCH = dataclasses.replace(tiny.BENCH, img_size=0, reference="inceptionnext_atto")
FACTS = environment(torch.device("cpu"))


def fake(kind, warnings=()):
    setting = Setting(kind, "eager", "channels_last", "fp32", 1, 64)
    return Timing(setting, (0.1, 0.2), (0.1, 0.2), 1, 1, True, best=True, conditions={"warnings": list(warnings)})


@pytest.fixture
def store(tmp_path):
    return Timings(tmp_path / "timings", FACTS)


class Counted(Timer):
    """Makes timings up, and counts how often."""

    asked: tuple = ()
    warnings: tuple = ()

    def _measure(self, arch, kinds):
        self.asked = (*self.asked, (arch.key, kinds))
        return [fake(kind, self.warnings) for kind in kinds]


def test_each_architecture_is_timed_once(store):
    first, second = Counted(BENCH, "cpu", store), Counted(BENCH, "cpu", store)
    fresh, kept = first(tiny.SMALL, ("infer",)), second(tiny.SMALL, ("infer",))
    assert fresh == kept == {"infer": fake("infer")}
    assert (fresh["infer"].recalled, kept["infer"].recalled) == (False, True)
    assert "recalled" not in kept["infer"].to_dict()
    assert second.asked == ()
    second(tiny.SMALL, ("infer", "latency"))
    assert second.asked == ((tiny.SMALL.key, ("latency",)),)
    second(tiny.PLAIN, ("infer",))
    assert second.asked[1:] == ((tiny.PLAIN.key, ("infer",)),)


def test_known_timings_are_made_anew_where_asked(store):
    Counted(BENCH, "cpu", store)(tiny.SMALL, ("infer",))
    again = Counted(BENCH, "cpu", store, remeasure=True)
    again(tiny.SMALL, ("infer",))
    assert len(again.asked) == 1


def test_a_known_timing_does_not_do_where_another_one_is_asked_for(store):
    timer = Counted(BENCH, "cpu", store)
    for anew in (False, False, True):
        timer(tiny.SMALL, ("infer",), anew)
    assert len(timer.asked) == 2


def test_a_known_timing_without_energy_is_made_anew_where_energy_is_asked_for(store):
    Counted(BENCH, "cpu", store)(tiny.SMALL, ("infer",))
    again = Counted(BENCH, "cpu", store, reports=reported(parse_objectives("energy_mj,infer_throughput")))
    again(tiny.SMALL, ("infer",))
    assert again.asked == ((tiny.SMALL.key, ("infer",)),)
    store.put(tiny.SMALL, BENCH, "infer", dataclasses.replace(fake("infer"), energy_mj=7.0))
    assert again(tiny.SMALL, ("infer",))["infer"].energy_mj == 7.0
    assert len(again.asked) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 2},
        {"img_size": 96},
        {"precision": "bf16"},
        {"mode": "compile"},
        {"layout": "channels_first"},
        {"reference": "convnext_atto"},
        {"form": "deploy"},
    ],
)
def test_another_recipe_is_another_timing(store, change):
    Counted(BENCH, "cpu", store)(tiny.SMALL, ("infer",))
    other = Counted(dataclasses.replace(BENCH, **change), "cpu", store)
    other(tiny.SMALL, ("infer",))
    assert len(other.asked) == 1


@pytest.mark.parametrize("fact", ["device_name", "torch", "threads", "host"])
def test_another_machine_is_another_timing(store, fact):
    Counted(BENCH, "cpu", store)(tiny.SMALL, ("infer",))
    other = Counted(BENCH, "cpu", Timings(store.store.folder, {**FACTS, fact: "other"}))
    other(tiny.SMALL, ("infer",))
    assert len(other.asked) == 1


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: "{}", lambda text: ""])
def test_a_damaged_file_is_measured_again(store, damage):
    Counted(BENCH, "cpu", store)(tiny.SMALL, ("infer",))
    (file,) = store.store.folder.iterdir()
    whole = file.read_text()
    file.write_text(damage(whole))
    again = Counted(BENCH, "cpu", store)
    assert again(tiny.SMALL, ("infer",)) == {"infer": fake("infer")}
    assert len(again.asked) == 1
    assert file.read_text() == whole


def test_a_disturbed_timing_is_not_kept_for_others(store):
    disturbed = Counted(BENCH, "cpu", store)
    disturbed.warnings = ("other programs kept 1.9 of 2 cores busy during the timing",)
    disturbed(tiny.SMALL, ("infer",))
    assert not store.store.folder.exists()


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    timer = Counted(BENCH, "cpu", Timings(tmp_path / "file" / "timings", FACTS))
    assert timer(tiny.SMALL, ("infer",)) == {"infer": fake("infer")}


def test_a_real_process_times_one_architecture_after_another(store):
    with Timer(BENCH, "cpu", store) as timer:
        first = timer(tiny.SMALL, ("infer", "train"))
        process = timer._process
        second = timer(tiny.PLAIN, ("infer", "latency"))
        assert timer._process is process
        assert set(first) == {"infer", "train"}
        assert second["latency"].setting.batch_size == 1
        for timing in (*first.values(), *second.values()):
            assert len(timing.blocks_s) == tiny.BENCH.rounds
            assert timing.ratio > 0
            assert timing.best


def test_a_layout_is_chosen(store):
    with Timer(dataclasses.replace(BENCH, layout="both"), "cpu", store) as timer:
        (timing,) = timer(tiny.SMALL, ("infer",)).values()
    assert timing.setting.layout in ("channels_first", "channels_last")


def test_what_cannot_be_timed_is_the_candidates_failure(store):
    with Timer(dataclasses.replace(BENCH, batch_size=1, img_size=32), "cpu", store) as timer:
        with pytest.raises(TrialError, match="train: ValueError: Expected more than 1 value per channel"):
            timer(network("inceptionnext_atto"), ("train",))
        timer._process._channel.process.kill()
        with pytest.raises(TrialError, match="the process that timed it ended"):
            timer(tiny.SMALL, ("infer",))
        assert timer(tiny.SMALL, ("infer",))["infer"].blocks_s  # a new process took over


def test_an_architecture_is_timed_at_the_recipes_size(store):
    with Timer(BenchRecipe(**{**dataclasses.asdict(BENCH), "img_size": 96}), "cpu", store) as timer:
        assert timer(tiny.SMALL, ("infer",))["infer"].setting.img_size == 96


def test_another_reference_makes_another_timing(store):
    plain, beside = Counted(BENCH, "cpu", store), Counted(BENCH, "cpu", store, reference=tiny.PLAIN)
    plain(tiny.SMALL, ("infer",))
    beside(tiny.SMALL, ("infer",))
    assert len(beside.asked) == 1
    again = Counted(BENCH, "cpu", store, reference=tiny.PLAIN)
    again(tiny.SMALL, ("infer",))
    renamed = Counted(dataclasses.replace(BENCH, reference="other name"), "cpu", store, reference=tiny.PLAIN)
    renamed(tiny.SMALL, ("infer",))
    assert again.asked == renamed.asked == ()


@pytest.mark.slow
def test_a_network_of_timms_is_timed_beside_any_reference(store):
    bench = dataclasses.replace(BENCH, batch_size=1)
    model = TimmModel("test_convnext", 64)
    with Timer(bench, "cpu", store, reference=tiny.SMALL) as timer:
        (timing,) = timer(model, ("infer",)).values()
        (own,) = timer(tiny.SMALL, ("infer",)).values()
    assert timing.setting.img_size == 64
    assert timing.ratio > 0
    assert own.ratio == 1.0
    with Timer(bench, "cpu", store, reference=tiny.SMALL) as timer:
        again = timer(model, ("infer",))["infer"]
    disturbed = bool(timing.conditions.get("warnings"))  # then it is not kept
    assert (again == timing, again.recalled) == (not disturbed, not disturbed)


def test_latencies_on_a_gpu_whose_steps_did_not_wait_are_not_found(tmp_path, monkeypatch):
    gpu, cpu = ({**FACTS, "cuda": cuda} for cuda in ("13.0", None))
    found = {}
    for name, facts in (("gpu", gpu), ("cpu", cpu)):
        timings = Timings(tmp_path / name, facts)
        with monkeypatch.context() as earlier:
            earlier.setattr(Timings, "_steps", lambda self, kind: {})
            for kind in ("infer", "latency"):
                timings.put(tiny.SMALL, BENCH, kind, fake(kind))
                timings.fix(BENCH, kind, {"step_s": 1.0})
        found[name] = [
            (timings.get(tiny.SMALL, BENCH, kind) is not None, timings.fixed(BENCH, kind) is not None)
            for kind in ("infer", "latency")
        ]
    assert found == {"gpu": [(True, True), (False, False)], "cpu": [(True, True)] * 2}


#: Digests of the keys of version 0.1.0: a timing that was kept then is found now.
PINNED = {
    "smoke": "d7a68a02b8457e1c279fef8a",
    "cpu": "c2853bb1ee3cef234a21637f",
    "gpu": "2000efbf65f45786531aa4f9",
    "reference": "36c179014e1d64d54c803933",
    "timm": "8649b54b499f46280adae1b4",
}
PINNED_FACTS = {"host": "h", "device_name": "d", "torch": "2", "timm": "1", "threads": 2}


@pytest.mark.parametrize("change", [lambda record: record, newer], ids=["today", "with new fields"])
def test_timings_of_the_first_release_are_found(change, tmp_path, monkeypatch):
    add_parameter(monkeypatch, "inception")
    arch, gpu = change(network("inceptionnext_tiny")), change(FORMER_BENCHES["gpu"])
    known = {
        **{name: (arch, change(bench), "infer") for name, bench in (BENCHES | FORMER_BENCHES).items()},
        "reference": (arch, gpu, "train", change(network("convnext_atto"))),
        "timm": (TimmModel("resnet18", None), gpu, "latency"),
    }
    timings = Timings(tmp_path, PINNED_FACTS)
    for name, where in known.items():
        (tmp_path / f"{PINNED[name]}.json").write_text(json.dumps(fake(where[2]).to_dict()))
        assert timings.get(*where) == fake(where[2]), name
    assert timings.get(arch, newer(FORMER_BENCHES["gpu"], power_limit=200), "infer") is None
