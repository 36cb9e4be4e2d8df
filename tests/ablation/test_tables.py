import csv
import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from archsearch.ablation.analysis import Report
from archsearch.ablation.figures import ablation_data, factor_figure, tradeoff_figure
from archsearch.ablation.notes import notes
from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.rows import rows
from archsearch.ablation.tables import ablation_document, tables
from archsearch.ablation.variants import apply
from archsearch.arch.networks import network
from archsearch.recipes import ProxyRecipe
from archsearch.utils.key_fields import key_fields
from archsearch.utils.package_data import shipped
from archsearch.utils.tables import latex_text, render

SPEED = {"throughput": 50.0, "ratio": 1.25, "ratio_interval": [1.2, 1.3]}
OWN_SPEED = {"throughput": 40.0, "ratio": 1.0, "ratio_interval": [1.0, 1.0]}
RECIPE = {
    "proxy": {"epochs": 6, "lr": 0.006},
    "bench": {"batch_size": 2},
    "data": {"name": "cifar", "fingerprint": "f1", "train_samples": 3584, "val_samples": 2048},
    "device": "a GPU",
    "trainer": 2,
    "environment": {"torch": "2.15", "commit": "abc"},
}


def written(report, format):
    return render(ablation_document(report), format)


def accuracies(*values):
    return dict(enumerate(values))


@pytest.fixture
def outcome():
    paper = {"table": "8", "row": "InceptionNeXt-T", "top1": 82.3, "train": 900.0, "infer": 2900.0}
    base = Result("base_net", base="base_net", params=28_055_680, macs=4_195_000_000, paper=paper,
                  accuracies=accuracies(0.500, 0.512, 0.507),
                  speeds={"train": OWN_SPEED})  # fmt: skip
    norm = Result("norm layer", "norm", "base_net", {"norm": "layer"}, ("norm layer",), params=28_100_000,
                  macs=4_200_000_000, accuracies=accuracies(0.450, 0.463, 0.455), speeds={"train": SPEED},
                  paper=paper | {"row": "layer norm", "top1": 82.4, "train": 721.0})  # fmt: skip
    band = Result("band 7", "band_kernel_size", "base_net", {"band_kernel_size": 7}, ("band 7",),
                  accuracies=accuracies(0.501, 0.509), errors={2: "diverged: loss is nan"},
                  paper=paper | {"row": "11 -> 7", "top1": 82.1})  # fmt: skip
    other = Result("resnet", "network", "base_net", network={"timm": {"name": "resnet18"}})
    return Outcome("o", "Table 8: 50 % & more", (base, norm, band, other), RECIPE, "python cli.py ablate x", "A100")


def test_rows_have_what_the_paper_has_and_how_sure_it_is(outcome):
    base, norm, band, other = rows(Report.of(outcome))
    assert (base["params"], base["macs"], base["top1_paper"], base["seeds"]) == (28_055_680, 4_195_000_000, 82.3, 3)
    assert norm["train_ratio"] == 1.25
    assert norm["train_ratio_paper"] == pytest.approx(721 / 900)
    assert norm["difference"] == pytest.approx(-5.033, abs=0.001)
    assert norm["difference_low"] < norm["difference"] < norm["difference_high"] < 0
    assert (norm["difference_paper"], norm["verdict"]) == (pytest.approx(0.1), "disagrees")
    assert band["note"] == "1 failed: diverged: loss is nan"
    assert band["seeds"] == 2
    assert other["note"] == "from timm, has no proxy"
    assert other["top1"] is None


@pytest.fixture
def kernels():
    """Table 1's kernel sizes, and a share of channels from its smallest one, at the default recipe."""
    paper = {"table": "1", "row": "ConvNeXt-T", "top1": 82.1}

    def result(name, factor="", base="convnext_tiny", top1=82.1, **changes):
        arch = apply(network("convnext_tiny"), changes) if changes else network("convnext_tiny")
        found = accuracies(*(0.5 + 0.01 * len(changes) + 0.001 * seed for seed in range(3)))
        return Result(name, factor, base, changes, (name,) if factor else (), {"arch": arch.to_dict()}, arch.key,
                      accuracies=found, paper=paper | {"top1": top1})  # fmt: skip

    half = {"token_mixer": "partial_depthwise", "kernel_size": 3, "conv_ratio": 0.5}
    results = (
        result("convnext_tiny"),
        result("kernel 5", "kernel_size", top1=82.0, kernel_size=5),
        result("kernel 3", "kernel_size", top1=81.5, kernel_size=3),
        result("half", "conv_ratio", "kernel 3", 81.4, **half),
        result("layer 3", "stages", top1=81.9, **{"stage3.kernel_size": 3}),
        Result("resnet", "network", "convnext_tiny", {"kernel_size": 3}, network={"timm": {"name": "resnet18"}}),
    )
    return Outcome("o", "Table 1", results, {"proxy": key_fields(ProxyRecipe()), "data": RECIPE["data"]})


