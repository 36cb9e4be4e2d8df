import dataclasses
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs
from tiny import RECIPE, shipped_space, trial
from views import HOSTILE, confirmed_view, hostile_view, noisy_view, one_of_each, view

from archsearch.recipes import PROXIES
from archsearch.report.confirm_tables import confirmation_document
from archsearch.report.page.columns import column, columns
from archsearch.report.page.html import write_page
from archsearch.report.page.payload import page_data
from archsearch.utils.key_fields import key_fields

VALUES = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.5g}")),
    st.text(max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
    st.booleans(),
)


def decoded(made, count):
    if isinstance(made, list):
        return made
    return [made["all"]] * count if "all" in made else [made["values"][code] for code in made["codes"]]


@given(st.lists(VALUES, min_size=1, max_size=30))
def test_a_column_gives_back_its_values(values):
    made = json.loads(json.dumps(column(values)))
    assert decoded(made, len(values)) == values


def test_what_a_row_lacks_is_none_and_what_is_not_finite_too():
    made = columns([{"a": 1}, {"b": math.inf}, {"a": 2}])
    assert decoded(made["a"], 3) == [1, None, 2]
    assert decoded(made["b"], 3) == [None, None, None]


def test_a_page_says_how_large_proxies_are():
    space = shipped_space("macro")
    recipe = {**RECIPE, "space": space.to_dict(), "proxy": key_fields(space.fitted(PROXIES["gpu"]))}
    (told,) = page_data([view(recipe=recipe)])["studies"]
    assert told["proxy_network"] == "dims 48-96-192-384, depths 2-2-4-2, images of 32 px, maps of 32-16-8-4"
    newer = {**recipe, "proxy": {**recipe["proxy"], "layers": 3}}
    assert [head["proxy_network"] for head in page_data([view(), view(recipe=newer)])["studies"]] == ["", ""]


def test_a_page_says_the_form_of_the_targets_that_were_timed():
    deployed = one_of_each()[0]
    deployed.evaluation.details["infer_throughput"]["form"] = "deploy"
    told = page_data([view([deployed], recipe={**RECIPE, "bench": {"form": "deploy"}})])
    assert told["objectives"]["infer_throughput"]["axis"] == "target inference throughput of the deploy form (img/s)"
    assert told["objectives"]["train_throughput"]["axis"] == "target training throughput (img/s)"
    (part,) = told["studies"][0]["parts"]
    assert "deploy form" in decoded(part["columns"]["setting.infer_throughput"], 1)[0]
    runtime = {"onnxruntime": "1.20", "provider": "CPUExecutionProvider", "threads": 2}
    deployed.evaluation.details["infer_throughput"]["runtime"] = runtime
    (part,) = page_data([view([deployed])])["studies"][0]["parts"]
    words = decoded(part["columns"]["setting.infer_throughput"], 1)[0]
    assert "CPUExecutionProvider of onnxruntime 1.20, 2 thread(s)" in words
    assert "form" not in json.dumps(page_data([view()])["objectives"]["infer_throughput"])


def test_a_page_holds_every_trial_with_all_that_is_known_of_it():
    told = page_data([view()])["studies"][0]
    assert told["front"] == [0, 1]
    (part,) = told["parts"]
    known = {name: decoded(made, part["count"]) for name, made in part["columns"].items()}
    assert known["number"] == [0, 1, 2, 3, 4, 5]
    assert known["state"] == ["complete"] * 3 + ["infeasible", "pruned", "failed"]
    assert known["score.accuracy"] == [0.5, 0.6, 0.4, None, None, None]
    assert known["low.infer_throughput"][0] == pytest.approx(100 / 1.05, rel=1e-5)
    assert known["ratio.infer_throughput"][0] == pytest.approx([100 / 30, 100 / 31, 100 / 29], rel=1e-5)
    assert known["setting.infer_throughput"][0] == "batch 2, 224 px, fp32"
    assert known["curve.score"][1] == [6000]
    assert known["error"][-1] == "diverged: nan"
    arch = one_of_each()[0].arch
    assert known["arch.depths"][0] == list(arch.depths)
    assert [part["mixers"][code]["config"] for code in known["mixers"][0]] == arch.to_dict()["mixers"]


