"""A plan carried out from Python, with trainings that take a moment."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archsearch import fidelity
from archsearch.errors import DataError, StudyFileError, UserError
from archsearch.fidelity import (
    FidelityReport,
    FidelitySpec,
    Plan,
    PlanStarted,
    Schedule,
    TrainingDone,
    TrainingsStarted,
)
from archsearch.fidelity.execute import machine_of
from archsearch.recipes import ProxyRecipe
from archsearch.space.yaml import load_space

SHORT = ProxyRecipe(width=1 / 4, depth=0.1, epochs=1, train_samples=64, val_samples=64, batch_size=32)
HERE = FidelitySpec(device="cpu", workers=0)


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
    assert set(frame["axis.token_mixer"]) <= {"inception", "depthwise", "identity"}

    assert events[:2] == [PlanStarted(plan), TrainingsStarted(12)]
    done = [event for event in events if isinstance(event, TrainingDone)]
    assert len(done) == 12
    assert sum(event.work for event in done) == pytest.approx(1)
    assert pd.DataFrame([event.record for event in sorted(done, key=lambda event: event.place)]).equals(frame)

    report = FidelityReport.of(frame)
    assert report.archs == 6
    assert report.lines[0].name == "short"

    again = fidelity.run(plan, HERE)
    assert again.equals(frame)  # seconds too: the disk cache holds every training


def test_what_cannot_be_carried_out_is_refused(plan):
    with pytest.raises(UserError, match="'reference' asks for 9999 images, and drawn has 4096"):
        fidelity.run(dataclasses.replace(plan, reference=longer(plan, train_samples=9999)), HERE)
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