def test_rows_of_kernel_sizes_that_the_maps_are_too_small_for_say_so_beside_their_verdict(kernels):
    report = Report.of(kernels)
    notes_of = {row["variant"]: row["note"] for row in rows(report)}
    assert notes_of == {
        "convnext_tiny": "",
        "kernel 5": "maps too small for kernel_size: 59 % of 7's taps and 47 % of 5's taps see padding",
        "kernel 3": "maps too small for kernel_size: 59 % of 7's taps see padding",
        "half": "",
        "layer 3": "maps too small for stage3.kernel_size: 67 % of 7's taps see padding",
        "resnet": "from timm, has no proxy",
    }
    said, advice = notes(report)[:2]
    assert said.startswith("Proxy maps of 16-8-4-2 are too small to judge kernel_size from 5 on (14, 28, 51 and 84 %")
    assert "; stage3.kernel_size 7 (67 %, in the target 23 %)" in said
    assert advice.startswith("Large enough are --set proxy.img_size=")
    for format in ("table", "markdown", "csv"):
        assert "59 % of 7's taps" in written(report, format)
    data = json.loads(written(report, "json"))["small_maps"]
    assert data["rows"].keys() == {"kernel 5", "kernel 3", "layer 3"}
    assert data["lines"] == [said, advice]
    shown = ablation_data(report)
    assert said in shown["notes"]


@pytest.mark.parametrize("change", [{"img_size": 80}, {"img_size": 40, "stem_patch_size": 1}])
def test_on_large_maps_nothing_is_said(kernels, change):
    proxy = key_fields(dataclasses.replace(ProxyRecipe(), **change))
    report = Report.of(dataclasses.replace(kernels, recipe={**kernels.recipe, "proxy": proxy}))
    assert not any("too small" in line for line in notes(report))
    assert {row["note"] for row in rows(report)} == {"", "from timm, has no proxy"}


@pytest.mark.parametrize("recipe", [{}, {"proxy": {"of_a_newer_version": 1}}])
def test_nothing_is_said_of_maps_that_are_not_known(kernels, recipe):
    assert Report.of(dataclasses.replace(kernels, recipe=recipe)).small_maps.judgement.lines == ()
    untrained = tuple(dataclasses.replace(result, accuracies={}) for result in kernels.results)
    assert Report.of(dataclasses.replace(kernels, results=untrained)).small_maps.rows == {}


def test_speeds_say_the_form_that_was_timed(outcome):
    report = Report.of(outcome)
    assert "infer_form" not in rows(report)[0]
    assert "deploy form" not in written(report, "table")
    results = [
        dataclasses.replace(result, speeds={"infer": SPEED | {"form": "deploy"}, "train": SPEED})
        for result in outcome.results[:2]
    ]
    report = Report.of(dataclasses.replace(outcome, results=(*results, *outcome.results[2:])))
    assert [row["infer_form"] for row in rows(report)] == ["deploy"] * 4
    titles = [note.text for note in factor_figure(report, "norm").layout.annotations]
    assert "inference of the deploy form, ratio" in titles
    table = written(report, "table")
    assert "infer (img/s), deploy form" in table
    assert "train (img/s), " not in table
    assert "Inference is that of the deploy form of both, counts of the train form." in " ".join(notes(report))


