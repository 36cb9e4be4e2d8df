import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archsearch.data import load, reduce
from archsearch.data.images import Split, hold_out, stratified
from archsearch.errors import DataError
from archsearch.recipes import ProxyRecipe


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
    proxy = ProxyRecipe(train_samples=160, val_samples=0)
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


def test_taking_samples_copies_no_image():
    split = Split(torch.arange(40, dtype=torch.uint8).reshape(10, 1, 2, 2), torch.arange(10))
    chosen = split.take(torch.tensor([7, 3, 5])).take(torch.tensor([2, 0]))
    assert chosen.store is split.store
    assert chosen.labels.tolist() == [5, 7]
    assert torch.equal(chosen.images, split.store[[5, 7]])
    assert torch.equal(chosen.pixels(torch.tensor([1])), split.store[[7]])
    assert chosen.nbytes() == 8
