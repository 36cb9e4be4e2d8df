"""Studies that begin with architectures that somebody names."""

import dataclasses
import json
import math

import pytest
import tiny
import worker_tasks
from command import FAST, refused, run
from optuna.storages import InMemoryStorage
from optuna.trial import create_trial

from archsearch.arch.mixer import declare
from archsearch.arch.networks import NETWORKS
from archsearch.errors import OptionError
from archsearch.search.definition import create_or_resume, load
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.samplers.by_name import SAMPLERS
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of
from archsearch.search.warm_start import Start, read_starts


@pytest.fixture
def study(small_space):
    return tiny.make_study(small_space, name="a")


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "s.db")


def search_of(study, url, starts=()):
    return Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True))), starts=starts)


def go(search, n_trials):
    run_here(Runner(search, n_trials, ProgressListener()), worker_tasks.made_up)
    return search.trials


def essence(trials):
    return [(t.arch.key, dict(t.params), t.state, t.evaluation.scores) for t in trials]


def points(space, *places):
    return [Start(params, f"place {place}") for place, params in enumerate(space.grid()) if place in places]


def write(tmp_path, *entries):
    path = tmp_path / "starts.yaml"
    path.write_text("\n".join(f"- {entry}" for entry in entries) + "\n")
    return str(path)


def test_named_points_come_first_in_their_order_and_are_trials_like_others(study, url):
    starts = points(study.space, 7, 2)[::-1]
    trials = go(search_of(study, url, [*starts, *starts]), 5)
    assert [dict(trial.params) for trial in trials[:2]] == [start.params for start in starts]
    assert len({trial.arch.key for trial in trials}) == len(trials) == 5
    frozen = load("a", open_storage(url, create=False)).trials
    assert [trial.user_attrs.get("start_from") for trial in frozen] == ["place 7", "place 2", None, None, None]
    assert [trial.user_attrs.get("draw") for trial in frozen][:2] == [None, None]
    assert all(set(trial.params) == {axis.name for axis in study.space.axes} for trial in frozen)
    # Known ones are not evaluated again, and the total is the study's.
    assert go(search_of(study, url, points(study.space, 2, 7)), 5) == trials


def test_samplers_see_them():
    """With a first generation of nothing else, the next descends from them."""
    study = tiny.make_study("metanext", population=8)
    starts = [Start(params, "x") for params, _ in zip(study.space.some(), range(8), strict=False)]
    with_them, without = (
        Search(study, StorageMirror(create_or_resume(study, InMemoryStorage())), starts=some) for some in (starts, ())
    )
    go(with_them, 16)
    go(without, 16)
    key = "NSGAIISampler:generation"
    assert [trial.system_attrs[key] for trial in with_them.record.trials] == [0] * 8 + [1] * 8
    shared = {
        axis: {start.params[axis] for start in starts if axis in start.params} for axis in ("block", "token_mixer")
    }
    inherited = [trial.params[axis] in values for trial in with_them.trials[8:] for axis, values in shared.items()
                 if axis in trial.params]  # fmt: skip
    free = [trial.params[axis] in values for trial in without.trials for axis, values in shared.items()
            if axis in trial.params]  # fmt: skip
    assert sum(inherited) / len(inherited) > sum(free) / len(free)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("again", [True, False])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(study, tmp_path, sampler, again):
    study = dataclasses.replace(study, sampler=sampler)
    starts = points(study.space, 1, 4, 8)
    whole = search_of(study, str(tmp_path / "whole.db"), starts)
    go(whole, 8)
    for total in (0, 2, 3, 5, 8):
        parts = search_of(study, str(tmp_path / "parts.db"), starts if again or total <= 3 else ())
        go(parts, total)
        if total < 8:
            parts.ask()  # and the process is gone before it tells
    assert essence(parts.trials) == essence(whole.trials)
    assert parts.draws == whole.draws > 0
    lost = [trial.user_attrs for trial in parts.record.trials if "lost" in trial.user_attrs]
    assert any("start_from" in attrs for attrs in lost)
    told = {trial.user_attrs["arch_key"]: trial.user_attrs.get("start_from") for trial in parts.record.trials}
    assert sorted(filter(None, told.values())) == ["place 1", "place 4", "place 8"]


