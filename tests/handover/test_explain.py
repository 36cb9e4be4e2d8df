import base64
import dataclasses
import io
import json
import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from explained import train_into, write_images
from PIL import Image
from torch import nn

from archsearch.arch.mixer import Mixer
from archsearch.complexity.effective_field import effective_fields
from archsearch.complexity.receptive import stage_fields
from archsearch.data.folder import decode_image
from archsearch.errors import ArchError, DataError, OptionError
from archsearch.handover import (
    ExplainSpec,
    ExportSpec,
    Weights,
    explain,
    export,
    load_weights,
    save_weights,
    write_explanation,
)
from archsearch.handover.explain_images import chosen_images
from archsearch.handover.explain_networks import trained_network
from archsearch.handover.explain_page import page
from archsearch.handover.explain_picture import CELL, GAP, overlay, picture
from archsearch.handover.explain_spec import Sight
from archsearch.handover.explain_tables import explanation_document
from archsearch.handover.grad_cam import heat_maps, map_sides
from archsearch.nn import build, load_mixers
from archsearch.nn.mixers import MIXERS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of two trained networks, and images."""
    folder = tmp_path_factory.mktemp("explained")
    train_into(folder, "inceptionnext_tiny", study="night", trial=3, seed=0, proxy={"epochs": 1})
    train_into(folder, "convnext_tiny")
    write_images(folder / "images")
    return folder


def weights(folder, name="inceptionnext_tiny"):
    return str(folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def explanation(folder):
    networks = (weights(folder), weights(folder, "convnext_tiny"))
    return explain(ExplainSpec(networks, (folder / "images",), limit=4, stage=3))


def by_hand(model, layer, image, target):
    """Grad-CAM as its paper has it (Selvaraju et al. 2017, equations 1 and 2), scaled as the library does."""
    kept = {}
    hook = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.update(map=output))
    score = model(image)[0, target]
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept["map"])
    weights = gradient.mean((2, 3), keepdim=True)
    small = (weights * kept["map"]).sum(1, keepdim=True).relu()
    scaled = (small - small.min()) / (small.max() - small.min() + 1e-7)
    large = F.interpolate(scaled, image.shape[-2:], mode="bilinear", align_corners=False)
    return ((large - large.min()) / (large.max() - large.min() + 1e-7))[0, 0].detach().numpy()


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_grad_cam_is_that_of_the_paper(folder, stage):
    model = load_weights(folder / "inceptionnext_tiny.safetensors").build()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(stage))
    layer, targets = f"stages.{stage - 1}", [0, 3, 3]
    heats = heat_maps(model, layer, images, targets)
    assert heats.max() > 0
    for image, target, heat in zip(images, targets, heats, strict=True):
        assert heat == pytest.approx(by_hand(model, layer, image[None], target), abs=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_with_average_and_matrix_grad_cam_is_cam():
    """Behind a global average and a linear layer the weights are the class's row (Zhou et al. 2016)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    image = torch.randn(1, 3, 8, 8)
    cam = torch.einsum("c,chw->hw", model[3].weight[2], model[0](image)[0]).relu().detach()
    expected = ((cam - cam.min()) / (cam.max() - cam.min())).numpy()
    assert heat_maps(model, "0", image, [2])[0] == pytest.approx(expected, abs=1e-5)


def test_networks_see_images_as_in_training(folder, explanation):
    files = explanation.images
    for name, network in zip(("inceptionnext_tiny", "convnext_tiny"), explanation.networks, strict=True):
        known = load_weights(folder / f"{name}.safetensors")
        pixels = np.stack([decode_image(file, 32) for file in files])
        mean, std = (torch.tensor(known.facts[key]).view(3, 1, 1) for key in ("mean", "std"))
        with torch.no_grad():
            odds = known.build()((torch.from_numpy(pixels) / 255 - mean) / std).softmax(1)
        assert network.name == name
        for i, sight in enumerate(network.sights):
            assert (sight.view == pixels[i].transpose(1, 2, 0)).all()
            assert sight.predicted == sight.target == known.facts["classes"][odds[i].argmax()]
            assert sight.probability == pytest.approx(float(odds[i].max()), abs=1e-5)
            assert sight.heat.shape == (32, 32)


def test_a_network_is_told_with_weights_accuracy_and_layer(folder, explanation):
    first, second = explanation.networks
    assert first.weights == "proxy network of night#3, trained for 1 epoch with seed 0"
    assert second.weights == f"network of {folder / 'convnext_tiny.safetensors'}"
    assert re.fullmatch(r"\d+\.\d % on the validation split of drawn", first.accuracy)
    assert (first.stage, first.layer, first.map_side) == (3, "stages.2", 4)
    assert "32 px" in first.preprocessing


