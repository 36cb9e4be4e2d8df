import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from command import run

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import NETWORKS, network
from archsearch.arch.paper import rows
from archsearch.recipes import PROXIES

#: Every row of the four tables that the project reproduces to the digit.
ROWS = [row for table in ("1", "3", "5", "8") for row in rows(table)]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"table{row.table}-{row.network}")
def test_every_row_of_the_papers_tables_is_described(capsys, row):
    code, out, err = run(capsys, "describe", row.network)
    assert (code, err) == (0, "")
    assert f"paper, Table {row.table}, {row.row}: {row.figures['params_m']} M parameters" in out
    assert "skipped by fvcore: " in out
    assert f"{row.figures['macs_g']} GMACs at 224 px" not in out
    assert out.count("whole image") + out.count(" px ") > 1


def test_the_formats_agree(capsys):
    code, out, _ = run(capsys, "describe", "inceptionnext_atto", "-f", "json", "--img-size", 96)
    assert code == 0
    told = json.loads(out)
    assert (told["network"], told["img_size"], told["params"]) == ("inceptionnext_atto", 96, 4_156_520)
    assert told["arch"]["img_size"] == 96
    assert told["audit"]["fvcore_macs"] == told["macs"] > told["audit"]["flop_counter_macs"]
    assert [row["table"] for row in told["published"]] == ["3", "4"]

    lines = list(
        csv.DictReader(io.StringIO(run(capsys, "describe", "inceptionnext_atto", "-f", "csv", "--img-size", 96)[1]))
    )
    assert [int(line["macs"]) for line in lines] == [part["macs"] for part in told["parts"]]
    assert lines[1]["receptive_field"] == "x".join(map(str, told["parts"][1]["receptive_field"]))
    assert sum(int(line["params"]) for line in lines if line["level"] == "0") == told["params"]

    markdown = run(capsys, "describe", "inceptionnext_atto", "-f", "markdown")[1].splitlines()
    assert len(markdown) == len(told["parts"]) + 3
    assert {line.count(" | ") for line in markdown} == {6}


@pytest.mark.parametrize("form", ["table", "markdown", "csv"])
def test_the_audit_lists_operators(capsys, form):
    code, out, _ = run(capsys, "describe", "inceptionnext_atto", "--audit", "-f", form)
    assert code == 0
    (cat,) = (line for line in out.splitlines() if line.strip("| ").startswith("cat"))
    assert re.split(r"[ |,]+", cat.strip("| "))[:2] == ["cat", "12"]  # one for each block
    assert "split" in out


def test_an_architecture_from_a_file(capsys):
    arch = network("convnext_atto").replace(dims=(32, 64, 128, 256))
    Path("mine.json").write_text(json.dumps(arch.to_dict()))
    code, out, _ = run(capsys, "describe", "mine.json")
    assert code == 0
    assert arch.key in out
    Path("told.json").write_text(run(capsys, "describe", "mine.json", "-f", "json")[1])
    assert arch.key in run(capsys, "describe", "told.json")[1]


def test_the_proxy_of_a_network_is_described(capsys):
    code, out, err = run(capsys, "describe", "inceptionnext_tiny", "--proxy", "gpu", "--space", "macro")
    assert (code, err) == (0, "")
    title, outline, *parts = out.splitlines()
    assert re.match(
        r"proxy of inceptionnext_tiny \(recipe gpu, space macro, 10 classes\): [\d,]+ parameters, 0\.", title
    )
    assert "at 32 x 32 px" in title
    assert outline == "dims 48-96-192-384, depths 2-2-4-2, images of 32 px, maps of 32-16-8-4"
    assert "paper" not in out
    assert any("48 x 32 x 32" in part for part in parts)

    words = ("describe", "inceptionnext_tiny", "-f", "json", "--proxy")
    told = json.loads(run(capsys, *words, "cpu")[1])
    assert told["arch"] == PROXIES["cpu"].shrink(network("inceptionnext_tiny"), 10).to_dict()
    Path("mine.yaml").write_text("base: cpu\nwidth: 1/2\n")
    assert json.loads(run(capsys, *words, "mine.yaml")[1])["arch"]["dims"] == [48, 96, 192, 384]
    assert json.loads(run(capsys, *words, "paper")[1])["arch"] == network("inceptionnext_tiny").to_dict()