def test_they_are_no_draws(study, url):
    starts = points(study.space, 0, 1, 2)
    go(search_of(study, url, starts), 3)
    assert search_of(study, url).draws == 0


def test_entries_of_a_file(study, tmp_path, url):
    arch = study.space.arch({"token_mixer": "depthwise", "kernel_size": 5, "dims": "40-80-160-320"})
    file = write(
        tmp_path,
        "inceptionnext_atto",
        json.dumps(arch.to_dict()),
        "{arch: " + json.dumps(arch.replace(mixers=arch.mixers).to_dict()) + ", network: x}",
        "{token_mixer: identity, kernel_size: 3, dims: [32, 64, 128, 256]}",
        "{token_mixer: inception, band_kernel_size: 7, dims: 32-64-128-256}",
    )
    found = read_starts([file], study.space, "a", url)
    assert [start.params for start in found] == [
        {"token_mixer": "inception", "band_kernel_size": 9, "dims": "40-80-160-320"},
        {"token_mixer": "depthwise", "kernel_size": 5, "dims": "40-80-160-320"},
        {"token_mixer": "identity", "dims": "32-64-128-256"},
        {"token_mixer": "inception", "band_kernel_size": 7, "dims": "32-64-128-256"},
    ]
    assert [start.origin for start in found] == [f"starts.yaml, line {line}" for line in (1, 2, 4, 5)]


@pytest.mark.parametrize("indent", [None, 1, "\t"])
def test_json_is_read_as_the_page_copies_it(study, tmp_path, url, indent):
    atto = NETWORKS["inceptionnext_atto"]
    for name, content in (("list", [atto.to_dict()]), ("one", atto.to_dict()), ("told", {"arch": atto.to_dict()})):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content, indent=indent))
        (start,) = read_starts([str(path)], study.space, "a", url)
        assert study.space.arch(start.params) == atto


def test_the_named_networks(study, url):
    said = []
    (start,) = read_starts(["paper"], study.space, "a", url, said.append)
    assert study.space.arch(start.params) == NETWORKS["inceptionnext_atto"]
    assert start.origin == "inceptionnext_atto"
    assert said == [f"starts from 1 of the named networks; {len(NETWORKS) - 1} are not in space small"]


def test_the_front_of_another_study(study, url):
    trials = go(search_of(dataclasses.replace(study, name="first"), url), 10)

    def costs(trial):
        scores = trial.evaluation.scores
        return -scores["accuracy"], scores["macs"], -scores["infer_throughput"]

    def beats(one, two):
        return costs(one) != costs(two) and all(a <= b for a, b in zip(costs(one), costs(two), strict=True))

    front = [trial for trial in trials if not any(beats(rival, trial) for rival in trials)]
    assert 0 < len(front) < len(trials)
    said = []
    found = read_starts(["first"], study.space, "a", url, said.append)
    assert [start.origin for start in found] == [f"first#{trial.number}" for trial in front]
    assert [start.params for start in found] == [trial.params for trial in front]
    assert said == []
    record = load("first", open_storage(url, create=False))
    old = record.trials[front[0].number]  # of an earlier version, whose infinite score would beat all of them
    record.add_trial(create_trial(values=[math.inf, *old.values[1:]], params=old.params,
                                  distributions=old.distributions, user_attrs=old.user_attrs))  # fmt: skip
    assert read_starts(["first"], study.space, "a", url, said.append) == found


