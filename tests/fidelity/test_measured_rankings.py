import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archsearch.fidelity.measured_rankings import make_known, rankings_of, seed_noise
from archsearch.fidelity.verdicts import FidelityReport
from archsearch.rankings.known import TABLE, Question, Ranking, find, kept_folder, read_rankings, recipe_fields
from archsearch.recipes import PROXIES

ROOT = Path(__file__).parents[2]
RECIPE = recipe_fields(PROXIES["quick"])


def records(seeds=2):
    """Eight architectures, trained by one schedule and the reference."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        truth = rng.random()
        facts = {
            "network": f"n{number}",
            "table": None,
            "top1": None,
            "macs": number + 1.0,
            "params": 1e6,
            "error": None,
        }
        facts |= {"space": "small", "data": "drawn", "fingerprint": "f", "device": "a cpu", "date": "2026-11-28"}
        for schedule, first, spread in (("quick", 0, 0.05), ("reference", 1000, 0.01)):
            recipe = json.dumps(RECIPE | ({} if schedule == "quick" else {"epochs": 99}))
            for seed in range(first, first + seeds):
                made = {"schedule": schedule, "seed": seed, "accuracy": truth + spread * rng.standard_normal()}
                rows.append(facts | made | {"recipe": recipe, "seconds": 3.0, "workers": 2, "threads": 1})
    return pd.DataFrame(rows)


def test_records_become_what_a_study_can_know():
    frame = records()
    (found,) = rankings_of(frame, "mine.csv")
    line = FidelityReport.of(frame).lines[0]
    assert found.tau == pytest.approx(
        (line.agreement.tau.value, line.agreement.tau.low, line.agreement.tau.high), abs=1e-4
    )
    assert (found.archs, found.title, found.space, found.date) == (8, "the drawn data", "small", "2026-11-28")
    assert (found.seconds, found.machine_seconds) == (3.0, 1.5)
    assert "2 seeds, judged on validation images" in found.reference
    assert rankings_of(frame.drop(columns="recipe"), "old.csv") == []


@pytest.mark.parametrize("recipe", ["{}", "{", "3", '{"epochs": 3}', None])
def test_what_is_no_whole_recipe_is_not_taken_for_one(recipe):
    """A recipe without its fields would count as the first release's, which is what ``drawn`` is."""
    assert rankings_of(records().assign(recipe=recipe), "mine.csv") == []


def test_noise_is_that_between_seeds():
    frame = records(seeds=3)
    quick = frame[frame["schedule"] == "quick"].pivot_table(index="network", columns="seed", values="accuracy")
    assert seed_noise(frame[frame["schedule"] == "quick"]) == pytest.approx(
        np.sqrt(np.mean([np.var(row, ddof=1) for row in quick.to_numpy()])), abs=1e-5
    )
    assert seed_noise(records(seeds=1)[lambda f: f["schedule"] == "quick"]) is None


def test_what_was_measured_here_is_known_to_studies(tmp_path):
    assert make_known(records(), "earlier.csv") == 1
    assert make_known(records(), "mine.csv") == 1  # in place of the first
    assert len(list(kept_folder().iterdir())) == 1
    mine = [ranking for ranking in read_rankings(kept_folder()) if ranking.records == "mine.csv"]
    assert len(mine) == 1
    assert find(Question(RECIPE, "small", "drawn", "f"), read_rankings(kept_folder())).exact == mine[0]


def test_the_shipped_table_is_that_of_the_committed_records():
    spec = importlib.util.spec_from_file_location("rankings_script", ROOT / "benchmarks" / "rankings.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made, shipped = script.committed(), [Ranking.of(stored) for stored in json.loads(TABLE.read_text())]
    assert len(made) == len(shipped) > 0, "run python benchmarks/rankings.py"
    for ours, theirs in zip(made, shipped, strict=True):
        assert (ours.recipe, ours.space, ours.archs, ours.date) == (
            theirs.recipe,
            theirs.space,
            theirs.archs,
            theirs.date,
        ), "run python benchmarks/rankings.py"
        assert ours.tau == pytest.approx(theirs.tau, abs=2e-4)
        assert ours.noise == pytest.approx(theirs.noise, abs=2e-5)


def test_the_shipped_table_knows_cpu_long():
    question = Question(recipe_fields(PROXIES["cpu_long"]), "inception_dw", "folder", "unknown")
    nearest = find(question, read_rankings()).nearest
    assert (nearest.title, nearest.archs, round(nearest.tau[0], 2)) == ("CIFAR-10", 24, 0.69)
