import dataclasses
from pathlib import Path

import optuna
import pytest
import tiny
import torch
from PIL import Image

from archsearch.data import load
from archsearch.errors import DataError, OptionError, StorageError
from archsearch.handover import (
    ConfirmListener,
    ConfirmSpec,
    confirm,
    confirmation_of,
    load_weights,
    weights_of,
)
from archsearch.handover.halving import close_rivals
from archsearch.recipes import ProxyRecipe
from archsearch.search import run as search
from archsearch.search.spec import Engine, StudySpec
from archsearch.search.storage.opening import open_storage

#: Of a folder of 72 images to train on, 8 to validate and 40 to test.
PROXY = dataclasses.replace(tiny.PROXY, img_size=16, train_samples=64, val_samples=0, batch_size=16)
LONGER = dataclasses.replace(PROXY, epochs=2)


class Heard(ConfirmListener):
    """Remembers what it is told; raises KeyboardInterrupt after so many trainings."""

    def __init__(self, most=None):
        self.notes, self.trainings, self.most = [], [], most

    def note(self, text):
        self.notes.append(text)

    def trained(self, candidate, seed, evaluation):
        self.trainings.append((candidate.name, seed, evaluation.scores.get("accuracy"), evaluation.error))
        if len(self.trainings) == self.most:
            raise KeyboardInterrupt