def test_a_page_is_told_how_far_scores_scatter():
    made = noisy_view()
    told = page_data([made])["studies"][0]
    noise, (part,) = told["noise"], told["parts"]
    accuracy = noise["accuracy"]
    ends = {
        (value, seeds): (low, high)
        for value, seeds, low, high in zip(*(accuracy[k] for k in ("values", "seeds", "low", "high")), strict=True)
    }
    assert accuracy["words"] == made.noise.words
    assert ends[0.5, 3] == pytest.approx(made.noise.interval(0.5, 3), rel=1e-5)
    assert set(ends) == {(0.5, 3), (0.6, 3), (0.59, 1), (0.2, 1)}
    assert noise["chances"]["numbers"][:3] == [0, 1, 2]
    assert noise["chances"]["shares"] == [share for share in made.chances if share > 0]
    assert decoded(part["columns"]["values.accuracy"], part["count"])[:3] == [
        [0.49, 0.5, 0.51],
        [0.61, 0.6, 0.59],
        None,
    ]
    assert "setting.accuracy" not in part["columns"]
    unknown = page_data([view(recipe={**RECIPE, "objectives": ["accuracy", "macs"]})])["studies"][0]
    assert unknown["noise"] == {}


def test_a_page_holds_which_seed_came_to_nothing():
    one = trial(0, 0.5, 1e9, 100, values=[0.5])
    told = dataclasses.replace(one.evaluation, seed_error="seed 1: diverged: nan")
    (part,) = page_data([view([dataclasses.replace(one, evaluation=told)])])["studies"][0]["parts"]
    assert decoded(part["columns"]["note.accuracy"], part["count"]) == ["seed 1: diverged: nan"]


def test_a_page_holds_where_a_score_was_known_before():
    first, *rest = one_of_each()
    reused = dataclasses.replace(first.evaluation, reused={"accuracy": "a#7"})
    (part,) = page_data([view([dataclasses.replace(first, evaluation=reused), *rest])])["studies"][0]["parts"]
    assert decoded(part["columns"]["reused.accuracy"], part["count"]) == ["a#7"] + [None] * len(rest)


def test_a_page_holds_what_a_confirmation_found():
    made = confirmed_view()
    told = page_data([made])["studies"][0]["confirmation"]
    (table,) = confirmation_document(made.confirmation).tables
    assert (told["header"], told["cells"], told["notes"]) == (table.header, table.rows, list(table.notes))
    places = {one["name"]: (one["number"], one["value"]) for one in told["members"]}
    assert places == {"trial 0": (0, 0.72), "trial 1": (1, 0.68), "baseline": (None, 0.61)}
    for one, member in zip(told["members"], made.confirmation.members[:3], strict=True):
        assert (one["low"], one["high"]) == pytest.approx((member.low, member.high), rel=1e-5)
    assert told["members"][2]["scores"] == {"macs": 3e9}
    assert page_data([view()])["studies"][0]["confirmation"] is None
    assert page_data([made], trials=False)["studies"][0]["confirmation"] == told


def test_the_front_of_a_view_is_that_of_its_frame():
    made = view()
    assert made.front == made.frame.loc[made.frame["front"], "number"].tolist()


def test_the_page_escapes_what_it_holds(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page(path, [hostile_view()])
    html = path.read_text()
    assert HOSTILE not in html
    assert "<script>window.owned" not in html
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.S)[1])
    assert data["title"] == data["studies"][0]["name"] == HOSTILE
    assert not re.search(r"https?:", html.replace(get_plotlyjs(), ""))
    assert list(path.parent.iterdir()) == [path]


def test_a_page_holds_how_far_a_trial_is_off_its_constraints():
    first, *rest = one_of_each()
    broken = dataclasses.replace(first.evaluation, excess={"macs <= 1000": 0.25})
    (part,) = page_data([view([dataclasses.replace(first, evaluation=broken), *rest])])["studies"][0]["parts"]
    assert decoded(part["columns"]["excess.macs <= 1000"], part["count"]) == [0.25] + [None] * len(rest)
