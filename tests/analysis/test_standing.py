import moocore
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.analysis.fronts import on_front
from archsearch.analysis.standing import Standing
from archsearch.report.frame import trials_frame

OBJECTIVES = tiny.OBJECTIVES
FEW = st.integers(1, 6)  # values, so that ties and duplicates come up
SCORES = st.lists(st.tuples(FEW, FEW, FEW).map(lambda s: (s[0] / 10, s[1] * 1e9, s[2] * 10.0)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_the_front_kept_up_is_the_front_of_all(scores):
    trials = [tiny.trial(number, *values) for number, values in enumerate(scores)]
    standing = Standing(OBJECTIVES)
    for count, trial in enumerate(trials, 1):
        joined = standing.add(trial)
        frame = trials_frame(trials[:count], OBJECTIVES)
        whole = frame[on_front(frame, OBJECTIVES)]
        assert [member.number for member in standing.front] == whole["number"].tolist()
        assert joined == (trial.number in set(whole["number"]))
        assert standing.hypervolume() == pytest.approx(afresh(trials[:count]))


def afresh(trials):
    """The same share from all trials at once."""
    signs = np.array([-1.0 if o.direction == "maximize" else 1.0 for o in OBJECTIVES])
    points = np.array([[t.evaluation.scores[o.name] for o in OBJECTIVES] for t in trials]) * signs
    best, worst = points.min(0), points.max(0)
    if not (worst > best).all():
        return 0.0
    return moocore.hypervolume((points - best) / (worst - best), ref=np.ones(3))


def test_failures_are_counted_and_on_no_front():
    standing = Standing(OBJECTIVES, [tiny.trial(0, 0.5, 1e9, 10.0), tiny.FAILED])
    assert (standing.failed, standing.stopped) == (1, 0)
    assert [member.number for member in standing.front] == [0]
    assert standing.hypervolume() == 0.0
