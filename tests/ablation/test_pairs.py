from dataclasses import replace

import numpy as np
import pytest

from archsearch.ablation.interactions import interactions
from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.pairs import all_pairs, plan_pairs, to_screen, to_test
from archsearch.ablation.yaml import load_study
from archsearch.errors import OptionError
from archsearch.recipes import ProxyRecipe
from archsearch.utils.package_data import shipped

TABLE8 = load_study("inceptionnext_table8", shipped("studies"))
PAIRS = all_pairs(TABLE8, ProxyRecipe())
PLANTED = frozenset(("norm layer", "no vertical band"))


def drawn(study, effects, excess, seeds, noise=0.002, seed=0):
    """An outcome of made-up accuracies: additive, but for the pairs with an excess; the same for the same name."""
    results = []
    for variant in study.variants:
        rng = np.random.default_rng([seed, *variant.name.encode()])
        mean = 0.5 + sum(effects.get(p, 0.0) for p in variant.parts) + excess.get(frozenset(variant.parts), 0.0)
        accuracies = {s: mean + s / 100 + rng.normal(0, noise) for s in seeds}
        results.append(Result(variant.name, variant.factor, variant.base, parts=variant.parts, accuracies=accuracies))
    return Outcome("o", "O", tuple(results))


def carried_out(effects, excess, budget, seed):
    """Screening and testing on made-up accuracies; the pairs that were tested, surest first."""
    made = drawn(TABLE8, effects, excess, range(6), seed=seed)
    first = to_screen(PAIRS, made, budget)
    chosen = list({v.name: v for v, _ in first}.values())
    study = replace(TABLE8, variants=(*TABLE8.variants, *chosen))
    second = to_test(chosen, drawn(study, effects, excess, range(6), seed=seed), budget)
    assert len(first) + len(second) <= budget.trainings
    assert {s for _, s in first}.isdisjoint({s for _, s in second})
    tested = {v.name for v, _ in second}
    outcome = drawn(study, effects, excess, range(6), seed=seed)
    kept = [r for r in outcome.results if len(r.parts) < 2 or r.name in tested]
    return interactions(Outcome("o", "O", tuple(kept)), "t", budget.testing)


def effects_of(seed):
    rng = np.random.default_rng([seed, 77])
    return {v.name: rng.normal(0, 0.01) for v in TABLE8.variants[1:]}


def test_pairs_are_of_different_factors():
    assert all(len({v.factor for v in TABLE8.variants if v.name in pair.parts}) == 2 for pair in PAIRS)
    # 4 x 3 + 4 x 2 + 4 + 3 x 2 + 3 + 2 pairs, of which all can exist.
    assert len(PAIRS) == 35
    assert len({pair.network.key for pair in PAIRS}) == 35


def test_the_pairs_of_the_largest_effects_are_screened_by_the_screening_seeds_alone():
    effects = {"norm layer": 0.05, "branch_ratio 1/16": -0.04, "no square kernel": 0.001}
    budget = plan_pairs(len(PAIRS), 12, range(6))
    made = drawn(TABLE8, effects, {}, range(6), noise=1e-5)
    (first, _), *_ = to_screen(PAIRS, made, budget)
    assert {*first.parts} == {"branch_ratio 1/16", "norm layer"}
    blind = drawn(TABLE8, {}, {}, range(6), noise=1e-5)
    moved = [  # what the testing seeds say must not matter
        Result(r.name, r.factor, r.base, parts=r.parts,
               accuracies={s: a + (0.5 if s in budget.testing else 0) for s, a in r.accuracies.items()})
        if r.name == "norm layer" else r for r in blind.results
    ]  # fmt: skip
    assert to_screen(PAIRS, Outcome("o", "O", tuple(moved)), budget) == to_screen(PAIRS, blind, budget)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_pair_is_found_within_the_budget(seed):
    """One of 35 pairs is 3 points beyond the sum; 60 trainings instead of 210 find and confirm it."""
    effects = effects_of(seed) | {"norm layer": 0.03, "no vertical band": -0.03}
    found = carried_out(effects, {PLANTED: 0.03}, plan_pairs(len(PAIRS), 60, range(6)), seed)
    assert {*found[0].result.parts} == PLANTED
    assert found[0].p_holm < 0.05
    assert found[0].excess.low <= 3 <= found[0].excess.high or abs(found[0].excess.mean - 3) < 0.6


def test_where_there_is_nothing_little_is_found():
    """Choosing by some seeds and testing by others keeps the false alarms of all that is tested at one in 20."""
    budget = plan_pairs(len(PAIRS), 24, range(6))
    runs = [carried_out(effects_of(seed), {}, budget, seed) for seed in range(150)]
    ps = [interaction.excess.p for found in runs for interaction in found]
    assert 0.02 < np.mean([p < 0.05 for p in ps]) < 0.085
    assert np.mean([any(i.p_holm < 0.05 for i in found) for found in runs]) < 0.11


@pytest.mark.parametrize("pairs", [1, 5, 40])
@pytest.mark.parametrize("seeds", [2, 3, 6, 9])
@pytest.mark.parametrize("trainings", range(1, 80, 6))
def test_no_budget_is_exceeded_or_spent_on_nothing(pairs, seeds, trainings):
    try:
        budget = plan_pairs(pairs, trainings, range(seeds))
    except OptionError:
        assert trainings < seeds or (seeds < 3 and trainings < pairs * seeds)
        return
    if not budget.screening:
        assert pairs * seeds <= trainings
        return
    assert 1 <= budget.screened <= pairs
    assert budget.tested(budget.screened) >= 1
    tested = min(budget.screened, budget.tested(budget.screened))
    assert budget.screened * len(budget.screening) + tested * len(budget.testing) <= trainings
    assert not {*budget.screening} & {*budget.testing}
    assert len(budget.testing) >= 2


def test_seeds_that_ever_chose_a_pair_never_test_one():
    assert plan_pairs(40, 60, range(9), used=[0, 5]).testing == (3, 4, 6, 7, 8)
    with pytest.raises(OptionError, match="testing takes 2 others; give more --seeds"):
        plan_pairs(40, 60, range(3), used=[0, 1])


@pytest.mark.parametrize(
    ("pairs", "trainings", "seeds", "says"),
    [
        (0, 9, 3, "no two variants of different factors can be combined"),
        (40, 2, 3, "--pairs 2: one pair takes 3 trainings"),
        (2, 3, 2, "of 2 seeds 1 choose among 2 pairs, and testing takes 2 others; give more --seeds, or --pairs 4"),
        (2, 50, 1, "of 1 seeds 0 choose among 2 pairs"),
    ],
)
def test_budgets_that_test_nothing_are_refused(pairs, trainings, seeds, says):
    with pytest.raises(OptionError, match=says):
        plan_pairs(pairs, trainings, range(seeds))
