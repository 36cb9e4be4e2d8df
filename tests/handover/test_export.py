"""Exported folders: what timm makes of them, where the weights come from, and what is refused."""

import argparse
import dataclasses
import importlib.util
import json
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lively import enliven
from safetensors.torch import load_file, save_file
from served import go
from timm.data import resolve_model_data_config

from archsearch.arch import Arch, Mixer
from archsearch.arch.networks import network, read_arch
from archsearch.errors import ArchError, ArchsearchError, DataError, OptionError, StorageError
from archsearch.handover import ExportSpec, Weights, contents, export, references, save_weights
from archsearch.handover.confirmation import Confirmed, Trained
from archsearch.handover.model_card import repeating
from archsearch.handover.timm_form import check_logits
from archsearch.nn import build
from archsearch.nn.timm_names import to_timms_convnext
from archsearch.recipes import PROXIES

SMALL = {"dims": (16, 24, 32, 40), "depths": (1, 1, 2, 1), "img_size": 32, "num_classes": 5}
INCEPTION = network("inceptionnext_tiny").replace(**SMALL, layer_scale_init_value=0.5)
CONVNEXT = network("convnext_tiny").replace(**SMALL, layer_scale_init_value=0.5)
GENERATED = INCEPTION.replace(norm="layer")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(arch: Arch, name: str = "net.json") -> str:
    Path(name).write_text(json.dumps(arch.to_dict()))
    return name


