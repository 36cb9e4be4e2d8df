import pytest

from archsearch.errors import OptionError
from archsearch.trial import Evaluation, parse_trial


@pytest.mark.parametrize("reference", ["net#1.json", "runs/net#1.safetensors", "made#2", "timm_name", "net.json"])
def test_files_and_folders_are_no_trials(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made#2").mkdir()
    assert parse_trial(reference) is None
    assert parse_trial("study:made#2") == ("made", 2)


@pytest.mark.parametrize(
    ("reference", "example"),
    [("night#one", "night#3"), ("study:night", "study:night#3"), ("#3", "night#3"), ("a#²", "a#3"), ("a#-1", "a#3")],
)
def test_a_trial_without_its_number_says_how_to_write_it(reference, example):
    with pytest.raises(OptionError) as raised:
        parse_trial(reference)
    assert str(raised.value) == f"{reference}: write STUDY#NUMBER with the number of a trial, as {example}"


def test_a_score_beside_the_fixed_reference_needs_no_footnote():
    busy = {"warnings": ["other programs kept 1.9 of 2 cores busy during the timing"]}
    bent = {"infer_throughput": {"conditions": busy}, "peak_memory_mb": {"conditions": busy}}
    held = {name: {**detail, "fixed_reference_s": 0.2} for name, detail in bent.items()}
    assert Evaluation(details=bent).disturbances == busy["warnings"]
    assert Evaluation(details=held).disturbances == []
    assert Evaluation(details={"infer_throughput": {}}).disturbances == []
