import numpy as np
import pytest

from archsearch.ablation.interactions import interactions, main_effects
from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.statistics import (
    AGREES,
    CANNOT_TELL,
    DISAGREES,
    compare,
    differences,
    factor_verdicts,
    typical_deviation,
)

SEEDS = range(5)


def result(name, accuracies, factor="f", base="base", parts=None, top1=None):
    paper = {} if top1 is None else {"top1": top1}
    own = () if not factor else (name,)
    return Result(name, factor, base, parts=own if parts is None else parts, accuracies=accuracies, paper=paper)


def series(mean, noise=0.0, seed=0, shared=0.02):
    """Accuracies by seed: what a seed does to all networks, and a little of its own."""
    common, own = np.random.default_rng(99).normal(0, shared, 5), np.random.default_rng(seed).normal(0, noise, 5)
    return {s: float(mean + common[s] + own[s]) for s in SEEDS}


def outcome(*results, **fields):
    base = result("base", series(0.5, 0.001), factor="", top1=82.3)
    return Outcome("o", "O", (base, *results), **fields)


def test_pairing_takes_out_what_a_seed_does_to_both():
    found = compare(outcome(result("a", series(0.49, 0.001, 1))))
    base, a = found
    assert base.difference is None
    assert a.accuracy.sd > 1  # points
    assert a.difference.sd < 0.5
    assert a.difference.mean == pytest.approx(-1, abs=0.3)
    assert a.difference.resolved
    assert not (a.accuracy.low < 49 < a.accuracy.high) or a.accuracy.high - a.accuracy.low > 2


def test_only_seeds_that_both_have_count():
    a = result("a", {1: 0.6, 7: 0.9})
    assert differences(a, result("base", {0: 0.1, 1: 0.5})) == [pytest.approx(10)]
    (_, found) = compare(Outcome("o", "O", (result("base", {0: 0.1, 1: 0.5}, factor=""), a)))
    assert (found.difference.n, found.accuracy.n, found.p_holm) == (1, 2, None)


def test_verdicts_follow_the_sign_where_it_can_be_told():
    found = compare(
        outcome(
            result("as printed", series(0.48, 0.001, 1), top1=81.9),
            result("the other way", series(0.53, 0.001, 2), top1=81.9),
            result("within the noise", series(0.499, 0.03, 3), top1=81.9),
            result("not in the paper", series(0.48, 0.001, 4)),
            result("never trained", {}, top1=81.0),
        )
    )
    assert [c.verdict for c in found] == ["", AGREES, DISAGREES, CANNOT_TELL, "", ""]
    assert found[1].paper == pytest.approx(-0.4)


def test_many_looks_at_nothing_rarely_find_something():
    """Ten variants without any effect, a paper that claims some: Holm keeps false verdicts to one study in 20."""
    rng, alarms, raw = np.random.default_rng(5), 0, 0
    for _ in range(300):
        draws = rng.normal(0.5, 0.01, (11, 4))
        rows = [result(str(i), dict(enumerate(row)), top1=82.0) for i, row in enumerate(draws[1:])]
        base = result("base", dict(enumerate(draws[0])), factor="", top1=82.3)
        found = compare(Outcome("o", "O", (base, *rows)))[1:]
        raw += any(c.difference.p < 0.05 for c in found)
        alarms += any(c.verdict != CANNOT_TELL for c in found)
    assert 0.005 < alarms / 300 < 0.08
    assert raw / 300 > 0.15


def test_seeds_that_the_papers_difference_asks_for_follow_from_the_observed_noise():
    quiet = compare(outcome(result("a", series(0.49, 0.001, 1), top1=81.9)))[1].seeds_needed
    loud = compare(outcome(result("a", series(0.49, 0.02, 1), top1=81.9)))[1].seeds_needed
    assert 2 <= quiet < 10 < loud
    assert compare(outcome(result("a", series(0.49, 0.02, 1), top1=82.3)))[1].seeds_needed is None


def test_typical_deviation_is_the_pooled_one():
    made = outcome(result("a", series(0.49, 0.01, 1)), result("b", series(0.48, 0.01, 2)))
    variances = [np.var(differences(made[name], made["base"]), ddof=1) for name in "ab"]
    assert typical_deviation(made) == pytest.approx(np.sqrt(np.mean(variances)))


def test_a_factor_is_judged_by_sign_and_by_order():
    good = [result(f"k{k}", series(0.5 - k / 100, 0.001, k), "k", top1=82.3 - k / 10) for k in (1, 2, 3)]
    swapped = [
        result("r1", series(0.46, 0.001, 4), "r", top1=82.0),
        result("r2", series(0.48, 0.001, 5), "r", top1=81.5),
    ]
    vague = [result("n1", series(0.5, 0.03, 6), "n", top1=82.4)]
    unprinted = [result("u1", series(0.3, 0.001, 7), "u")]
    made = outcome(*good, *swapped, *vague, *unprinted)
    judged = {j.factor: j for j in factor_verdicts(made, compare(made))}
    assert list(judged) == ["k", "r", "n"]
    k, r, n = judged.values()
    assert (k.sign, k.signs, k.order, k.orders) == (AGREES, (3, 3, 3), AGREES, (6, 6, 6))
    assert (r.sign, r.signs, r.order, r.orders) == (AGREES, (2, 2, 2), DISAGREES, (2, 3, 3))
    assert (n.sign, n.signs, n.order, n.orders) == (CANNOT_TELL, (0, 0, 1), CANNOT_TELL, (0, 0, 1))


