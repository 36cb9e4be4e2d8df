"""Trials that are pruned, and candidates that get another seed."""

import dataclasses
import itertools
import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import tiny
from optuna.trial import TrialState

from archsearch.objectives import parse_objectives
from archsearch.search.definition import create_or_resume
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.rungs import ENOUGH, Curves, regression, rungs
from archsearch.search.samplers.by_name import SAMPLERS
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.trial import Epoch, EpochDone, Evaluation, SeedDone, Trial

EPOCHS = 8
OBJECTIVES = parse_objectives("accuracy,macs")


def curve(final, epochs=EPOCHS, wobble=0.0):
    """Climbs to its end, with a deviation on the way there that is gone at the end."""
    steps = range(1, epochs + 1)
    return tuple(Epoch(e, 1.0, final * (0.4 + 0.6 * e / EPOCHS) + wobble * (1 - e / EPOCHS), 1.0) for e in steps)


SPACE = tiny.shipped_space("inception_dw")
AXES = {axis.name: axis.values for axis in SPACE.axes}
#: Points of the space from small to large.
POINTS = [
    {"token_mixer": "pooling", "depths": depths, "dims": dims}
    for dims, depths in itertools.product(AXES["dims"], AXES["depths"])
]
#: One that no trial has had.
CANDIDATE = SimpleNamespace(params=POINTS[9])


def finished(number, final, macs, wobble=0.0):
    done = Evaluation({"accuracy": final, "macs": macs}, curve=curve(final, wobble=wobble))
    return Trial(number, "complete", tiny.SMALL, POINTS[number % len(POINTS)], 0, done, {})


def judge(trials, images=0, **changes):
    fields = {"space": SPACE, "seed": 0, "objectives": OBJECTIVES, "early_stopping": True, "stopping_level": 0.95}
    record = SimpleNamespace(user_attrs={"archsearch": {}, "val_images": images})
    return EarlyStopping(SimpleNamespace(study=SimpleNamespace(**fields | changes), record=record, told=trials), EPOCHS)


def under_way(final, macs, epochs, **changes):
    return EpochDone(Evaluation({"macs": macs}, curve=curve(final, epochs), **changes))


#: Curves that end in the order in which they stand early on, give or take a hundredth.
KNOWN = [finished(n, 0.5 + 0.04 * n, 1e9 + 1e8 * n, 0.01 * (-1) ** n) for n in range(8)]


#: The same ends, by architectures that have nothing to do with them.
SHUFFLED = (3, 0, 6, 1, 5, 7, 2, 4)
UNEXPLAINED = [finished(n, 0.5 + 0.04 * at, 1e9, 0.01 * (-1) ** n) for n, at in enumerate(SHUFFLED)]


@pytest.mark.parametrize("epochs", [1, 2, 5, 8, 9, 16, 20, 300])
def test_rungs_are_few_and_end_before_the_end(epochs):
    found = rungs(epochs)
    assert len(found) == min(epochs - 1, 7)
    assert list(found) == sorted(set(found))
    assert all(0 < rung < epochs for rung in found)


def test_what_is_dearer_and_worse_is_pruned_at_a_rung_and_only_there():
    stop = judge(KNOWN)
    assert all(stop(CANDIDATE, under_way(0.4, 2e9, epochs)) for epochs in range(1, EPOCHS))
    stop.rungs = (1, 4)
    found = [epochs for epochs in range(1, EPOCHS) if stop(CANDIDATE, under_way(0.4, 2e9, epochs))]
    assert found == [1, 4]


def test_what_is_cheaper_than_all_is_never_pruned():
    stop = judge(KNOWN)
    assert not any(stop(CANDIDATE, under_way(0.1, 0.9e9, epochs)) for epochs in range(1, EPOCHS))


