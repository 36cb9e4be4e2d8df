import pytest
import tiny

from archsearch.handover.candidates import Candidate
from archsearch.handover.confirmation import Confirmation, Trained
from archsearch.handover.halving import close_rivals
from archsearch.objectives import parse_objectives
from archsearch.report.confirm_tables import confirmation_document, findings
from archsearch.stats.agreement import kendall
from archsearch.stats.noise import AccuracyNoise
from archsearch.utils.tables import render

BOTH = parse_objectives("accuracy,macs")
#: Accuracy of the search, MACs, and accuracies of the confirmation by seed.
ROWS = {
    "front": (0.60, 3e9, {1: 0.80, 2: 0.82, 3: 0.81}),
    "contender": (0.58, 2e9, {1: 0.70, 2: 0.72, 3: 0.71}),
    "control": (0.50, 2e9, {1: 0.75, 2: 0.77, 3: 0.76}),
    "baseline": (0.40, 4e9, {1: 0.60, 2: 0.62, 3: 0.61}),
}
#: As many as are ranked.
FIVE = ROWS | {"last": (0.30, 4.5e9, {1: 0.50, 2: 0.52, 3: 0.51})}


def confirmation(rows=ROWS, **changes):
    candidates, trained = [], {}
    for number, (role, (accuracy, macs, accuracies)) in enumerate(rows.items()):
        arch = tiny.SMALL.replace(depths=(1, 1, 1, number + 1))
        scores = {"macs": macs} | ({} if accuracy is None else {"accuracy": accuracy})
        one = Candidate(arch, role, role == "baseline", number, scores)
        candidates.append(one)
        trained[one.name] = Trained(accuracies)
    fields = {"objectives": BOTH, "candidates": tuple(candidates), "trained": trained, "recipe": {}, "images": 10_000}
    return Confirmation("s", "s-confirm", **(fields | changes))


def test_ranks_fronts_and_means_are_those_counted_by_hand():
    members = {one.candidate.role: one for one in confirmation().members}
    assert {role: one.accuracy for role, one in members.items()} == pytest.approx(
        {"front": 0.81, "contender": 0.71, "control": 0.76, "baseline": 0.61}
    )
    assert {role: one.on_front for role, one in members.items()} == {
        "front": True,
        "contender": False,
        "control": True,
        "baseline": False,
    }
    assert {role: (one.rank_before, one.rank) for role, one in members.items()} == {
        "front": (1, 1),
        "contender": (2, 3),
        "control": (3, 2),
        "baseline": (4, 4),
    }
    for one in members.values():
        assert one.low < one.accuracy < one.high
        assert (one.chance > 0.99) == one.on_front


def test_regret_and_rank_correlation_are_those_of_the_pairs():
    found = confirmation(FIVE).agreement
    searched, truth = [0.60, 0.58, 0.50, 0.40, 0.30], [0.81, 0.71, 0.76, 0.61, 0.51]
    assert found.tau.value == pytest.approx(kendall(searched, truth)) == pytest.approx((9 - 1) / 10)
    assert confirmation().agreement is None  # of four, resamples are hardly apart
    # Within 2 GMACs the search chooses the contender, 5 points worse than the control; within more, the best.
    assert found.worst_regret == pytest.approx(0.05)
    assert found.regret.value == pytest.approx(0.05 * 2 / 5)  # of five budgets, two are of 2 GMACs


def test_unequal_seeds_are_made_comparable():
    rows = {role: list(row) for role, row in ROWS.items()}
    # Seed 3 is five points easier for everyone, and only two were trained with it.
    rows["front"][2] = {1: 0.80, 2: 0.82, 3: 0.86}
    rows["control"][2] = {1: 0.75, 2: 0.77, 3: 0.81}
    rows["contender"][2], rows["baseline"][2] = {1: 0.70, 2: 0.72}, {1: 0.60, 2: 0.62}
    members = {one.candidate.role: one for one in confirmation(rows).members}
    assert members["front"].accuracy - members["contender"].accuracy == pytest.approx(0.10)
    assert members["front"].accuracy - members["control"].accuracy == pytest.approx(0.05)


def test_close_rivals_get_the_next_seed():
    rows = {
        "front": (0.60, 1e9, {1: 0.80, 2: 0.82}),
        "contender": (0.58, 2e9, {1: 0.84, 2: 0.86}),  # these two are as good as each other
        "control": (0.50, 2.1e9, {1: 0.843, 2: 0.857}),
        "baseline": (0.40, 4e9, {1: 0.60, 2: 0.62}),
    }
    found = confirmation(rows)
    chances = {one.candidate.role: one.chance for one in found.members}
    assert chances["front"] > 0.95
    assert chances["baseline"] < 0.05
    everyone = [one.name for one in found.candidates]
    assert set(close_rivals(found, everyone)) <= {"trial 1", "trial 2"}
    assert close_rivals(found, everyone)[0] == "trial 2"
    assert close_rivals(found, ["trial 0", "trial 3"]) == []


def test_chances_before_are_those_of_the_same_candidates():
    found = confirmation(searched=AccuracyNoise(1000))
    before = {one.candidate.role: one.chance_before for one in found.members}
    assert before["baseline"] < 0.01
    assert 0.1 < before["front"] < 0.95
    assert before["contender"] > 0.99  # the control of the same cost is 8 points worse
    assert [one.chance_before for one in confirmation().members] == [None] * 4


def test_a_decision_sees_only_the_seeds_before_it():
    assert confirmation().up_to([1]).trained["trial 0"].accuracies == {1: 0.80}


def test_a_baseline_without_scores_of_the_search_is_no_part_of_ranks():
    rows = ROWS | {"baseline": (None, 4e9, {1: 0.9, 2: 0.91})}
    members = {one.candidate.role: one for one in confirmation(rows).members}
    assert (members["baseline"].rank, members["baseline"].rank_before) == (None, None)
    assert members["baseline"].on_front
    assert members["front"].rank == 1


def test_a_candidate_whose_speed_is_unknown_is_on_no_front():
    found = confirmation(objectives=parse_objectives("accuracy,infer_throughput"))
    assert [one.on_front for one in found.members] == [None] * 4
    assert [one.chance for one in found.members] == [None] * 4


def test_failures_and_what_is_not_trained_yet_are_told():
    rows = ROWS | {"control": (0.5, 2e9, {})}
    found = confirmation(rows)
    failed = found.trained | {"trial 2": Trained(errors={1: "diverged: the loss is nan"})}
    text = render(confirmation_document(confirmation(rows, trained=failed)), "table")
    assert "diverged: the loss is nan" in text
    assert "not trained yet" in render(confirmation_document(found), "table")
    assert next(iter(findings(found))).startswith("Not finished: 1 of 4 candidates are not trained yet")
    assert found.members[2].accuracy is None
    nothing = confirmation({role: (*row[:2], {}) for role, row in ROWS.items()})
    assert nothing.agreement is None
    assert nothing.noise is None
    assert render(confirmation_document(nothing), "csv").count("\n") == 4


def test_the_findings_are_sentences_with_the_figures():
    first, second, third = findings(confirmation(FIVE))
    assert first.startswith("1 of 1 members stay on the front; trial 2 would join it.")
    assert "tau 0.80" in second
    assert "loses 2.0 points on average, 5.0 at worst" in second
    assert "trainings of one network differ by" in third
