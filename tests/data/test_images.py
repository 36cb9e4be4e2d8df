import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archsearch.data import load, reduce
from archsearch.data.augment import random_crop, random_flip
from archsearch.data.images import Split, hold_out, stratified
from archsearch.errors import DataError
from archsearch.recipes import Proxy


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_stratified_keeps_every_share(sizes, data):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    count = data.draw(st.integers(0, len(labels)))
    index = stratified(labels, count, seed=3)
    assert len(index) == len(set(index.tolist())) == count
    for label, size in enumerate(sizes):
        assert abs(int((labels[index] == label).sum()) - size * count / len(labels)) < 1


def test_hold_out_parts_are_disjoint_and_complete():
    split = Split(torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1), torch.arange(100) % 4)
    rest, held = hold_out(split, 20)
    assert sorted([*rest.images.flatten().tolist(), *held.images.flatten().tolist()]) == list(range(100))
    assert torch.bincount(held.labels).tolist() == [5] * 4


def test_reduce_takes_the_same_samples_every_time():
    data = load("drawn", None, 32)
    proxy = Proxy(train_samples=160, val_samples=0)
    a, b = reduce(data, proxy), reduce(data, proxy)
    assert torch.equal(a.train.images, b.train.images)
    assert torch.bincount(a.train.labels).tolist() == [20] * 8
    assert len(a.val) == len(data.val)


def test_drawn_resizes():
    assert load("drawn", None, 16).train.images.shape[1:] == (3, 16, 16)


def test_unknown_names():
    with pytest.raises(DataError, match="did you mean 'drawn'"):
        load("drwn", None, 32)
    with pytest.raises(DataError, match="needs --data-root"):
        load("folder", None, 32)


def slow_crop(images, padding, generator):
    """The same draws, one image at a time, by padding and slicing."""
    shift = torch.randint(2 * padding + 1, (2, len(images), 1), generator=generator)
    size = images.shape[-1]
    out = []
    for image, row, column in zip(images, shift[0].flatten(), shift[1].flatten(), strict=True):
        padded = torch.nn.functional.pad(image[None].float(), (padding,) * 4, mode="reflect")[0].to(images.dtype)
        out.append(padded[:, row : row + size, column : column + size])
    return torch.stack(out)


@pytest.mark.parametrize("padding", [1, 4])
def test_random_crop_is_the_slow_one(padding):
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    fast = random_crop(images, padding, torch.Generator().manual_seed(5))
    assert torch.equal(fast, slow_crop(images, padding, torch.Generator().manual_seed(5)))
    assert torch.equal(random_crop(images, 0, torch.Generator()), images)


def test_random_flip_mirrors_about_half():
    images = torch.randint(0, 256, (400, 3, 4, 4), dtype=torch.uint8)
    flipped = random_flip(images, torch.Generator().manual_seed(0))
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    same = (flipped == images).flatten(1).all(1)
    assert (mirrored | same).all()
    assert 150 < int(mirrored.sum()) < 250
