"""How large the page of a long study is, and how fast it answers.

    python benchmarks/dashboard.py [--trials 10000] [--keep FILE.html] [--server]

Trials are made up over the space ``metanext``: scores, intervals, curves of five epochs, some failed, pruned and
infeasible. Printed are the page's size beyond plotly.js (gzip -9), and, in headless Chromium: from opening the file to
the front being drawn, and from a selection to the views that can be seen being marked, each as often as ``--rounds``
says. ``--server``: the same study from a storage (writing it takes minutes): the server's answers, and from a trial
that ends in the storage to the open page showing it.
"""

import argparse
import gzip
import random
import shutil
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial
from plotly.offline import get_plotlyjs

from archsearch.arch import Arch
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, PROXIES
from archsearch.report.page.follow import Follower
from archsearch.report.page.html import write_page
from archsearch.report.page.serve import Server
from archsearch.report.view import StudyView
from archsearch.search.definition import Study
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import end_attrs, start_attrs
from archsearch.space.yaml import load_space
from archsearch.trial import Epoch, Evaluation, Trial
from archsearch.utils.package_data import shipped

ENVIRONMENT = {"device": "made up", "torch": "2.15.0", "timm": "1.0.31", "python": "3.11.7", "commit": "0" * 40}
FLAGS = ("--headless", "--no-sandbox", "--window-size=1400,1200", "--enable-unsafe-swiftshader")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--server", action="store_true")
    args = parser.parse_args()
    view = made_up(args.trials)
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or Path(folder) / "page.html"
        start = time.perf_counter()
        write_page(path, [view])
        print(f"{args.trials} trials; written in {time.perf_counter() - start:.1f} s")
        print(
            f"size beyond plotly.js: {beyond_plotly(path) / 1e6:.3f} MB compressed, "
            f"{path.stat().st_size / 1e6:.1f} MB in all"
        )
        with browser() as driver:
            opened = [first_paint(driver, path) for _ in range(args.rounds)]
            told("first words on the page", [one["words"] for one in opened])
            told("front drawn", [one["front"] for one in opened])
            for view_of in ("pareto", "parallel"):
                scroll(driver, view_of)
                for what in ("20 trials", "half of them", "none"):
                    times = [selection(driver, what) for _ in range(args.rounds)]
                    told(f"selection of {what}, {view_of} and its neighbours in sight", times)
        if args.server:
            served(view, Path(folder) / "s.db", args.rounds)


def scroll(driver: Any, chart: str) -> None:
    """Brings a chart into sight and waits until all that can be seen is drawn."""
    driver.execute_script("document.getElementById(arguments[0]).scrollIntoView({block: 'center'})", chart)
    time.sleep(8)


def served(view: StudyView, path: Path, rounds: int) -> None:
    """Times the server's answers, and how long a new trial takes to the page."""
    record = stored(view, path)
    start = time.perf_counter()
    follower = Follower([record])
    print(f"server: the storage is read in {time.perf_counter() - start:.1f} s")
    with Server("127.0.0.1", 0, follower, []) as server, browser() as driver:
        follower.start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        count = len(view.trials)
        data = f"{server.url}data?run={follower.run}&version={{}}&have={{}}"
        driver.get(server.url)
        time.sleep(60)  # importance is estimated meanwhile
        told("server: the page", [answer(server.url) for _ in range(rounds)])
        told("server: all trials", [answer(data.format(0, 0)) for _ in range(rounds)])
        told("server: no news", [answer(data.format(follower.version, count)) for _ in range(rounds)])
        told("server: one trial", [answer(data.format(0, count - 1)) for _ in range(rounds)])
        shown = []
        for number in range(count, count + rounds):
            known = view.trials[number % count]
            write(record, known)
            start = time.perf_counter()
            while f"{number + 1} trials" not in driver.find_element("id", "studies").text:
                time.sleep(0.02)
            shown.append(time.perf_counter() - start)
            time.sleep(5)  # trials take longer than the page takes to paint itself anew
        told("from a trial in the storage to the page", shown)
        server.shutdown()


def answer(url: str) -> float:
    start = time.perf_counter()
    with urllib.request.urlopen(url) as reply:
        reply.read()
    return time.perf_counter() - start


def stored(view: StudyView, path: Path) -> optuna.Study:
    """The study in a storage."""
    record = optuna.create_study(
        study_name=view.name,
        storage=open_storage(str(path), create=True),
        directions=[objective.direction for objective in view.objectives],
    )
    record.set_user_attr("archsearch", view.recipe)
    for known in view.trials:
        write(record, known)
    return record


