"""Networks as ONNX files, which onnxruntime computes as torch does."""

import random

import numpy as np
import pytest
import tiny
import torch
from lively import drawn, small
from torch import nn

from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import TimmModel, network
from archsearch.errors import ArchError, ArchsearchError, OptionError, StorageError
from archsearch.nn import build_network, deploy_form, onnx_export
from archsearch.nn.onnx_export import export_onnx, open_session

pytest.importorskip("onnxruntime")
TINY = network("inceptionnext_tiny")
BUILT_IN = [name for name, kind in MIXER_TYPES.items() if kind.source is None]


def off(model, path, img_size, batch):
    """Largest difference of onnxruntime's logits from torch's, and the largest of torch's."""
    images = torch.randn(batch, 3, img_size, img_size)
    (found,) = open_session(path, ["CPUExecutionProvider"]).run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = model(images).numpy()
    assert found.shape == expected.shape == (batch, 10)
    return np.abs(found - expected).max(), np.abs(expected).max()


@pytest.mark.parametrize("form", ["train", "deploy"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_mixer_computes_the_same(name, form, tmp_path):
    model = small(TINY, mixers=(Mixer.of(name),) * 4)
    model = deploy_form(model) if form == "deploy" else model
    written = export_onnx(model, 32, tmp_path / "new" / "net.onnx")
    for batch in (1, 3):
        difference, largest = off(model, written.path, 32, batch)
        assert difference < 1e-4
        assert largest > 0.1, "logits so small agree whatever was computed"
    assert written.difference < 1e-5
    assert [file.name for file in written.path.parent.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("changes", [{"norm": "layer", "head": "linear"}, {"block": "metaformer", "act": "silu"}])
def test_other_parts_compute_the_same(changes, tmp_path):
    model = small(TINY, **changes)
    assert off(model, export_onnx(model, 32, tmp_path / "net.onnx").path, 32, 3)[0] < 1e-4


def test_a_network_of_timms(tmp_path):
    model, img_size = build_network(TimmModel("resnet18", 64, {"num_classes": 10}))
    assert off(model, export_onnx(model, img_size, tmp_path / "net.onnx").path, 64, 3)[0] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_dw", "inception_dw", "macro", "metanext", "token_mixers"])
def test_twenty_architectures_of_every_space(name, tmp_path):
    space, rng = tiny.shipped_space(name), random.Random(7)
    for number in range(20):
        arch = drawn(space, rng)
        model = small(arch, space)
        model = deploy_form(model) if number % 2 else model
        difference, _ = off(model, export_onnx(model, 32, tmp_path / f"{number}.onnx").path, 32, 1 + number % 3)
        assert difference < 1e-4, arch


def test_the_exporter_says_nothing_and_leaves_the_model_alone(tmp_path, capfd):
    model = small(TINY).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, 32, tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_large_file_has_its_weights_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "WITHIN_FILE", 0)
    model = small(TINY)
    written = export_onnx(model, 32, tmp_path / "net.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert off(model, written.path, 32, 3)[0] < 1e-4


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 10)

    def forward(self, x):
        y = self.fc(x.mean((2, 3)))
        return y if y.sum() > 0 else -y


def test_what_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(ArchError, match=r"^the network cannot be written as ONNX: .+") as failed:
        export_onnx(Branching(), 32, tmp_path / "net.onnx")
    assert "\n" not in str(failed.value)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^cannot write .*net.onnx: .+; free its place, or name another$"):
        export_onnx(small(TINY), 32, tmp_path / "file" / "net.onnx")
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(ArchsearchError, match=r"^onnxruntime's logits differ from torch's by .+, more than"):
        export_onnx(small(TINY), 32, tmp_path / "net.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["file"], "nothing half-written is left"
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"^ONNX needs onnx, .*: pip install .archsearch\[onnx\]"):
        export_onnx(small(TINY), 32, tmp_path / "net.onnx")