def test_what_may_still_catch_up_goes_on():
    """The same curve is pruned where others ended as they began, and not where they changed places.

    Scores have nothing to do with architectures here, so that the model has nothing to add to curves.
    """
    unsteady = [finished(n, 0.5 + 0.04 * at, 1e9, 0.3 * (-1) ** n) for n, at in enumerate(SHUFFLED)]
    assert judge(UNEXPLAINED)(CANDIDATE, under_way(0.65, 2e9, 1))
    assert not judge(unsteady)(CANDIDATE, under_way(0.65, 2e9, 1))


def test_what_the_model_knows_of_an_architecture_counts():
    """With the same undecided curve, a large network is expected to do as large ones have done."""
    large, expected = SimpleNamespace(params=POINTS[-1]), []
    for sign in (1, -1):
        known = [finished(n, 0.64 + sign * (0.04 * n - 0.14), 1e9, 0.3 * (-1) ** (n * (n - 1) // 2)) for n in range(8)]
        stop, event = judge(known), under_way(0.64, 2e9, 1)
        stop(large, event)
        expected.append(stop.predict(large, event.known).mean)
    assert expected[0] > 0.7
    assert expected[1] < 0.58


def test_a_study_that_goes_on_prunes_as_if_it_had_not_been_interrupted():
    """What is heard trial by trial, with questions in between, leaves nothing behind that one hearing would not."""
    told, event = [], under_way(0.62, 2e9, 3)
    step_by_step = judge(told, images=2400)
    for trial in [*KNOWN, *(finished(n, 0.6 + 0.002 * n, 1.5e9, 0.02) for n in range(8, 12))]:
        told.append(trial)
        step_by_step(CANDIDATE, event)
    resumed = judge(told, images=2400)
    resumed(CANDIDATE, event)
    assert resumed.predict(CANDIDATE, event.known) == step_by_step.predict(CANDIDATE, event.known)


def test_lower_levels_prune_whatever_higher_ones_do():
    pruned = []
    for level in (0.5, 0.95, 0.999):
        stop = judge(UNEXPLAINED, stopping_level=level)
        pruned.append({at for at in range(400, 900) if stop(CANDIDATE, under_way(at / 1000, 2e9, 4))})
    assert pruned[0] > pruned[1] > pruned[2]


def test_the_luck_of_the_front_prunes_nobody():
    """Of many that differ by chance alone, the first is no better than another one that is as good as they all are."""
    rng = np.random.default_rng(1)
    trials = []
    for n, params in enumerate([*SPACE.grid()][::20]):
        accuracy = 0.6 + float(rng.normal(0, 0.01))
        done = Evaluation({"accuracy": accuracy, "macs": 1e9}, curve=curve(accuracy))
        trials.append(Trial(n, "complete", tiny.SMALL, params, 0, done, {}))
    assert judge(trials)(CANDIDATE, under_way(0.6, 2e9, 4))
    assert not judge(trials, images=2400)(CANDIDATE, under_way(0.6, 2e9, 4)), "chance is 0.01 of 2,400 images"


def test_nobody_is_judged_by_few():
    assert not judge(KNOWN[: ENOUGH - 1])(CANDIDATE, under_way(0.1, 2e9, 4))
    assert judge(KNOWN[:ENOUGH])(CANDIDATE, under_way(0.1, 2e9, 4))


def test_pruned_failed_and_infeasible_trials_judge_nobody():
    states = ("pruned", "failed", "infeasible")
    others = [dataclasses.replace(trial, state=states[n % 3]) for n, trial in enumerate(KNOWN)]
    assert not judge(others)(CANDIDATE, under_way(0.1, 2e9, 4))


def test_a_candidate_whose_costs_are_not_known_is_not_pruned():
    assert not judge(KNOWN)(CANDIDATE, EpochDone(Evaluation({}, curve=curve(0.1, 4))))


def test_a_line_through_curves_foretells_their_ends():
    curves = Curves(EPOCHS)
    for trial in KNOWN:
        curves.add(trial.evaluation.curve)
        curves.add(trial.evaluation.curve[:3])  # which is no whole one
    found = curves.predict(curve(0.6, 4))
    assert found.mean == pytest.approx(0.6, abs=0.02)
    assert 0 < found.sd < 0.05
    assert found.upper(0.99) > found.upper(0.9) > found.mean


@pytest.mark.parametrize("accuracy", [0.1, 0.2, 0.3, 0.7])
def test_curves_that_are_all_alike_at_a_rung_foretell_their_mean(accuracy):
    """What rounding leaves of their spread would make a line as steep as can be."""
    late = np.linspace(0.4, 0.6, 6)
    found = regression(np.full((6, 1), accuracy), late, np.array([accuracy + 0.05]))
    assert found.mean == pytest.approx(0.5)
    assert found.sd == pytest.approx(np.std(late, ddof=1) * np.sqrt(5 / 4 * 7 / 6))


def test_what_is_left_of_the_others_does_not_tell_an_end():
    """Their mean is the lower the better the one left out: a perfect predictor, were its slope taken as it is."""
    ends = np.linspace(0.4, 0.6, 8)
    others = (ends.sum() - ends) / 7
    assert np.corrcoef(others, ends)[0, 1] == pytest.approx(-1)
    found = regression(others[:, None], ends, np.array([0.5]))
    assert found.mean == pytest.approx(0.5)
    assert found.sd > np.std(ends)


def seeds(*values, macs=2e9):
    mean = sum(values) / len(values)
    scores = {"accuracy": mean, "macs": macs}
    return SeedDone(Evaluation(scores, curve=curve(values[0]), accuracies=dict(enumerate(values))))


def test_seeds_are_spent_near_the_front():
    spread = dataclasses.replace(KNOWN[0], number=20, evaluation=seeds(0.49, 0.50, 0.51, macs=1e9).known)
    stop = judge([*KNOWN, spread])
    assert not stop(None, seeds(0.90))
    assert not stop(None, seeds(0.77))  # 0.78 is the best; seeds differ by 0.01
    assert stop(None, seeds(0.60))
    assert not stop(None, seeds(0.60, macs=0.5e9))


def test_as_long_as_nobody_knows_how_seeds_differ_another_one_tells():
    assert not judge(KNOWN)(None, seeds(0.3))
    assert judge(KNOWN)(None, seeds(0.3, 0.31))


def test_a_network_as_good_as_its_rivals_is_seldom_called_off_the_front():
    """The rivals have their luck, too: they were compared with what a few seeds say of them."""
    rng, called_off, repeats = np.random.default_rng(0), {1: 0, 5: 0}, 300
    apart = 0.01 / math.sqrt(2)
    pairs = [seeds(0.1 - x, 0.1 + x, macs=9e9) for x in (apart, -apart)]  # 0.01 is the deviation
    spread = [dataclasses.replace(KNOWN[0], evaluation=pair.known) for pair in pairs] * 50
    for _ in range(repeats):
        for count in called_off:
            rivals = [finished(100 + n, float(rng.normal(0.7, 0.01)), 1e9 + n) for n in range(count)]
            stop = judge([*spread, *rivals])
            called_off[count] += stop(None, seeds(float(rng.normal(0.7, 0.01)), macs=1.1e9))
    assert called_off[1] / repeats < 0.08
    assert called_off[5] / repeats < 0.14  # 0.33, were it not for the rivals' own scatter and their number


def test_what_a_seed_does_to_all_is_not_held_against_those_without_it():
    """Seed 1 adds five points to every network; a rival's mean of both is no better than what seed 0 gave here."""
    spread = [
        dataclasses.replace(KNOWN[0], number=20 + n, evaluation=seeds(a, a + 0.05 + x, macs=3e9).known)
        for n, (a, x) in enumerate([(0.50, 0.001), (0.52, -0.001), (0.54, 0.001), (0.56, -0.001)])
    ]
    rival = dataclasses.replace(KNOWN[0], number=30, evaluation=seeds(0.70, 0.75, macs=1e9).known)
    stop = judge([*spread, rival])
    assert not stop(None, seeds(0.70, macs=1.1e9))
    assert stop(None, seeds(0.69, macs=1.1e9)), "a scatter of a thousandth tells a point apart"


def made_up(arch, seed, report, known=None):
    """Curves whose end shows early: wide networks do better, and some kinds of mixer much worse."""
    size = float(sum(arch.dims) * 1000 + sum(arch.depths))
    final = size / 4e6 + {"inception": 0.4, "depthwise": 0.35}.get(arch.mixers[0].token_mixer, 0.1)
    for epoch in range(1, EPOCHS + 1):
        so_far = Evaluation({"macs": size}, curve=curve(final, epoch))
        if not report(EpochDone(so_far)) and epoch < EPOCHS:
            return dataclasses.replace(so_far, pruned=True), {}
    return Evaluation({"macs": size, "accuracy": final}, curve=curve(final)), {}


def with_seeds(arch, seed, report, known=None):
    """Up to three seeds, which differ by a thousandth, as long as another one is asked for."""
    whole, _ = made_up(arch, seed, lambda event: True)
    values = [whole.scores["accuracy"] + 0.001 * (n - 1) for n in range(3)]
    for count in (1, 2, 3):
        scores = whole.scores | {"accuracy": sum(values[:count]) / count}
        done = dataclasses.replace(whole, scores=scores, accuracies=dict(enumerate(values[:count])))
        if count < 3 and not report(SeedDone(done)):
            break
    return done, {}


def test_a_search_spends_its_seeds_near_its_front():
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler="random", seeds=3)
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())))
    run_here(Runner(search, 60, ProgressListener(), stop=EarlyStopping(search, EPOCHS)), with_seeds)
    seeds = {t.number: len(t.evaluation.accuracies) for t in search.trials}
    assert all(seeds[member.number] == 3 for member in search.record.best_trials)
    assert sum(count == 1 for count in seeds.values()) > 30


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_pruned_trials_poison_no_sampler(sampler):
    """They have no values; samplers that need some go on without."""
    trials = 16 if sampler == "gp" else 40
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler=sampler, population=8)
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())))
    run_here(
        Runner(search, trials, ProgressListener(), stop=lambda candidate, event: candidate.number % 3 == 1), made_up
    )
    assert len(search.trials) == trials
    pruned = [t for t in search.record.trials if t.state == TrialState.PRUNED]
    assert len(pruned) == len(range(1, trials, 3))
    assert all(t.values is None for t in pruned)
    assert {t.number for t in search.record.best_trials}.isdisjoint(t.number for t in pruned)


def test_without_early_stopping_all_are_trained_to_their_end():
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler="random", early_stopping=False)
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())))
    run_here(Runner(search, 30, ProgressListener(), stop=EarlyStopping(search, EPOCHS)), made_up)
    assert {trial.state for trial in search.trials} == {"complete"}


def test_what_is_pruned_was_nowhere_near_the_front():
    """Trained to their ends all the same, none of the pruned ones would have been on the front."""
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler="random")
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())))
    run_here(Runner(search, 200, ProgressListener(), stop=EarlyStopping(search, EPOCHS)), made_up)
    pruned = [trial for trial in search.trials if trial.state == "pruned"]
    assert len(pruned) > 50
    complete = [trial for trial in search.trials if trial.state == "complete"]
    for trial in pruned:
        whole, _ = made_up(trial.arch, 0, lambda known: True)
        scores = [(other.evaluation.scores["accuracy"], other.evaluation.scores["macs"]) for other in complete]
        assert any(a >= whole.scores["accuracy"] - 1e-9 and m <= whole.scores["macs"] for a, m in scores)