def write(record: optuna.Study, known: Trial) -> None:
    complete = known.state == "complete"
    record.add_trial(
        create_trial(
            state=TrialState.COMPLETE if complete else TrialState.FAIL,
            values=[known.evaluation.scores[name] for name in record.user_attrs["archsearch"]["objectives"]]
            if complete
            else None,
            user_attrs=start_attrs(known.arch, known.params, known.seed)
            | end_attrs(known.evaluation, known.environment),
        )
    )


def told(what: str, seconds: list[float]) -> None:
    print(f"{what}: {1e3 * statistics.median(seconds):.0f} ms ({1e3 * min(seconds):.0f} to {1e3 * max(seconds):.0f})")


def made_up(count: int, seed: int = 0) -> StudyView:
    """A study that nobody ran."""
    rng = random.Random(seed)
    study = Study(
        name="benchmark",
        space=load_space("metanext", shipped("search_spaces")),
        objectives=parse_objectives("pareto"),
        proxy=PROXIES["drawn"],
        bench=BENCHES["cpu"],
        data={"name": "drawn", "fingerprint": ""},
        device="made up",
    )
    trials = []
    while len(trials) < count:
        params = study.space.sample(rng)
        trials.append(trial(len(trials), study.space.arch(params), params, rng))
    return StudyView(study.name, study.recipe(), trials, "python cli.py study --space metanext")


def trial(number: int, arch: Arch, params: dict[str, Any], rng: random.Random) -> Trial:
    """One with plausible scores."""
    work = sum(depth * dim**2 for depth, dim in zip(arch.depths, arch.dims, strict=True))
    accuracy = 0.75 - 3e4 / (work + 1e5) + rng.gauss(0, 0.02)
    speed = 4e9 / (work + 4e5) * rng.uniform(0.7, 1.3)
    curve = tuple(Epoch(e, 2.3 - 0.2 * e + rng.gauss(0, 0.05), accuracy * (1 - 0.5**e), 2.0) for e in range(1, 6))
    scores = {"macs": float(700 * work), "params": float(9 * work), "infer_throughput": speed, "accuracy": accuracy}
    step = 128 / speed
    detail = {"batch_size": 128, "img_size": 224, "precision": "bf16", "layout": "channels_last", "mode": "eager",
              "interval_s": [step * 0.99, step * 1.01], "ratio": speed / 2900,
              "ratio_interval": [speed / 2930, speed / 2870]}  # fmt: skip
    state, error, luck = "complete", None, rng.random()
    if luck < 0.02:
        state, error, curve = "failed", "diverged: the loss is not finite", curve[:2]
    elif luck < 0.12:
        state, curve = "pruned", curve[:2]
    elif luck < 0.2:
        state, curve = "infeasible", ()
    if state != "complete":
        del scores["accuracy"]
    seconds = {"count": rng.uniform(0.1, 0.2), "measure": rng.uniform(2, 4), "train": rng.uniform(5, 30)}
    evaluation = Evaluation(scores, {"infer_throughput": detail}, curve, seconds, error)
    return Trial(number, state, arch, dict(params), 0, evaluation, ENVIRONMENT)


def beyond_plotly(path: Path) -> int:
    """Bytes that the page takes compressed, without plotly.js."""
    own = path.read_text(encoding="utf-8").replace(get_plotlyjs().replace("</script", r"<\/script"), "")
    return len(gzip.compress(own.encode(), 9))


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def first_paint(driver: Any, path: Path) -> dict[str, float]:
    """Seconds from opening the page to its first words, and to the front being drawn."""
    driver.get("about:blank")
    driver.get(path.as_uri())
    script = """
      const front = performance.getEntriesByName("painted pareto")[0];
      const words = performance.getEntriesByName("first-contentful-paint")[0];
      return front && words ? {front: front.startTime / 1e3, words: words.startTime / 1e3} : null;"""
    while (found := driver.execute_script(script)) is None:
        time.sleep(0.05)
    return dict(found)


def selection(driver: Any, what: str) -> float:
    """Seconds from a selection to the next frame, with all visible views marked."""
    script = """
      const done = arguments[1], rows = [...document.querySelectorAll("#trials tbody tr")];
      const start = performance.now();
      window.archsearch.select(arguments[0]);
      requestAnimationFrame(() => setTimeout(() => done((performance.now() - start) / 1e3)));"""
    wanted = {"20 trials": list(range(0, 2000, 100)), "half of them": "half", "none": []}[what]
    return float(driver.execute_async_script(script, wanted))


if __name__ == "__main__":
    main()
