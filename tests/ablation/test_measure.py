from dataclasses import replace

import pytest

from archsearch.ablation.measure import carried, check_proxies, counted, key_of, trainings, with_variants
from archsearch.ablation.outcome import Outcome
from archsearch.ablation.pairs import all_pairs
from archsearch.ablation.variants import ListStudy, Variant
from archsearch.ablation.yaml import load_study
from archsearch.arch.networks import TimmModel, network
from archsearch.errors import StudyFileError
from archsearch.recipes import ProxyRecipe, override
from archsearch.utils.package_data import shipped

FOLDER = shipped("studies")
TABLE8 = load_study("inceptionnext_table8", FOLDER)


@pytest.fixture(scope="module")
def results():
    """Counts of some networks of Table 8, which tests only read."""
    return tuple(counted(TABLE8.only(["norm", "branch_ratio"]), {}))


def test_counts_are_those_of_the_paper():
    study = load_study("convnext_table1", FOLDER)
    for result, variant in zip(counted(study, {}), study.variants, strict=True):
        assert round(result.params / 1e6, 1) == float(variant.row.figures["params_m"])
        assert round(result.macs / 1e9, 1) == float(variant.row.figures["macs_g"])
        assert result.paper["top1"] == float(variant.row.figures["top1"])
        assert result.paper["train"] == float(variant.row.figures["train_img_s"])


def test_what_is_known_is_not_counted_again(monkeypatch, results):
    study = TABLE8.only(["norm", "branch_ratio"])
    known = {result.name: result for result in results}
    assert Outcome.from_dict(Outcome("n", "N", tuple(known.values())).to_dict()).results == tuple(known.values())
    monkeypatch.setattr("archsearch.ablation.measure.build_network", lambda network: pytest.fail("counted again"))
    assert counted(study, known) == list(known.values())


def test_seeds_go_round_before_any_network_has_two():
    networks = (*TABLE8.variants[:3], Variant("resnet", TimmModel("resnet18"), "network"))
    asked = trainings(networks, range(2))
    assert [(v.name, seed) for v, seed in asked] == [(v.name, s) for s in range(2) for v in TABLE8.variants[:3]]


def test_proxies_that_cannot_show_a_difference_are_refused():
    arch = network("inceptionnext_tiny")
    deeper = ListStudy(
        "s", "S", (Variant("base", arch, base="base"), Variant("deep", arch.replace(depths=(2, 3, 9, 3)), "d", "base"))
    )
    with pytest.raises(StudyFileError, match="'deep' and 'base' have the same proxy network, which would show nothing"):
        check_proxies(deeper, ProxyRecipe())
    check_proxies(deeper, override(ProxyRecipe(), {"depth": 1}))
    with pytest.raises(StudyFileError, match=r"the proxy network of 'inceptionnext_tiny' cannot exist: .*no channel"):
        check_proxies(TABLE8, override(ProxyRecipe(), {"width": 1 / 24}))


@pytest.mark.parametrize("name", ["convnext_table1", "inceptionnext_table8", "isotropic_table5", "imagenet_table4"])
@pytest.mark.parametrize("proxy", ["cpu_long", "gpu", "gpu_fast"])
def test_every_study_has_proxies(name, proxy):
    from archsearch.recipes import PROXIES

    study = load_study(name, FOLDER)
    check_proxies(study, study.fitted(PROXIES[proxy]))


def test_combinations_join_a_study_once(results):
    study = TABLE8.only(["norm", "branch_ratio"])
    made = Outcome("o", "O", results)
    pairs = all_pairs(study, ProxyRecipe())
    bigger, outcome = with_variants(study, made, [pairs[0], pairs[0]])
    again, same = with_variants(bigger, outcome, [pairs[0]])
    assert (again, same) == (bigger, outcome)
    assert outcome.results[-1].name == pairs[0].name
    assert outcome.results[-1].params > 27e6


def test_of_an_earlier_runs_pairs_those_stay_that_still_are_pairs(results):
    study = TABLE8.only(["norm", "branch_ratio"])
    made = Outcome("o", "O", results)
    pair = next(p for p in all_pairs(study, ProxyRecipe()) if "branch_ratio 1/4" in p.parts)
    _, outcome = with_variants(study, made, [pair])
    assert [r.name for r in carried(study, made.results, outcome)] == [r.name for r in outcome.results]
    edited = [replace(v, changes={"branch_ratio": 0.2}) if v.name == "branch_ratio 1/4" else v for v in study.variants]
    assert carried(replace(study, variants=tuple(edited)), made.results, outcome) == list(made.results)
    alone = TABLE8.only(["norm"])
    assert len(carried(alone, [results[0], results[-1]], outcome)) == 2


def test_networks_are_told_apart_by_all_that_they_are():
    tiny = network("inceptionnext_tiny")
    keys = [key_of(n) for n in (tiny, tiny.replace(norm="layer"), tiny.replace(img_size=192), TimmModel("a", 192))]
    assert len({*keys, key_of(TimmModel("a", 224)), key_of(TimmModel("b", 192))}) == 6