def logits(model: torch.nn.Module, arch: Arch) -> torch.Tensor:
    images = torch.randn(2, 3, arch.img_size, arch.img_size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model.eval()(images)


def by_timm(folder: Path | str, arch: Arch) -> torch.Tensor:
    """Logits of timm's network in a process that cannot import archsearch."""
    code = f"""
    import json, sys
    class Blocked:
        def find_spec(self, name, *more):
            if name.partition(".")[0] == "archsearch":
                raise ImportError("archsearch must not be needed")
    sys.meta_path.insert(0, Blocked())
    import pathlib
    for file in pathlib.Path({str(folder)!r}).glob("*.py"):
        sys.path.insert(0, {str(folder)!r})
        __import__(file.stem)
    import timm, torch
    model = timm.create_model({f"local-dir:{folder}"!r}, pretrained=True).eval()
    images = torch.randn(2, 3, {arch.img_size}, {arch.img_size}, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.save(model(images), {f"{folder}.pt"!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(f"{folder}.pt")


def here(folder: str) -> torch.nn.Module:
    """timm's network of a folder, in this process."""
    for file in Path(folder).glob("*.py"):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        sys.modules[file.stem] = importlib.util.module_from_spec(spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # another test registered a network of this name
            spec.loader.exec_module(sys.modules[file.stem])
    return timm.create_model(f"local-dir:{folder}", pretrained=True)


# Ways out and back


@pytest.mark.parametrize("arch", [INCEPTION, CONVNEXT, GENERATED], ids=["inceptionnext", "convnext", "generated"])
def test_timm_has_our_logits_without_archsearch(arch):
    model = enliven(build(arch))
    save_file(model.state_dict(), "w.safetensors")
    made = export(ExportSpec(write(arch), Path("out"), "w.safetensors"))
    assert (made.module is None) == (arch is not GENERATED)
    torch.testing.assert_close(by_timm("out", arch), logits(model, arch), atol=1e-5, rtol=1e-5)
    assert read_arch(Path("out/architecture.json")) == arch == made.arch
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(made.files)


def drawn(seed: int) -> Arch:
    """An architecture that timm's own classes may be, or not."""
    choose = torch.Generator().manual_seed(seed)

    def one(*values):
        return values[int(torch.randint(len(values), (), generator=choose))]

    arch = one(INCEPTION, CONVNEXT).replace(
        depths=tuple(one(1, 2) for _ in "1234"),
        dims=tuple(one(16, 24, 40) for _ in "1234"),
        layer_scale_init_value=one(0.0, 0.5),
        act=one("gelu", "silu"),
        block=one("metanext", "metanext", "metaformer"),
    )
    mixers = tuple(one(arch.mixers[0], Mixer.of(one("depthwise", "pooling", "inception"))) for _ in "1234")
    return arch.replace(
        mixers=one(arch.mixers, mixers), stem_patch_size=one(4, 2), norm=one("batch", "layer", arch.norm)
    )


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31))
def test_weights_come_back_as_they_went(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("way")
    arch = drawn(seed)
    model = enliven(build(arch))
    path = folder / "net.json"
    path.write_text(json.dumps(arch.to_dict()))
    save_file(model.state_dict(), folder / "w.safetensors")
    export(ExportSpec(str(path), folder / "out", folder / "w.safetensors"))
    back = contents.find_content(
        ExportSpec(str(path), folder / "again", folder / "out" / "model.safetensors"),
        contents.Subject("net", read_arch(folder / "out" / "architecture.json")),
    )
    assert torch.equal(logits(back.model, arch), logits(model, arch))


def test_other_logits_are_not_handed_over():
    ours, theirs = build(INCEPTION).eval(), build(INCEPTION).eval()
    check_logits(ours, ours, 32)
    with pytest.raises(ArchsearchError, match="other logits than ours, by up to"):
        check_logits(ours, theirs, 32)


@pytest.mark.parametrize("arch", [INCEPTION, GENERATED, INCEPTION.replace(block="metaformer")])
def test_the_deploy_form_has_the_logits_of_the_train_form(arch):
    model = enliven(build(arch))
    save_file(model.state_dict(), "w.safetensors")
    made = export(ExportSpec(write(arch), Path("out"), "w.safetensors", deploy=True))
    assert made.module == "net_deploy"
    assert made.training is None
    assert made.params < sum(weight.numel() for weight in model.parameters())
    torch.testing.assert_close(logits(here("out"), arch), logits(model, arch), atol=1e-4, rtol=1e-4)
    assert read_arch(Path("out/architecture.json")) == arch
    assert json.loads(Path("out/config.json").read_text())["archsearch"]["form"] == "deploy"


# Weights


def test_untrained_weights_are_those_of_the_seed():
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        before = torch.random.get_rng_state()
        made = export(ExportSpec(write(INCEPTION), Path(out), "none", seed=seed))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert made.weights == "untrained, drawn with seed 2"
    states = [load_file(f"{out}/model.safetensors") for out in "abc"]
    torch.manual_seed(1)
    assert all(torch.equal(states[0][name], value) for name, value in build(INCEPTION).state_dict().items())
    assert torch.equal(states[0]["head.fc1.weight"], states[1]["head.fc1.weight"])
    assert not torch.equal(states[0]["head.fc1.weight"], states[2]["head.fc1.weight"])


def test_without_weights_the_choices_are_named():
    with pytest.raises(OptionError, match="--weights none exports it untrained, --weights FILE"):
        export(ExportSpec("inceptionnext_atto", Path("out")))
    assert not Path("out").exists()


@pytest.mark.parametrize("key", ["state_dict", "state_dict_ema", None])
@pytest.mark.parametrize("arch", [CONVNEXT, GENERATED], ids=["timm's", "generated"])
def test_checkpoints_of_timms_training_come_back(arch, key):
    arch10 = arch.replace(num_classes=10)
    model = enliven(build(arch10))
    state = model.state_dict() if arch is GENERATED else to_timms_convnext(model.state_dict())
    state = {f"module.{name}": value for name, value in state.items()}
    told = argparse.Namespace(img_size=64, mean=[0.1, 0.2, 0.3], crop_pct=None, lr=1.0)
    content = {key: state, "args": told, "epoch": 3} if key else state
    if key == "state_dict_ema":
        content["state_dict"] = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save(content, "model_best.pth.tar")
    made = export(ExportSpec(write(arch), Path("out"), "model_best.pth.tar"))
    assert made.arch == arch10
    torch.testing.assert_close(logits(here("out"), arch), logits(model, arch), atol=1e-5, rtol=1e-5)
    cfg = json.loads(Path("out/config.json").read_text())["pretrained_cfg"]
    assert cfg["input_size"] == ([3, 64, 64] if key else [3, 32, 32])
    assert cfg["mean"] == ([0.1, 0.2, 0.3] if key else [0.485, 0.456, 0.406])
    assert cfg["crop_pct"] == 0.875


def test_the_preprocessing_of_the_trained_folder_stays(study, trained):
    export(ExportSpec("night#1", Path("out"), storage=study))
    told = argparse.Namespace(model="local-dir:out", img_size=None, mean=None, crop_pct=0.9)
    torch.save({"state_dict": load_file("out/model.safetensors"), "args": told}, "best.pth")
    export(ExportSpec("out/architecture.json", Path("again"), "best.pth"))
    cfg = json.loads(Path("again/config.json").read_text())["pretrained_cfg"]
    assert (cfg["mean"], cfg["std"], cfg["crop_pct"]) == (FACTS["mean"], FACTS["std"], 0.9)
    assert cfg["input_size"] == [3, 32, 32]


def test_the_input_size_goes_before_the_image_size():
    told = argparse.Namespace(img_size=64, input_size=[3, 96, 96])
    torch.save({"state_dict": build(INCEPTION).state_dict(), "args": told}, "best.pth")
    export(ExportSpec(write(INCEPTION), Path("out"), "best.pth"))
    assert json.loads(Path("out/config.json").read_text())["pretrained_cfg"]["input_size"] == [3, 96, 96]
    told.input_size = [3, 96, 64]
    torch.save({"state_dict": build(INCEPTION).state_dict(), "args": told}, "best.pth")
    with pytest.raises(DataError, match=r"--input-size \[3, 96, 64\]; square images"):
        export(ExportSpec("net.json", Path("again"), "best.pth"))


@pytest.mark.parametrize("arch", [INCEPTION, CONVNEXT], ids=["inceptionnext", "convnext"])
def test_weights_of_the_deploy_form_are_named_so(arch):
    export(ExportSpec(write(arch), Path("out"), "none", deploy=True))
    with pytest.raises(DataError, match=r"holds the deploy form, .*without --deploy"):
        export(ExportSpec("out/architecture.json", Path("again"), "out/model.safetensors"))


def test_linear_layers_of_timms_convnext_become_convolutions():
    theirs = timm.create_model("convnext_tiny", depths=CONVNEXT.depths, dims=CONVNEXT.dims, num_classes=5)
    theirs = enliven(theirs)
    torch.save(theirs.state_dict(), "linear.pth")
    export(ExportSpec(write(CONVNEXT), Path("out"), "linear.pth"))
    torch.testing.assert_close(logits(here("out"), CONVNEXT), logits(theirs, CONVNEXT), atol=1e-5, rtol=1e-5)


class Code:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"state_dict": build(INCEPTION.replace(depths=(1, 1, 1, 1))).state_dict()}, "there is no stages.2.blocks.1"),
        ({"state_dict": build(INCEPTION.replace(depths=(2, 1, 2, 1))).state_dict()}, "has no place in it"),
        ({"state_dict": build(INCEPTION.replace(mlp_ratios=(2, 2, 2, 2))).state_dict()}, "instead of"),
        ({"state_dict": {"weight": torch.zeros(1)}}, "there is no head.fc2.bias"),
        ([1, 2], "no mapping"),
        (Code(), "no checkpoint of torch that holds weights alone"),
    ],
)
def test_other_weights_are_refused_in_one_line(content, why):
    torch.save(content, "w.pth")
    with pytest.raises(DataError, match=why) as raised:
        export(ExportSpec(write(INCEPTION), Path("out"), "w.pth"))
    assert "\n" not in str(raised.value)
    assert not Path("out").exists()
    assert not Path("ran").exists()