def test_taps_that_see_padding_are_told_by_stage_beside_the_targets(capsys):
    out = run(capsys, "describe", "convnext_tiny", "--proxy", "quick", "--space", "convnext_dw")[1]
    told = "taps of token mixers that see padding, by stage: 20, 38, 67 and 92 %"
    assert out.splitlines()[-1] == f"{told}; in the target 6, 12, 23 and 43 %"
    assert run(capsys, "describe", "convnext_tiny")[1].splitlines()[-1].endswith("by stage: 6, 12, 23 and 43 %")
    found = json.loads(run(capsys, "describe", "convnext_tiny", "--img-size", "448", "-f", "json")[1])
    assert found["padding"] == pytest.approx([1 - (1 - 12 / (7 * n)) ** 2 for n in (112, 56, 28, 14)])
    assert found["target_padding"] == []
    plain = network("convnext_tiny").replace(mixers=(Mixer.of("identity"),) * 4)
    Path("mine.json").write_text(json.dumps(plain.to_dict()))
    assert "padding" not in run(capsys, "describe", "mine.json")[1]


def test_any_network_of_timms(capsys):
    code, out, _ = run(capsys, "describe", "timm:resnet50")
    assert code == 0
    assert "25,557,032 parameters, 4.112 GMACs" in out
    assert "paper, Table 4, ResNet-50: 26 M parameters, 4.1 GMACs, 78.4 % top-1" in out
    code, out, _ = run(capsys, "describe", "timm:vit_tiny_patch16_224", "--img-size", 96, "-f", "json")
    assert code == 0
    assert json.loads(out)["parts"][0]["output"] == [36, 192]


@pytest.mark.parametrize(
    ("name", "train", "deploy"),
    [
        ("inceptionnext_tiny", "28,055,680 parameters, 4.195 GMACs", "28,034,272 parameters, 4.189 GMACs"),
        ("timm:mobileone_s0", "5,293,272 parameters, 1.088 GMACs", "2,078,504 parameters, 0.275 GMACs"),
        ("timm:repvit_m1_1", "8,802,912 parameters, 1.358 GMACs", "8,244,312 parameters, 1.337 GMACs"),
    ],
)
def test_both_forms_are_counted_and_named(capsys, name, train, deploy):
    code, out, err = run(capsys, "describe", name)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}: {train} at 224 x 224 px in its train form")
    assert f"in its deploy form: {deploy}; --deploy shows it" in out
    code, out, err = run(capsys, "describe", name, "--deploy")
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}: {deploy} at 224 x 224 px in its deploy form")
    assert f"in its train form: {train}\n" in out


def test_parts_of_the_deploy_form(capsys):
    words = ("describe", "inceptionnext_atto", "--img-size", 64, "-f")
    told = json.loads(run(capsys, *words, "json", "--deploy")[1])
    other = json.loads(run(capsys, *words, "json")[1])
    assert (told["form"], other["form"]) == ("deploy", "train")
    assert told["other_form"] == {"form": "train", "params": other["params"], "macs": other["macs"]}
    assert other["other_form"] == {"form": "deploy", "params": told["params"], "macs": told["macs"]}
    made_of = {part["name"]: part["what"] for part in told["parts"]}
    assert (made_of["stem"], made_of["downsampling"]) == ("4 x 4 convolution", "2 x 2 convolution")
    assert made_of["block"] == "residual"
    assert "norm" not in made_of
    assert sum(part["params"] for part in told["parts"] if part["level"] == 0) == told["params"]
    lines = csv.DictReader(io.StringIO(run(capsys, *words, "csv", "--deploy")[1]))
    assert {line["form"] for line in lines} == {"deploy"}