def images(root: Path, seed: int) -> Path:
    """Draw a folder of two classes, one a little darker than the other."""
    generator = torch.Generator().manual_seed(seed)
    for split, count in (("train", 40), ("test", 20)):
        for name, darkest in (("a", 0), ("b", 40)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(darkest, 256, (16, 16, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(root / split / name / f"{number}.png")
    return root


def study(folder, **changes):
    (folder / "small.yaml").write_text(tiny.SPACE)
    fields = {"objectives": "accuracy,macs", "n_trials": 4, "proxy": PROXY, "study_name": "s", "seed": 7}
    fields |= {"dataset": "folder", "data_root": images(folder / "images", 0)}
    spec = StudySpec(str(folder / "small.yaml"), storage=str(folder / "a.db"), engine=Engine(workers=0))
    return search(dataclasses.replace(spec, **(fields | changes)))


def spec(folder, **changes):
    plain = ConfirmSpec("s", str(folder / "a.db"), controls=1, seeds=2, proxy=LONGER, workers=0)
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A finished study, to be copied; it has trials that are not on the front."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        study(folder)
    return folder


@pytest.fixture
def folder(stored, tmp_path):
    (tmp_path / "a.db").write_bytes((stored / "a.db").read_bytes())
    return tmp_path


def test_the_front_is_confirmed_and_its_weights_give_the_recorded_accuracy(folder, stored, capsys):
    heard = Heard()
    found = confirm(spec(folder), heard)
    roles = [one.role for one in found.candidates]
    assert roles.count("control") == 1
    assert sum(one.baseline for one in found.candidates) == 1
    assert {(name, seed) for name, seed, _, _ in heard.trainings} == {
        (one.name, seed) for one in found.candidates for seed in (1007, 1008)
    }
    assert found == confirmation_of("s", str(folder / "a.db"))
    assert capsys.readouterr() == ("", "")

    member = found.members[0]
    weights = load_weights(weights_of("s", member.candidate.number, str(folder / "a.db")))
    facts, data = weights.facts, load("folder", stored / "images", 16)
    assert weights.arch == LONGER.shrink(member.candidate.arch, 2)
    assert facts["target"] == member.candidate.arch.to_dict()
    assert (facts["study"], facts["trial"], facts["classes"]) == ("s", member.candidate.number, list(data.classes))
    assert facts["accuracy"] == member.trained.accuracies[facts["seed"]]
    assert facts["seed"] == max(member.trained.validation, key=member.trained.validation.get)
    mean, std = (torch.tensor(facts[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        named = weights.build()((data.test.images / 255 - mean) / std).argmax(1)
    assert (named == data.test.labels).float().mean().item() == pytest.approx(facts["accuracy"], abs=0.03)


def test_an_interrupted_confirmation_goes_on_to_the_same_result(folder, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    (whole / "a.db").write_bytes((folder / "a.db").read_bytes())
    at_once = confirm(spec(whole, seeds=4))
    with pytest.raises(KeyboardInterrupt):
        confirm(spec(folder, seeds=4), Heard(most=3))
    assert sum(len(one.accuracies) for one in confirmation_of("s", str(folder / "a.db")).trained.values()) == 3
    heard, idle = Heard(), Heard()
    resumed = confirm(spec(folder, seeds=4), heard)
    accuracies = [{name: one.accuracies for name, one in found.trained.items()} for found in (at_once, resumed)]
    assert accuracies[0] == accuracies[1]
    assert "3 trainings are known" in heard.notes
    again = confirm(spec(folder, seeds=4), idle)
    assert (again.trained, again.members) == (resumed.trained, resumed.members)
    assert idle.trainings == []


def test_a_confirmation_of_many_seeds_gives_them_to_few(folder):
    found = confirm(spec(folder, seeds=4, controls=3))
    counts = [len(one.accuracies) for one in found.trained.values()]
    assert min(counts) == 2
    assert sum(counts) < 4 * len(counts)
    third = {name for name, one in found.trained.items() if 1009 in one.accuracies}
    assert third == set(close_rivals(found.up_to([1007, 1008]), [one.name for one in found.candidates]))
    fourth = {name for name, one in found.trained.items() if 1010 in one.accuracies}
    assert fourth == set(close_rivals(found.up_to([1007, 1008, 1009]), third))


def test_the_files_of_one_confirmation_do_not_pass_for_those_of_another(folder):
    first = confirm(spec(folder, controls=0, weights=folder / "w"))
    other = dataclasses.replace(LONGER, lr=1e-3)
    second = confirm(spec(folder, controls=0, weights=folder / "w", proxy=other, study_name="t"))
    number = first.members[0].candidate.number
    path = weights_of("s", number, str(folder / "a.db"))
    facts = load_weights(path).facts
    assert facts["accuracy"] == second.trained[f"trial {number}"].accuracies[facts["seed"]]
    confirm(spec(folder, controls=0, weights=folder / "w"))  # writes its own again
    with pytest.raises(StorageError, match="holds other weights than those of trial"):
        weights_of("s", number, str(folder / "a.db"))


def test_a_trial_of_an_earlier_confirmation_has_its_weights(folder):
    first = confirm(spec(folder, controls=1))
    control = next(one for one in first.candidates if one.role == "control")
    confirm(spec(folder, top=1, controls=0, study_name="t"))
    assert confirmation_of("s", str(folder / "a.db")).name == "t"
    assert confirmation_of("s", str(folder / "a.db"), "s-confirm").trained == first.trained
    assert load_weights(weights_of("s", control.number, str(folder / "a.db"))).facts["trial"] == control.number


def test_weights_elsewhere_or_removed_are_written_again_without_training(folder):
    first = confirm(spec(folder))
    heard = Heard()
    moved = confirm(spec(folder, weights=folder / "elsewhere"), heard)
    assert {name: one.accuracies for name, one in moved.trained.items()} == {
        name: one.accuracies for name, one in first.trained.items()
    }
    path = weights_of("s", moved.candidates[0].number, str(folder / "a.db"))
    assert path.parent == folder / "elsewhere"
    assert len(heard.trainings) == 2 * len(first.candidates)
    path.unlink()
    with pytest.raises(StorageError, match="are no longer at"):
        weights_of("s", moved.candidates[0].number, str(folder / "a.db"))
    again = Heard()
    confirm(spec(folder, weights=folder / "elsewhere"), again)
    assert len(again.trainings) == 1
    assert path.is_file()


def test_a_candidate_that_fails_is_recorded_and_the_others_go_on(folder):
    diverging = dataclasses.replace(LONGER, lr=1e9, epochs=3)
    found, heard = confirm(spec(folder, proxy=diverging)), Heard()
    errors = [error for one in found.trained.values() for error in one.errors.values()]
    assert errors
    assert all(error.startswith("diverged") for error in errors)
    assert confirm(spec(folder, proxy=diverging), heard).trained == found.trained
    assert heard.trainings == []


def test_what_cannot_be_confirmed_is_told(folder):
    confirm(spec(folder, controls=0))
    with pytest.raises(OptionError, match=r"is a confirmation.*name its study, 's'"):
        confirm(spec(folder, study="s-confirm"))
    with pytest.raises(StorageError, match="unknown study 'x'"):
        confirm(spec(folder, study="x"))
    with pytest.raises(StorageError, match=r"another proxy.epochs \(2, not 3\)"):
        confirm(spec(folder, proxy_changes={"epochs": 3}))
    with pytest.raises(StorageError, match="is no confirmation of 's'; choose another --study-name"):
        confirm(spec(folder, study_name="s"))
    with pytest.raises(StorageError, match="unknown study 'x'"):
        weights_of("x", 0, str(folder / "a.db"))
    with pytest.raises(StorageError, match=r"trial 99 of study 's' has no weights: `confirm s` trains"):
        weights_of("s", 99, str(folder / "a.db"))
    with pytest.raises(OptionError, match="is a confirmation"):
        weights_of("s-confirm", 0, str(folder / "a.db"))
    with pytest.raises(OptionError, match="top is 0"):
        spec(folder, top=0)


def test_a_study_without_accuracy_or_trials_is_refused(tmp_path):
    study(tmp_path, objectives="macs", n_trials=2)
    with pytest.raises(OptionError, match="has no accuracy to confirm: its objectives are macs"):
        confirm(spec(tmp_path))
    with pytest.raises(StorageError, match="trains nothing, so that no trial of it has weights"):
        weights_of("s", 0, str(tmp_path / "a.db"))
    optuna.create_study(storage=open_storage(str(tmp_path / "a.db"), create=False), study_name="other")
    with pytest.raises(StorageError, match="was not made by archsearch"):
        confirm(spec(tmp_path, study="other"))


def test_other_images_than_those_of_the_search_are_refused(folder, stored):
    other = images(folder / "other", 1)
    with pytest.raises(DataError, match=r"are not those of study 's'; name their folder by --data-root"):
        confirm(spec(folder, data_root=other))
    record = optuna.load_study(storage=open_storage(str(folder / "a.db"), create=False), study_name="s")
    assert record.user_attrs["data_root"] == str(stored / "images")
    record.set_user_attr("data_root", None)  # as in studies of earlier versions
    with pytest.raises(OptionError, match="does not say where its images are; add --data-root"):
        confirm(spec(folder))
    assert confirm(spec(folder, controls=0, data_root=stored / "images")).images == 40


def test_the_default_recipe_is_longer_and_trains_the_same_networks(folder):
    from archsearch.handover.confirm_resolve import longer, resolve

    plan = resolve(spec(folder, proxy=None))
    assert plan.proxy == longer(PROXY, 72)
    assert (plan.proxy.epochs, plan.proxy.train_samples, plan.proxy.crop_padding) == (7, 72, 2)
    for one in plan.candidates:
        assert plan.proxy.shrink(one.arch, 10) == PROXY.shrink(one.arch, 10)
    whole = longer(ProxyRecipe(train_samples=0, crop_padding=2), 50_000)
    assert (whole.epochs, whole.train_samples, whole.crop_padding) == (6, 0, 2)
