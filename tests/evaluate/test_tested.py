import dataclasses
from pathlib import Path

import pytest
import tiny
import torch

from archsearch.data import load, reduce
from archsearch.evaluate.machine import Machine, Source
from archsearch.evaluate.pipeline import build_proxy
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.train.training import channel_statistics

PROXY = dataclasses.replace(tiny.PROXY, train_samples=128, precision="fp32")
HERE = Machine(("cpu",), 0, ())


def train(seed=0, retrain=False, **changes):
    job = TrainJob(tiny.SMALL, dataclasses.replace(PROXY, **changes), seed, tested=True)
    ((_, evaluation),) = train_all([job], Source("drawn", None, retrain=retrain), HERE)
    return evaluation


def test_without_the_weights_the_accuracy_is_kept(monkeypatch):
    job = TrainJob(tiny.SMALL, PROXY, 7, tested=True, keeps_weights=False)

    def again():
        ((_, evaluation),) = train_all([job], Source("drawn", None), HERE)
        return evaluation

    first = again()
    assert first.details["accuracy"] == {"split": "test", "images": 2048}
    assert first.scores["accuracy"] != first.curve[-1].accuracy
    with monkeypatch.context() as patched:
        patched.setattr("archsearch.evaluate.pipeline.accuracy_on_test", None)  # nothing is judged again
        second = again()
    assert second.scores == first.scores
    assert second.curve == first.curve
    assert "accuracy" in second.reused
    kept = train(seed=7)  # somebody wants the weights: trained again, as they are gone
    assert kept.scores == first.scores
    assert Path(kept.details["accuracy"]["weights"]).is_file()


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_accuracy_is_that_of_the_kept_weights_on_the_test_split(ema):
    found = train(ema=ema)
    data = reduce(load("drawn", None, 32), PROXY)
    model = build_proxy(PROXY.shrink(tiny.SMALL, len(data.classes)), PROXY, 0).eval()
    state = torch.load(found.details["accuracy"]["weights"], weights_only=True)
    assert not all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    model.load_state_dict(state)
    mean, std = channel_statistics(data.train)
    with torch.no_grad():
        named = model((data.test.images.float() - mean) / std).argmax(1)
    assert found.details["accuracy"]["images"] == len(data.test) == 2048
    assert found.scores["accuracy"] == pytest.approx((named == data.test.labels).float().mean().item(), abs=2 / 2048)
    with torch.no_grad():
        named = model((data.val.images.float() - mean) / std).argmax(1)
    assert found.curve[-1].accuracy == pytest.approx((named == data.val.labels).float().mean().item(), abs=1 / 128)


def test_a_known_training_is_judged_again_without_training():
    first = train()
    again = train()
    assert again.curve == first.curve  # seconds included
    assert again.scores == first.scores
    assert again.reused == {"accuracy": "an earlier training on this machine"}
    anew = train(retrain=True)
    assert anew.curve != first.curve
    assert anew.scores == first.scores


def test_a_known_training_without_weights_is_trained_again():
    first = train()
    Path(first.details["accuracy"]["weights"]).unlink()
    again = train()
    assert again.curve != first.curve
    assert again.scores == first.scores
    assert again.details == first.details
    assert Path(again.details["accuracy"]["weights"]).is_file()
