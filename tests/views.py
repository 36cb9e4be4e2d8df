"""Studies to draw, from made-up trials."""

import dataclasses
import math
import random

from tiny import OBJECTIVES, RECIPE, shipped_space, trial

from archsearch.handover.candidates import Candidate
from archsearch.handover.confirmation import Confirmation, Trained
from archsearch.report.view import StudyView
from archsearch.search.importance import Importance
from archsearch.trial import Evaluation

HOSTILE = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'>&amp;"


def one_of_each():
    """Return trials of every state: two on the front, one dominated, one infeasible, one pruned, one failed."""
    known = [trial(0, 0.5, 1e9, 100), trial(1, 0.6, 2e9, 50), trial(2, 0.4, 2e9, 50)]
    for number, state in ((3, "infeasible"), (4, "pruned"), (5, "failed")):
        ended = trial(number, 0.45, 1.5e9, 70)
        scores = {name: value for name, value in ended.evaluation.scores.items() if name != "accuracy"}
        error = "diverged: nan" if state == "failed" else None
        evaluation = dataclasses.replace(ended.evaluation, scores=scores, error=error)
        known.append(dataclasses.replace(ended, state=state, evaluation=evaluation))
    return known


def view(trials=None, name="small", **changes):
    importance = {o.name: [Importance("band_kernel_size", 1.0, 0.9, 1.0)] for o in OBJECTIVES}
    made = StudyView(name, RECIPE, one_of_each() if trials is None else trials, "python cli.py study", importance)
    return dataclasses.replace(made, **changes)


def noisy_view():
    """Return a study with seed variance: trial 2 is dominated within the noise, trial 3 clearly."""
    known = [
        trial(0, 0.5, 1e9, 100, values=[0.49, 0.5, 0.51]),
        trial(1, 0.6, 2e9, 50, values=[0.61, 0.6, 0.59]),
        trial(2, 0.59, 2e9, 50),
        trial(3, 0.2, 3e9, 20),
    ]
    return view([*known, *one_of_each()[4:]])


#: A recipe with a space, whose trials a model can smooth, and the number of the trial that was lucky in it.
SEARCHED = {**RECIPE, "objectives": ["accuracy", "macs"], "space": shipped_space("inception_dw").to_dict()}
LUCKY = 7


def searched_view(count, images=1000, recipe=SEARCHED, **changes):
    """Return a study whose accuracies are those of their mixers and sizes, but for one trial that was lucky."""
    rng, trials = random.Random(0), []
    kinds = {"inception": 0.62, "depthwise": 0.6, "pooling": 0.52, "identity": 0.5}
    for number in range(count):
        params = dict(shipped_space("inception_dw").sample(rng))
        size = 1e9 * len(str(params["depths"])) * int(str(params["dims"]).split("-")[0]) / 64
        score = kinds[params["token_mixer"]] + 0.02 * math.log(size / 1e9) + (0.06 if number == LUCKY else 0.0)
        trials.append(dataclasses.replace(trial(number, score, size + number, 10.0), params=params))
    return view(trials, recipe=recipe, images=images, **changes)


def confirmed_view(**changes):
    """Return a study whose trials 0 to 2 and whose baseline, no trial of it, were trained again; trial 2 diverged."""
    scores = {one.number: one.evaluation.scores for one in one_of_each()}
    arch = one_of_each()[0].arch
    candidates = [Candidate(arch, "front", number=n, scores=scores[n]) for n in (0, 1)]
    candidates += [Candidate(arch, "baseline", baseline=True, scores={"macs": 3e9})]
    candidates += [Candidate(arch, "control", number=2, scores=scores[2])]
    trained = {
        "trial 0": Trained({5: 0.71, 6: 0.73}),
        "trial 1": Trained({5: 0.69, 6: 0.67}),
        "baseline": Trained({5: 0.6, 6: 0.62}),
        "trial 2": Trained(errors={5: f"diverged: {HOSTILE}"}),
    }
    found = Confirmation("small", "small-confirm", OBJECTIVES, tuple(candidates), trained, {}, 10_000)
    return view(confirmation=found, **changes)


def hostile_view():
    """Return a study whose every text from a user is an attack on the page."""
    odd = [trial(0, 0.5, 1e9, 100, environment={"host": HOSTILE}), trial(1, 0.6, 2e9, 50)]
    odd = [dataclasses.replace(one, params={HOSTILE: HOSTILE + str(one.number)}) for one in odd]
    failed = dataclasses.replace(trial(2, 0.1, 3e9, 40), state="failed", evaluation=Evaluation({}, error=HOSTILE))
    recipe = {**RECIPE, "space_name": HOSTILE, "device": HOSTILE, "data": {"name": HOSTILE, "fingerprint": "f"}}
    recipe["speeds"] = {"device": HOSTILE}
    importance = {"accuracy": [Importance(HOSTILE, 1.0, 0.9, 1.0)]}
    return view([*odd, failed], HOSTILE, recipe=recipe, command=HOSTILE, importance=importance)
