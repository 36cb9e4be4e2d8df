import pytest
from tiny import OBJECTIVES, RECIPE, trial
from views import confirmed_view, noisy_view, one_of_each, view

from archsearch.report import figures
from archsearch.report.figure_parts import statuses
from archsearch.report.figures import all_figures, pairs, pareto_figure, write_image
from archsearch.report.looks import CONFIRMED, LOOKS
from archsearch.report.view import shared_objectives


def points(figure):
    return {trace.name: trace for trace in figure.data if trace.mode == "markers"}


def test_every_pair_of_objectives_has_the_first_on_y():
    assert [(x.name, y.name) for x, y in pairs(OBJECTIVES)] == [
        ("macs", "accuracy"),
        ("infer_throughput", "accuracy"),
        ("infer_throughput", "macs"),
    ]


def test_every_kind_of_trial_is_told_apart_by_more_than_colour():
    assert statuses(view().frame).tolist() == ["front", "front", "dominated", "infeasible", "pruned", "failed"]
    drawn = points(pareto_figure([view()], "macs", "accuracy"))
    assert set(drawn) == {look.label for look in LOOKS.values()}
    assert len({trace.marker.symbol for trace in drawn.values()}) == 5
    assert len({trace.marker.color for trace in drawn.values()}) == 5
    assert sorted(n for trace in drawn.values() for n in trace.customdata) == [0, 1, 2, 3, 4, 5]


def test_trials_without_a_score_stand_beyond_the_worst_each_kind_apart():
    drawn = points(pareto_figure([view()], "macs", "accuracy"))
    beyond = [drawn[LOOKS[kind].label].y[0] for kind in ("infeasible", "pruned", "failed")]
    assert 0.4 > beyond[0] > beyond[1] > beyond[2]
    assert [drawn[LOOKS[kind].label].x[0] for kind in ("infeasible", "pruned", "failed")] == [1.5e9] * 3


def test_the_line_is_the_front_of_the_two_objectives_shown():
    line = pareto_figure([view()], "macs", "accuracy").data[0]
    assert (list(line.x), list(line.y)) == ([1e9, 2e9], [0.5, 0.6])
    assert line.line.shape == "hv"


def test_the_papers_networks_stand_beside_those_of_their_size():
    made = view([trial(0, 0.5, 3.9e9, 100), trial(1, 0.6, 4.9e9, 50)])
    names = [note.text for note in pareto_figure([made], "macs", "accuracy").layout.annotations]
    assert {"InceptionNeXt-T", "ConvNeXt-T"} <= set(names)
    assert "ConvNeXt-B" not in names
    assert not pareto_figure([made], "infer_throughput", "accuracy").layout.annotations
    figure = pareto_figure([made], "macs", "params")
    assert next(trace for trace in figure.data if trace.name == "the paper's networks").marker.symbol == "star"


def test_axes_name_the_form_of_the_targets_that_were_timed():
    def title(*views):
        return pareto_figure(views, "infer_throughput", "accuracy").layout.xaxis.title.text

    deployed = view(name="other", recipe={**RECIPE, "bench": {"form": "deploy"}})
    assert title(view()) == "target inference throughput (img/s), more is better"
    assert title(deployed) == "target inference throughput of the deploy form (img/s), more is better"
    assert "of the train or deploy form" in title(view(), deployed)
    assert [o.label for o in deployed.objectives] == [
        "proxy top-1 (%)",
        "target GMACs",
        "target infer (img/s), deploy form",
    ]
    assert shared_objectives([view(), deployed]) == list(view().objectives[:2]), "speeds of two forms do not compare"


def test_measured_scores_have_error_bars():
    front = points(pareto_figure([view()], "infer_throughput", "accuracy"))["on the front"]
    assert front.error_x.array[0] == pytest.approx(100 / 0.95 - 100)
    assert front.error_x.arrayminus[0] == pytest.approx(100 - 100 / 1.05)


def test_accuracies_have_error_bars_and_trials_their_chances():
    made = noisy_view()
    drawn = points(pareto_figure([made], "macs", "accuracy"))
    behind = drawn["dominated"]
    half = 4.302653 * 0.01 * 2**0.5  # Student's, with two degrees of freedom
    assert list(behind.error_y.array) == pytest.approx([half, half])
    assert list(behind.error_y.arrayminus) == pytest.approx([half, half])
    assert drawn["on the front"].error_y.array[0] == pytest.approx(half / 3**0.5)
    assert f"on the front in {made.chances[2]:.0%} of the draws" in behind.text[0]
    assert "draws" not in drawn["failed"].text[0]