def test_networks_are_listed_with_their_rows(capsys):
    code, out, _ = run(capsys, "describe")
    assert code == 0
    assert len(out.splitlines()) == len(NETWORKS) + 1
    assert [row["network"] for row in json.loads(run(capsys, "describe", "-f", "json")[1])] == list(NETWORKS)
    assert "Table 8: remove small square kernel" in out


def test_the_block_is_drawn(capsys):
    assert run(capsys, "describe", "convnext_tiny_k3_ratio1_4", "--drawing", "new/block.svg")[0] == 0
    assert ET.parse("new/block.svg").getroot().tag.endswith("svg")


def test_operators_are_table_2_and_figure_3(capsys):
    code, out, _ = run(capsys, "describe", "--operators", "-f", "json", "--drawing", "f.html", "--img-size", 64)
    assert code == 0
    by = {(cost["operator"], cost["kernel_size"]): cost for cost in json.loads(out)}
    assert by["inception", 11]["macs"] == (2 * 11 + 9) * 96 // 8 * 16 * 16
    page = Path("f.html").read_text()
    assert "Inception depthwise convolution" in page
    assert 'src="http' not in page
    assert run(capsys, "describe", "--operators")[1].splitlines()[2].split() == [
        "operator", "kernel", "weights", "MACs", "bytes", "moved",
    ]  # fmt: skip


SHIFTED = """
from torch import nn

class Own(nn.Module):
    def __init__(self, dim, step=1):
        super().__init__()
        self.step = step

    def forward(self, x):
        return x.roll(self.step, 3)

MIXERS = {"rolled": Own}
"""