def test_order_is_never_told_where_the_sign_is_not():
    """One variant per factor: the pair of an order is the difference of a sign, among as many others."""
    rng = np.random.default_rng(2)
    rows = [result(f"v{i}", {s: 0.5 + rng.normal(-0.004, 0.004) for s in SEEDS}, f"f{i}", top1=82.0) for i in range(9)]
    made = Outcome("o", "O", (result("base", dict.fromkeys(SEEDS, 0.5), factor="", top1=82.3), *rows))
    for judged in factor_verdicts(made, compare(made)):
        assert (judged.sign, judged.signs) == (judged.order, judged.orders)


def test_a_printed_difference_of_nothing_has_no_sign():
    (_, found) = compare(outcome(result("a", series(0.4, 0.001, 1), top1=82.3)))
    assert (found.paper, found.verdict) == (0, "")
    assert factor_verdicts(outcome(result("a", series(0.4, 0.001, 1), top1=82.3)), [found]) == []


def test_a_few_images_are_not_taken_for_certain():
    """Accuracies that happen to agree to the image: rounding alone would scatter more."""
    same = dict.fromkeys(range(3), 0.5)
    rows = (result("base", same, factor="", top1=82.3), result("a", dict.fromkeys(range(3), 0.501), top1=82.0))
    for method in ("t", "pooled"):
        bare = compare(Outcome("o", "O", rows), method)[1].difference
        assert bare.p is None
        found = compare(Outcome("o", "O", rows, {"data": {"val_samples": 1000}}), method)[1].difference
        assert 0.01 < found.p < 0.5


def test_without_intervals_nothing_is_told():
    made = outcome(result("a", series(0.4, 0.001, 1), top1=81.9))
    (_, found) = compare(made, "none")
    assert (found.difference.low, found.p_holm, found.verdict) == (None, None, CANNOT_TELL)
    assert factor_verdicts(made, compare(made, "none"), "none")[0].order == CANNOT_TELL


def planted(excess, noise=0.001):
    a, b = result("a", series(0.52, noise, 1), "f"), result("b", series(0.47, noise, 2), "g")
    both = result("a + b", series(0.49 + excess, noise, 3), "f x g", parts=("a", "b"))
    return outcome(a, b, both)


def test_a_joint_effect_beyond_the_sum_is_found_and_one_that_is_the_sum_is_not():
    (found,) = interactions(planted(0.03))
    assert found.excess.mean == pytest.approx(3, abs=0.3)
    assert found.p_holm < 0.01
    (none,) = interactions(planted(0.0, 0.01))
    assert none.p_holm > 0.05


def test_seeds_that_chose_a_pair_do_not_test_it():
    (found,) = interactions(planted(0.03), seeds=[2, 3])
    assert found.seeds == (2, 3)
    assert interactions(planted(0.03), seeds=[17]) == []


def test_main_effects_average_over_the_other_factor():
    """Closed form of a 2 x 2 factorial: a +2, b -3, together 1 beyond the sum."""
    same = {seed: 0.5 + seed / 100 for seed in SEEDS}
    shift = {(): 0, ("a",): 0.02, ("b",): -0.03, ("a", "b"): 0.0}
    rows = [
        result("base" if not parts else " + ".join(parts), {s: v + by for s, v in same.items()}, parts=parts)
        for parts, by in shift.items()
    ]
    effects = {e.name: e for e in main_effects(Outcome("o", "O", tuple(rows), full=True))}
    assert effects["a"].effect.mean == pytest.approx((2 + 3) / 2)
    assert effects["b"].effect.mean == pytest.approx((-3 + -2) / 2)
    assert effects["a"].p_holm is None  # nothing scatters, and no images are known


def test_main_effects_of_three_levels_leave_out_what_is_missing():
    rng = np.random.default_rng(4)
    parts = [(), ("a1",), ("a2",), ("b",), ("a1", "b"), ("a2", "b")]
    truth = {"a1": 0.02, "a2": -0.05, "b": 0.01}
    rows = []
    for combination in parts:
        mean = 0.5 + sum(truth[p] for p in combination)
        accuracies = {s: mean + rng.normal(0, 0.001) for s in SEEDS if (combination, s) != (("a2", "b"), 3)}
        rows.append(result("+".join(combination) or "base", accuracies, parts=combination))
    effects = {e.name: e for e in main_effects(Outcome("o", "O", tuple(rows), full=True))}
    assert {name: round(e.effect.mean) for name, e in effects.items()} == {"a1": 2, "a2": -5, "b": 1}
    assert {name: e.effect.n for name, e in effects.items()} == {"a1": 5, "a2": 4, "b": 4}
    assert all(e.effect.p <= e.p_holm < 0.01 for e in effects.values())
