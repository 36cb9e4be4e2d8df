"""A plan carried out from Python, with trainings that take a moment."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from archsearch import fidelity
from archsearch.data import load
from archsearch.data.folder import cache_folder
from archsearch.errors import DataError, OptionError, StudyFileError, UserError
from archsearch.evaluate.machine import Source
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.fidelity import (
    FidelityReport,
    FidelitySpec,
    Plan,
    PlanStarted,
    Schedule,
    TrainingDone,
    TrainingsStarted,
)
from archsearch.fidelity.execute import check_samples, machine_of
from archsearch.nn.device import device_name
from archsearch.recipes import TRAINER, ProxyRecipe
from archsearch.space.yaml import load_space
from archsearch.utils.key_fields import key_fields

SHORT = ProxyRecipe(width=1 / 4, depth=0.1, epochs=1, train_samples=64, val_samples=64, batch_size=32)
HERE = FidelitySpec(device="cpu", workers=0)
TIMED = ["threads", "workers", "date"]


@pytest.fixture
def plan(small_space):
    long = dataclasses.replace(SHORT, train_samples=128)
    return Plan(
        name="mine",
        title="Short against long",
        space=load_space(str(small_space), small_space.parent),
        archs=6,
        schedules=(Schedule("short", SHORT, seeds=1),),
        reference=Schedule("reference", long, seeds=1),
    )


def test_a_plan_becomes_records_and_a_report(plan):
    events = []
    frame = fidelity.run(plan, HERE, events.append)
    assert list(frame["schedule"]) == ["short"] * 6 + ["reference"] * 6
    assert list(frame["network"][:6]) == list(frame["network"][6:])
    assert list(frame["macs"][:6]) == sorted(frame["macs"][:6])
    assert frame["accuracy"].between(0, 1).all()
    assert (frame["synflow"] > 0).all()
    losses = frame["losses"].str.split(expand=True).astype(float)
    assert losses.shape == (12, 1)  # of one epoch
    assert losses[0].between(0.5, 5).all()
    held_out = frame["val_losses"].str.split(expand=True).astype(float)
    assert held_out.shape == (12, 1)
    assert held_out[0].between(0.5, 5).all()
    assert set(frame["axis.token_mixer"]) <= {"inception", "depthwise", "identity"}

    assert (events[0].plan, events[1]) == (plan, TrainingsStarted(12))
    assert isinstance(events[0], PlanStarted)
    done = [event for event in events if isinstance(event, TrainingDone)]
    assert len(done) == 12
    assert sum(event.work for event in done) == pytest.approx(1)
    assert pd.DataFrame([event.record for event in sorted(done, key=lambda event: event.place)]).equals(frame)

    report = FidelityReport.of(frame)
    assert report.archs == 6
    assert report.lines[0].name == "short"

    again = fidelity.run(plan, HERE)  # seconds too: the disk cache holds every training
    assert again.drop(columns=TIMED).equals(frame.drop(columns=TIMED))
    assert again[TIMED].isna().all(axis=None), "how those seconds were taken is not in the cache"


def test_records_say_how_they_were_made_and_the_reference_has_seeds_and_images_of_its_own(plan):
    frame = fidelity.run(plan, HERE)
    assert json.loads(frame["recipe"][0]) == {"trainer": TRAINER, **key_fields(SHORT)}
    assert frame["recipe"].nunique() == 2
    assert (frame["space"][0], frame["data"][0], frame["workers"][0]) == ("small", "drawn", 1)
    assert frame["fingerprint"][0] == load("drawn", None, 32).fingerprint
    assert frame["device"][0] == device_name(torch.device("cpu"))
    own, truth = (frame[frame["schedule"] == name] for name in ("short", "reference"))
    assert (set(own["seed"]), set(truth["seed"])) == ({0}, {1000})
    assert (set(own["judged"]), set(truth["judged"])) == ({"val"}, {"test"})
    drawn = load("drawn", None, 32)
    assert (set(own["images"]), set(truth["images"])) == ({64}, {len(drawn.test)})
    report = FidelityReport.of(frame)
    assert report.truth == f"{len(drawn.test)} test images"
    assert report.disjoint
    assert list(cache_folder().glob("trainings/*.json"))
    assert not list(cache_folder().glob("trainings/*.weights.pt")), "nobody asked for weights"


def test_a_truth_on_test_images_is_what_its_weights_score_there(plan):
    job = TrainJob(plan.space.baseline, plan.reference.proxy, 1000, tested=True)
    ((_, kept),) = train_all([job], Source("drawn", None), machine_of(HERE))
    frame = fidelity.run(plan, HERE).set_index(["schedule", "network"])
    assert frame.loc[("reference", plan.space.baseline.key), "accuracy"] == kept.scores["accuracy"]
    assert Path(kept.details["accuracy"]["weights"]).is_file(), "somebody had asked for these"


def test_one_schedule_of_a_plan_has_the_same_architectures(plan):
    wide = dataclasses.replace(SHORT, width=3 / 8)
    both = dataclasses.replace(plan, schedules=(*plan.schedules, Schedule("wide", wide, 2)))
    alone = fidelity.run(both, dataclasses.replace(HERE, only=("wide",)))
    assert set(alone["schedule"]) == {"wide", "reference"}
    whole = fidelity.run(both, HERE)
    assert set(whole["schedule"]) == {"short", "wide", "reference"}
    same = alone.drop(columns=TIMED).reset_index(drop=True)
    there = whole[whole["schedule"] != "short"].drop(columns=TIMED).reset_index(drop=True)
    pd.testing.assert_frame_equal(same, there)
    with pytest.raises(OptionError, match="unknown schedule 'wied': did you mean 'wide'"):
        fidelity.run(both, dataclasses.replace(HERE, only=("wied",)))


def test_what_cannot_be_carried_out_is_refused(plan):
    with pytest.raises(UserError, match="'reference' asks for 9999 images, and drawn has 4096"):
        fidelity.run(dataclasses.replace(plan, reference=longer(plan, train_samples=9999)), HERE)
    check_samples(dataclasses.replace(plan, reference=longer(plan, val_samples=9999)), load("drawn", None, 32))
    with pytest.raises(StudyFileError, match="plan mine, 'reference': space small: the proxy of"):
        fidelity.run(dataclasses.replace(plan, reference=longer(plan, width=1 / 64, width_step=1)), HERE)
    with pytest.raises(UserError, match="space small has 10 architectures with distinct proxy networks"):
        fidelity.run(dataclasses.replace(plan, archs=50), HERE)
    with pytest.raises(UserError, match="no device 'cuda:9' here"):
        fidelity.run(plan, FidelitySpec(device="cuda:9"))
    with pytest.raises(DataError, match="unknown dataset 'mnist'"):
        FidelitySpec(dataset="mnist")
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        fidelity.rum  # noqa: B018


def test_schedules_of_all_images_know_how_many_these_are(plan, tmp_path):
    fill(tmp_path / "images")
    every = dataclasses.replace(SHORT, train_samples=0, val_samples=0)
    twice = dataclasses.replace(every, epochs=2)
    part = dataclasses.replace(every, train_samples=8, val_samples=8)
    schedules = tuple(Schedule(name, proxy, 1) for name, proxy in (("part", part), ("every", every)))
    plan = dataclasses.replace(plan, schedules=schedules, reference=Schedule("reference", twice, 1))
    events = []
    where = dataclasses.replace(HERE, dataset="folder", data_root=tmp_path / "images")
    assert fidelity.run(plan, where, events.append)["error"].isna().all()
    work = [event.work for event in events if isinstance(event, TrainingDone)]
    assert sum(work) == pytest.approx(1)
    part_s, every_s, twice_s = (work[i] * 6 for i in (0, 6, 12))
    assert twice_s == pytest.approx(2 * every_s)
    assert every_s / part_s == pytest.approx((40 + 16 / 3) / (8 + 8 / 3))


def fill(root):
    """Write 40 training images and 16 for validation, of two classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 8), ("test", 1)):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def test_all_gpus_of_a_model_train(three_gpus):
    machine = machine_of(FidelitySpec())
    assert (machine.devices, machine.workers, machine.threads) == (("cuda:0", "cuda:1"), 4, 1), "two fit a GPU"
    assert machine_of(FidelitySpec(device="cuda:2")).devices == ("cuda:2",)
    assert machine_of(FidelitySpec(workers=3)).workers == 3
    assert machine_of(HERE).workers == 0


def longer(plan, **changes):
    return dataclasses.replace(plan.reference, proxy=dataclasses.replace(plan.reference.proxy, **changes))


def test_the_package_loads_nothing_that_it_does_not_need():
    code = "import archsearch.fidelity, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "yaml", "archsearch.recipes"} & set(json.loads(done.stdout))
