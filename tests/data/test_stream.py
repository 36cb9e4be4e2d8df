import dataclasses

import pytest
import torch

from archsearch.data import load, reduce
from archsearch.data.images import Split
from archsearch.data.stream import batches, fetch
from archsearch.recipes import ProxyRecipe

CPU = torch.device("cpu")
#: To torch another device than "cpu", with the same memory: what lies elsewhere is brought over in the background.
ELSEWHERE = torch.device("cpu:0")
PROXY = ProxyRecipe(train_samples=200, val_samples=64, batch_size=32, crop_padding=3, cutout=5)


@pytest.fixture(scope="module")
def data():
    return dataclasses.replace(reduce(load("drawn", None, 32), PROXY), flip=True)


def epoch(data, proxy=PROXY, seed=0, number=1, device=CPU):
    return list(batches(data, proxy, seed, number, device))


def same(a, b):
    return all(torch.equal(x, y) and torch.equal(s, t) for (x, s), (y, t) in zip(a, b, strict=True))


def test_an_epoch_is_a_function_of_seed_and_number(data):
    first = epoch(data)
    assert same(first, epoch(data))
    for other in (epoch(data, seed=1), epoch(data, number=2)):
        assert not torch.equal(torch.cat([y for _, y in first]), torch.cat([y for _, y in other]))


def test_batches_are_full_and_no_sample_comes_twice(data):
    plain = dataclasses.replace(PROXY, crop_padding=0, cutout=0, flip=False)
    found = epoch(data, plain)
    assert [len(y) for _, y in found] == [32] * 6
    seen = {
        image.numpy().tobytes(): int(label)
        for images, labels in found
        for image, label in zip(images, labels, strict=True)
    }
    known = {
        image.numpy().tobytes(): int(label) for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    assert len(seen) == 192
    assert seen.items() <= known.items()


@pytest.mark.parametrize("wanted", [48, 80, 200, 330])
def test_epochs_of_some_samples_go_through_all_before_any_comes_again(data, wanted):
    plain = dataclasses.replace(PROXY, crop_padding=0, cutout=0, flip=False, batch_size=1, epoch_samples=wanted)
    numbers = range(1, -(-600 // wanted) + 1)
    found = [[image.numpy().tobytes() for image, _ in epoch(data, plain, number=number)] for number in numbers]
    assert {len(images) for images in found} == {wanted}
    in_turn = [image for images in found for image in images]
    passes = [in_turn[start : start + 200] for start in (0, 200, 400)]
    assert all(len(set(images)) == 200 for images in passes)
    assert passes[0] != passes[1]


def test_a_batch_is_no_larger_than_the_data(data):
    assert [len(y) for _, y in epoch(data, dataclasses.replace(PROXY, batch_size=512))] == [200]


@pytest.mark.parametrize("chunk", [1, 40_000, 10**9])
def test_how_many_are_fetched_at_once_makes_no_difference_to_the_samples(data, monkeypatch, chunk):
    plain = dataclasses.replace(PROXY, crop_padding=0, cutout=0, flip=False)
    expected = epoch(data, plain)
    monkeypatch.setattr("archsearch.data.stream.CHUNK_BYTES", chunk)
    assert same(expected, epoch(data, plain))


@pytest.mark.parametrize("chunk", [1, 10**9])
def test_streamed_from_elsewhere_it_is_the_same(data, monkeypatch, chunk):
    monkeypatch.setattr("archsearch.data.stream.CHUNK_BYTES", chunk)
    assert same(epoch(data), epoch(data, device=ELSEWHERE))


def test_an_error_while_fetching_reaches_the_training(data):
    broken = Split(data.train.store[:10], data.train.labels, torch.arange(len(data.train)))
    with pytest.raises(IndexError):
        list(fetch(broken, torch.arange(200).split(32), ELSEWHERE))


def test_nothing_to_fetch(data):
    assert list(fetch(data.train, (), ELSEWHERE)) == []


def test_only_what_fits_moves(data):
    small = data.val.nbytes()
    moved = data.to(torch.device("meta"), room=small)
    assert (moved.train.store.device.type, moved.val.store.device.type) == ("cpu", "meta")
    assert data.to(torch.device("meta")).train.store.device.type == "meta"
    assert moved.test.store.device.type == "cpu"
