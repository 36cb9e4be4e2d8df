"""A benchmark from Python, with networks that take milliseconds."""

import dataclasses
import json
import subprocess
import sys

import pytest
import tiny

from archsearch import benchmark
from archsearch.arch.networks import TimmModel
from archsearch.benchmark import BenchmarkSpec, NamedNetwork, default_recipe
from archsearch.complexity.counts import count_params
from archsearch.errors import OptionError, UserError
from archsearch.nn import build, build_network, deploy_form
from archsearch.recipes import FORMER_BENCHES

QUICK = {"rounds": 2, "max_rounds": 2, "min_block_s": 0.001, "warmup_limit_s": 0.01, "reference": "small"}
SMALL, PLAIN = NamedNetwork("small", tiny.SMALL), NamedNetwork("plain", tiny.PLAIN)


def test_networks_are_timed_beside_one_of_their_own():
    events = []
    spec = BenchmarkSpec((SMALL, PLAIN, "nosuch", PLAIN), "cpu", kinds=("infer",), changes=QUICK)
    result = benchmark.run(spec, events.append)
    small, plain, missing = result.records
    assert [record.name for record in result.records] == ["small", "plain", "nosuch"]
    assert (small.network, plain.network, missing.network) == (tiny.SMALL, tiny.PLAIN, None)
    assert "unknown network 'nosuch'" in missing.measured.error
    assert plain.measured.params > 0
    assert (result.recipe.reference, result.recipe.rounds, result.recipe.batch_size) == ("small", 2, 2)
    assert {timing.setting.layout for timing in plain.measured.timings} == {"channels_first", "channels_last"}
    for timing in plain.measured.timings:
        assert len(timing.blocks_s) == len(timing.reference_s) == 2
    assert 1.0 in [timing.ratio for timing in small.measured.timings]  # in its faster layout it is the reference
    assert {event.network for event in events if event.name == "loading"} == {None, "plain"}
    assert [event.details for event in events if event.name == "round"] == [
        {"number": 1, "of": 2},
        {"number": 2, "of": 2},
    ]


def test_networks_by_kind_of_device_and_at_another_size():
    of_kind = {"cpu": tiny.SMALL, "gpu": tiny.PLAIN}
    changes = QUICK | {"img_size": 96, "layout": "channels_last", "reference": "one"}
    spec = BenchmarkSpec((NamedNetwork("one", of_kind),), "cpu", ("train",), changes=changes)
    (record,) = benchmark.run(spec).records
    assert record.network == tiny.SMALL.replace(img_size=96)
    assert [timing.setting.img_size for timing in record.measured.timings] == [96]


def test_networks_are_made_with_other_arguments_and_the_reference_is_not():
    changes = QUICK | {"layout": "channels_last"}
    by_name = "timm:repghostnet_050"
    spec = BenchmarkSpec((SMALL, by_name), "cpu", ("infer",), changes=changes, model_kwargs={"num_classes": 7})
    small, ghost = benchmark.run(spec).records
    assert [small.name, ghost.name] == ["small (num_classes=7)", f"{by_name} (num_classes=7)"]
    assert small.network == tiny.SMALL.replace(num_classes=7)
    assert ghost.network == TimmModel("repghostnet_050", None, {"num_classes": 7})
    assert small.measured.timings[0].reference_s, "it is the one that is named, with its own classes"


def test_the_deploy_form_is_counted_and_timed_at_inference():
    """Training steps, and the counts beside them alone, are those of the train form."""
    changes = QUICK | {"layout": "channels_last", "form": "deploy", "img_size": 64}
    by_name = "timm:repghostnet_050"
    spec = BenchmarkSpec((SMALL, by_name), "cpu", ("train", "infer", "latency"), changes=changes)
    for record in benchmark.run(spec).records:
        forms = {timing.setting.kind: timing.setting.form for timing in record.measured.timings if not timing.error}
        assert forms == {"train": "train", "infer": "deploy", "latency": "deploy"}
        model, _ = build_network(record.network)
        assert (record.measured.form, record.measured.params) == ("deploy", count_params(deploy_form(model)))
        assert record.measured.params < count_params(model)
    (trained,) = benchmark.run(dataclasses.replace(spec, networks=(SMALL,), kinds=("train",))).records
    assert (trained.measured.form, trained.measured.params) == ("train", count_params(build(tiny.SMALL)))


def test_the_recipe_is_completed_for_the_device():
    spec = BenchmarkSpec(("inceptionnext_tiny",), device_changes={"gpu": {"batch_size": 64}}, changes={"rounds": 3})
    assert spec.recipe_on("cpu", has_tf32=False) == dataclasses.replace(default_recipe("cpu"), rounds=3)
    gpu = spec.recipe_on("gpu", has_tf32=True)
    assert (gpu.batch_size, gpu.precision, gpu.layout) == (64, "tf32", "both")
    patient = dataclasses.replace(FORMER_BENCHES["gpu"], layout="both", max_rounds=100, known_within=0.0)
    assert default_recipe("gpu") == patient, "what it was before studies asked for less"
    assert spec.recipe_on("gpu", has_tf32=False).precision == "fp32"
    asked = BenchmarkSpec((), changes={"precision": "tf32"})
    assert asked.recipe_on("cpu", has_tf32=False).precision == "tf32"  # which the device then refuses


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"networks": ("nosuch", "nosuch_2")}, "unknown network 'nosuch'.*; unknown network 'nosuch_2'"),
        ({"networks": ()}, "name one or more networks"),
        ({"device": "cuda:7"}, "no device 'cuda:7' here"),
        ({"changes": QUICK | {"img_size": 16}}, "smaller than the network's stride 32"),
        ({"changes": QUICK | {"reference": "nosuch"}}, "unknown network 'nosuch'"),
        ({"modes": ("cudagraph",)}, "mode cudagraph needs a CUDA device"),
        ({"model_kwargs": {"atc": "relu"}}, "unknown field of an architecture 'atc': did you mean 'act'"),
    ],
)
def test_what_cannot_be_timed_is_refused(fields, says):
    spec = BenchmarkSpec(**{"networks": (SMALL,), "device": "cpu", "changes": QUICK, **fields})
    with pytest.raises(UserError, match=says):
        benchmark.run(spec)


def test_a_spec_refuses_what_it_does_not_know():
    with pytest.raises(OptionError, match="unknown kind of step 'inference'"):
        BenchmarkSpec((SMALL,), kinds=("inference",))
    with pytest.raises(OptionError, match="unknown mode 'jit'"):
        BenchmarkSpec((SMALL,), modes=("jit",))
    with pytest.raises(UserError, match="unknown field of a bench recipe 'bach'"):
        BenchmarkSpec((SMALL,), changes={"bach": 3})
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        benchmark.rum  # noqa: B018


def test_the_package_loads_nothing_that_it_does_not_need():
    code = "import archsearch.benchmark, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "yaml", "archsearch.recipes"} & set(json.loads(done.stdout))
