import numpy as np
import pandas as pd
import pytest

from archsearch.errors import DataError
from archsearch.fidelity.results_file import check_mergeable, merged, records_text
from archsearch.fidelity.training_records import read_records
from archsearch.utils.package_data import shipped

MADE = {"judged": "val", "images": 64, "recipe": '{"epochs": 1}', "space": "small", "data": "drawn", "fingerprint": "f"}
HOW = {"threads": 1, "workers": 2, "date": "2026-11-28"}


def row(network="a", schedule="short", seed=0, accuracy=0.5, **changes):
    facts = {"network": network, "table": None, "schedule": schedule, "seed": seed, "accuracy": accuracy}
    return facts | {"seconds": 1.5, "top1": None, "macs": 1, "params": 1, **MADE, "device": "cpu", **HOW, **changes}


def test_records_replace_those_of_the_same_training_alone():
    old = pd.DataFrame([row("a"), row("b"), row("a", "long", 1000), row("a", seed=1)])
    new = pd.DataFrame([row("b", accuracy=0.7), row("c")])
    both = merged(old, new)
    names = list(zip(both["network"], both["schedule"], both["seed"], both["accuracy"], strict=True))
    assert names == [
        ("a", "short", 0, 0.5),
        ("b", "short", 0, 0.7),
        ("a", "long", 1000, 0.5),
        ("a", "short", 1, 0.5),
        ("c", "short", 0, 0.5),
    ]
    assert merged(both, new).equals(both)
    assert merged(pd.DataFrame(columns=old.columns), new).equals(new)


def test_how_a_training_was_timed_outlives_its_repetition_from_the_cache():
    cached = row(accuracy=0.6) | dict.fromkeys(HOW)
    (found,) = merged(pd.DataFrame([row()]), pd.DataFrame([cached])).to_dict("records")
    assert found == row(accuracy=0.6)
    (anew,) = merged(pd.DataFrame([row()]), pd.DataFrame([row(workers=8)])).to_dict("records")
    assert anew["workers"] == 8
    text = records_text(merged(pd.DataFrame([row()]), pd.DataFrame([cached | {"network": "b"}])))
    assert text.splitlines()[1].endswith(",1,2,2026-11-28"), "and not 1.0, as the other row's is not known"


def test_the_text_says_a_recipe_once(tmp_path):
    rows = [row("a"), row("a", "long", recipe='{"epochs": 9}'), row("b"), row("c", table="8"), row("b", "long", 1000)]
    rows[4]["recipe"] = '{"epochs": 9}'
    frame = pd.DataFrame(rows)
    text = records_text(frame)
    assert text.count("epochs") == 2
    (tmp_path / "r.csv").write_text(text)
    again = read_records(tmp_path / "r.csv")
    assert list(again["recipe"]) == list(frame["recipe"])
    assert list(again["workers"]) == [2] * 5
    assert list(again["table"].fillna("")) == ["", "", "", "8", ""]
    assert records_text(again) == text


def test_the_committed_records_are_written_as_they_were_read():
    path = shipped("studies") / "results" / "fidelity-inception_dw-cifar10-epyc-2-cores.csv"
    records = read_records(path)
    assert records_text(merged(records, records.iloc[:0])) == path.read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": '{"epochs": 2}'}, "'short' has another recipe there; name another --results-file, or schedule"),
        ({"judged": "test"}, "'short' has other images to judge by there"),
        ({"data": "folder"}, "another data set"),
        ({"fingerprint": "g"}, "'short' has other images there"),
        ({"space": "large"}, "another space"),
    ],
)
def test_other_trainings_of_the_same_name_are_refused(changes, words):
    old = pd.DataFrame([row(), row("b")])
    check_mergeable(old, {"short": MADE, "new one": MADE | changes}, "r.csv")
    with pytest.raises(DataError, match=words) as error:
        check_mergeable(old, {"short": MADE | changes}, "r.csv")
    assert str(error.value).startswith("r.csv: ")


def test_older_records_have_a_truth_of_validation_images():
    old = pd.DataFrame([row(schedule="reference")]).drop(columns=list(MADE))
    check_mergeable(old, {"reference": MADE, "short": MADE | {"judged": "test"}}, "r.csv")
    with pytest.raises(DataError, match="judged on validation images there; name another"):
        check_mergeable(old, {"reference": MADE | {"judged": "test"}}, "r.csv")
    assert np.isnan(merged(old, pd.DataFrame([row("b")]))["workers"]).sum() == 0
