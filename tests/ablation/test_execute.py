import dataclasses
import json

import pytest
import tiny

from archsearch.ablation import AblationListener, AblationSpec, run
from archsearch.ablation.record import outcome_of
from archsearch.ablation.resolve import resolve
from archsearch.ablation.stages import machine_of
from archsearch.ablation.yaml import load_study
from archsearch.arch import Mixer
from archsearch.errors import OptionError, StudyFileError
from archsearch.recipes import PROXIES
from archsearch.search.definition import load
from archsearch.search.storage.opening import open_storage
from archsearch.utils.package_data import shipped

STUDY = """\
title: Does the norm matter?
baseline: base.json
factors:
  norm: [layer]
"""
QUICK = {"proxy": "smoke", "proxy_changes": {"train_samples": 64, "val_samples": 128, "depth": 1}, "workers": 1}


class Heard(AblationListener):
    """Remembers what it is told."""

    def __init__(self):
        self.notes, self.trainings, self.record = [], [], None

    def note(self, text):
        self.notes.append(text)

    def trained(self, variant, seed, evaluation):
        self.trainings.append((variant.name, seed, evaluation.scores["accuracy"]))

    def interrupted(self, record):
        self.record = record


@pytest.fixture
def study(tmp_path):
    (tmp_path / "base.json").write_text(json.dumps(tiny.SMALL.replace(norm="batch", img_size=64).to_dict()))
    (tmp_path / "norms.yaml").write_text(STUDY)
    return tmp_path / "norms.yaml"


@pytest.mark.slow
def test_a_spec_runs_interrupted_it_goes_on_and_nothing_is_printed(capsys, study, tmp_path):
    spec = AblationSpec(str(study), seeds=(0, 1), speed=False, storage=str(tmp_path / "a.db"), **QUICK)

    class Impatient(Heard):
        def trained(self, variant, seed, evaluation):
            super().trained(variant, seed, evaluation)
            raise KeyboardInterrupt

    impatient, patient, idle = Impatient(), Heard(), Heard()
    with pytest.raises(KeyboardInterrupt):
        run(spec, impatient)
    assert [r.accuracies for r in impatient.record.outcome.results] == [{0: impatient.trainings[0][2]}, {}]

    record = run(spec, patient)
    assert (record.study_name, record.storage) == ("ablate-norms-drawn", str(tmp_path / "a.db"))
    assert [result.name for result in record.outcome.results] == ["base.json", "norm layer"]
    trained = {(name, seed): accuracy for name, seed, accuracy in impatient.trainings + patient.trainings}
    assert {(r.name, s): a for r in record.outcome.results for s, a in r.accuracies.items()} == trained
    assert len(trained) == 4
    assert "1 trainings are known" in patient.notes
    stored = load(record.study_name, open_storage(spec.storage, create=False))
    assert outcome_of(stored) == record.stored == record.outcome

    assert run(resolve(spec), idle).outcome.results == record.outcome.results
    assert idle.trainings == []
    assert capsys.readouterr() == ("", "")


def test_before_it_trains_it_says_what_the_maps_are_too_small_for(tmp_path):
    base = tiny.SMALL.replace(mixers=(Mixer.of("inception", branch_ratio=0.25),) * 4, img_size=224)
    (tmp_path / "base.json").write_text(json.dumps(base.to_dict()))
    (tmp_path / "bands.yaml").write_text("title: Bands\nbaseline: base.json\nfactors:\n  band_kernel_size: [7]\n")
    quick = {**QUICK, "proxy_changes": {**QUICK["proxy_changes"], "width": 1}}
    storage = str(tmp_path / "a.db")
    spec = AblationSpec(
        str(tmp_path / "bands.yaml"), seeds=(0,), max_trainings=1, speed=False, storage=storage, **quick
    )
    heard = Heard()
    run(spec, heard)
    assert any("too small to judge band_kernel_size" in note for note in heard.notes)


def test_networks_may_be_given_and_a_recipe_as_it_is(study):
    networks = load_study(str(study), shipped("studies"))
    spec = AblationSpec(networks, proxy=PROXIES["cpu"], proxy_changes={"depth": 1}, seeds=(7,), device="cpu")
    resolved = resolve(spec)
    assert resolved.study is networks
    assert (resolved.proxy.batch_size, resolved.proxy.depth) == (PROXIES["cpu"].batch_size, 1)
    assert (resolved.name, resolved.train) == ("ablate-norms-drawn", True)
    with pytest.raises(OptionError, match="another baseline needs the name or the file of a study"):
        resolve(AblationSpec(networks, baseline="convnext_tiny"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "name a STUDY"),
        ({"study": "inceptionnext_table8", "seeds": ()}, "at least one, each once"),
        ({"study": "inceptionnext_table8", "seeds": (1, 1)}, "at least one, each once"),
        ({"study": "inceptionnext_table8", "train": False, "speed": False}, "leave only counting"),
    ],
)
def test_specs_that_say_nothing_cannot_be_made(fields, says):
    with pytest.raises(OptionError, match=says):
        AblationSpec(**fields)


def test_operators_are_no_ablation():
    with pytest.raises(StudyFileError, match="study figure3 counts operators and compares no networks"):
        run(AblationSpec("figure3"))


def test_all_gpus_of_a_model_train(three_gpus):
    spec = AblationSpec("inceptionnext_table8")
    machine = machine_of(spec)
    assert (machine.devices, machine.workers, machine.threads) == (("cuda:0", "cuda:1"), 4, 1), "two fit a GPU"
    assert machine_of(dataclasses.replace(spec, device="cuda:2")).devices == ("cuda:2",)
    assert machine_of(dataclasses.replace(spec, device="cuda", workers=3)).workers == 3
