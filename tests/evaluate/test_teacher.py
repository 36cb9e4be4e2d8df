"""A teacher is trained once per data set, and its probabilities are what candidates learn from."""

import dataclasses

import pytest
import torch

from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.data.stream import batches
from archsearch.errors import UserError
from archsearch.evaluate import teacher
from archsearch.evaluate.machine import Source, machine_for
from archsearch.evaluate.pipeline import build_proxy
from archsearch.evaluate.teacher import class_probabilities, taught, teacher_recipe
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.nn.device import environment
from archsearch.recipes import PROXIES, ProxyRecipe
from archsearch.train import Training
from archsearch.train.cache import Trainings
from archsearch.train.training import channel_statistics

CPU = torch.device("cpu")
PROXY = ProxyRecipe(width=1 / 8, depth=0.1, epochs=3, train_samples=256, val_samples=64, batch_size=32, teacher=0.7)


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), PROXY)


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "EPOCHS", 2)
    monkeypatch.setattr(teacher, "SAMPLES", 128)
    return Trainings(tmp_path / "trainings", environment(CPU), save_every_s=0)


def test_without_a_teacher_the_data_stay_as_they_are(data, trainings):
    assert taught(data, dataclasses.replace(PROXY, teacher=0.0), CPU, trainings) is data
    assert not trainings.store.folder.exists()


def test_it_is_trained_once_for_all_recipes_of_a_shape(data, trainings):
    waits = []

    def soft(recipe):
        return taught(data, recipe, CPU, trainings, waits.append).soft

    first = soft(PROXY)
    assert len(waits) == 1
    other = dataclasses.replace(PROXY, epochs=7, batch_size=16, lr=1e-3, teacher=0.2)
    assert torch.equal(soft(other), first)
    assert len(waits) == 1
    assert not torch.equal(soft(dataclasses.replace(PROXY, width=1 / 4)), first)
    assert len(waits) == 2


def test_it_is_the_same_for_the_shipped_recipes():
    quick, cpu = (teacher_recipe(PROXIES[name]) for name in ("quick", "cpu"))
    assert PROXIES["quick"].teacher
    assert quick == cpu


def test_probabilities_are_those_of_each_image(data):
    model = build_proxy(PROXY.shrink(network("inceptionnext_tiny"), len(data.classes)), PROXY, seed=3)
    found = class_probabilities(model, data, PROXY, CPU)
    mean, std = channel_statistics(data.train)
    with torch.no_grad():
        one_by_one = [model((image.float() - mean) / std) for image in data.train.images[:9, None]]
    assert found.shape == (256, len(data.classes))
    assert torch.allclose(found.sum(1), torch.ones(256))
    assert torch.allclose(found[:9], torch.cat(one_by_one).softmax(1), atol=0.01)  # bfloat16 where there is any


def test_targets_lie_between_labels_and_probabilities(data):
    soft = torch.rand(len(data.train), len(data.classes)).softmax(1)
    known = {image.numpy().tobytes(): place for place, image in enumerate(data.train.images)}
    for images, targets in batches(dataclasses.replace(data, soft=soft), PROXY, 0, 1, CPU):
        places = torch.tensor([known[image.numpy().tobytes()] for image in images])
        labels = torch.eye(len(data.classes))[data.train.labels[places]]
        assert torch.allclose(targets, 0.3 * labels + 0.7 * soft[places])


def test_a_training_with_a_teacher_goes_on_to_the_bit(data, trainings):
    known = taught(data, PROXY, CPU, trainings)
    arch = PROXY.shrink(network("convnext_tiny"), len(data.classes))
    key = trainings.key(arch, PROXY, data, 5)

    def start():
        return Training(build_proxy(arch, PROXY, 5), known, PROXY, 5)

    def numbers(curve):
        return [(epoch.train_loss, epoch.val_loss, epoch.accuracy) for epoch in curve]

    whole = numbers(start())
    stopped = trainings.epochs(key, start)
    next(stopped), next(stopped)
    stopped.close()
    assert numbers(trainings.epochs(key, start)) == whole
    assert trainings.key(arch, dataclasses.replace(PROXY, teacher=0.0), data, 5) != key


def test_jobs_have_their_teacher(trainings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arch = network("inceptionnext_tiny")
    jobs = [TrainJob(arch, recipe, 0) for recipe in (PROXY, dataclasses.replace(PROXY, teacher=0.0))]
    with_it, without = (each.curve for _, each in train_all(jobs, Source("drawn", None), machine_for("cpu", 0)))
    assert with_it[-1].train_loss != without[-1].train_loss
    assert len(list((tmp_path / "cache").rglob("*.teacher.pt"))) == 1


@pytest.mark.parametrize("mixed", ["mixup", "cutmix"])
def test_it_does_not_know_mixtures(mixed):
    with pytest.raises(UserError, match="neither mixup nor cutmix"):
        dataclasses.replace(PROXY, **{mixed: 0.5})
