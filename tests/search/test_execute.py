"""The library's entry point: a specification to a result, without a command line."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from command import run as run_command

import archsearch
from archsearch import Engine, StudySpec
from archsearch.errors import ArchError, OptionError, SpaceError, StorageError, UserError
from archsearch.recipes import BENCHES, FORMER_BENCHES, FORMER_PROXIES, PROXIES, override
from archsearch.search import ProgressListener, repeat, run
from archsearch.search.recipe_choice import RecipeChoice
from archsearch.search.resolve import _as_begun, resolve
from archsearch.space.yaml import load_space
from archsearch.utils.key_fields import key_fields


class Heard(ProgressListener):
    def __init__(self):
        self.remarks, self.ends = [], []

    def say(self, text):
        self.remarks.append(text)

    def ended(self, trial):
        self.ends.append(trial.number)


def test_a_study_runs_and_goes_on_from_python(spec, capsys):
    heard = Heard()
    result = run(spec, heard)
    assert capsys.readouterr() == ("", ""), "a library prints nothing"
    assert heard.ends == [0, 1, 2]
    outline = "dims 16-32-80-160, depths 1-1-1-1, images of 32 px, maps of 16-8-4-2"
    assert heard.remarks[0] == f"proxy network of the baseline: {outline}"
    assert heard.remarks[1].startswith("Proxy maps of 16-8-4-2 are too small to judge band_kernel_size from 7 on")
    assert heard.remarks[2].startswith("Large enough are --set proxy.img_size=")
    assert result.small_maps == tuple(heard.remarks[1:3])
    assert result.name == "small-accuracy-macs-drawn"
    assert [trial.number for trial in result.trials] == [0, 1, 2]
    assert {objective.name for objective in result.objectives} == {"accuracy", "macs"}
    assert 0 < len(result.front) <= 3
    assert {trial.number for trial in result.front} == {trial.number for trial in result.study.best_trials}
    assert 0 <= result.hypervolume <= 1
    assert result.failure is None
    assert result.val_images == 256
    more = run(dataclasses.replace(spec, n_trials=5))
    assert more.trials[:3] == result.trials
    assert len(more.trials) == 5


def test_the_judgement_of_the_maps_is_on_record_and_that_of_large_ones_is_silent(spec):
    run(spec)
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{spec.storage}")
    found = summary.user_attrs["small_maps"]
    assert {(size["axis"], size["value"]) for size in found["kernel_sizes"] if size["too_large"]} == {
        ("band_kernel_size", 7), ("band_kernel_size", 9), ("kernel_size", 5)
    }  # fmt: skip
    larger = {**spec.proxy_changes, **found["remedies"][0]}
    heard = Heard()
    result = run(dataclasses.replace(spec, proxy_changes=larger, study_name="larger", n_trials=1), heard)
    assert result.small_maps == ()
    assert not any("too small" in remark for remark in heard.remarks)


def test_nothing_is_said_of_maps_where_nothing_is_trained(spec):
    heard = Heard()
    assert run(dataclasses.replace(spec, objectives=("macs", "params")), heard).small_maps == ()
    assert not any("too small" in remark for remark in heard.remarks)


def test_the_command_line_says_it_beside_the_front_and_in_pareto(spec, capsys):
    words = ["--space", spec.space, "--objective", "accuracy,macs", "--n-trials", "1", "--proxy", "smoke"]
    words += ["--bench", "smoke", "--set", "proxy.train_samples=64", "--workers", "0", "--device", "cpu"]
    code, out, err = run_command(capsys, "study", *words, "--storage", spec.storage)
    assert code == 0, err
    told = "Proxy maps of 16-8-4-2 are too small to judge"
    assert told in out
    assert told in err
    page = (Path(spec.storage).parent / "small-accuracy-macs-drawn.html").read_text()
    assert told in page
    code, out, _ = run_command(capsys, "pareto", "small-accuracy-macs-drawn", "--storage", spec.storage)
    assert told in out
    code, out, _ = run_command(capsys, "pareto", "small-accuracy-macs-drawn", "--storage", spec.storage, "-f", "json")
    assert [row["number"] for row in json.loads(out)] == [0]


def test_the_command_line_goes_on_with_a_study_of_the_library(spec, capsys):
    run(spec)
    words = ["study", "--space", spec.space, "--objective", "accuracy,macs", "--n-trials", "4", "--proxy", "smoke"]
    words += ["--bench", "smoke", "--set", "proxy.train_samples=64", "--workers", "0", "--device", "cpu", "-q"]
    code, _, err = run_command(capsys, *words, "--storage", spec.storage)
    assert code == 0, err
    result = run(dataclasses.replace(spec, n_trials=4))
    assert len(result.trials) == 4
    assert result.command.startswith("python cli.py"), "the command of the last run that had one"
    assert result.recipe["sampler"] == "random", "a study keeps its sampler"


def test_a_trial_is_evaluated_again(spec):
    result = run(spec)
    found = repeat(spec, 1)
    assert found.trial == result.trials[1]
    scores = {score.score: score for score in found.scores}
    assert scores["accuracy"].now == scores["accuracy"].recorded, "to the bit, on one machine"
    with pytest.raises(OptionError, match="no finished trial of that number"):
        repeat(spec, 7)


def test_what_suits_one_kind_of_device_alone_is_refused_on_the_other(spec):
    """The recipe for a GPU has a cutout of 8 px."""
    small = {"img_size": 8, "stem_patch_size": 1}
    choice = dataclasses.replace(spec, proxy=None, proxy_changes=small).recipes
    assert [*choice.by_kind(lambda recipe: recipe, "drawn")] == ["cpu"]
    with pytest.raises(OptionError, match=r"--set: .* is 8, but must be an integer from 0 to below img_size"):
        choice.recipes("gpu", lambda recipe: recipe, "drawn")
    with pytest.raises(OptionError, match="--set: unknown field of a proxy recipe 'epohcs'"):
        dataclasses.replace(spec, proxy_changes={"epohcs": 3}).recipes.by_kind(lambda recipe: recipe, "drawn")


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"space": "inception_wd"}, SpaceError, "did you mean 'inception_dw'"),
        ({"objectives": ("acc",)}, OptionError, "did you mean 'accuracy'"),
        ({"constraints": ["macs < 1"]}, OptionError, "write it as 'macs <= 1.5e9'"),
        ({"sampler": "cmaes"}, OptionError, "use nsga2, tpe or cost_aware"),
        ({"proxy_changes": {"epoch": 3}}, OptionError, "did you mean 'epochs'"),
        ({"bench": "cup"}, OptionError, "did you mean 'cpu'"),
        ({"dataset": "folder"}, UserError, "a folder with train/ and val/ or test/"),
        ({"device": "tpu"}, UserError, "tpu"),
        ({"start_from": ["none"]}, OptionError, "it is taken for a study"),
        ({"engine": Engine("rya")}, OptionError, "did you mean 'ray'"),
        ({"storage": "sqlite://"}, StorageError, "would not outlast the program"),
        ({"bench_changes": {"reference": "inceptionnext_tyni"}}, ArchError, "did you mean 'inceptionnext_tiny'"),
        ({"study_name": ""}, OptionError, "leave it out for the default name"),
    ],
)
def test_a_wrong_specification_is_refused_before_anything_is_written(spec, tmp_path, changes, error, complaint):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error) as caught:
        run(dataclasses.replace(spec, **changes))
    assert complaint in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "changes", [{"n_trials": 0}, {"seeds": 0}, {"seed": -1}, {"timeout": 0}, {"constraints": "macs <= 1"}]
)
def test_fields_that_cannot_be_are_refused_at_once(changes):
    with pytest.raises(OptionError, match=next(iter(changes))):
        StudySpec("inception_dw", **changes)


def test_a_specification_is_not_changed_by_what_it_leaves_open(spec):
    before = dataclasses.replace(spec)
    resolved = resolve(dataclasses.replace(spec, n_trials=None, sampler=None))
    assert (resolved.n_trials, resolved.sampler, resolved.begun) == (24, "cost_aware", False)
    assert resolve(dataclasses.replace(spec, n_trials=None, sampler="grid")).n_trials == 10, "all"
    assert spec == before


def test_options_left_out_are_the_defaults_of_a_specification():
    from archsearch.cli import build_parser
    from archsearch.cli.study import spec_of

    asked = spec_of(build_parser()[0].parse_args(["study", "--space", "inception_dw"]))
    plain = StudySpec("inception_dw")
    assert asked.objective_names == plain.objective_names
    fields = [field.name for field in dataclasses.fields(StudySpec) if field.name not in ("command", "objectives")]
    for name in fields:
        one, other = (getattr(spec, name) for spec in (asked, plain))
        assert one == other or (list(one), list(other)) == ([], []), name


def test_a_space_may_be_given_as_such(spec):
    space = load_space(spec.space)
    assert resolve(dataclasses.replace(spec, space=space)).space is space


def test_names_are_exported():
    for package in (archsearch, archsearch.search):
        assert set(package.__all__) <= set(dir(package))
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            package.nothing  # noqa: B018
    assert archsearch.load_space("inception_dw").name == "inception_dw"
    assert archsearch.network("inceptionnext_tiny") == archsearch.load_space("inception_dw").baseline
    assert archsearch.search.run is run


@pytest.mark.parametrize(
    ("part", "kind", "now", "before", "change"),
    [
        ("bench", "gpu", BENCHES["gpu"], FORMER_BENCHES["gpu"], {"batch_size": 8}),
        ("proxy", "cpu", PROXIES["cpu"], FORMER_PROXIES["cpu"], {"batch_size": 8}),
    ],
)
def test_a_study_goes_on_with_the_recipe_that_it_began_with(part, kind, now, before, change):
    """A named recipe has changed; another change of the caller's is no reason to go back to the former one."""

    def goes_on(begun, choice, asked):
        former = {"bench": choice.former_bench(kind), "proxy": choice.former_proxy(kind, lambda recipe: recipe)}[part]
        return _as_begun(SimpleNamespace(begun_with={part: begun and key_fields(begun)}), part, asked, former)

    changed = override(before, change)
    for begun, expected in {None: now, before: before, now: now, changed: now}.items():
        assert goes_on(begun, RecipeChoice(), now) == expected
    chosen = RecipeChoice(**{f"{part}_changes": change})
    assert goes_on(changed, chosen, override(now, change)) == changed
    assert goes_on(before, RecipeChoice(**{part: now}), now) == now
