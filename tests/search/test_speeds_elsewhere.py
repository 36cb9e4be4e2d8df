"""Studies whose speeds another machine measured."""

import dataclasses
import random

import pytest
import tiny
from elsewhere import DEVICE, rows, speed, write

from archsearch.errors import OptionError, StorageError
from archsearch.search import run
from archsearch.search.definition import load
from archsearch.search.engines.runner import ProgressListener
from archsearch.search.resolve import resolve
from archsearch.search.spec import Engine, StudySpec
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of
from archsearch.space.listed import ListedSpace
from archsearch.space.yaml import load_space


class Said(ProgressListener):
    """Keeps what is said."""

    def __init__(self):
        self.words = []

    def say(self, text):
        self.words.append(text)


@pytest.fixture
def space(small_space):
    return load_space(str(small_space))


@pytest.fixture
def archs(space):
    return [space.arch(params) for params in space.grid()][1::2]


@pytest.fixture(autouse=True)
def no_timing(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something is timed here")

    monkeypatch.setattr("archsearch.benchmark.timer.Timer._measure", refuse)
    monkeypatch.setattr("archsearch.benchmark.reference.time_reference", refuse)


@pytest.fixture
def spec(small_space, tmp_path, archs):
    return StudySpec(
        space=small_space,
        objectives="macs,infer_throughput,latency_ms",
        engine=Engine(workers=0),
        device="cpu",
        proxy="smoke",
        storage=str(tmp_path / "s.db"),
        speeds=write(tmp_path / "f.json", rows(archs)),
    )


def test_only_architectures_of_the_file_are_scored_with_its_speeds(spec, archs):
    result = run(spec)
    assert {t.arch.key for t in result.trials} == {arch.key for arch in archs}
    assert result.name == "small-macs,infer_throughput,latency_ms-drawn-on-toy-board".replace(",", "-")
    for trial in result.trials:
        place = next(place for place, arch in enumerate(archs) if arch.key == trial.arch.key)
        assert trial.state == "complete"
        assert trial.evaluation.scores["infer_throughput"] == pytest.approx(speed(place))
        assert trial.evaluation.scores["latency_ms"] == pytest.approx(1e3 / speed(place, "latency"))
        assert trial.evaluation.details["infer_throughput"]["device"] == DEVICE
        assert not trial.evaluation.reused
    stored = trials_of(load(result.name, open_storage(spec.storage, create=False)))
    assert [t.evaluation.scores for t in stored] == [t.evaluation.scores for t in result.trials]


def test_networks_that_are_not_known_here_are_said_in_one_remark(spec, archs, tmp_path):
    changed = [{**row, "model": f"my {row['model']}", "key": "0123456789ab"} for row in rows(archs[2:])]
    said = Said()
    run(dataclasses.replace(spec, n_trials=1, speeds=write(tmp_path / "g.json", rows(archs[:2]), changed)), said)
    (told,) = [words for words in said.words if "not known here" in words]
    assert "left out: my net0 (the file of one of its mixers is another one here" in told
    assert told.endswith(f"; and {len(archs) - 3} more")


@pytest.mark.parametrize("sampler", ["cost_aware", "nsga2", "random", "grid", "qmc"])
def test_every_sampler_finds_them_all_and_no_other(spec, archs, sampler):
    result = run(dataclasses.replace(spec, sampler=sampler, n_trials=20, study_name=sampler))
    assert sorted(t.arch.key for t in result.trials) == sorted(arch.key for arch in archs)


def test_a_study_goes_on_with_the_same_content_alone(spec, archs, tmp_path, monkeypatch):
    run(dataclasses.replace(spec, n_trials=2))
    copy = write(tmp_path / "copy.json", rows(archs))
    assert len(run(dataclasses.replace(spec, n_trials=3, speeds=copy)).trials) == 3
    name = resolve(spec).name
    other = write(tmp_path / "other.json", rows(archs[::-1]))
    with pytest.raises(StorageError, match=r"other speeds \(those of Toy Board, not others of the same device\)"):
        run(dataclasses.replace(spec, speeds=other))
    board = write(tmp_path / "board.json", rows(archs, device="Big Board"))
    with pytest.raises(StorageError, match=r"those of Toy Board, not those of Big Board"):
        run(dataclasses.replace(spec, speeds=board, study_name=name))
    monkeypatch.setattr("archsearch.search.execute.fixed_speeds", lambda *args: {})
    with pytest.raises(StorageError, match=r"those of Toy Board, not those measured here"):
        run(dataclasses.replace(spec, speeds=None, bench="smoke", study_name=name))


def test_studies_with_other_speeds_share_none(spec, archs, tmp_path):
    run(spec)
    board = write(tmp_path / "board.json", rows(archs[::-1], device="Big Board"))
    result = run(dataclasses.replace(spec, speeds=board))
    assert not any(t.evaluation.reused for t in result.trials)
    scores = {t.arch.key: t.evaluation.scores["infer_throughput"] for t in result.trials}
    assert scores == {arch.key: pytest.approx(speed(place)) for place, arch in enumerate(archs[::-1])}


def test_constraints_on_speeds_are_of_the_file(spec, archs):
    bound = (speed(1) + speed(2)) / 2
    result = run(dataclasses.replace(spec, constraints=[f"infer_throughput >= {bound}"]))
    feasible = {t.arch.key for t in result.trials if t.state == "complete"}
    assert feasible == {arch.key for arch in archs[:2]}
    with pytest.raises(OptionError, match="no architecture of space small was found that keeps"):
        run(dataclasses.replace(spec, constraints=["infer_throughput >= 1000"], study_name="none"))


def test_a_constraint_needs_the_baseline(spec, space, archs, tmp_path):
    wanted = dataclasses.replace(spec, constraints=["infer_throughput >= 0.5 * baseline"])
    with pytest.raises(OptionError, match=r"has no infer_throughput of the space's baseline"):
        run(wanted)
    file = write(tmp_path / "g.json", rows([*archs, space.baseline]))
    assert run(dataclasses.replace(wanted, speeds=file)).trials


def test_starts_that_the_file_lacks_are_named_with_the_command_that_times_them(spec, archs, tmp_path):
    before = run(spec)
    kept = next(trial for trial in before.front if trial.number == min(t.number for t in before.front))
    others = [f"{before.name}#{trial.number}" for trial in before.front if trial is not kept]
    assert others
    said, file = Said(), write(tmp_path / "g.json", rows([kept.arch]))
    result = run(dataclasses.replace(spec, speeds=file, start_from=[before.name], study_name="next"), said)
    assert [trial.arch for trial in result.trials] == [kept.arch]
    (line,) = [words for words in said.words if words.startswith("left out: ")]
    assert f"{', '.join(others)} ({file} has no speed of it)" in line
    assert f"`benchmark {' '.join(f'study:{name}' for name in others)} --results-file FILE.json`" in line


def test_a_start_of_a_file_that_has_no_speed_is_refused_with_its_line(spec, tmp_path):
    file = tmp_path / "starts.yaml"
    file.write_text("- inceptionnext_atto\n")
    with pytest.raises(OptionError, match=r"line 1: it is in no point of space small: .*f\.json has no speed of it"):
        run(dataclasses.replace(spec, start_from=[str(file)]))


def test_no_start_that_the_file_knows_is_refused(spec):
    with pytest.raises(OptionError, match=r"none of the named .*`benchmark inceptionnext_atto --results-file"):
        run(dataclasses.replace(spec, start_from=["paper"]))


def test_images_of_the_size_of_the_file(spec, archs, tmp_path):
    small = [arch.replace(img_size=96) for arch in archs]
    result = run(dataclasses.replace(spec, speeds=write(tmp_path / "g.json", rows(small))))
    assert {t.arch.key for t in result.trials} == {arch.key for arch in archs}
    assert result.recipe["bench"]["img_size"] == 96


WRONG = {
    "nothing measured": ({"objectives": "macs"}, "nothing is measured for macs"),
    "a recipe of the timing": ({"bench": "smoke"}, "nothing is timed here"),
    "a field of it": ({"bench_changes": {"rounds": 3}}, "nothing is timed here"),
    "no such file": ({"speeds": "nowhere.json"}, "cannot read nowhere.json"),
    "a score that it lacks": ({"objectives": "macs,energy_mj"}, "none of its .* energy_mj"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_is_refused_before_anything_is_written(spec, tmp_path, kind):
    changes, complaint = WRONG[kind]
    with pytest.raises(OptionError, match=complaint) as refused:
        run(dataclasses.replace(spec, **changes))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "s.db").exists()


def test_an_unknown_space_is_refused(spec, tmp_path):
    file = write(tmp_path / "g.json", rows([tiny.SMALL]))
    with pytest.raises(OptionError, match=r"none of its 1 architectures is in space small"):
        run(dataclasses.replace(spec, speeds=file))


def test_a_listed_space_has_its_list_alone(space, archs):
    listed = ListedSpace.of(space, [*archs, tiny.SMALL, *archs], "no")
    assert listed.points() == listed.distinct() == len(archs)
    assert {listed.arch(params) for params in listed.grid()} == {*archs}
    rng = random.Random(0)
    assert {listed.arch(listed.sample(rng)) for _ in range(200)} == {*archs}
    others = [params for params in space.grid() if space.arch(params) not in archs]
    assert [listed.possible(params) for params in others] == [None] * len(others)
    assert listed.whole == space
    assert listed.to_dict() == space.to_dict()
