"""What is shown while a study runs."""

import io
import json

import pytest
import tiny
from rich.console import Console

from archsearch.cli.display import Display, display
from archsearch.cli.events import JsonLines
from archsearch.cli.progress import Lines
from archsearch.search.definition import create_or_resume
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.trial import Epoch, Evaluation


@pytest.fixture
def search(tmp_path):
    study = tiny.make_study("metanext", population=8, sampler="random")
    return Search(study, StorageMirror(create_or_resume(study, open_storage(str(tmp_path / "s.db"), create=True))))


def play(search, listener):
    """Two workers: one trial ends, one fails, one is lost, two run."""
    first, second, third = (search.ask() for _ in range(3))
    listener.started(first, "worker 0")
    listener.started(second, "worker 1")
    listener.epoch(first, Epoch(1, 2.0, 0.25, 1.0))
    done = Evaluation({"accuracy": 0.5, "macs": 1e9, "infer_throughput": 30.0}, curve=(Epoch(1, 2.0, 0.5, 1.0),))
    listener.ended(search.tell(first, done, {}))
    listener.started(third, "worker 0")
    listener.waiting(third, "process 7 is timing")
    listener.ended(search.tell(second, Evaluation({"macs": 1.0}, error="diverged: [nan]"), {}))
    search.lose(third, "its process was killed")
    listener.lost(third, "its process was killed")
    for worker in ("worker 0", "worker 1"):
        candidate = search.ask()
        listener.started(candidate, worker)
        listener.epoch(candidate, Epoch(2, 1.0, 0.4, 1.0))
    return first, second, third


def test_a_terminal_shows_each_worker_the_front_and_what_went_wrong(search):
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    listener = Display(search, 10, verbose=False, console=console)
    first, second, third = play(search, listener)
    lasting = console.file.getvalue()
    assert f"trial {second.number} failed: diverged: [nan]" in lasting
    assert f"trial {third.number} is lost and will run again: its process was killed" in lasting
    with console.capture() as capture:
        console.print(listener.render())
    picture = capture.get()
    assert "2/10 trials" in picture
    assert " left" in picture
    assert f"worker 0: trial {third.number + 1}, epoch 2: top-1 40.0%: " in picture
    assert f"worker 1: trial {third.number + 2}, epoch 2: top-1 40.0%: " in picture
    assert "front: 1 trials, hypervolume 0.000, 1 failed" in picture
    assert "50.0" in picture
    assert f"trial {first.number}," not in picture


def test_what_is_out_of_the_ordinary_stays_on_a_terminal(search):
    console = Console(file=io.StringIO(), force_terminal=True, width=400, color_system=None)
    listener = Display(search, 10, verbose=False, console=console)
    listener.ended(taken_over(search))
    off = Evaluation({"macs": 1e9}, excess={"macs <= 999900000": 1e-4, "params <= 1": -0.5})
    listener.ended(search.tell(search.ask(), off, {}))
    scores = {"accuracy": 0.5, "macs": 1e9, "infer_throughput": 30.0}
    one_seed = Evaluation(scores, accuracies={0: 0.5}, seed_error="seed 1: diverged: nan")
    listener.ended(search.tell(search.ask(), one_seed, {}))
    listener.ended(search.tell(search.ask(), Evaluation(scores), {}))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3
    assert "; top-1, MACs from other#3" in lines[0]
    assert "infeasible and not trained: it misses macs <= 999900000 by less than 0.1% (" in lines[1]
    assert "; without a further seed: seed 1: diverged: nan" in lines[2]


def test_a_pipe_gets_a_line_for_each(search):
    console = Console(file=io.StringIO(), width=400, color_system=None)
    play(search, Lines(search, 10, verbose=False, console=console))
    lines = console.file.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "[1/10] trial 0",
        "trial 2 waits for the device",
        "[2/10] trial 1 failed",
        "trial 2 is lost and will run again",
        "trial 3 runs trial 2 again, whose process had ended",
    ]


def taken_over(search):
    """A trial of which others knew all but a speed."""
    candidate = search.ask()
    reused = {"accuracy": "other#3", "macs": "other#3", "infer_throughput": "an earlier timing on this machine"}
    return search.tell(
        candidate, Evaluation({"accuracy": 0.5, "macs": 1e9, "infer_throughput": 30.0}, reused=reused), {}
    )


def test_what_was_known_before_is_told_and_counted(search, capsys):
    with display(search, 10, quiet=False, verbose=False) as listener:
        listener.ended(taken_over(search))
        listener.ended(
            search.tell(search.ask(), Evaluation({"accuracy": 0.5, "macs": 1e9, "infer_throughput": 30.0}), {})
        )
    told = " ".join(capsys.readouterr().err.split())
    assert "; top-1, MACs from other#3; inference throughput from an earlier timing on this machine" in told
    assert told.count(" from ") == 2
    assert (
        "of 2 new trials, 1 took a known training and 1 a known timing; --retrain and --remeasure do it again" in told
    )
    with display(search, 10, quiet=False, verbose=False):
        pass
    assert "known training" not in capsys.readouterr().err


def test_json_has_the_same(search, capsys):
    play(search, JsonLines(search, 10))
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["started", "started", "epoch", "ended", "started", "waiting", "ended", "lost", "started", "epoch",
                     "started", "epoch"]  # fmt: skip
    ended = [event for event in events if event["event"] == "ended"]
    assert (ended[0]["on_front"], ended[0]["front"]) == (True, [0])
    assert (ended[1]["error"], ended[1]["failed"]) == ("diverged: [nan]", 1)
    assert events[8]["rerun_of"] == 2
    JsonLines(search, 10).ended(taken_over(search))
    assert json.loads(capsys.readouterr().err)["reused"]["accuracy"] == "other#3"