def test_an_arrow_leads_from_a_trial_to_what_its_confirmation_found():
    made = confirmed_view()
    figure = pareto_figure([made], "macs", "accuracy")
    confirmed = points(figure)[CONFIRMED.label]
    assert list(confirmed.x) == [1e9, 2e9, 3e9]
    assert list(confirmed.y) == pytest.approx([0.72, 0.68, 0.61])
    ends = [(one.accuracy - one.low, one.high - one.accuracy) for one in made.confirmation.members[:3]]
    assert list(confirmed.error_y.arrayminus) == pytest.approx([down for down, _ in ends])
    assert list(confirmed.error_y.array) == pytest.approx([up for _, up in ends])
    arrows = [note for note in figure.layout.annotations if note.showarrow]
    assert [(a.ax, a.ay, a.x) for a in arrows] == [(1e9, 0.5, 1e9), (2e9, 0.6, 2e9)]
    assert [a.y for a in arrows] == pytest.approx([0.72, 0.68])
    turned = pareto_figure([made], "accuracy", "infer_throughput")
    assert list(points(turned)[CONFIRMED.label].x) == pytest.approx(
        [0.72, 0.68]
    )  # the baseline's throughput is not known
    assert CONFIRMED.label not in points(pareto_figure([made], "macs", "infer_throughput"))


def test_several_studies_are_told_apart_by_colour_and_name():
    other = view([trial(0, 0.7, 3e9, 40)], "other")
    drawn = points(pareto_figure([view(), other], "macs", "accuracy"))
    assert {name.split(":")[0] for name in drawn} == {"small", "other"}
    colours = {name.split(":")[0]: trace.marker.color for name, trace in drawn.items()}
    assert len(set(colours.values())) == 2


def test_hypervolume_is_a_share_of_one_box_and_never_falls():
    figure = figures.hypervolume_figure([view()])
    assert list(figure.data[0].x) == [1, 2, 6]
    shares = list(figure.data[0].y)
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    seconds = figures.hypervolume_figure([view()], "seconds")
    assert list(seconds.data[0].x) == [2.0, 4.0, 12.0]


def test_parallel_coordinates_hold_what_is_complete():
    figure = figures.parallel_figure([view()])
    dimensions = {d.label: d for d in figure.data[0].dimensions}
    assert list(dimensions["top-1"]["values"]) == [0.5, 0.6, 0.4]
    assert list(dimensions["band_kernel_size"].ticktext) == ["7", "9", "11"]


def test_curves_are_those_of_the_front_or_of_the_trials_named():
    assert [trace.name for trace in figures.curves_figure(view()).data] == ["trial 0", "trial 1"]
    assert [trace.name for trace in figures.curves_figure(view(), [2]).data] == ["trial 2"]


def test_a_slice_shows_a_score_over_the_values_of_an_axis():
    drawn = points(figures.slice_figure([view()], "band_kernel_size", "accuracy"))
    assert list(drawn["on the front"].x) == ["7", "9"]
    assert list(drawn["on the front"].y) == [0.5, 0.6]


@pytest.mark.parametrize(
    "views",
    [[view()], [view(), view([trial(0, 0.7, 3e9, 40)], "other")], [view(one_of_each()[5:], importance={})]],
    ids=["one", "several", "failed only"],
)
def test_every_figure_can_be_drawn_of_every_study(views):
    drawn = {name: draw() for name, draw in all_figures(views).items()}
    assert {"pareto-macs-accuracy", "parallel", "hypervolume-trials", "hypervolume-seconds"} <= set(drawn)
    assert any(name.startswith("pareto3d-") for name in drawn)
    assert all(figure.to_json() for figure in drawn.values())


@pytest.mark.browser
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_figure_becomes_a_file(tmp_path, suffix):
    path = tmp_path / f"front.{suffix}"
    write_image(pareto_figure([view()], "macs", "accuracy"), path)
    start = path.read_bytes()[:100]
    assert b"<svg" in start if suffix == "svg" else start.startswith(b"\x89PNG")
