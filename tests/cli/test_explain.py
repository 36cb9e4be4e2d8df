import csv
import io
import json
import sys

import pytest
from command import FAST, refused, run
from explained import train_into, write_images
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    train_into(folder, "convnext_tiny")
    write_images(folder / "images", per_class=1)
    return folder


@pytest.fixture
def words(folder, tmp_path, monkeypatch):
    """A command that works."""
    monkeypatch.chdir(tmp_path)
    return ["explain", folder / "convnext_tiny.safetensors", "--images", folder / "images"]


def test_a_picture_a_page_and_the_tables(capsys, words, tmp_path):
    code, out, err = run(capsys, *words, "--limit", 2)
    assert code == 0
    assert err.splitlines() == ["runs/explain/explain.png", "runs/explain/explain.html"]
    assert Image.open(tmp_path / "runs/explain/explain.png").format == "PNG"
    assert (tmp_path / "runs/explain/explain.html").read_text().startswith("<!doctype html>")
    assert "predictions, with the class that is explained" in out
    assert "receptive fields, measured on 2 images" in out
    assert refused(capsys, tmp_path, *words).endswith("name another folder, or replace it by --force\n")
    assert run(capsys, *words, "--limit", 1, "--force")[0] == 0


def test_formats_agree(capsys, words):
    told = json.loads(run(capsys, *words, "--limit", 1, "-o", "a", "-f", "json")[1])
    (network,) = told["networks"]
    text = run(capsys, *words, "--limit", 1, "-o", "b", "-f", "csv")[1]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["effective"] for row in rows] == [str(field["effective"]) for field in network["fields"]]
    assert network["predictions"][0]["predicted"] == network["predictions"][0]["target"]


def test_the_class_may_be_a_number(capsys, words):
    told = json.loads(run(capsys, *words, "--limit", 1, "--class", "3", "-f", "json")[1])
    name = told["networks"][0]["predictions"][0]["target"]
    again = json.loads(run(capsys, *words, "--limit", 1, "--class", name, "-f", "json", "--force")[1])
    assert again == told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--class", "whale"], "unknown class 'whale'"),
        (["--stage", "9"], "--stage 9 names none of them"),
        (["--images", "nowhere"], "there is no image nowhere"),
        (["--device", "abacus"], "no device 'abacus' here"),
        (["--limit", "0"], "is not a whole number of at least 1"),
    ],
)
def test_wrong_options_are_one_line(capsys, words, tmp_path, more, message):
    assert message in refused(capsys, tmp_path, *words, *more)


def test_a_missing_library_says_how_to_install_it(capsys, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    assert "pip install 'archsearch[explain]'" in refused(capsys, tmp_path, *words)


def test_a_name_without_weights_says_what_to_write(capsys, words, tmp_path, folder):
    err = refused(capsys, tmp_path, "explain", "convnext_tiny", "--images", folder / "images")
    assert "names no trained network: write STUDY#TRIAL" in err


@pytest.mark.slow
def test_from_a_study_to_a_picture(capsys, words, tmp_path, folder, small_space):
    """Search, confirm, and look at what was confirmed; a trial that was not says what to do."""
    study = ["study", "--space", small_space, "--objective", "accuracy,macs", "--n-trials", 3, "--study-name", "night"]
    assert run(capsys, *study, *FAST)[0] == 0
    images = ["--images", folder / "images", "--limit", 1]
    assert "`confirm night` trains the front" in refused(capsys, tmp_path, "explain", "night#0", *images)
    longer = ["--set", "proxy.train_samples=128", "--seeds", 2, "--controls", 0, "--workers", 0, "-q"]
    code, out, err = run(capsys, "confirm", "night", *longer, "-f", "json")
    assert code == 0, err
    confirmed = next(one for one in json.loads(out)["candidates"] if one["trial"] is not None)
    reference = f"night#{confirmed['trial']}"
    code, out, err = run(capsys, "explain", reference, *images, "-f", "json")
    assert code == 0, err
    (network,) = json.loads(out)["networks"]
    assert network["weights"].startswith(f"proxy network of {reference}, trained for ")
    assert network["accuracy"].endswith(" % on the test split of drawn")
    assert run(capsys, "report", "night", "-o", "night.html")[0] == 0
    page = (tmp_path / "night.html").read_text()
    assert '"confirmation":{"name":"night-confirm"' in page
