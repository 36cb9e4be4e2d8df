"""The comparison of policies that train short for many and long for few: its model, its gains, its document."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from archsearch.search.samplers.ehvi import expected_hypervolume_improvement

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def multi():
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("tabular", "stopping", "multi_fidelity"):
            spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        yield module


def small(multi, monkeypatch, kernel, seen, seconds=None):
    """A land with a kernel of its own."""
    monkeypatch.setattr(multi, "kernel", lambda: kernel)
    count = len(kernel)
    seconds = np.ones_like(seen) if seconds is None else seconds
    return multi.Land(np.zeros((count, 1)), np.linspace(1, 2, count), seen[:, -1].copy(), seen, seconds, None)


def grouped(groups, size):
    """Architectures that are the same within a group, and independent between groups."""
    return np.kron(np.eye(groups), np.ones((size, size)))


def fixed(multi, land, shared, alone):
    """A model whose covariances are known."""
    model = multi.Joint(land)
    model.shared, model.alone, model._fitted = shared, alone, np.inf
    return model


def test_a_short_training_tells_of_the_long_one_as_two_correlated_gaussians_do(multi, monkeypatch):
    seen = np.full((3, 5), 0.5)
    seen[0, 0] = 0.56
    land = small(multi, monkeypatch, np.eye(3), seen)
    shared, alone = np.diag([4.0, 1, 1, 1, 9]) * 1e-4, np.diag([2.0, 1, 1, 1, 3]) * 1e-4
    shared[0, 4] = shared[4, 0] = 4.5e-4
    model = fixed(multi, land, shared, alone)
    model.observe(0, 0)
    model.observe(1, 0)
    model.condition()
    mean, sd, whitened = model.end()
    slope, level = 4.5 / (4 + 2), model.level
    assert mean == pytest.approx(level[4] + slope * np.array([0.56 - level[0], 0.5 - level[0], 0]), abs=1e-5)
    assert sd == pytest.approx(np.sqrt(np.array([9 - 4.5 * slope, 9 - 4.5 * slope, 9]) * 1e-4), rel=1e-3)
    assert model.learnt(np.zeros(3, dtype=int), whitened)[2] == pytest.approx(np.sqrt(4.5 * slope * 1e-4), rel=1e-3)


def test_the_luck_of_a_seed_is_not_taken_for_the_architectures_own(multi, monkeypatch):
    """Long and short are alike by luck alone: the short one says nothing of the true accuracy."""
    land = small(multi, monkeypatch, np.eye(2), np.array([[0.6, 0.5, 0.5, 0.5, 0.6], [0.5] * 5]))
    alone = np.full((5, 5), 0.9e-4) + 0.1e-4 * np.eye(5)
    model = fixed(multi, land, np.eye(5) * 1e-4, alone)
    model.observe(0, 0)
    model.condition()
    mean, sd, _ = model.end()
    assert mean[0] == pytest.approx(mean[1])
    assert sd == pytest.approx([1e-2, 1e-2], rel=1e-3)


def test_the_correlation_between_schedules_is_recovered(multi, monkeypatch):
    rng, groups = np.random.default_rng(0), 100
    shared = np.array([[4.0, 3.6], [3.6, 9.0]])  # correlation 0.6
    alone = np.array([[2.0, -1.0], [-1.0, 3.0]])
    kernel = 0.95 * grouped(groups, 2) + 0.05 * np.eye(2 * groups)
    root = np.linalg.cholesky(kernel)
    seen = root @ rng.multivariate_normal([0, 0], shared, 2 * groups)
    seen += rng.multivariate_normal([0, 0], alone, 2 * groups)
    model = multi.Joint(small(multi, monkeypatch, kernel, seen))
    long = np.arange(150)  # three of four candidates have both
    archs, dims = np.concatenate([np.arange(2 * groups), long]), np.repeat([0, 1], [2 * groups, len(long)])
    prior = np.eye(2), np.eye(2)
    model.shared, model.alone = prior
    for _ in range(40):
        model.shared, model.alone = model._step(archs, dims, prior)
    found = model.shared[0, 1] / np.sqrt(model.shared[0, 0] * model.shared[1, 1])
    assert found == pytest.approx(0.6, abs=0.2)
    assert np.diag(model.shared) == pytest.approx([4, 9], rel=0.4)
    assert model.alone[0, 1] == pytest.approx(-1.0, abs=0.7)


def test_short_schedules_are_as_those_that_were_trained(multi):
    for name, pair in multi.PAIRS.items():
        found, taken = multi.estimated(*pair), multi.SHORT[name]
        for attribute in ("cost", "correlation", "sd", "rest"):
            assert getattr(found, attribute) == pytest.approx(getattr(taken, attribute), abs=0.012)
        assert max(0.0, found.luck) == pytest.approx(taken.luck, abs=0.012)


def test_looking_first_is_worth_what_it_may_change(multi):
    sure = np.full((3, 1), 6.0)
    assert multi.look_first(sure, np.array([1.0]), np.array([2.0])) == pytest.approx([2.0])
    lucky, chance = np.array([[0.0], [0.0], [6.0]]), multi.WEIGHTS[2]
    assert multi.look_first(lucky, np.array([1.0]), np.array([2.0])) == pytest.approx([6 * chance / (1 + 2 * chance)])


def test_gains_are_the_expected_hypervolume_improvement(multi, monkeypatch):
    rng = np.random.default_rng(1)
    seen = rng.uniform(0.4, 0.6, (12, 5))
    state = multi.State(small(multi, monkeypatch, np.eye(12), seen), None, rng)
    state.parts[[0, 4, 7, 9]] = multi.PARTS
    mean, sd = rng.uniform(0.4, 0.6, 12), rng.uniform(0.01, 0.05, 12)
    scores, macs, worst = state.front
    expected = expected_hypervolume_improvement(
        mean - worst, sd, (state.land.macs - 1)[:, None], scores - worst, (macs - 1)[:, None]
    )
    left = state.parts < multi.PARTS
    assert state.improvement(mean, sd)[left] == pytest.approx(expected[left], rel=0.02, abs=2e-5)
    assert not state.improvement(mean, sd)[~left].any()


def test_layers_are_fronts_of_what_is_left(multi):
    points = np.array([[2.0, 2.0], [1.0, 1.0], [3.0, 3.0], [0.0, 5.0]])
    assert multi.layers(points).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("name", ["early stopping", "freeze-thaw", "freeze without thaw", "screening", "promotion"])
def test_a_policy_spends_its_budget_and_repeats_nothing(multi, monkeypatch, name):
    rng = np.random.default_rng(2)
    group = np.repeat(rng.normal(0.5, 0.05, 12), 5)
    noise = rng.normal(0, 0.02, (60, 5)) * [1, 1, 1, 0.7, 0.5]
    seconds = np.ones((60, 5)) * [0.5, 1, 1, 1, 1]
    land = small(multi, monkeypatch, 0.9 * grouped(12, 5) + 0.1 * np.eye(60), group[:, None] + noise, seconds)
    short = name in multi.NEED_SHORT
    if not short:
        land = multi.Land(land.features, land.macs, land.truth, land.seen[:, 1:], seconds[:, 1:], None)
    ends = multi.simulated(land, multi.POLICIES[name], 0)
    spent, archs = zip(*ends, strict=True)
    assert sorted(spent) == [*spent]
    assert len({*archs}) == len(archs)
    assert spent[0] == 4 + 0.5 * short
    assert spent[-1] <= max(multi.COSTS) * 4 + 4
    shares = land.confirmed(ends)
    assert 0 < shares[0] <= shares[-1] <= 1


def test_the_document_has_the_table_of_the_results(multi):
    told = (ROOT / "docs" / "results" / "multi_fidelity.md").read_text(encoding="utf-8")
    rows = multi.markdown(json.loads(multi.RESULTS.read_text(encoding="utf-8")))
    assert "\n".join(rows) in told