def _model(folder, network):
    return load_weights(folder / f"{network.name}.safetensors").build()


def _inputs(folder, network):
    facts = load_weights(folder / f"{network.name}.safetensors").facts
    mean, std = (torch.tensor(facts[key]) for key in ("mean", "std"))
    views = np.stack([sight.view for sight in network.sights])
    return ((torch.from_numpy(views) / 255 - mean) / std).permute(0, 3, 1, 2)


def test_the_last_stage_is_the_default(folder):
    (network,) = explain(ExplainSpec((weights(folder),), (folder / "images",), limit=1)).networks
    assert (network.stage, network.layer, network.map_side) == (4, "stages.3", 2)


def test_fields_are_measured_beside_the_theoretical_ones(folder, explanation):
    for network in explanation.networks:
        arch = load_weights(folder / f"{network.name}.safetensors").arch
        assert tuple(field.theoretical for field in network.fields) == stage_fields(arch)[1:]
        measured = effective_fields(
            _model(folder, network), [f"stages.{i}" for i in range(4)], _inputs(folder, network)
        )
        assert [field.effective for field in network.fields] == [field.side for field in measured.values()]
        assert 1 < network.fields[0].effective < network.fields[1].effective < network.fields[2].effective <= 32


def test_images_of_a_folder_are_spread_over_its_classes(folder, explanation):
    assert len({file.parent for file in explanation.images}) == 4
    every = chosen_images([folder / "images"], 1000)
    assert len(every) == len(list((folder / "images").rglob("*.png")))
    assert chosen_images([every[5], folder / "images", every[5]], 2) == (every[5], every[0], every[1])


@pytest.mark.parametrize("target", ["index", "name", "NAME"])
def test_another_class_can_be_explained(folder, target):
    known = load_weights(folder / "convnext_tiny.safetensors").facts["classes"][2]
    wanted = {"index": 2, "name": known, "NAME": known.upper()}[target]
    (network,) = explain(
        ExplainSpec((weights(folder, "convnext_tiny"),), (folder / "images",), limit=3, target=wanted)
    ).networks
    assert {sight.target for sight in network.sights} == {known}
    assert all(sight.target_probability <= sight.probability for sight in network.sights)


def test_two_networks_of_one_name_are_told_apart(folder, tmp_path):
    known = load_weights(folder / "convnext_tiny.safetensors")
    other = tmp_path / "convnext_tiny.safetensors"
    save_weights(other, known)
    shown = explain(ExplainSpec((weights(folder, "convnext_tiny"), str(other)), (folder / "images",), limit=1))
    assert [network.name for network in shown.networks] == [weights(folder, "convnext_tiny"), str(other)]


CONFIG = {"architecture": "", "num_classes": 3, "pretrained_cfg": {"label_names": ["ant", "bee", "cow"]}}
GENERATED = """
from torch import nn
from timm.models import register_model
from timm.models._builder import build_model_with_cfg


class Small(nn.Module):
    def __init__(self, num_classes=3, in_chans=3, **kwargs):
        super().__init__()
        self.num_classes = num_classes
        self.stages = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 2, 2))
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.stages(x).mean((2, 3)))


@register_model
def small_and_explained(pretrained=False, **kwargs):
    return build_model_with_cfg(Small, "small_and_explained", pretrained, **kwargs)
"""


