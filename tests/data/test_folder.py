import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from archsearch.data import load, reduce
from archsearch.data.folder import cache_folder, decode_image
from archsearch.errors import DataError
from archsearch.recipes import ProxyRecipe


def fill(root, split, classes=("cat", "dog"), count=10, size=(12, 12), kind="png"):
    rng = np.random.default_rng(len(split))
    for label, name in enumerate(classes):
        folder = root / split / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 100, (size[1], size[0], 3), dtype=np.uint8) + 100 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.{kind}")


@pytest.fixture
def root(tmp_path):
    fill(tmp_path / "images", "train")
    fill(tmp_path / "images", "test", count=4)
    return tmp_path / "images"


def test_one_other_split_is_left_alone_and_a_tenth_of_train_chooses(root):
    data = load("folder", root, 12)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 8)
    assert torch.bincount(data.val.labels).tolist() == [1, 1]
    for split in (data.train, data.val, data.test):
        assert ((split.images.float().mean((1, 2, 3)) > 100).long() == split.labels).all()


def test_with_val_and_test_val_chooses(root):
    fill(root, "val", count=3)
    data = load("folder", root, 12)
    assert (len(data.train), len(data.val), len(data.test)) == (20, 6, 8)


def test_pixels_survive_decoding_and_caching(root):
    first, again = load("folder", root, 12), load("folder", root, 12)
    assert torch.equal(first.test.images, again.test.images)
    paths = sorted((root / "test").glob("*/*.png"))
    for path, pixels in zip(paths, first.test.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), pixels.numpy())


def test_a_folder_is_decoded_once(root, monkeypatch):
    load("folder", root, 12)
    monkeypatch.setattr("archsearch.data.folder.decode_image", lambda *a: pytest.fail("decoded again"))
    load("folder", root, 12)


def test_a_changed_folder_is_decoded_again(root):
    before = load("folder", root, 12)
    Image.new("RGB", (12, 12), "white").save(root / "test" / "cat" / "new.png")
    after = load("folder", root, 12)
    assert len(after.test) == len(before.test) + 1
    assert after.fingerprint != before.fingerprint


def test_a_truncated_cache_is_made_again(root):
    before = load("folder", root, 12).test.images.clone()
    (cached,) = cache_folder().glob("folders/*/test_images.npy")
    for damaged in (cached.read_bytes()[:-100], b"", b"PK\x03\x04 junk"):
        cached.unlink()
        cached.write_bytes(damaged)
        assert torch.equal(load("folder", root, 12).test.images, before)


def test_a_cache_that_cannot_be_written_is_named(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME"):
        load("folder", root, 12)


def test_hidden_folders_are_no_classes(root):
    shutil.copytree(root / "train" / "cat", root / "train" / ".ipynb_checkpoints")
    assert load("folder", root, 12).classes == ("cat", "dog")


def test_sixteen_bit_grey_is_scaled(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png", 8)[0].ravel() == pytest.approx(ramp.ravel() / 257, abs=1)


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (8, 8)])
def test_resizing_keeps_the_centre_and_the_aspect(tmp_path, size):
    picture = Image.new("RGB", size, "black")
    centre = (size[0] // 2, size[1] // 2)
    short = min(size)
    picture.paste(
        "white", (centre[0] - short // 4, centre[1] - short // 4, centre[0] + short // 4, centre[1] + short // 4)
    )
    picture.save(tmp_path / "a.png")
    pixels = decode_image(tmp_path / "a.png", 16)
    assert pixels.shape == (3, 16, 16)
    assert pixels[0, 8, 8] == 255
    assert pixels[0, 1, 1] == pixels[0, 14, 14] == 0
    assert (pixels[0] > 127).mean() == pytest.approx(0.25, abs=0.05)


def test_grey_and_transparent_images_become_rgb(tmp_path):
    Image.new("LA", (6, 6), (200, 128)).save(tmp_path / "a.png")
    assert (decode_image(tmp_path / "a.png", 6) == 200).all()


def break_nothing(root):
    shutil.rmtree(root / "train" / "cat")
    shutil.rmtree(root / "train" / "dog")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda r: shutil.rmtree(r), "must be a folder with train/"),
        (lambda r: shutil.rmtree(r / "train"), "must be a folder with train/"),
        (lambda r: shutil.rmtree(r / "test"), "must be a folder with train/"),
        (break_nothing, "holds no images"),
        (lambda r: shutil.rmtree(r / "train" / "dog"), "one class, 'cat'"),
        (lambda r: [p.unlink() for p in sorted((r / "train" / "dog").iterdir())[1:]], "dog holds one image"),
        (lambda r: (r / "train" / "dog" / "gone.png").symlink_to("nowhere"), "cannot read"),
        (lambda r: (r / "test" / "dog").rename(r / "test" / "cow"), "class that train/ does not have"),
        (lambda r: (r / "train" / "dog" / "003.png").write_bytes(b"no picture"), "003.png is broken"),
        (
            lambda r: (r / "train" / "dog" / "003.png").write_bytes(
                (r / "train" / "dog" / "003.png").read_bytes()[:80]
            ),
            "003.png is broken",
        ),
    ],
)
def test_broken_folders_are_named_and_leave_no_cache(root, damage, words):
    damage(root)
    with pytest.raises(DataError, match=words) as error:
        load("folder", root, 12)
    assert "\n" not in str(error.value)
    assert not list(cache_folder().glob("folders/*"))


def test_all_broken_images_are_told_at_once(root):
    for number in range(5):
        (root / "train" / "dog" / f"00{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"000.png, .*001.png, .*002.png and 2 more are broken or no images; repair"):
        load("folder", root, 12)


def test_imagenets_layout(tmp_path):
    """train/n01440764/*.JPEG beside val/: val/ is left alone, a tenth of train/ chooses."""
    root = tmp_path / "imagenet"
    for split, count in (("train", 20), ("val", 5)):
        fill(root, split, classes=("n01440764", "n01443537"), count=count, size=(60, 40), kind="JPEG")
    data = load("folder", root, 16)
    assert data.classes == ("n01440764", "n01443537")
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 10)
    assert data.train.images.shape[1:] == (3, 16, 16)


def test_decoded_images_stay_on_disk(root):
    """Neither holding samples out nor reducing copies the images of a folder into memory."""
    data = reduce(load("folder", root, 12), ProxyRecipe(img_size=12, train_samples=8))
    assert data.train.store is data.val.store
    assert len(data.train.store) == 20


def test_other_pictures_of_the_same_names_and_sizes_are_other_data(root):
    before = load("folder", root, 12)
    for path in (root / "train").glob("*/*.png"):
        path.unlink()
    for name in ("cat", "dog"):
        for number in range(10):
            Image.new("RGB", (12, 12), (number, 7, 7)).save(root / "train" / name / f"{number:03}.png")
    assert load("folder", root, 12).fingerprint != before.fingerprint


def test_two_that_decode_at_once_agree(root):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load("folder", root, 12), range(4)))
    assert len({data.fingerprint for data in found}) == 1
    assert len(list(cache_folder().glob("folders/*"))) == 1
