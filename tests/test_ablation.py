import numpy as np
import pytest

from archsearch.ablation import (
    all_pairs,
    check_stand_ins,
    counted,
    split_seeds,
    to_screen,
    to_test,
    trainings,
    with_variants,
)
from archsearch.analysis.ablation import interactions
from archsearch.errors import StudyFileError
from archsearch.liststudy import ListStudy, Variant
from archsearch.networks import TimmModel, network
from archsearch.outcome import Outcome, Result
from archsearch.recipes import Proxy, override
from archsearch.shipped import shipped
from archsearch.studyfile import load_study

FOLDER = shipped("studies")
TABLE8 = load_study("inceptionnext_table8", FOLDER)


def test_counts_are_those_of_the_paper():
    study = load_study("convnext_table1", FOLDER)
    for result, variant in zip(counted(study, {}), study.variants, strict=True):
        assert round(result.params / 1e6, 1) == float(variant.row.figures["params_m"])
        assert round(result.macs / 1e9, 1) == float(variant.row.figures["macs_g"])
        assert result.paper["top1"] == float(variant.row.figures["top1"])
        assert result.paper["train"] == float(variant.row.figures["train_img_s"])


def test_what_is_known_is_not_counted_again(monkeypatch):
    study = TABLE8.only(["norm"])
    known = {result.name: result for result in counted(study, {})}
    assert Outcome.from_dict(Outcome("n", "N", tuple(known.values())).to_dict()).results == tuple(known.values())
    monkeypatch.setattr("archsearch.ablation.build_network", lambda network: pytest.fail("counted again"))
    assert counted(study, known) == list(known.values())


def test_seeds_go_round_before_any_network_has_two():
    networks = (*TABLE8.variants[:3], Variant("resnet", TimmModel("resnet18"), "network"))
    asked = trainings(networks, range(2))
    assert [(v.name, seed) for v, seed in asked] == [(v.name, s) for s in range(2) for v in TABLE8.variants[:3]]


def test_stand_ins_that_cannot_show_a_difference_are_refused():
    arch = network("inceptionnext_tiny")
    deeper = ListStudy(
        "s", "S", (Variant("base", arch, base="base"), Variant("deep", arch.replace(depths=(2, 3, 9, 3)), "d", "base"))
    )
    with pytest.raises(StudyFileError, match="'deep' and 'base' have the same proxy, which would show nothing"):
        check_stand_ins(deeper, Proxy())
    check_stand_ins(deeper, override(Proxy(), {"depth": 1}))
    with pytest.raises(StudyFileError, match=r"the proxy of 'inceptionnext_tiny' cannot exist: .*leaves no channel"):
        check_stand_ins(TABLE8, override(Proxy(), {"width": 1 / 24}))


@pytest.mark.parametrize("name", ["convnext_table1", "inceptionnext_table8", "isotropic_table5", "imagenet_table4"])
@pytest.mark.parametrize("proxy", ["cpu_long", "gpu"])
def test_every_study_has_stand_ins(name, proxy):
    from archsearch.recipes import PROXIES

    study = load_study(name, FOLDER)
    check_stand_ins(study, override(PROXIES[proxy], study.proxy))


def drawn(study, effects, excess, seeds, rng, noise=0.002):
    """An outcome of made-up accuracies: additive, but for the pairs with an excess."""
    seedwise = {seed: rng.normal(0, 0.02) for seed in seeds}
    results = []
    for variant in study.variants:
        mean = 0.5 + sum(effects.get(p, 0.0) for p in variant.parts) + excess.get(frozenset(variant.parts), 0.0)
        accuracies = {seed: mean + by + rng.normal(0, noise) for seed, by in seedwise.items()}
        results.append(Result(variant.name, variant.factor, variant.base, parts=variant.parts, accuracies=accuracies))
    return Outcome("o", "O", tuple(results))


def test_pairs_are_of_different_factors_and_the_largest_effects_come_first():
    effects = {"norm layer": 0.05, "branch_ratio 1/16": -0.04, "no square kernel": 0.001}
    made = drawn(TABLE8, effects, {}, range(3), np.random.default_rng(0), noise=1e-5)
    pairs = all_pairs(TABLE8, made, Proxy())
    assert pairs[0].parts in (("branch_ratio 1/16", "norm layer"), ("norm layer", "branch_ratio 1/16"))
    assert all(len({v.factor for v in TABLE8.variants if v.name in pair.parts}) == 2 for pair in pairs)
    # 4 x 3 + 4 x 2 + 4 + 3 x 2 + 3 + 2 pairs, of which all can exist.
    assert len(pairs) == 35
    assert len({pair.network.key for pair in pairs}) == 35


def test_a_budget_for_all_needs_no_screening():
    assert split_seeds(35, 35 * 3, range(3)) == (range(0), range(3))
    screening, testing = split_seeds(35, 60, range(3))
    assert (list(screening), list(testing)) == ([0], [1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_pair_is_found_within_the_budget(seed):
    """One of the pairs is 3 points beyond the sum; 60 trainings instead of 35 x 6 find and confirm it."""
    rng, seeds, budget = np.random.default_rng(seed), range(6), 60
    effects = {v.name: rng.normal(0, 0.01) for v in TABLE8.variants[1:]} | {
        "norm layer": 0.03,
        "no vertical band": -0.03,
    }
    planted = frozenset(("norm layer", "no vertical band"))
    truth = {planted: 0.03}
    made = drawn(TABLE8, effects, truth, seeds, rng)
    pairs = all_pairs(TABLE8, made, Proxy())
    screening, testing = split_seeds(len(pairs), budget, seeds)
    first = to_screen(pairs, budget, screening)
    study, _ = with_variants(TABLE8, made, [v for v, _ in first])
    made = drawn(study, effects, truth, seeds, np.random.default_rng(seed))
    second = to_test(pairs, made, budget, screening, testing)
    assert len(first) + len(second) <= budget
    assert {s for _, s in first}.isdisjoint({s for _, s in second})
    found = interactions(made, "t", testing)
    assert {*found[0].result.parts} == planted
    assert found[0].p_holm < 0.05
    assert "norm layer" in " ".join(v.name for v, _ in second)
    assert planted in {frozenset(v.parts) for v, _ in second}


def test_combinations_join_a_study_once():
    made = Outcome("o", "O", tuple(counted(TABLE8.only(["norm", "branch_ratio"]), {})))
    study = TABLE8.only(["norm", "branch_ratio"])
    pairs = all_pairs(study, made, Proxy())
    bigger, outcome = with_variants(study, made, [pairs[0], pairs[0]])
    again, same = with_variants(bigger, outcome, [pairs[0]])
    assert (again, same) == (bigger, outcome)
    assert outcome.results[-1].name == pairs[0].name
    assert outcome.results[-1].params > 27e6