def test_what_of_a_front_is_in_no_point_of_the_space_is_left_out_and_counted(study, url, tmp_path):
    go(search_of(dataclasses.replace(study, name="first"), url), 10)
    whole, said = read_starts(["first"], study.space, "a", url), []
    narrow = tmp_path / "narrow.yaml"
    narrow.write_text(tiny.SPACE.replace("name: small", "name: narrow").replace(
        "[[40, 80, 160, 320], [32, 64, 128, 256]]", f"[[{whole[0].params['dims'].replace('-', ', ')}]]"))  # fmt: skip
    found = read_starts(["first"], tiny.make_study(narrow).space, "a", url, said.append)
    inside = [start for start in whole if start.params["dims"] == whole[0].params["dims"]]
    assert [start.origin for start in found] == [start.origin for start in inside]
    left = len(whole) - len(inside)
    assert left > 0
    assert said == [f"starts from {len(inside)} of the front of study first; {left} are not in space narrow"]


def test_several_words_give_no_point_twice(study, url, tmp_path):
    go(search_of(dataclasses.replace(study, name="first"), url), 10)
    file = write(tmp_path, "inceptionnext_atto")
    found = read_starts([file, "paper", "first", file], study.space, "a", url)
    keys = [study.space.arch(start.params).key for start in found]
    assert len(set(keys)) == len(keys)
    assert [start.origin for start in found if study.space.arch(start.params) == NETWORKS["inceptionnext_atto"]] == [
        "starts.yaml, line 1"
    ]