def export_of(model, folder, architecture, **more):
    """What ``export`` writes: weights, and a configuration in timm's format."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    own = {
        "input_size": [3, 48, 48],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
    }
    config = CONFIG | {"architecture": architecture, "pretrained_cfg": CONFIG["pretrained_cfg"] | own} | more
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_a_folder_for_timm_is_read_as_timm_reads_it(folder, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=3).eval()
    (file,) = chosen_images([folder / "images"], 1)
    made = export_of(model, tmp_path / "made", "resnet10t")
    (network,) = explain(ExplainSpec((made,), (file,), target="bee")).networks
    pixels = np.asarray(Image.open(file).convert("RGB").resize((48, 48), Image.Resampling.BILINEAR))
    x = (torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        odds = model(x).softmax(1)[0]
    (sight,) = network.sights
    assert sight.target_probability == pytest.approx(float(odds[1]), abs=1e-4)
    assert sight.predicted == ["ant", "bee", "cow"][odds.argmax()]
    assert (sight.view == pixels).all()
    assert network.layer == "layer4"
    assert network.name == "made"
    assert "48 x 48 px" in network.preprocessing


@pytest.mark.parametrize("name", ["convnext_tiny", "inceptionnext_tiny"])
def test_what_export_wrote_looks_where_its_weights_do(folder, tmp_path, name):
    arch = tmp_path / f"{name}.json"
    arch.write_text(json.dumps(load_weights(Path(weights(folder, name))).arch.to_dict()))
    export(ExportSpec(str(arch), tmp_path / "made", weights=weights(folder, name)))
    spec = ExplainSpec((str(tmp_path / "made"), weights(folder, name)), (folder / "images",), limit=3, stage=3)
    made, own = explain(spec).networks
    assert made.accuracy == own.accuracy
    assert made.weights.startswith(f"exported from {arch}: weights of {name}.safetensors; ")
    for there, here in zip(made.sights, own.sights, strict=True):
        assert (there.predicted, there.target) == (here.predicted, here.target)
        assert there.probability == pytest.approx(here.probability, abs=1e-4)
        assert there.heat == pytest.approx(here.heat, abs=1e-3)
    assert [field.theoretical for field in made.fields] == [field.theoretical for field in own.fields]


def test_a_generated_model_file_builds_the_network(folder, tmp_path):
    namespace = {}
    exec(GENERATED.partition("@register_model")[0], namespace)
    made = export_of(namespace["Small"](), tmp_path / "made", "small_and_explained")
    (tmp_path / "made" / "small_and_explained.py").write_text(GENERATED)
    (network,) = explain(ExplainSpec((made,), (folder / "images",), limit=2)).networks
    assert (network.layer, network.map_side) == ("stages.1", 6)
    assert [field.theoretical for field in network.fields] == [(4, 4), (8, 8)]
    assert [field.effective for field in network.fields] == [4, 8]
    assert network.sights[0].predicted in ("ant", "bee", "cow")


def test_folders_of_one_entry_are_built_by_their_own_files(folder, tmp_path):
    namespace = {}
    exec(GENERATED.partition("@register_model")[0], namespace)
    made = [export_of(namespace["Small"](), tmp_path / name, "small_and_explained") for name in ("one", "two")]
    other = GENERATED.replace("self.head(self.stages(x)", "self.head(-self.stages(x)")
    for name, source in (("one", GENERATED), ("two", other)):
        (tmp_path / name / "small_and_explained.py").write_text(source)
    (tmp_path / "two" / "model.safetensors").write_bytes((tmp_path / "one" / "model.safetensors").read_bytes())
    (image,) = chosen_images([folder / "images"], 1)
    for order in (made, made[::-1]):
        built = [trained_network(reference, "", None) for reference in order]
        x = built[0].prepare(image)[1][None]
        with torch.no_grad():
            bias = built[0].model.head.bias
            one, two = (network.model(x) - bias for network in built)
        torch.testing.assert_close(one, -two)
    assert not timm.is_model("small_and_explained")


def test_timms_weights_are_taken_from_a_folder(folder, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "resnet10t.c3_in1k.safetensors")
    spec = ExplainSpec(("timm:resnet10t.c3_in1k",), (folder / "images",), limit=2, weights=tmp_path, target="tench")
    (network,) = explain(spec).networks
    assert network.sights[0].target == "tench"
    assert network.fields[-1].stage == 5


def timms(tmp_path, name):
    from safetensors.torch import save_file

    save_file(timm.create_model(name).state_dict(), tmp_path / f"{name}.safetensors")
    return f"timm:{name}"


def test_a_layer_that_grad_cam_cannot_use_is_named_with_the_remedy(folder, tmp_path):
    images = (folder / "images",)
    known = load_weights(folder / "convnext_tiny.safetensors")
    small = Weights(known.arch.replace(img_size=16), known.state, known.facts)
    save_weights(tmp_path / "small.safetensors", small)
    with pytest.raises(
        OptionError, match=r"^small: .* stage 4 \(stages.3\), whose map has a single position; --stage 1"
    ):
        explain(ExplainSpec((str(tmp_path / "small.safetensors"),), images, limit=1))
    with pytest.raises(OptionError, match=r"has 4 stages; --stage 5 names none of them"):
        explain(ExplainSpec((weights(folder),), images, limit=1, stage=5))
    tokens = timms(tmp_path, "test_vit")
    with pytest.raises(OptionError, match=r"^timm:test_vit: .* whose output is no map; none of its stages"):
        explain(ExplainSpec((tokens,), images, limit=1, weights=tmp_path))


def test_where_no_gradient_passes_is_found():
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach()

    class Beside(nn.Module):
        """Its second layer's output is not used."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            self.b(x)
            return self.a(x).mean((2, 3))

    image = torch.randn(1, 3, 8, 8)
    assert map_sides(Beside(), ["a", "b"], image) == [8, "which passes no gradient on"]
    cut = nn.Sequential(nn.Conv2d(3, 2, 1), Cut(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert map_sides(cut, ["0", "1", "2"], image)[:2] == ["which passes no gradient on"] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "whale"}, "inceptionnext_tiny: unknown class 'whale'"),
        ({"target": 99}, "has classes 0 to 7, and no class 99"),
        ({"images": (Path("none.png"),)}, "there is no image none.png"),
        ({"networks": ("inceptionnext_tiny",)}, "names no trained network"),
        ({"networks": ("night#one",)}, "write STUDY#NUMBER with the number of a trial, as night#3"),
        ({"networks": ("timm:resnet10t.c3_in1k",), "weights": Path("nowhere")}, "no weights file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, change, message):
    spec = ExplainSpec((weights(folder),), (folder / "images",), limit=1)
    with pytest.raises((OptionError, DataError), match=message) as caught:
        explain(dataclasses.replace(spec, **change))
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_are_refused(folder, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png is broken or no image"):
        explain(ExplainSpec((weights(folder),), (tmp_path / "text.png",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        explain(ExplainSpec((weights(folder),), (tmp_path / "empty",)))
    with pytest.raises(DataError, match=r"is no folder of export: it has no config\.json"):
        explain(ExplainSpec((str(tmp_path / "empty"),), (folder / "images",)))
    known = load_weights(folder / "convnext_tiny.safetensors")
    bare = tmp_path / "bare.safetensors"
    save_weights(bare, dataclasses.replace(known, facts={"classes": known.facts["classes"]}))
    with pytest.raises(DataError, match="does not say its mean or std"):
        explain(ExplainSpec((str(bare),), (folder / "images",)))
    save_weights(bare, dataclasses.replace(known, facts=known.facts | {"classes": ["a", "b"]}))
    with pytest.raises(DataError, match="names 2 classes for 8 logits"):
        explain(ExplainSpec((str(bare),), (folder / "images",)))
    damaged = export_of(build(known.arch), tmp_path / "damaged", "resnet10t")
    with pytest.raises(DataError, match=r"cannot load .*damaged"):
        explain(ExplainSpec((damaged,), (folder / "images",)))


def test_classes_of_one_name_need_the_index(folder, tmp_path):
    known = load_weights(folder / "convnext_tiny.safetensors")
    twice = ["crane", *known.facts["classes"][1:-1], "Crane"]
    save_weights(tmp_path / "w.safetensors", dataclasses.replace(known, facts=known.facts | {"classes": twice}))
    with pytest.raises(OptionError, match=r"has classes 0 and 7 named 'crane'; give the index"):
        explain(ExplainSpec((str(tmp_path / "w.safetensors"),), (folder / "images",), target="crane"))


def test_a_spec_without_networks_or_images_is_refused():
    with pytest.raises(OptionError, match="at least one network and one image"):
        ExplainSpec((), (Path("a"),))
    with pytest.raises(OptionError, match="count from 1"):
        ExplainSpec(("a",), (Path("a"),), stage=0)


def test_the_picture_has_a_row_per_image_and_a_column_per_network(explanation):
    drawn = picture(explanation)
    assert drawn.width == GAP + 3 * (CELL + GAP)
    pixels = np.asarray(drawn).astype(int)
    for column, network in enumerate(explanation.networks, 1):
        left = GAP + column * (CELL + GAP)
        strip = pixels[:, left : left + CELL]
        for sight in network.sights:
            shown = np.asarray(overlay(sight)).astype(int)
            assert any((strip[top : top + CELL] == shown).all() for top in range(drawn.height - CELL))


def test_an_overlay_is_red_where_the_heat_is():
    heat = np.zeros((8, 8), np.float32)
    heat[:4, :4] = 1
    grey = np.full((8, 8, 3), 128, np.uint8)
    shown = np.asarray(overlay(Sight(grey, heat, "a", 0.5, "a", 0.5))).astype(int)
    assert shown.shape == (CELL, CELL, 3)
    red, _, blue = shown[CELL // 8, CELL // 8]
    assert red > blue + 60
    red, _, blue = shown[-1, -1]
    assert blue > red + 60


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.words = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data):
        self.words += data


def test_the_page_holds_everything_in_itself(explanation):
    text = page(explanation)
    parsed = Parsed(text)
    assert "script" not in parsed.tags
    assert "://" not in text
    assert "url(" not in text
    networks, images = len(explanation.networks), len(explanation.images)
    assert len(parsed.images) == images * (1 + networks) + 4 * networks
    for image in parsed.images:
        kind, _, data = image["src"].partition("base64,")
        assert kind == "data:image/png;"
        Image.open(io.BytesIO(base64.b64decode(data))).verify()
        assert image["alt"]
    for network in explanation.networks:
        for said in (network.name, network.weights, network.accuracy, network.preprocessing, network.layer):
            assert said in parsed.words
        for sight in network.sights:
            assert f"{sight.predicted} {100 * sight.probability:.0f} %" in parsed.words
        for field in network.fields:
            assert f"effective {field.effective} x {field.effective} px" in parsed.words


def test_names_on_the_page_are_text(explanation):
    named = dataclasses.replace(explanation.networks[0], name="<script>alert(1)</script>")
    text = page(dataclasses.replace(explanation, networks=(named,)))
    assert "<script" not in text
    assert "<script>alert(1)</script>" in Parsed(text).words


def test_where_nothing_speaks_for_a_class_it_is_said(explanation):
    first = explanation.networks[0]
    blank = dataclasses.replace(first.sights[0], heat=np.zeros((32, 32), np.float32))
    shown = dataclasses.replace(first, sights=(blank, *first.sights[1:]))
    assert page(dataclasses.replace(explanation, networks=(shown,))).count("nothing speaks for it") >= 1


def test_tables_say_the_same(explanation):
    document = explanation_document(explanation)
    assert len(document.tables[0].rows) == len(explanation.images)
    assert len(document.records) == 4 * len(explanation.networks)
    assert json.loads(json.dumps(document.data))["networks"][0]["fields"][2]["theoretical"] == "148x148"


def test_nothing_is_overwritten_unasked(explanation, tmp_path):
    paths = write_explanation(explanation, tmp_path / "new")
    assert [path.name for path in paths] == ["explain.png", "explain.html"]
    before = paths[1].read_bytes()
    one = dataclasses.replace(explanation, networks=explanation.networks[:1])
    with pytest.raises(OptionError, match="is there already; name another folder, or replace it by --force"):
        write_explanation(one, tmp_path / "new")
    assert paths[1].read_bytes() == before
    write_explanation(one, tmp_path / "new", force=True)
    assert paths[1].read_bytes() != before
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["explain.html", "explain.png"]
    with pytest.raises(OptionError, match="is no folder"):
        write_explanation(one, paths[0])


@pytest.mark.parametrize("reference", ["night#3", "study:night#3", "a#b#3"])
def test_a_trial_is_looked_up_among_confirmed_ones(folder, monkeypatch, reference):
    asked = []

    def weights_of(study, number, storage):
        asked.append((study, number, storage))
        return folder / "convnext_tiny.safetensors"

    monkeypatch.setattr("archsearch.handover.trained.weights_of", weights_of)
    (network,) = explain(ExplainSpec((reference,), (folder / "images",), limit=1, storage="s.db")).networks
    assert asked == [(reference.removeprefix("study:")[:-2], 3, "s.db")]
    assert network.name == reference


def test_the_hub_is_not_heard_where_it_cannot_be_reached(folder, caplog, monkeypatch):
    def unreachable(*args, **kwargs):
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s")
        raise OSError("no connection. Try again.")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(DataError, match=r"from the hub: no connection. Try again; --weights DIR takes"):
        explain(ExplainSpec(("timm:resnet10t.c3_in1k",), (folder / "images",)))
    assert caplog.text == ""
    with pytest.raises(ArchError, match="unknown network of timm's 'resnet10x'"):
        explain(ExplainSpec(("timm:resnet10x.c3_in1k",), (folder / "images",)))


OWN = """
from torch import nn

class Own(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x):
        return self.conv(x)

MIXERS = {"own": Own}
"""


def test_networks_with_mixers_of_the_users_own_need_their_file(folder, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    load_mixers(tmp_path / "own.py")
    known = load_weights(folder / "convnext_tiny.safetensors")
    arch = known.arch.replace(mixers=(Mixer.of("own"),) * 4)
    save_weights(tmp_path / "w.safetensors", Weights(arch, build(arch).state_dict(), known.facts))
    spec = ExplainSpec((str(tmp_path / "w.safetensors"),), (folder / "images",), limit=2)
    (network,) = explain(spec).networks
    assert network.fields[0].theoretical == (2 + 2 * 2, 2 + 2 * 2)
    MIXERS.pop("own")
    with pytest.raises(ArchError, match="comes from a file that was not given; add --mixers FILE"):
        explain(spec)