def test_everything_needed_to_repeat_it_stands_under_the_table(outcome):
    text = "\n".join(notes(Report.of(outcome)))
    for words in (
        "proxy: epochs 6, lr 0.006, trainer 2", "changes: norm layer: norm layer; band 7: band_kernel_size 7",
        "cifar (f1), 3584 training images, 2048 validation images; seeds 0, 1, 2",
        "timing: batch_size 2", "device: a GPU; torch 2.15, commit abc", "command: python cli.py ablate x",
        "blocks of base_net and of the variant in turns",
        "images/s over those of base_net",
        "on A100 in the paper", "Student's t over seeds", "corrected by Holm for 2 comparisons",
    ):  # fmt: skip
        assert words in text, words
    for format in ("table", "markdown", "latex"):
        text = written(Report.of(outcome), format).replace("\\", "").replace("-{}-", "--")
        text = text.replace("textquotesingle{}", "'")
        assert all(line in text for line in notes(Report.of(outcome)))


@pytest.mark.parametrize("method", ["t", "pooled", "none"])
def test_all_ways_of_finding_intervals_are_told(outcome, method):
    report = Report.of(outcome, method)
    found = rows(report)[1]
    assert (found["difference_low"] is None) == (method == "none")
    assert ("no confidence intervals" in "\n".join(notes(report))) == (method == "none")


def test_networks_of_unequal_noise_are_not_pooled_and_that_is_told():
    rng = np.random.default_rng(0)
    steady = [Result(name, "f", "base", accuracies=accuracies(*rng.normal(0.5, 0.001, 5))) for name in "abcd"]
    base = Result("base", base="base", accuracies=accuracies(*rng.normal(0.5, 0.001, 5)))
    noisy = Result("noisy", "f", "base", accuracies=accuracies(*rng.normal(0.5, 0.03, 5)))
    alike, unlike = Outcome("o", "O", (base, *steady)), Outcome("o", "O", (base, *steady, noisy))
    assert (Report.of(alike, "pooled").method, Report.of(alike, "pooled").unequal) == ("pooled", None)
    report = Report.of(unlike, "pooled")
    assert report.method == "t"
    assert report.unequal < 0.05
    assert rows(report) == rows(Report.of(unlike, "t"))
    assert f"some networks are noisier than others (p = {report.unequal:.3f})" in "\n".join(notes(report))
    assert "noisier" not in "\n".join(notes(Report.of(unlike, "t")))


def test_one_seed_is_told_without_intervals(outcome):
    import dataclasses

    single = [dataclasses.replace(r, accuracies={0: r.accuracies[0]} if r.accuracies else {}, errors={})
              for r in outcome.results]  # fmt: skip
    report = Report.of(dataclasses.replace(outcome, results=tuple(single)))
    assert report.method == "none"
    assert rows(report)[1]["difference"] == pytest.approx(-5)


def test_how_pairs_were_chosen_is_told(outcome):
    import dataclasses

    pair = Result("norm layer + band 7", "norm x band_kernel_size", "base_net", parts=("norm layer", "band 7"),
                  accuracies=accuracies(0.4, 0.42))  # fmt: skip
    told = dataclasses.replace(outcome, results=(*outcome.results, pair), pairs={"screened": [0], "tested": [1, 2]})
    text = "\n".join(notes(Report.of(told)))
    assert "1 pair of the largest effects: screened with seeds 0; " in text
    assert "tested with seeds 1, 2 alone" in text
    assert [row["variant"] for row in rows(Report.of(told))] == ["base_net", "norm layer", "band 7", "resnet"]
    assert rows(Report.of(told)) == rows(Report.of(outcome))  # a pair changes nothing about the rest


def test_csv_and_json_hold_every_column(outcome):
    report = Report.of(outcome)
    read = list(csv.DictReader(written(report, "csv").splitlines()))
    assert [row["variant"] for row in read] == ["base_net", "norm layer", "band 7", "resnet"]
    assert float(read[1]["p_holm"]) == pytest.approx(rows(report)[1]["p_holm"])
    data = json.loads(written(report, "json"))
    assert Outcome.from_dict(data) == Outcome.from_dict(outcome.to_dict())
    assert rows(Report.of(Outcome.from_dict(data))) == data["rows"]
    assert [j["factor"] for j in data["judgements"]] == ["norm", "band_kernel_size"]


def test_a_markdown_table_has_the_same_columns_in_every_row(outcome):
    blocks = [block for block in written(Report.of(outcome), "markdown").split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_latex_is_escaped_and_its_rows_are_complete(outcome):
    text = written(Report.of(outcome), "latex")
    assert r"\caption{Table 8: 50 \% \& more}" in text
    assert r"base\_net" in text
    first = text.partition(r"\end{tabular}")[0]
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", first)[1])
    body = [line for line in first.splitlines() if line.endswith(r" \\")]
    assert len(body) == 5
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {columns - 1}
    assert first.count(r"\midrule") == 4  # under the header, and before each factor
    assert "$-$5.0" in first
    assert latex_text("--only") == "-{}-only"  # and no dash
    assert "($-$" in first
    assert latex_text("a|b") == r"a\textbar{}b"
    assert latex_text("a~b^c<d\\") == r"a\textasciitilde{}b\textasciicircum{}c$<$d\textbackslash{}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed here")
