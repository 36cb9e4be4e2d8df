import dataclasses

import pytest

from archsearch.errors import StudyFileError
from archsearch.fidelity.small_maps_plan import plan_maps
from archsearch.fidelity.yaml import load_plan
from archsearch.recipes import PROXIES
from archsearch.utils.package_data import shipped

FOLDER, SPACES = shipped("studies") / "fidelity", shipped("search_spaces")
GOOD = """\
title: mine
space: inception_dw
proxy: cpu
archs: 8
seeds: 3
schedules:
  short: {epochs: 1}
  wide: {width: 3/8}
reference: {epochs: 9, seeds: 2}
paper: {tables: [1, 8], schedules: [short, reference], seeds: 4}
"""


def written(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return load_plan(str(path), FOLDER, SPACES)


def test_plans_say_which_kernel_sizes_the_maps_of_their_schedules_are_too_small_to_judge(tmp_path):
    text = """space: inception_dw
schedules:
  1 epoch: {epochs: 1}
  6 epochs: {epochs: 6}
  stem stride 1, 1 epoch: {stem_patch_size: 1, epochs: 1}
reference: {epochs: 16}
"""
    told = plan_maps(written(tmp_path, text))
    assert [line.partition(": Proxy maps of ")[0] for line in told] == [
        "space inception_dw, 1 epoch, 6 epochs and reference",
        "space inception_dw, stem stride 1, 1 epoch",
    ]
    assert "maps of 16-8-4-2 are too small to judge square_kernel_size and kernel_size from 5 on" in told[0]
    assert "Large enough are img_size 96, or img_size 48 with stem_patch_size 1." in told[0]
    assert "maps of 32-16-8-4" in told[1]


def test_rows_of_the_papers_tables_are_judged_by_the_sizes_in_which_they_differ():
    told = [line for line in plan_maps(load_plan("inception_dw")) if line.startswith("Table")]
    assert any(line.startswith("Table 1,") and "judge kernel_size from 5 on" in line for line in told)
    assert any(line.startswith("Table 8,") and "judge band_kernel_size from 7 on" in line for line in told)


def test_a_plan(tmp_path):
    plan = written(tmp_path, GOOD)
    assert (plan.name, plan.title, plan.archs) == ("plan", "mine", 8)
    assert [(schedule.name, schedule.seeds) for schedule in plan.schedules] == [("short", 3), ("wide", 3)]
    assert plan.schedules[1].proxy.width == 0.375
    assert plan.schedules[0].proxy.img_size == 32
    assert (plan.reference.proxy.epochs, plan.reference.seeds) == (9, 2)
    assert len(plan.paper) == 8 + 11
    assert [(schedule.name, schedule.seeds, schedule.proxy.epochs) for schedule in plan.paper_schedules] == [
        ("short", 4, 1),
        ("reference", 4, 9),
    ]


def test_schedules_start_from_what_the_space_makes_of_a_recipe(tmp_path):
    plan = written(
        tmp_path, GOOD.replace("proxy: cpu", "proxy: smoke").replace("wide: {width: 3/8}", "thin: {width: 1/8}")
    )
    made = [(s.proxy.width, s.proxy.depth, s.proxy.width_step) for s in plan.schedules]
    assert made == [(1 / 4, 1 / 3, 16), (1 / 8, 1 / 3, 16)]


def test_a_schedule_may_be_of_another_recipe(tmp_path):
    plan = written(tmp_path, GOOD.replace("wide: {width: 3/8}", "other: {proxy: cpu_long, lr: 0.01}"))
    fitted = plan.space.fitted(PROXIES["cpu_long"])
    assert plan.schedules[1].proxy == dataclasses.replace(fitted, lr=0.01)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_shipped_plans_load_and_their_proxies_exist(name):
    plan = load_plan(name, FOLDER, SPACES)
    for schedule in (*plan.schedules, plan.reference):
        plan.space.check_proxy(schedule.proxy)
    assert plan.archs >= 20
    shortest = min(passes(schedule.proxy) for schedule in plan.schedules)
    assert passes(plan.reference.proxy) > 5 * shortest


def passes(proxy):
    """Images that a training looks at, of as many as CIFAR-10 has to train with."""
    return proxy.epochs * proxy.per_epoch(proxy.train_samples or 45_000)


def test_a_space_beside_the_plan(tmp_path, small_space):
    assert written(tmp_path, GOOD.replace("inception_dw", small_space.name)).space.name == "small"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("space: inception_dw", "space: inceptoin_dw", "line 2: unknown space 'inceptoin_dw': did you mean"),
        ("space: inception_dw\n", "", "key 'space' is missing"),
        ("proxy: cpu", "proxy: cup", "line 3: unknown proxy 'cup': did you mean 'cpu'"),
        ("archs: 8", "archs: 3", "line 4: archs is 3, but must be a whole number of at least 6"),
        ("seeds: 3", "seeds: none", "line 5: seeds is 'none'"),
        ("{epochs: 1}", "{proxy: quikc}", "line 7: unknown proxy 'quikc': did you mean 'quick'"),
        ("seeds: 2}", "first_seed: 0}", "line 9: first_seed is 0, but must be a whole number of at least 1"),
        ("seeds: 2}", "first_seed: 3}", "line 9: first_seed is 3, but a schedule has the seeds 0 to 3; begin at 4"),
        ("seeds: 2}", "judged: tset}", "line 9: unknown split to judge the reference on 'tset': did you mean 'test'"),
        ("{epochs: 1}", "{epochs: 1, judged: val}", "line 7: unknown field of a proxy recipe 'judged'"),
        ("seeds: 3", "sedes: 3", "line 5: unknown key of a plan 'sedes'"),
        ("{epochs: 1}", "{epocs: 1}", "line 7: unknown field of a proxy recipe 'epocs': did you mean 'epochs'"),
        ("{epochs: 1}", "{epochs: 0}", "line 7: epochs is 0"),
        ("{epochs: 1}", "1", "'short' must be a mapping"),
        ("  short: {epochs: 1}\n  wide: {width: 3/8}\n", "  reference: {}\n", "line 6: schedules must name"),
        ("reference: {epochs: 9, seeds: 2}\n", "", "key 'reference' is missing"),
        ("[1, 8]", "[1, 7]", "line 10: unknown table of the paper '7'"),
        ("[1, 8]", "1", "paper needs lists"),
        ("[1, 8]", "[3]", "line 10: paper can only name tables that have a top-1"),
        (
            "  short: {epochs: 1}",
            "  short:\n    epochs: 1\n    widht: 1/2",
            "line 9: unknown field of a proxy recipe 'widht'",
        ),
        ("[short, reference]", "[shrot]", "unknown schedule 'shrot': did you mean 'short'"),
        ("seeds: 4}", "seeds: 0}", "seeds is 0"),
        ("title: mine", "title: [", "not YAML"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, before, after, words):
    assert before in GOOD
    with pytest.raises(StudyFileError) as error:
        written(tmp_path, GOOD.replace(before, after))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_plans_that_say_rungs_mean_schedules(tmp_path):
    new, old = written(tmp_path, GOOD), written(tmp_path, GOOD.replace("schedules:", "rungs:"))
    assert new == old
    with pytest.raises(StudyFileError, match="line 9: schedules and rungs mean the same; keep schedules"):
        written(tmp_path, GOOD.replace("reference:", "rungs: {one: {}}\nreference:"))


def test_another_number_of_seeds(tmp_path):
    plan = written(tmp_path, GOOD).with_seeds(5)
    assert {schedule.seeds for schedule in (*plan.all_schedules, *plan.paper_schedules)} == {5}
    assert (plan.seeds_of(plan.schedules[0]), plan.seeds_of(plan.reference)) == (range(5), range(1000, 1005))
    with pytest.raises(StudyFileError, match="plan plan, 'short': 1001 seeds reach into those of the reference"):
        plan.with_seeds(1001).check()
    three = written(tmp_path, GOOD.replace("seeds: 2}", "seeds: 2, first_seed: 4}"))
    assert three.with_seeds(3).seeds_of(three.reference) == range(4, 6)


@pytest.mark.parametrize(("words", "split"), [("", "test"), ("judged: val, ", "val"), ("judged: test, ", "test")])
def test_what_the_reference_is_judged_on(tmp_path, words, split):
    plan = written(tmp_path, GOOD.replace("{epochs: 9,", f"{{{words}epochs: 9,"))
    assert plan.judged == split
    assert [plan.split_of(schedule) for schedule in plan.all_schedules] == ["val", "val", split]


def test_some_schedules_of_a_plan(tmp_path):
    plan = written(tmp_path, GOOD).only(["wide"])
    assert [schedule.name for schedule in plan.all_schedules] == ["wide", "reference"]
    assert [schedule.name for schedule in plan.paper_schedules] == ["reference"]


def test_unknown_plans_are_offered_the_nearest(tmp_path):
    with pytest.raises(StudyFileError, match="did you mean 'inception_dw'"):
        load_plan("inception_wd", FOLDER, SPACES)
    with pytest.raises(StudyFileError, match="cannot read"):
        load_plan(str(tmp_path / "none.yaml"), FOLDER, SPACES)
