import json
from pathlib import Path

import numpy as np
import pytest

from archsearch.stats.agreement import agreement
from archsearch.stats.fronts import nondominated

RESULT = Path(__file__).parents[2] / "studies/results/confirm-inception_dw-cifar10-xeon-2-cores.json"


def test_the_committed_confirmation_says_what_its_rows_say():
    found = json.loads(RESULT.read_text())
    rows = found["candidates"]
    points = np.array([[-row["accuracy"], row["search.macs"]] for row in rows])
    assert nondominated(points).tolist() == [row["on_front"] for row in rows]
    both = [row for row in rows if row["search.accuracy"] is not None]
    columns = ("search.accuracy", "accuracy", "search.macs")
    expected = agreement(*(np.array([row[name] for row in both]) for name in columns), bins=1)
    assert found["tau"]["value"] == pytest.approx(expected.tau.value)
    assert found["regret"] == pytest.approx(expected.regret.value)


def test_the_written_finding_has_its_figures():
    found = json.loads(RESULT.read_text())
    text = (Path(__file__).parents[2] / "docs/results/confirm.md").read_text()
    assert f"-0.29 ({found['tau']['low']:.2f} to {found['tau']['high']:.2f})" in text
    assert f"{100 * found['regret']:.1f} points on average, {100 * found['worst_regret']:.1f} at worst" in text
    for row in found["candidates"]:
        interval = f"{100 * row['accuracy.low']:.1f} to {100 * row['accuracy.high']:.1f}"
        assert f"| {row['candidate']} |" in text
        assert f"| {100 * row['accuracy']:.1f} ({interval}) | {len(row['seeds'])} |" in text
