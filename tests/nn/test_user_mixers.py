import json
from pathlib import Path

import pytest
import torch

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer, declarations, declare
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.errors import ArchError, MixerError
from archsearch.nn import build, check_mixers, load_mixers
from archsearch.nn.mixers import MIXERS

HEAD = "import torch\nfrom torch import nn\n"
GOOD = (
    HEAD
    + """
class Mean(nn.Module):
    def __init__(self, dim, share=0.5, rows=True, times=1, way="add"):
        super().__init__()
        self.share = share

    def forward(self, x):
        return x + self.share * x.mean((2, 3), keepdim=True)

MIXERS = {"global_mean": Mean}
"""
)


def write(folder: Path, text: str) -> Path:
    path = folder / "own.py"
    path.write_text(text)
    return path


def with_forward(body: str) -> str:
    head = HEAD + "class Own(nn.Module):\n    def __init__(self, dim):\n        super().__init__()\n"
    return head + f"    def forward(self, x):\n        {body}\nMIXERS = {{'own': Own}}\n"


def test_a_mixer_of_ones_own_is_a_mixer(tmp_path):
    assert load_mixers(write(tmp_path, GOOD)) == ("global_mean",)
    mixer = Mixer.of("global_mean", share=0.25)
    assert mixer.to_dict() == {"token_mixer": "global_mean", "share": 0.25, "rows": True, "times": 1, "way": "add"}
    arch = network("inceptionnext_atto").replace(mixers=(Mixer.of("inception"), mixer, mixer, Mixer.of("pooling")))
    assert Arch.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    check_mixers([arch])
    assert build(arch)(torch.randn(2, 3, 64, 64)).shape == (2, 1000)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"share": "much"}, "share is 'much', but must be a finite number"),
        ({"rows": 1}, "rows is 1, but must be true or false"),
        ({"times": 1.5}, "times is 1.5, but must be an integer"),
        ({"way": 3}, "way is 3, but must be a word"),
        ({"shere": 1.0}, "did you mean 'share'"),
    ],
)
def test_its_parameters_are_checked_by_their_defaults(tmp_path, value, words):
    load_mixers(write(tmp_path, GOOD))
    with pytest.raises(ArchError) as error:
        Mixer.of("global_mean", **value)
    assert words in str(error.value)


def test_an_edited_mixer_is_another_architecture(tmp_path):
    arch = network("inceptionnext_atto")

    def key(text: str) -> str:
        load_mixers(write(tmp_path, text))
        return arch.replace(mixers=(Mixer.of("global_mean"),) * 4).key

    first, edited, again = key(GOOD), key(GOOD.replace("mean((2, 3)", "amax((2, 3)")), key(GOOD)
    assert first != edited
    assert first == again
    assert arch.key == network("inceptionnext_atto").key


def test_the_edited_file_is_not_taken_for_the_mixer_on_record(tmp_path):
    load_mixers(write(tmp_path, GOOD))
    recorded = declarations()["global_mean"]
    load_mixers(write(tmp_path, GOOD.replace("x.mean", "2 * x.mean")))
    declare("global_mean", **recorded)  # as a study's record does
    arch = network("inceptionnext_atto").replace(mixers=(Mixer.of("global_mean"),) * 4)
    with pytest.raises(ArchError, match="on record is another version: its file has changed"):
        build(arch)
    load_mixers(write(tmp_path, GOOD))
    build(arch)