def test_mixers_of_ones_own_are_described_and_drawn(capsys):
    Path("own.py").write_text(SHIFTED)
    arch = network("inceptionnext_atto").to_dict()
    arch["mixers"][2] = {"token_mixer": "rolled", "step": 2}
    Path("mine.json").write_text(json.dumps(arch))
    code, out, err = run(capsys, "describe", "mine.json", "--mixers", "own.py", "--drawing", "b.svg")
    assert (code, err) == (0, "")
    assert re.search(r" 1 x 3 of the map +rolled\(step=2\)", out)
    assert "rolled(step=2)" in Path("b.svg").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["inceptionnext_tinny"], "did you mean 'inceptionnext_tiny'"),
        (["nothing.json"], "cannot read nothing.json: No such file"),
        (["bad.json"], "bad.json, line 2: not JSON"),
        (["timm.json"], "timm.json describes timm:resnet18, which has no description of its parts; use that name"),
        (["list.json"], "list.json: must hold an architecture"),
        (["wrong.json"], "wrong.json: unknown token_mixer 'incepton': did you mean 'inception'?"),
        (["heads.json"], "heads.json: stage 1: num_heads 7 does not divide dim 40; use one of 1, 2, 4, 5, 8"),
        (["timm:resnet5O"], "did you mean 'resnet50'"),
        (["timm:deit_tiny_patch16_224", "--img-size", 8], "takes no such images: "),
        (["timm:coatnet_nano_rw_224", "--img-size", 100], "takes no such images: "),
        (["timm:"], "unknown network of timm's ''"),
        (["inceptionnext_tiny", "--img-size", 31], "img_size 31 is smaller than the network's stride 32"),
        (["inceptionnext_tiny", "--img-size", "big"], "'big' is not a whole number"),
        (["inceptionnext_tiny", "--drawing", "b.png"], "must end in .svg"),
        (["inceptionnext_tiny", "--drawing", "/dev/null/b.svg"], "cannot write it"),
        (["timm:resnet18", "--deploy"], "timm:resnet18 has one form only, as nothing in it merges; leave --deploy out"),
        (["--deploy"], "name a network"),
        (["--operators", "--deploy"], "--operators takes no network, --audit, --deploy, --mixers"),
        (["timm:resnet18", "--drawing", "b.svg"], "draws the blocks of our own networks, not of timm's"),
        (
            ["inceptionnext_tiny", "--operators"],
            "--operators takes no network, --audit, --deploy, --mixers, --proxy",
        ),
        (["--operators", "--drawing", "b.svg"], "must end in .html"),
        (["inceptionnext_tiny", "--mixers", "none.py"], "none.py: there is no such file"),
        (["own.json", "--mixers", "own.py", "--drawing", "own.svg"], "forward returns a tensor of"),
        (["inceptionnext_atto", "--img-size", 10**6, "--drawing", "a.svg"], "of at most 4,096"),
        (["inceptionnext_atto", "--img-size", 10**25], "of at most 4,096"),
        (["timm:resnet18", "--img-size", 10**7], "use at most 4096"),
        (["huge.json"], "dims is [1000000000000"),
        (["digits.json"], "digits.json: not readable as JSON"),
        (["thin.json"], "stage 1: mlp_ratio 0.001 leaves no channel: int(0.001 * 40) = 0"),
        (["infinite.json"], "layer_scale_init_value is 1000000"),
        (["--audit"], "name a network"),
        (["--proxy", "cpu"], "name a network"),
        (["--operators", "--proxy", "cpu"], "--operators takes no network"),
        (["inceptionnext_tiny", "--proxy", "cup"], "unknown proxy 'cup': did you mean 'cpu'"),
        (["inceptionnext_tiny", "--proxy", "cpu", "--space", "macros"], "unknown space 'macros': did you mean 'macro'"),
        (["inceptionnext_tiny", "--space", "macro"], "--space macro fits a recipe of proxies; name one by --proxy"),
        (["inceptionnext_tiny", "--proxy", "cpu", "--img-size", 64], "--img-size: the recipe says how large"),
        (["timm:resnet18", "--proxy", "cpu"], "timm:resnet18 comes ready made from timm and has no proxy"),
        (["metanext_attn_small_iso", "--proxy", "gpu_fast"], "num_heads 6 does not divide dim 128"),
        (
            ["--operators", "--mixers", "own.py"],
            "--operators takes no network, --audit, --deploy, --mixers, --proxy",
        ),
        (["inceptionnext_tiny", "--mixers", "."], "must end in .py"),
        (["own.json"], "comes with --mixers FILE"),
        (["own.json", "--mixers", "own.py"], "forward returns a tensor of (2, 80, 28, 27)"),
    ],
)
def test_wrong_words_get_one_line_and_exit_code_2(capsys, words, says):
    arch = network("inceptionnext_atto").to_dict()
    files = {"wrong": {"token_mixer": "incepton"}, "heads": {"token_mixer": "attention", "num_heads": 7}}
    for name, mixer in files.items():
        Path(f"{name}.json").write_text(json.dumps({**arch, "mixers": [mixer] * 4}))
    own = [*arch["mixers"][:1], {"token_mixer": "cut"}, *arch["mixers"][2:]]
    Path("own.json").write_text(json.dumps({**arch, "mixers": own}))
    Path("own.py").write_text(SHIFTED.replace('"rolled"', '"cut"').replace("x.roll(self.step, 3)", "x[..., 1:]"))
    Path("bad.json").write_text("{\n depths: 3}")
    Path("list.json").write_text("[1, 2]")
    Path("timm.json").write_text('{"network": "timm:resnet18", "arch": null}')
    Path("huge.json").write_text(json.dumps({**arch, "dims": [10**12] * 4}))
    Path("digits.json").write_text('{"depths": ' + "9" * 5000 + "}")
    Path("thin.json").write_text(json.dumps({**arch, "mlp_ratios": [0.001] * 4}))
    Path("infinite.json").write_text(json.dumps({**arch, "layer_scale_init_value": 10**400}))
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code, out, err = run(capsys, "describe", *words)
    assert code == 2, err
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
