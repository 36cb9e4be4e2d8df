"""torchvision's own readers, on small files in the formats that it downloads."""

import gzip
import hashlib
import pickle
import struct
import urllib.request

import numpy as np
import pytest
import torch
from torchvision import datasets

from archsearch.data import load
from archsearch.errors import DataError

RNG = np.random.default_rng(0)


def write_cifar(root, cls, names, label_key, meta_key, classes, monkeypatch):
    """Batches as CIFAR ships them, with checksums to match."""
    folder = root / cls.base_folder
    folder.mkdir(parents=True)

    def dump(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(count):
        return {
            "data": RNG.integers(0, 256, (count, 3072), dtype=np.uint8),
            label_key: [i % len(classes) for i in range(count)],
        }

    monkeypatch.setattr(cls, "train_list", [dump(name, batch(40)) for name in names[:-1]])
    monkeypatch.setattr(cls, "test_list", [dump(names[-1], batch(20))])
    filename, md5 = dump("meta", {meta_key: classes})
    monkeypatch.setattr(cls, "meta", {"filename": filename, "key": meta_key, "md5": md5})


@pytest.mark.parametrize(
    ("name", "cls", "label_key", "meta_key", "count"),
    [
        ("cifar10", datasets.CIFAR10, "labels", "label_names", 4),
        ("cifar100", datasets.CIFAR100, "fine_labels", "fine_label_names", 5),
    ],
)
def test_cifar(tmp_path, monkeypatch, name, cls, label_key, meta_key, count):
    classes = [f"c{i}" for i in range(count)]
    write_cifar(tmp_path, cls, ["data_1", "data_2", "test"], label_key, meta_key, classes, monkeypatch)
    data = load(name, tmp_path, 32)
    assert data.classes == tuple(classes)
    assert (len(data.train), len(data.val), len(data.test)) == (72, 8, 20)
    raw = pickle.loads((tmp_path / cls.base_folder / "test").read_bytes())["data"]
    assert np.array_equal(data.test.images.numpy().reshape(20, -1), raw)
    assert data.flip


def test_fashion_mnist(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 20)):
        pixels = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as packed:
                packed.write(header + array.tobytes())
    data = load("fashion_mnist", tmp_path, 28)
    assert (len(data.train), len(data.val), len(data.test)) == (54, 6, 20)
    assert data.test.images.shape == (20, 3, 28, 28)
    assert torch.equal(data.test.images[:, 0], data.test.images[:, 2])
    assert load("fashion_mnist", tmp_path, 32).test.images.shape == (20, 3, 32, 32)


def test_offline_says_what_to_do(tmp_path, monkeypatch):
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nothing listens there: as good as no network
    monkeypatch.setattr(urllib.request, "_opener", None)  # it reads the proxies once, and keeps them for later tests
    with pytest.raises(DataError) as error:
        load("cifar10", tmp_path, 32)
    assert "go online once" in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