def test_a_mixer_of_that_name_that_is_another_one_is_left_out(small_space, url):
    """What a trial's key says of its architecture is what it was then."""
    small_space.write_text(tiny.SPACE.replace("identity]", "shift]"))
    declare("shift", {}, "as it was")
    study = tiny.make_study(small_space, name="first")
    starts = [Start(params, "x") for params in study.space.grid() if params["token_mixer"] == "shift"]
    go(search_of(study, url, starts[:1]), 1)
    (found,) = read_starts(["first"], study.space, "a", url)
    assert found.params == starts[0].params
    declare("shift", {}, "as it is")
    with pytest.raises(OptionError, match="a warm start from another space"):
        read_starts(["first"], study.space, "a", url)


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        ("- inceptionnext_atto\n- inceptionnext_ato\n", 2, "did you mean 'inceptionnext_atto'"),
        ("- [a\n", 2, "not YAML"),
        ("", 1, "the file must hold a list, with something in it"),
        ("inceptionnext_atto\n", 1, "the file must hold a list"),
        ("- 3\n", 1, "an entry is 3, but must be a network's name"),
        ("-\n  token_mixer: identity\n  dimms: 3\n", 3, "unknown axis of space small 'dimms': did you mean 'dims'"),
        ("- {token_mixer: identity}\n", 1, "it has no value for axis 'dims'; give one of 40-80-160-320, 32-64-128-256"),
        ("-\n  token_mixer: identity\n  dims: [1, 2]\n", 3, "axis 'dims' has no choice [1, 2]; give one of 40-80"),
        ("- convnext_tiny\n", 1, "it is in no point of space small: axis 'kernel_size' has no choice 7 (it has 3, 5)"),
        ("- {depths: [1], dims: [8], mixers: [{token_mixer: x}], mlp_ratios: [1]}\n", 1, "unknown token_mixer 'x'"),
        ("- {depths: [1], mixers: []}\n", 1, "an architecture needs dims, mlp_ratios"),
        ("- timm:resnet50\n", 1, "comes ready made from timm"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(study, tmp_path, url, content, line, complaint):
    path = tmp_path / "starts.yaml"
    path.write_text(content)
    with pytest.raises(OptionError) as error:
        read_starts([str(path)], study.space, "a", url)
    assert str(error.value).startswith(f"{path}, line {line}: ")
    assert complaint in str(error.value)


WORDS = ["--objective", "accuracy,macs", "--study-name", "s", *FAST]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("nowhere.yaml", "cannot read nowhere.yaml: No such file"),
        ("frist", "--start-from: unknown study 'frist': did you mean 'first'?"),
        ("s", "--start-from s: that is this study itself"),
        ("begun", "--start-from begun: that study has no finished trial yet"),
        ("elsewhere", "a warm start from another space"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(
    capsys, tmp_path, small_space, monkeypatch, word, complaint
):
    monkeypatch.chdir(tmp_path)
    study = tiny.make_study(small_space, name="first")
    go(search_of(study, "s.db"), 3)
    search_of(dataclasses.replace(study, name="begun"), "s.db")
    go(search_of(tiny.make_study("macro", name="elsewhere"), "s.db"), 3)
    err = refused(capsys, tmp_path, "study", "--space", small_space, "--storage", "s.db", "--start-from", word, *WORDS)
    assert complaint in err


def test_words_are_refused_where_there_is_no_storage_or_no_network(capsys, tmp_path, small_space, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--storage", "s.db", *WORDS]
    err = refused(capsys, tmp_path, "study", "--space", small_space, "--start-from", "first", *words)
    assert "it is taken for a study (a file's name ends in .yaml, .yml, .json), but there is no storage" in err
    assert "none of the named networks" in refused(
        capsys, tmp_path, "study", "--space", "macro", "--start-from", "paper", *words
    )


@pytest.mark.slow
def test_from_the_command_line(capsys, tmp_path, small_space, monkeypatch):
    """Really trained; a study from another's front is served by its trainings, and says so."""
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, "{token_mixer: identity, dims: [32, 64, 128, 256]}")
    command = ["study", "--space", small_space, "--objective", "accuracy,macs", "--storage", "s.db", *FAST[:-1]]
    code, _, err = run(capsys, *command, "--study-name", "one", "--n-trials", "3", "--start-from", "paper",
                       "--start-from", file)  # fmt: skip
    assert code == 0, err
    assert "starts from 1 of the named networks; 32 are not in space small" in err
    first = load("one", open_storage("s.db", create=False))
    assert [trial.user_attrs.get("start_from") for trial in first.trials] == [
        "inceptionnext_atto", "starts.yaml, line 1", None
    ]  # fmt: skip
    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", lambda *a: pytest.fail("trained again"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "emptied"))
    words = ["--study-name", "two", "--n-trials", len(first.best_trials), "--start-from", "one"]
    code, _, err = run(capsys, *command, *words)
    assert code == 0, err
    second = trials_of(load("two", open_storage("s.db", create=False)))
    assert [trial.evaluation.reused for trial in second] == [{"accuracy": f"one#{t.number}"} for t in first.best_trials]
    assert f"; top-1 from one#{first.best_trials[0].number}" in err
    assert f"of {len(second)} new trials, {len(second)} took a known training and 0 a known timing" in err
    assert "reused.accuracy" in (tmp_path / "two.html").read_text()


@pytest.mark.slow
def test_training_again_is_training_again(capsys, tmp_path, small_space, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["study", "--space", small_space, "--objective", "accuracy,macs", "--storage", "s.db", *FAST[:-1]]
    words = ["--start-from", "paper", "--n-trials", "1"]
    for name, more, reused in [
        ("one", [], {}),
        ("two", ["--retrain"], {}),
        ("three", ["--remeasure"], {"accuracy": "one#0"}),
    ]:
        code, _, err = run(capsys, *command, *words, "--study-name", name, *more)
        assert code == 0, err
        (trial,) = trials_of(load(name, open_storage("s.db", create=False)))
        assert trial.evaluation.reused == reused
    code, _, err = run(capsys, *command, *words, "--study-name", "four", "--storage", "t.db")
    assert code == 0, err
    (trial,) = trials_of(load("four", open_storage("t.db", create=False)))
    assert trial.evaluation.reused == {"accuracy": "an earlier training on this machine"}