def test_files_that_are_no_weights_are_refused():
    Path("text.pth").write_text("text")
    Path("text.safetensors").write_text("text")
    Path("folder").mkdir()
    for name, why in (("text.pth", "no checkpoint"), ("text.safetensors", "cannot read"), ("folder", "is a folder")):
        with pytest.raises(DataError, match=why):
            export(ExportSpec(write(INCEPTION), Path("out"), name))
    with pytest.raises(OptionError, match="there is no such file; write none, proxy, or the path"):
        export(ExportSpec(write(INCEPTION), Path("out"), "proxi"))


# Trials of studies


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A storage with a study of two trials."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.yaml").write_text(tiny.SPACE)
    url = f"sqlite:///{folder}/archsearch.db"
    go(tiny.make_study(folder / "small.yaml", name="night", objectives="pareto"), url, 2)
    return url


FACTS = {
    "classes": ["ant", "bee", "cat", "dog"],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.25, 0.3],
    "study": "night",
    "trial": 1,
    "seed": 7,
    "proxy": {"epochs": 9},
    "data": {"name": "insects", "fingerprint": "abc"},
    "split": "test",
    "accuracy": 0.8125,
    "environment": {"torch": "2.9", "device_name": "test machine"},
}


@pytest.fixture
def trained(monkeypatch):
    """A file with a trained proxy network, as the confirmation of a study would name it."""
    arch = PROXIES["smoke"].shrink(network("inceptionnext_atto"), 4)
    model = enliven(build(arch))
    save_weights(Path("proxy.safetensors"), Weights(arch, model.state_dict(), FACTS))
    monkeypatch.setattr(contents, "weights_of", lambda study, number, storage: Path("proxy.safetensors"))
    return model