def test_a_mixer_known_from_a_record_alone_cannot_be_built(tmp_path):
    load_mixers(write(tmp_path, GOOD))
    assert set(declarations()["global_mean"]["defaults"]) == {"share", "rows", "times", "way"}
    del MIXERS["global_mean"]
    with pytest.raises(ArchError, match=r"was not given; add --mixers FILE"):
        build(network("inceptionnext_atto").replace(mixers=(Mixer.of("global_mean"),) * 4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MIXERS = {", "own.py, line 1: "),
        ("import nothing_like_that\n", "own.py, line 1: ModuleNotFoundError"),
        ("x = 1\n\nraise ValueError('no\\nway')", "own.py, line 3: ValueError: no"),
        ("x = 1\n", "defines no mixers; end it with MIXERS"),
        ("MIXERS = []\n", "defines no mixers"),
        ("MIXERS = {'a b': 1}\n", "must have a word of letters"),
        ("MIXERS = {'own': 1}\n", "must be a class derived from torch.nn.Module"),
        ("import sys\nsys.exit(0)\n", "own.py, line 2: SystemExit: 0"),
        ("x = 1\0", "own.py: source code string cannot contain null bytes"),
        (HEAD + "MIXERS = {'pooling': nn.Identity}\n", "'pooling' is built in; give yours another name"),
        (
            HEAD + "class M(nn.Module):\n    def __init__(self): ...\nMIXERS = {'own': M}\n",
            "must take the number of channels first",
        ),
        (
            HEAD + "class M(nn.Module):\n    def __init__(self, dim, size): ...\nMIXERS = {'own': M}\n",
            "the parameter 'size' needs a default that is a number",
        ),
        (
            HEAD + "class M(nn.Module):\n    def __init__(self, dim, **kwargs): ...\nMIXERS = {'own': M}\n",
            "the parameter 'kwargs' needs a default",
        ),
        (
            HEAD + "class M(nn.Module):\n    def __init__(self, dim, source='a'): ...\nMIXERS = {'own': M}\n",
            "'source' would be taken for another setting",
        ),
        (
            HEAD + "class M(nn.Module):\n    def __init__(self, dim, norm=1): ...\nMIXERS = {'own': M}\n",
            "'norm' would be taken for another setting",
        ),
    ],
)
def test_files_that_are_none_say_why(tmp_path, text, words):
    with pytest.raises(MixerError) as error:
        load_mixers(write(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert "own" not in MIXER_TYPES


def test_defaults_that_are_no_values(tmp_path):
    for default, words in (("float('inf')", "the default of share is inf"), ("10**400", "an integer")):
        with pytest.raises(MixerError) as error:
            load_mixers(write(tmp_path, GOOD.replace("share=0.5", f"share={default}")))
        assert words in str(error.value)
        assert "own.py, mixer 'global_mean'" in str(error.value)


def test_two_files_cannot_share_a_name_and_one_may_change(tmp_path):
    load_mixers(write(tmp_path, GOOD))
    load_mixers(write(tmp_path, GOOD + "# changed\n"))
    (tmp_path / "other.py").write_text(GOOD)
    with pytest.raises(MixerError, match="another file has a mixer of this name"):
        load_mixers(tmp_path / "other.py")


def test_modules_beside_the_file_are_found(tmp_path):
    (tmp_path / "helper_beside.py").write_text("SHARE = 0.25\n")
    text = "from helper_beside import SHARE\n" + GOOD.replace("share=0.5", "share=SHARE")
    load_mixers(write(tmp_path, text))
    assert Mixer.of("global_mean")["share"] == 0.25


def test_the_line_is_told_for_relative_paths_too(tmp_path, monkeypatch):
    write(tmp_path, "x = 1\nraise ValueError('no')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MixerError, match=r"^own\.py, line 2: ValueError: no"):
        load_mixers(Path("own.py"))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(MixerError, match="there is no such file"):
        load_mixers(tmp_path / "none.py")
    with pytest.raises(MixerError, match=r"must end in \.py"):
        load_mixers(tmp_path / "own.txt")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return x[:, :, ::2]", "40 channels, 16 x 16 positions: forward returns a tensor of (2, 40, 8, 16)"),
        ("return x.flatten(2)", "it must keep the shape (2, 40, 16, 16)"),
        ("return (x, x)", "forward returns a tuple"),
        ("return x.mul_(2)", "changes its input in place"),
        ("return x.double()", "forward returns torch.float64; it must keep torch.float32"),
        ("return x / 0", "forward returns values that are not finite"),
        ("y = x.exp(); y += 1; return y", "in training: RuntimeError: one of the variables needed for gradient"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return self.conv(x)", "AttributeError: 'Own' object has no attribute 'conv' (own.py, line 7)"),
        ("return x if x.shape[1] < 100 else x[:, 1:]", "160 channels, 4 x 4 positions: forward returns"),
    ],
)
def test_mixers_that_do_not_work_are_found_before_anything_is_trained(tmp_path, body, words):
    load_mixers(write(tmp_path, with_forward(body)))
    arch = network("inceptionnext_atto").replace(mixers=(Mixer.of("own"),) * 4, img_size=64)
    with pytest.raises(MixerError) as error:
        check_mixers([arch])
    assert words in str(error.value)
    assert "\n" not in str(error.value)
