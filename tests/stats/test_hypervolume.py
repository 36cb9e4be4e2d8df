import dataclasses

import moocore
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.report.frame import trials_frame
from archsearch.stats.fronts import on_front
from archsearch.stats.hypervolume import FrontTracker, box_of, hypervolume_trace

OBJECTIVES = tiny.OBJECTIVES
FEW = st.integers(1, 6)  # values, so that ties and duplicates come up
SCORES = st.lists(st.tuples(FEW, FEW, FEW).map(lambda s: (s[0] / 10, s[1] * 1e9, s[2] * 10.0)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_the_front_kept_up_is_the_front_of_all(scores):
    trials = [tiny.trial(number, *values) for number, values in enumerate(scores)]
    tracker = FrontTracker(OBJECTIVES)
    for count, trial in enumerate(trials, 1):
        joined = tracker.add(trial)
        frame = trials_frame(trials[:count], OBJECTIVES)
        whole = frame[on_front(frame, OBJECTIVES)]
        assert [member.number for member in tracker.front] == whole["number"].tolist()
        assert joined == (trial.number in set(whole["number"]))
        assert tracker.hypervolume() == pytest.approx(afresh(trials[:count]))


def afresh(trials):
    """The same share from all trials at once."""
    signs = np.array([-1.0 if o.direction == "maximize" else 1.0 for o in OBJECTIVES])
    points = np.array([[t.evaluation.scores[o.name] for o in OBJECTIVES] for t in trials]) * signs
    best, worst = points.min(0), points.max(0)
    if not (worst > best).all():
        return 0.0
    return moocore.hypervolume((points - best) / (worst - best), ref=np.ones(3))


BROKEN = st.sampled_from([np.nan, np.inf, -np.inf])
BROKEN_SCORES = st.tuples(st.integers(0, 2), BROKEN, FEW).map(lambda s: [s[1] if i == s[0] else s[2] for i in range(3)])


@settings(max_examples=60, deadline=None)
@given(SCORES, st.lists(st.tuples(st.integers(0, 25), BROKEN_SCORES), min_size=1, max_size=5))
def test_trials_whose_scores_are_not_finite_change_nothing(scores, broken):
    """Not the front, not the box, not the hypervolume; only the count of trials in its trace."""
    trials = [tiny.trial(number, *values) for number, values in enumerate(scores)]
    mixed = [dataclasses.replace(trial) for trial in trials]
    for number, (place, values) in enumerate(broken, 100):
        bad = dataclasses.replace(trial := tiny.trial(number, 0.5, 1e9, 10.0), evaluation=dataclasses.replace(
            trial.evaluation, scores=dict(zip((o.name for o in OBJECTIVES), values, strict=True))))  # fmt: skip
        mixed.insert(place, bad)
    clean, dirty = FrontTracker(OBJECTIVES, trials), FrontTracker(OBJECTIVES, mixed)
    assert [t.number for t in dirty.front] == [t.number for t in clean.front]
    assert np.array_equal(dirty.box, clean.box)
    assert np.array_equal(box_of(OBJECTIVES, mixed), clean.box)
    assert dirty.hypervolume() == clean.hypervolume()
    counts, _, shares = hypervolume_trace(OBJECTIVES, mixed, clean.box)
    _, _, expected = hypervolume_trace(OBJECTIVES, trials, clean.box)
    assert counts[-1] == len(mixed)
    assert sorted({0.0, *shares}) == pytest.approx(sorted({0.0, *expected}))


def test_failures_are_counted_and_on_no_front():
    tracker = FrontTracker(OBJECTIVES, [tiny.trial(0, 0.5, 1e9, 10.0), tiny.FAILED])
    assert (tracker.failed, tracker.pruned) == (1, 0)
    assert [member.number for member in tracker.front] == [0]
    assert tracker.hypervolume() == 0.0


def test_what_equals_the_front_is_not_dominated_and_a_score_may_stand_beside_each_of_it():
    tracker = FrontTracker(OBJECTIVES, [tiny.trial(0, 0.5, 1e9, 10.0), tiny.trial(1, 0.7, 2e9, 10.0)])
    equal = tracker.front[0].evaluation.scores
    assert not tracker.dominates(equal)
    assert tracker.dominates({**equal, "macs": 1.5e9})
    assert not tracker.dominates({name: equal[name] for name in ("macs", "infer_throughput")})
    between = {**equal, "macs": 3e9}
    assert tracker.dominates({**between, "accuracy": np.array([0.6, 0.6])})
    assert not tracker.dominates({**between, "accuracy": np.array([0.6, 0.8])})
    assert tracker.dominates({**between, "accuracy": np.array([0.4, 0.8])})


@settings(max_examples=60, deadline=None)
@given(SCORES, st.sets(st.integers(0, 24)))
def test_the_trace_is_what_a_standing_tells_trial_by_trial(scores, pruned):
    trials = [tiny.trial(number, *values) for number, values in enumerate(scores)]
    trials = [dataclasses.replace(t, state="pruned") if t.number in pruned else t for t in trials]
    box = box_of(OBJECTIVES, trials)
    tracker, shares = FrontTracker(OBJECTIVES), []
    for trial in trials:
        tracker.add(trial)
        shares.append(tracker.hypervolume(box))
    assert np.array_equal(box, tracker.box)
    counts, seconds, told = hypervolume_trace(OBJECTIVES, trials, box)
    assert counts == sorted(set(counts))
    assert counts[-1:] == [len(trials)][: len(trials)]
    assert seconds == [2.0 * count for count in counts]
    assert told == pytest.approx([shares[count - 1] for count in counts])
    grown = [i + 1 for i, share in enumerate(shares) if share > (shares[i - 1] if i else 0.0) + 1e-9]
    assert set(grown) <= set(counts)


def test_a_trace_names_the_trials_that_widen_the_front_and_the_last():
    rows = [(0.5, 2e9, 10.0), (0.4, 3e9, 5.0), (0.5, 2e9, 10.0), (0.4, 1e9, 10.0), (0.3, 3e9, 5.0)]
    trials = [tiny.trial(number, *values) for number, values in enumerate(rows)]
    assert hypervolume_trace(OBJECTIVES, trials, box_of(OBJECTIVES, trials))[0] == [1, 4, 5]
    assert hypervolume_trace(OBJECTIVES, [], box_of(OBJECTIVES, [])) == ([], [], [])
    assert hypervolume_trace(OBJECTIVES, [tiny.FAILED], box_of(OBJECTIVES, [])) == ([1], [0.0], [0.0])