@pytest.mark.parametrize("reference", ["night#1", "study:night#1"])
@pytest.mark.parametrize("weights", [None, "proxy"])
def test_a_trials_proxy_network_with_its_preprocessing(study, trained, reference, weights):
    made = export(ExportSpec(reference, Path("out"), weights, study))
    assert made.module == "night_1_proxy"
    assert made.training is None
    assert made.weights == "of the trained proxy network, accuracy 81.2 % on the test split"
    torch.testing.assert_close(logits(here("out"), trained.arch), logits(trained, trained.arch), atol=1e-5, rtol=1e-5)
    config = json.loads(Path("out/config.json").read_text())
    assert config["label_names"] == FACTS["classes"]
    assert config["num_classes"] == 4
    cfg = config["pretrained_cfg"]
    assert (cfg["mean"], cfg["std"], cfg["crop_pct"]) == (FACTS["mean"], FACTS["std"], 1.0)
    card = Path("out/README.md").read_text()
    for told in ("| proxy top-1 (%)", "95 % interval", "0.8125", "insects", "test machine", "| epochs | 9 |"):
        assert told in card, told
    assert "archsearch export " in card


def test_the_card_tells_what_a_confirmation_found(study, trained, monkeypatch):
    found = Confirmed(SimpleNamespace(number=1), Trained({5: 0.5, 6: 0.6}), 0.55, 0.48, 0.62)
    confirmation = SimpleNamespace(members=(found,), recipe={"command": "python cli.py confirm night"})
    monkeypatch.setattr(references, "stored_confirmation", lambda study, storage: confirmation)
    export(ExportSpec("night#1", Path("out"), storage=study))
    card = Path("out/README.md").read_text()
    assert "| confirmed on the test split, 2 seeds: proxy top-1 (%) | 55.0 | 48.0 to 62.0 |" in card
    assert "python cli.py confirm night\narchsearch export 'night#1' --out DIR" in card
    export(ExportSpec("night#0", Path("other"), "none", study))
    assert "confirmed on" not in Path("other/README.md").read_text()


def test_a_trials_target_untrained(study):
    made = export(ExportSpec("night#0", Path("out"), "none", study))
    assert made.arch.dims in ((40, 80, 160, 320), (32, 64, 128, 256))
    card = Path("out/README.md").read_text()
    assert "Trial 0 of study `night`, which was complete." in card
    assert "## Full training" in card
    assert str(Path.cwd()) not in card


def test_the_preprocessing_is_what_timm_resolves(study, trained):
    export(ExportSpec("night#1", Path("out"), storage=study))
    model = here("out")
    config = resolve_model_data_config(model)
    assert (tuple(config["mean"]), tuple(config["std"])) == (tuple(FACTS["mean"]), tuple(FACTS["std"]))
    assert tuple(config["input_size"]) == (3, 32, 32)
    assert config["crop_pct"] == 1.0
    other = timm.create_model("local-dir:out", pretrained=True, num_classes=9, in_chans=1)
    assert other(torch.randn(1, 1, 32, 32)).shape == (1, 9)
    assert torch.equal(other.stages[0].blocks[0].norm.weight, model.stages[0].blocks[0].norm.weight)


def test_a_trial_without_weights_says_how_to_get_them(study):
    with pytest.raises(StorageError, match=r"trial 1 of study 'night' has no weights: .*confirm night.*--weights none"):
        export(ExportSpec("night#1", Path("out"), storage=study))


@pytest.mark.parametrize(
    ("reference", "error", "why"),
    [
        ("night#9", OptionError, "no finished trial 9"),
        ("study:night", OptionError, "write STUDY#NUMBER with the number of a trial, as study:night#3"),
        ("night#one", OptionError, "write STUDY#NUMBER"),
        ("nigth#1", StorageError, "did you mean 'night'"),
        ("night", ArchError, "a trial of a study is STUDY#NUMBER"),
        ("timm:resnet18", ArchError, "timm's own already"),
        ("none.json", ArchError, "cannot read none.json"),
    ],
)
def test_what_is_no_network_is_said(study, reference, error, why):
    with pytest.raises(error, match=why):
        export(ExportSpec(reference, Path("out"), "none", study))


# Folders


def test_nothing_is_overwritten_unasked():
    spec = ExportSpec(write(INCEPTION), Path("out"), "none")
    export(spec)
    before = Path("out/config.json").stat().st_mtime_ns
    with pytest.raises(OptionError, match="out exists; --force"):
        export(spec)
    assert Path("out/config.json").stat().st_mtime_ns == before
    Path("out/__pycache__").mkdir()
    made = export(ExportSpec(write(GENERATED), Path("out"), "none", force=True))
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(made.files)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["net.json", "out"]