def test_latex_compiles(outcome, tmp_path):
    text = written(Report.of(outcome), "latex")
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + text + r"\end{document}"
    (tmp_path / "t.tex").write_text(document)
    done = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_columns_that_say_nothing_are_left_out():
    bare = Outcome("o", "O", (Result("a", base="a", params=1_000_000, macs=1_000_000_000), Result("b", "f", "a")))
    (table,) = tables(Report.of(bare))
    assert table.header == ["factor", "variant", "params (M)", "MACs (G)"]
    assert table.rows[0][2:] == ["1.0", "1.0"]


def test_small_networks_keep_their_digits():
    bare = Outcome("o", "O", (Result("a", base="a", params=12_978, macs=920_480), Result("b", "f", "a")))
    (table,) = tables(Report.of(bare))
    assert table.rows[0][2:] == ["0.013", "0.00092"]


def test_a_study_of_ones_own_speaks_of_no_paper(outcome):
    import dataclasses

    own = [dataclasses.replace(r, paper={}) for r in outcome.results]
    report = Report.of(dataclasses.replace(outcome, results=tuple(own), device="the paper's device"))
    assert "paper" not in written(report, "markdown")
    assert [trace.name for trace in factor_figure(report, "norm").data] == ["here", "here"]
    assert len(tradeoff_figure(report).data) == 1


def test_a_bootstrap_that_was_none_is_not_called_one(outcome):
    assert Report.of(outcome, "bootstrap").method == "t"


def test_markdown_titles_are_text(outcome):
    import dataclasses

    told = written(Report.of(dataclasses.replace(outcome, title="Does <square> _all_ *pay*?")), "markdown")
    assert told.startswith(r"**Does &lt;square> \_all\_ \*pay\*?**")


def test_bars_stand_beside_the_papers_with_their_intervals(outcome):
    figure = factor_figure(Report.of(outcome), "norm")
    here, paper, here_speed, paper_speed = figure.data[:4]
    assert here.x == pytest.approx([-5.033], abs=0.001)
    low, high = rows(Report.of(outcome))[1]["difference_low"], rows(Report.of(outcome))[1]["difference_high"]
    assert here.x[0] - here.error_x.arrayminus[0] == pytest.approx(low)
    assert here.x[0] + here.error_x.array[0] == pytest.approx(high)
    assert paper.x == pytest.approx([0.1])
    assert here_speed.x == (1.25,)
    assert here_speed.error_x.array[0] == pytest.approx(0.05)
    assert paper_speed.x == pytest.approx([721 / 900])


def test_accuracy_stands_against_speed_as_in_figure_1(outcome):
    paper, here = tradeoff_figure(Report.of(outcome)).data
    assert dict(zip(paper.text, zip(paper.x, paper.y, strict=True), strict=True))["norm layer"] == (721.0, 82.4)
    assert dict(zip(here.text, zip(here.x, here.y, strict=True), strict=True)) == {
        "base_net": (40.0, pytest.approx(50.633, abs=0.001)), "norm layer": (50.0, pytest.approx(45.6)),
    }  # fmt: skip
    bare = Outcome("o", "O", (Result("a", base="a"), Result("b", "f", "a")))
    assert tradeoff_figure(Report.of(bare)) is None


@pytest.mark.parametrize("path", sorted((shipped("studies") / "results").glob("ablation-*.json")), ids=lambda p: p.stem)
def test_the_projects_own_results_can_be_told(path):
    outcome = Outcome.from_dict(json.loads(path.read_text()))
    told = Report.of(outcome)
    assert written(told, "table")
    trained = [result for result in outcome.results if result.accuracies]
    assert all(len(result.accuracies) >= 3 for result in trained)
    before, now = json.loads(path.read_text())["rows"], json.loads(written(told, "json"))["rows"]
    for row in (*before, *now):  # a later version may have more to say
        del row["note"]
    assert before == now
