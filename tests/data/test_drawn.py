import numpy as np
import pytest
import torch

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.data import reduce
from archsearch.data.drawn import BENDS, CLASSES, COUNTS, SIZE, TEXTURES, load_drawn
from archsearch.evaluate.pipeline import Task, evaluate
from archsearch.objectives import parse_objectives
from archsearch.recipes import PROXIES


@pytest.fixture(scope="module")
def data():
    return load_drawn()


def test_a_seed_fixes_every_pixel(data):
    again, other = load_drawn(), load_drawn(seed=1)
    for name in COUNTS:
        assert torch.equal(getattr(data, name).images, getattr(again, name).images)
        assert torch.equal(getattr(data, name).labels, getattr(again, name).labels)
    assert not torch.equal(data.train.images, other.train.images)
    assert data.fingerprint == again.fingerprint != other.fingerprint


def test_splits_are_balanced_and_disjoint(data):
    for name, count in COUNTS.items():
        split = getattr(data, name)
        assert split.images.shape == (count, 3, SIZE, SIZE)
        assert split.images.dtype == torch.uint8
        assert torch.bincount(split.labels).tolist() == [count // len(CLASSES)] * len(CLASSES)
    seen = [image.numpy().tobytes() for name in COUNTS for image in getattr(data, name).images]
    assert len(set(seen)) == len(seen)


def test_no_class_shows_in_the_mean_or_contrast(data):
    # Otherwise a network could read the class without mixing anything.
    grey = data.train.images.float().mean(1)
    for statistic in (grey.mean((1, 2)), grey.std((1, 2))):
        means = torch.stack([statistic[data.train.labels == c].mean() for c in range(len(CLASSES))])
        within = torch.stack([statistic[data.train.labels == c].std() for c in range(len(CLASSES))]).mean()
        assert (means.max() - means.min()) < 0.5 * within


def test_textures_differ_at_short_range_and_bends_only_at_long(data):
    """A line's bend shows when far columns are compared, in the class means of shifted products."""
    grey = data.train.images.float().mean(1) - 128
    textures = data.train.labels // len(BENDS)
    diagonal = [
        (grey[textures == t][:, 2:, 2:] * grey[textures == t][:, :-2, :-2]).mean() for t in range(len(TEXTURES))
    ]
    assert abs(diagonal[0] - diagonal[1]) > 10

    def turned(label: int) -> np.ndarray:
        image = grey[data.train.labels == label].mean(0).numpy()
        return np.rot90(image, BENDS.index(CLASSES[label].split("/")[1]))

    # Turned back by its quarter turns, every bend is the same picture: no direction is special.
    pictures = [turned(label).ravel() for label in range(len(BENDS))]
    for other in pictures[1:]:
        assert np.corrcoef(pictures[0], other)[0, 1] > 0.5


def test_mirroring_is_off(data):
    assert not data.flip


@pytest.mark.slow
def test_accuracy_needs_mixing_at_the_default_recipe(data):
    """The full table, with deviations over seeds, is made by benchmarks/drawn_mixers.py."""
    proxy = PROXIES["drawn"]
    task = Task(parse_objectives("accuracy"), proxy, reduce(data, proxy), torch.device("cpu"))
    tiny = network("inceptionnext_tiny")

    def accuracy(mixer: Mixer) -> float:
        return evaluate(tiny.replace(mixers=(mixer,) * 4), task, seed=0).scores["accuracy"]

    identity, convolution = accuracy(Mixer.of("identity")), accuracy(Mixer.of("depthwise", kernel_size=3))
    assert identity > 2 / len(CLASSES)
    assert identity + 0.1 < convolution < 0.99
