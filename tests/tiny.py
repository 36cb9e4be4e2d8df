"""Recipes, a space, studies and trials that are quick to train, to time or to make up."""

import dataclasses
from functools import cache

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, BenchRecipe, ProxyRecipe
from archsearch.search.definition import Study
from archsearch.space.yaml import load_space
from archsearch.trial import Epoch, Evaluation, Trial
from archsearch.utils.package_data import shipped

PROXY = ProxyRecipe(width=1 / 2, width_step=8, depth=0.1, epochs=1, train_samples=256, val_samples=128)
BENCH = BenchRecipe(
    batch_size=1,
    img_size=64,
    precision="fp32",
    reference="inceptionnext_atto",
    rounds=3,
    max_rounds=3,
    min_block_s=0.0,
    warmup_s=0.0,
    warmup_limit_s=0.0,
)

SPACE = """
name: small
baseline: inceptionnext_atto
axes:
  token_mixer: [inception, depthwise, identity]
  band_kernel_size:
    values: [7, 9]
    when: {token_mixer: inception}
  kernel_size:
    values: [3, 5]
    when: {token_mixer: depthwise}
  dims: [[40, 80, 160, 320], [32, 64, 128, 256]]
proxy: {width: 1/2, depth: 1/6}
"""

#: As many architectures as a study needs that is to be caught in its middle on any machine.
WIDE_SPACE = SPACE.replace("values: [7, 9]", "values: [3, 5, 7, 9, 11, 13, 15, 17]").replace(
    "values: [3, 5]", "values: [3, 5, 7, 9, 11, 13, 15, 17]"
)


@cache
def shipped_space(name):
    """Return a shipped space by its name, loaded once: that checks thousands of its points."""
    return load_space(name, shipped("search_spaces"))


def make_study(space, **changes) -> Study:
    """Return a study over a space (its name or file) with the small recipes and some fields replaced."""
    plain = Study(
        name="test",
        space=shipped_space(space) if isinstance(space, str) else load_space(str(space), shipped("search_spaces")),
        objectives=parse_objectives(changes.pop("objectives", "pareto")),
        proxy=PROXY,
        bench=BENCHES[changes.pop("bench")] if "bench" in changes else BENCH,
        data={"name": "drawn", "fingerprint": "f"},
        device="test machine",
    )
    return dataclasses.replace(plain, **changes)


OBJECTIVES = parse_objectives("pareto")
RECIPE = {
    "objectives": [o.name for o in OBJECTIVES],
    "space_name": "small",
    "data": {"name": "drawn", "fingerprint": "f"},
    "device": "test machine",
}


def trial(number, accuracy, macs, speed, **more):
    timing = {"batch_size": 2, "img_size": 224, "step_s": 2 / speed, "interval_s": [1.9 / speed, 2.1 / speed]}
    timing |= {"ratio": speed / 30, "ratio_interval": [speed / 31, speed / 29], "precision": "fp32"}
    evaluation = Evaluation(
        {"params": 4e6, "macs": macs, "infer_throughput": speed, "accuracy": accuracy},
        {"infer_throughput": timing},
        (Epoch(1, 1.5, accuracy, 2.0),),
        {"train": 2.0},
        accuracies=dict(enumerate(more.get("values", ()))),
    )
    params = {"token_mixer": "inception", "band_kernel_size": 7 + 2 * number}
    return Trial(number, "complete", network("inceptionnext_atto"), params, 0, evaluation, more.get("environment", {}))


FAILED = Trial(
    9,
    "failed",
    network("convnext_atto"),
    {"token_mixer": "depthwise"},
    0,
    Evaluation({"macs": 1.0}, error="diverged"),
    {},
)

#: Networks whose steps take a few milliseconds at 64 px.
SMALL = network("inceptionnext_atto").replace(depths=(1, 1, 1, 1), dims=(16, 24, 32, 40), img_size=64, num_classes=10)
PLAIN = SMALL.replace(mixers=(Mixer.of("depthwise", kernel_size=3),) * 4)
