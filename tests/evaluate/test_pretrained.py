import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.functional import normalize, pil_to_tensor

from archsearch.arch.paper import rows
from archsearch.errors import DataError
from archsearch.evaluate.pretrained import trained_top1

CPU = torch.device("cpu")
#: A network of timm's that is as small as can be; its published weights are not needed.
NAME = "test_convnext.r160_in1k"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = timm.create_model(NAME.partition(".")[0])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_file(model.state_dict(), folder / f"{NAME}.safetensors")
    return folder, model.eval()


@pytest.fixture(scope="module")
def images(weights, tmp_path_factory):
    """Half of the images in the folder of the class that the network names, half in the next; how many are right."""
    root, rng, model = tmp_path_factory.mktemp("images"), np.random.default_rng(0), weights[1]
    config = timm.data.resolve_model_data_config(model)
    assert config["crop_pct"] == 0.95
    for name in range(1000):
        (root / "val" / f"n{name:04d}").mkdir(parents=True)
    right = 0
    for i in range(60):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((200, 168), Image.NEAREST)
        # As timm prepares it: the shorter side to floor(160 / 0.95) = 168 pixels, which it has, then the centre.
        pixels = pil_to_tensor(picture.crop((20, 4, 180, 164))).float() / 255
        with torch.inference_mode():
            named = int(model(normalize(pixels, config["mean"], config["std"])[None]).argmax())
        right += i % 2 == 0
        picture.save(root / "val" / f"n{(named + i % 2) % 1000:04d}" / f"{i}.png")
    for folder in (root / "val").iterdir():
        if not any(folder.iterdir()):
            picture.save(folder / "filler.png")  # the last one's class has it already, so none of these is right
    return root, right


def test_trained_weights_name_what_they_name(weights, images):
    found = trained_top1(NAME, weights[0], images[0], CPU)
    assert found["correct"] == images[1] == 30
    assert found["images"] > 1000
    assert found["weights"] == NAME


def test_other_classes_than_the_weights_know_are_refused(weights, images, tmp_path):
    shutil.copytree(images[0] / "val" / "n0003", tmp_path / "val" / "n0003")
    with pytest.raises(DataError, match="has 1 classes, but the weights are for 1000"):
        trained_top1(NAME, weights[0], tmp_path, CPU)
    with pytest.raises(DataError, match="must contain val/ with a folder of images per class"):
        trained_top1(NAME, weights[0], tmp_path / "none", CPU)


def test_weights_that_are_not_there_or_of_another_network(weights, images, tmp_path):
    with pytest.raises(DataError, match=r"no weights file .*test_convnext.r160_in1k.safetensors"):
        trained_top1(NAME, tmp_path, images[0], CPU)
    shutil.copy(weights[0] / f"{NAME}.safetensors", tmp_path / "test_resnet.r160_in1k.safetensors")
    with pytest.raises(DataError, match=r"cannot load the weights test_resnet\.r160_in1k from"):
        trained_top1("test_resnet.r160_in1k", tmp_path, images[0], CPU)
    (tmp_path / f"{NAME}.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot load the weights"):
        trained_top1(NAME, tmp_path, images[0], CPU)


def test_timm_has_the_weights_that_table_4_names():
    known = set(timm.list_pretrained())
    named = [row.figures["weights"] for row in rows("4") if row.figures["weights"]]
    assert len(named) == 18
    assert set(named) <= known
