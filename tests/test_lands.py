"""The random lands that samplers are compared on, and what the page of results says of them."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lands():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("lands", ROOT / "benchmarks" / "lands.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return module


@pytest.fixture(scope="module")
def ground(lands):
    """A small one: the space of the table of trained architectures."""
    return lands.Ground(str(ROOT / "benchmarks" / "tabular" / "space.yaml"))


def test_a_training_shows_the_truth_with_the_noise_of_seed_and_images(lands, ground):
    land = lands.Land(ground, 3)
    params = ground.some[0]
    shown = np.array([land.train(params, seed) for seed in range(400)])
    assert land.train(params, 7) == land.train(params, 7)
    (true,) = set(shown[:, 1])
    assert true == land.accuracy(ground.choices([params]), np.array([ground.macs(params)]))[0]
    noise = np.hypot(land.sizes["seed"], np.sqrt(true * (1 - true) / land.images))
    assert shown[:, 0].mean() == pytest.approx(true, abs=4 * noise / 20)
    assert shown[:, 0].std() == pytest.approx(noise, rel=0.15)


def test_parts_of_an_accuracy_have_the_sizes_that_were_drawn(lands, ground):
    land = lands.Land(ground, 3)
    choices, macs = ground.choices(ground.some), np.array([*map(ground.macs, ground.some)])
    drawn = land._parts(choices, np.log(macs))
    parts = [(part - mean) / sd for part, (mean, sd) in zip(drawn, land._moments, strict=True)]
    sizes = [land.sizes[name] for name in ("main", "pairs", "residual", "macs")]
    assert land.accuracy(choices, macs) == pytest.approx(0.6 + np.dot(sizes, parts), abs=1e-12)
    assert np.std(parts, axis=1) == pytest.approx(np.ones(4))
    residuals = land._residual(ground.whole[0])
    assert len(set(residuals)) == len(residuals) == 348
    assert abs(residuals.mean()) < 0.2
    assert residuals.std() == pytest.approx(1.0, abs=0.15)


def test_the_true_front_is_all_there_is(lands, ground):
    land = lands.Land(ground, 3)
    goal, (choices, macs) = lands.Goal.of(land), ground.whole
    costs = np.column_stack([-land.accuracy(choices, macs), macs])
    assert goal.share(costs, costs) == pytest.approx(1.0)
    assert goal.alone == max(goal.share(one[None], one[None]) for one in costs)
    worst_shown = np.column_stack([-costs[:, 0], macs])  # noise that puts the wrong ones on the observed front
    assert goal.share(worst_shown, costs) < 0.5
    assert lands.Goal.from_dict(json.loads(json.dumps(goal.to_dict()))).share(costs, costs) == pytest.approx(1.0)


def test_cost_aware_finds_more_than_chance_and_a_first_generation_is_chance(lands, ground):
    names, runs = ("cost_aware", "random", "NSGAIISampler()", "RandomSampler()"), {}
    for number in range(4):
        land = lands.Land(ground, number)
        goal = lands.Goal.of(land)
        for name in names:
            runs.setdefault(name, {})[f"{number}/0"] = lands.searched(land, goal, name, 0, 30)
    shares = {name: [run["shares"][-1] for run in found.values()] for name, found in runs.items()}
    assert np.mean(shares["cost_aware"]) > np.mean(shares["random"]) + 0.05
    assert shares["NSGAIISampler()"] == shares["RandomSampler()"]
    rows = lands.markdown(runs, 30)
    assert rows[2].startswith("| cost_aware | ")
    assert [row.count("|") for row in rows] == [rows[0].count("|")] * 6


def test_a_comparison_is_paired_and_its_interval_is_over_lands(lands):
    one = {f"{land}/{seed}": 0.5 + 0.1 * land for land in range(4) for seed in range(3)}
    other = dict.fromkeys(one, 0.5) | {"9/9": 1.0}
    assert lands.against(one, other) == "+0.150 (+0.050 to +0.250), 9 of 9"
    assert lands.against(one, one) == ""
    assert lands.mean_ranks({"a": one, "b": dict.fromkeys(one, 0.65), "few": {"0/0": 1.0}}) == {"a": "1.5", "b": "1.5"}


def test_the_page_says_what_the_comparison_found(lands):
    page = (ROOT / "docs" / "results" / "samplers.md").read_text(encoding="utf-8")
    results = json.loads(lands.RESULTS.read_text(encoding="utf-8"))
    assert results.keys() == {*lands.SPACES}
    for held in results.values():
        assert held["runs"].keys() <= lands.searches().keys()
        for trials in lands.AT:
            assert "\n".join(lands.markdown(held["runs"], trials)) in page
