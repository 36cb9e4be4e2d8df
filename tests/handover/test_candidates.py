import dataclasses

import pytest
import tiny

from archsearch.arch.networks import network
from archsearch.handover.candidates import Candidate, choose
from archsearch.objectives import parse_objectives
from archsearch.stats.noise import AccuracyNoise

BOTH = parse_objectives("accuracy,macs")
NOISE = AccuracyNoise(1000)
BASE = network("inceptionnext_tiny")


def trial(number, accuracy, macs, arch=None):
    made = tiny.trial(number, accuracy, macs, 10.0)
    return dataclasses.replace(made, arch=arch or BASE.replace(depths=(1, 1, 1, number + 1)))


#: The first two are the front; the third is 0.1 points worse than it, the others are far away.
TRIALS = [trial(0, 0.60, 2e9), trial(1, 0.50, 1e9), trial(2, 0.599, 2.1e9)] + [
    trial(number, 0.5 - number / 50, 3e9) for number in range(3, 12)
]


def named(candidates):
    return [(one.name, one.role) for one in candidates]


def test_the_front_the_baseline_and_controls_over_all_accuracies_are_chosen():
    found = choose(TRIALS, BOTH, NOISE, BASE, controls=3)
    front, others = named(found)[:2], named(found)[2:]
    assert sorted(front) == [("trial 0", "front"), ("trial 1", "front")]
    assert others == [("baseline", "baseline"), ("trial 3", "control"), ("trial 7", "control"), ("trial 10", "control")]
    assert found[2] == Candidate(BASE, "baseline", True)
    assert found[0].scores == TRIALS[found[0].number].evaluation.scores


def test_more_members_are_those_most_likely_on_the_front():
    found = choose(TRIALS, BOTH, NOISE, BASE, top=3, controls=0)
    assert named(found)[2] == ("trial 2", "contender")
    # Nothing that is cheaper rivals trials 0 and 1, so that both are certain, and the first of them is taken.
    assert named(choose(TRIALS, BOTH, NOISE, BASE, top=1, controls=0))[0] == ("trial 0", "front")


def test_a_baseline_among_the_trials_is_trained_once():
    on_front = [trial(0, 0.9, 2e9, BASE), *TRIALS[1:]]
    found = choose(on_front, BOTH, NOISE, BASE, controls=0)
    assert [(one.name, one.role) for one in found if one.baseline] == [("trial 0", "front")]
    assert len(found) == 2
    dominated = [*TRIALS, trial(12, 0.3, 4e9, BASE)]
    found = choose(dominated, BOTH, NOISE, BASE, controls=20)
    assert [(one.name, one.role) for one in found if one.baseline] == [("trial 12", "baseline")]
    assert len({one.arch for one in found}) == len(found) == len(dominated)


def test_nothing_is_chosen_without_a_complete_trial():
    assert choose([tiny.FAILED], BOTH, NOISE, BASE) == []


def test_a_candidate_survives_the_storage():
    for one in choose(TRIALS, BOTH, None, BASE):
        assert Candidate.from_dict(one.to_dict()) == one


@pytest.mark.parametrize("controls", [0, 1, 20])
def test_controls_are_as_many_as_asked_for_if_there_are_as_many(controls):
    found = choose(TRIALS, BOTH, NOISE, BASE, controls=controls)
    assert sum(one.role == "control" for one in found) == min(controls, 10)
