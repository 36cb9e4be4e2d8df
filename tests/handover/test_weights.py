import pytest
import torch
from safetensors.torch import save_file

from archsearch.arch.networks import network
from archsearch.errors import DataError, StorageError
from archsearch.handover import Weights, load_weights, save_weights
from archsearch.nn import build
from archsearch.recipes import PROXIES

ARCH = PROXIES["smoke"].shrink(network("inceptionnext_tiny"), 10)


def test_weights_come_back_with_architecture_and_facts(tmp_path):
    model = build(ARCH).eval()
    save_weights(tmp_path / "new" / "w.safetensors", Weights(ARCH, model.state_dict(), {"accuracy": 0.5}))
    read = load_weights(tmp_path / "new" / "w.safetensors")
    assert read.arch == ARCH
    assert read.facts == {"accuracy": 0.5}
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(read.build()(images), model(images))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["w.safetensors"]


def test_weights_of_another_architecture_do_not_fit():
    with pytest.raises(DataError, match="do not fit their architecture"):
        Weights(ARCH.replace(depths=(2, 2, 2, 2)), build(ARCH).state_dict()).build()


def test_files_of_others_are_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="cannot read the weights"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(DataError, match="cannot read the weights"):
        load_weights(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(DataError, match="archsearch did not write it"):
        load_weights(tmp_path / "other")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        save_weights(tmp_path / "file" / "w.safetensors", Weights(ARCH, {"a": torch.zeros(1)}))