def test_force_replaces_exports_alone():
    spec = ExportSpec(write(INCEPTION), Path("out"), "none", force=True)
    Path("out").mkdir()
    export(spec)
    Path("out/notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"holds notes.txt, which no export wrote"):
        export(spec)
    Path("out/notes.txt").unlink()
    export(spec)
    Path("other").mkdir()
    Path("other/config.json").write_text('{"architecture": "resnet18"}')
    for name in ("other", "net.json"):
        with pytest.raises(OptionError, match=r"holds config.json|is no folder"):
            export(ExportSpec("net.json", Path(name), "none", force=True))
    assert Path("other/config.json").read_text() == '{"architecture": "resnet18"}'


def test_a_failed_export_leaves_the_earlier_one(monkeypatch):
    spec = ExportSpec(write(INCEPTION), Path("deep/out"), "none", force=True)
    export(spec)
    monkeypatch.setattr("archsearch.handover.exporting.check_logits", _fail)
    with pytest.raises(ArchsearchError, match="apart"):
        export(spec)
    assert Path("deep/out/config.json").exists()
    assert [path.name for path in Path("deep").iterdir()] == ["out"]


def _fail(*arguments):
    raise ArchsearchError("apart")


def test_a_place_that_cannot_be_written_is_named():
    write(INCEPTION)
    with pytest.raises(OptionError, match=r"--out net.json/out: cannot write it"):
        export(ExportSpec("net.json", Path("net.json/out"), "none"))


# Names and commands


def test_names_can_be_chosen():
    made = export(ExportSpec(write(GENERATED), Path("out"), "none", name="mine"))
    assert made.module == made.entry == "mine"
    assert made.loading[0] == 'import sys; sys.path.insert(0, "out"); import mine'
    with pytest.raises(OptionError, match="no word of letters"):
        ExportSpec("net.json", Path("out"), name="a-b")


@pytest.mark.parametrize("name", ["class", "json", "torch", "timm", "safetensors", "nn", "resnet50"])
def test_names_with_another_meaning_are_refused(name):
    with pytest.raises(OptionError, match=rf"^the name {name} is a .+; choose another, as net_{name}$"):
        export(ExportSpec(write(GENERATED), Path("out"), "none", name=name))
    assert export(ExportSpec(write(GENERATED, f"{name}.json"), Path("out"), "none")).module == f"net_{name}"


def test_names_of_timms_are_left_to_timm():
    made = export(ExportSpec(write(GENERATED, "convnext_tiny.json"), Path("out"), "none"))
    assert made.module == "net_convnext_tiny"


def test_the_card_says_how_to_repeat_it():
    spec = ExportSpec("a b.json", Path("out"), "none", seed=3, onnx=True, mixers=(Path("own.py"),))
    command = "archsearch export 'a b.json' --out DIR --weights none --seed 3 --mixers own.py --onnx"
    assert repeating(spec, of_study=False) == command
    assert "--storage runs/a.db" in repeating(ExportSpec("s#1", Path("out"), storage="runs/a.db"), of_study=True)


def test_a_users_mixer_goes_with_the_network():
    Path("own.py").write_text(
        "from torch import nn\n\n\nclass Twice(nn.Module):\n    def __init__(self, dim, factor=2.0):\n"
        "        super().__init__()\n        self.factor = factor\n\n    def forward(self, x):\n"
        '        return self.factor * x\n\n\nMIXERS = {"twice": Twice}\n'
    )
    data = GENERATED.to_dict() | {"mixers": [{"token_mixer": "twice", "factor": 3.0}] * 4}
    Path("net.json").write_text(json.dumps(data))
    made = export(ExportSpec("net.json", Path("out"), "none", mixers=(Path("own.py"),)))
    assert "factor=3.0" in Path("out/net.py").read_text()
    assert logits(here("out"), made.arch).isfinite().all()


@pytest.mark.slow
def test_onnx_stands_beside_it():
    pytest.importorskip("onnxruntime")
    made = export(ExportSpec(write(INCEPTION), Path("out"), "none", onnx=True))
    assert "model.onnx" in made.files
    assert Path("out/model.onnx").stat().st_size > 10_000


def test_large_onnx_files_are_replaced_with_the_folder(monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("archsearch.nn.onnx_export.WITHIN_FILE", 0)
    spec = ExportSpec(write(INCEPTION), Path("out"), "none", onnx=True)
    made = export(spec)
    assert {"model.onnx", "model.onnx.data"} < {*made.files}
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(made.files)
    assert export(dataclasses.replace(spec, onnx=False, force=True)).files == made.files[:-2]
