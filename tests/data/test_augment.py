"""Each augmentation against one image at a time, done in the plainest way there is."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from archsearch.data.augment import (
    augment,
    crop_resize,
    draw_boxes,
    draw_crops,
    draw_erased,
    mix,
    paste,
    rand_augment,
    shift_flip,
)
from archsearch.recipes import ProxyRecipe

SIZE = 9


@pytest.fixture
def images():
    return torch.randint(0, 256, (24, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("padding", [1, 4, SIZE - 1])
def test_shift_and_flip(images, rng, padding):
    shift = rng.integers(-padding, padding + 1, (2, len(images)))
    mirrored = rng.random(len(images)) < 0.5
    for i, moved in enumerate(shift_flip(images, shift, mirrored)):
        padded = F.pad(images[i][None].float(), (padding,) * 4, mode="reflect")[0].byte()
        top, left = padding + shift[:, i]
        crop = padded[:, top : top + SIZE, left : left + SIZE]
        assert torch.equal(moved, crop.flip(2) if mirrored[i] else crop)


def test_shift_and_flip_leaves_channels_last(images):
    moved = shift_flip(images, np.zeros((2, 24), dtype=int), np.zeros(24, dtype=bool))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved, images)


def bilinear(image, y, x):
    y0, x0 = min(int(y), SIZE - 2), min(int(x), SIZE - 2)
    down, along = y - y0, x - x0
    (a, b), (c, d) = image[y0 : y0 + 2, x0 : x0 + 2].double().tolist()
    return (1 - down) * ((1 - along) * a + along * b) + down * ((1 - along) * c + along * d)


def test_crop_and_resize(images, rng):
    extent, centre = draw_crops(len(images), 0.08, rng)
    for i, cropped in enumerate(crop_resize(images, extent, centre)):
        for row in range(SIZE):
            for column in range(SIZE):
                places = ((2 * np.array([column, row]) + 1) / SIZE - 1) * extent[:, i] + centre[:, i]
                x, y = ((places + 1) * SIZE - 1) / 2
                if min(x, y) < 0 or max(x, y) > SIZE - 1:
                    continue  # beyond the centres of the outermost pixels
                assert abs(bilinear(images[i, 0], y, x) - float(cropped[0, row, column])) <= 0.51


def test_crops_have_the_area_and_stay_inside(rng):
    extent, centre = draw_crops(10_000, 0.25, rng)
    area = extent.prod(0)
    assert area.min() >= 0.25 - 1e-9
    assert area.max() <= 1
    assert 0.6 < area.mean() < 0.65
    assert (abs(centre) + extent <= 1 + 1e-9).all()


def test_paste(images, rng):
    box = draw_erased(len(images), SIZE, rng)
    where = rng.random(len(images)) < 0.5
    for i, pasted in enumerate(paste(images, images.roll(1, 0), box, where)):
        expected = images[i].clone()
        top, left, height, width = box[:, i]
        if where[i]:
            expected[:, top : top + height, left : left + width] = images[i - 1][
                :, top : top + height, left : left + width
            ]
        assert torch.equal(pasted, expected)


def test_cutout_is_a_square_cut_off_at_the_border(images, rng):
    proxy = ProxyRecipe(img_size=SIZE, cutout=4, crop_padding=0)
    for before, after in zip(images, augment(images, proxy, flip=False, rng=rng), strict=True):
        changed = (before != after).any(0)
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        assert 2 <= rows[-1] - rows[0] + 1 <= 4
        assert 2 <= columns[-1] - columns[0] + 1 <= 4
        assert (after[:, changed] == 128).all()


def test_erased_boxes_lie_inside_and_have_the_shares(rng):
    top, left, height, width = draw_erased(5000, 32, rng)
    assert min(top.min(), left.min()) >= 0
    assert max((top + height).max(), (left + width).max()) <= 32
    share = height * width / 32**2
    assert 0.12 < share.mean() < 0.2
    assert share.max() < 0.36


def test_erasing_hits_its_share_of_the_images(rng):
    images = torch.full((4000, 3, 8, 8), 7, dtype=torch.uint8)
    erased = augment(images, ProxyRecipe(img_size=8, erasing=0.25), flip=False, rng=rng)
    changed = (erased != images).flatten(1).any(1).float().mean()
    assert 0.22 < changed < 0.28


def one_hot(label):
    return np.eye(4, dtype=np.float32)[label]


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixing(images, mixup, cutmix):
    labels = torch.arange(24) % 4
    mixed, targets = mix(images, labels, 4, ProxyRecipe(mixup=mixup, cutmix=cutmix), np.random.default_rng(3))
    rng = np.random.default_rng(3)  # the same draws
    cut = rng.random(24) < (0.5 if mixup and cutmix else float(cutmix > 0))
    lam = rng.beta(mixup, mixup, 24) if mixup else None
    box = draw_boxes(rng.beta(cutmix, cutmix, 24) if cutmix else np.ones(24), SIZE, rng)
    kinds = set()
    for i in range(24):
        own, other = images[i].double().numpy(), images[i - 1].double().numpy()
        if cut[i]:
            top, left, height, width = box[:, i]
            expected, kept = own.copy(), 1 - height * width / SIZE**2
            expected[:, top : top + height, left : left + width] = other[:, top : top + height, left : left + width]
        else:
            expected, kept = lam[i] * own + (1 - lam[i]) * other, lam[i]
        kinds.add(bool(cut[i]))
        assert np.abs(mixed[i].double().numpy() - expected).max() <= 0.51
        assert np.allclose(targets[i], kept * one_hot(i % 4) + (1 - kept) * one_hot((i - 1) % 4), atol=1e-6)
    assert kinds == {False, True} if mixup and cutmix else len(kinds) == 1
    assert torch.allclose(targets.sum(1), torch.ones(24))


def test_rand_augment_repeats_and_leaves_the_global_generator_alone(images):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again = (rand_augment(images, 9, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert not torch.equal(first, images)


def test_nothing_asked_for_changes_nothing(images, rng):
    assert augment(images, ProxyRecipe(img_size=SIZE, flip=False), flip=True, rng=rng) is images
    assert augment(images, ProxyRecipe(img_size=SIZE), flip=False, rng=rng) is images


def test_flip_mirrors_about_half(rng):
    images = torch.randint(0, 256, (400, 3, 4, 4), dtype=torch.uint8)
    flipped = augment(images, ProxyRecipe(img_size=4), flip=True, rng=rng)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (mirrored | (flipped == images).flatten(1).all(1)).all()
    assert 150 < int(mirrored.sum()) < 250
