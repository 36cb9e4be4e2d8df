import dataclasses
import itertools
from pathlib import Path

import pytest
import tiny
import torch
from newer import add_parameter, newer

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer, declare
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.data.images import ImageData, Split
from archsearch.errors import DivergedError
from archsearch.evaluate.pipeline import Task, evaluate
from archsearch.nn import build
from archsearch.objectives import parse_objectives
from archsearch.recipes import ProxyRecipe
from archsearch.search.recipe_choice import EARLIER_PROXIES
from archsearch.train import Training
from archsearch.train.cache import Trainings
from archsearch.utils.disk_cache import digest

PROXY = dataclasses.replace(tiny.PROXY, epochs=3)
ARCH = PROXY.shrink(network("inceptionnext_atto"), 8)
FACTS = {"device_name": "here", "torch": "2", "threads": 2}


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), PROXY)


@pytest.fixture
def known(tmp_path):
    return Trainings(tmp_path / "trainings", FACTS, save_every_s=0)


def training(data):
    torch.manual_seed(0)
    return Training(build(ARCH), data, PROXY, 0)


def numbers(epochs):
    return [(e.epoch, e.train_loss, e.accuracy) for e in epochs]


def test_nothing_is_trained_twice(data, known, monkeypatch):
    task = Task(parse_objectives("accuracy"), PROXY, data, torch.device("cpu"), trainings=known)
    first = evaluate(network("inceptionnext_atto"), task, 0)
    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", lambda *a: pytest.fail("trained again"))
    heard = []

    def listen(event):
        heard.append(event.known.curve)
        return True

    again = evaluate(network("inceptionnext_atto"), task, 0, listen)
    assert again.curve == first.curve == heard[-1]
    assert [len(curve) for curve in heard] == list(range(1, len(first.curve) + 1))
    assert again.scores == first.scores


def test_what_the_numbers_depend_on_is_part_of_the_key(data, known):
    plain = known.key(ARCH, PROXY, data, 0)
    assert known.key(ARCH, dataclasses.replace(PROXY, width=0.9), data, 0) == plain  # the proxy network says it
    others = [
        known.key(ARCH.replace(act="relu"), PROXY, data, 0),
        known.key(ARCH, dataclasses.replace(PROXY, lr=1e-3), data, 0),
        known.key(ARCH, dataclasses.replace(PROXY, mixup=0.1), data, 0),
        known.key(ARCH, PROXY, dataclasses.replace(data, fingerprint="other"), 0),
        known.key(ARCH, PROXY, dataclasses.replace(data, train=data.train.take(torch.arange(9))), 0),
        known.key(ARCH, PROXY, data, 1),
        *(Trainings(known.store.folder, FACTS | {fact: "other"}).key(ARCH, PROXY, data, 0) for fact in FACTS),
    ]
    assert len({known.store.path(key) for key in (plain, *others)}) == 1 + len(others)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_long_training_goes_on_where_it_was_stopped(data, known, monkeypatch, stop):
    key = known.key(ARCH, PROXY, data, 0)
    expected = numbers(training(data))
    assert numbers(itertools.islice(known.epochs(key, lambda: training(data)), stop)) == expected[:stop]
    real, passes = Training._pass, []
    monkeypatch.setattr(Training, "_pass", lambda self, epoch: passes.append(epoch) or real(self, epoch))
    assert numbers(known.epochs(key, lambda: training(data))) == expected
    assert passes == list(range(stop + 1, 4))
    assert known.curve(key) is not None
    assert not list(known.store.folder.glob("*.pt"))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def of_another_make(path):
    """All is there but the optimizer's state: found out after the weights have been loaded."""
    saved = torch.load(path, weights_only=True)
    saved["state"]["optimizer"] = {"state": {}, "param_groups": []}
    torch.save(saved, path)


@pytest.mark.parametrize(
    "damage", [cut_short, of_another_make, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"junk")]
)
def test_a_damaged_state_begins_anew(data, known, damage):
    key = known.key(ARCH, PROXY, data, 0)
    expected = numbers(training(data))
    list(itertools.islice(known.epochs(key, lambda: training(data)), 2))
    (saved,) = known.store.folder.glob("*.pt")
    damage(saved)
    assert numbers(known.epochs(key, lambda: training(data))) == expected


def test_a_damaged_curve_is_trained_again(data, known):
    key = known.key(ARCH, PROXY, data, 0)
    for text in ("", "[", '[{"epoch": 1}]', '{"a": 1}', "3"):
        known.store.folder.mkdir(exist_ok=True)
        known.store.path(key).write_text(text)
        assert known.curve(key) is None


def test_where_nothing_can_be_written_it_trains_all_the_same(data, tmp_path):
    (tmp_path / "file").touch()
    known = Trainings(tmp_path / "file" / "trainings", FACTS, save_every_s=0)
    assert len(list(known.epochs(known.key(ARCH, PROXY, data, 0), lambda: training(data)))) == 3


def test_a_diverged_training_leaves_no_state(data, known):
    key = known.key(ARCH, PROXY, data, 0)

    class Doomed(Training):
        def _check(self, train_loss, epoch):
            super()._check(float("nan") if epoch == 2 else train_loss, epoch)

    with pytest.raises(DivergedError):
        list(known.epochs(key, lambda: Doomed(build(ARCH), data, PROXY, 0)))
    assert not list(known.store.folder.glob("*"))


def test_training_again_replaces_what_was_known(data, known):
    key = known.key(ARCH, PROXY, data, 0)
    known.store.put(key, [{"epoch": 3, "train_loss": 9.0, "accuracy": 0.0, "seconds": 0.0}])
    again = Trainings(known.store.folder, FACTS, reuse=False)
    assert again.curve(key) is None
    trained = numbers(again.epochs(key, lambda: training(data)))
    assert numbers(known.curve(key)) == trained


def test_a_disk_that_is_full_costs_no_training(data, known, monkeypatch):
    def full(*args):
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0")

    monkeypatch.setattr("archsearch.train.cache.torch.save", full)
    key = known.key(ARCH, PROXY, data, 0)
    assert len(list(known.epochs(key, lambda: training(data)))) == 3


def test_another_number_of_threads_is_no_reason_to_train_again(data, tmp_path):
    """Studies train with all threads, the workers of an ablation with one."""
    from archsearch.train.cache import THREADS

    alone = Trainings(tmp_path / "t", FACTS | {"threads": 1})
    key = alone.key(ARCH, PROXY, data, 0)
    curve = tuple(alone.epochs(key, lambda: training(data)))
    for threads in THREADS:
        other = Trainings(tmp_path / "t", FACTS | {"threads": threads})
        assert other.curve(other.key(ARCH, PROXY, data, 0)) == curve
    strange = Trainings(tmp_path / "t", FACTS | {"torch": "3"})
    assert strange.curve(strange.key(ARCH, PROXY, data, 0)) is None


#: Digests of the keys of version 0.1.0: a training that was kept then is found now.
PINNED = {
    "smoke": "2c2caa1bdf53fd8e06e51956",
    "cpu": "645a1e0e661e1b510f05bf74",
    "cpu_long": "85eae0b6852b9d2d14a1c4ca",
    "gpu_fast": "5ab1bc219b62698ff105dc35",
    "paper": "71d91695174b3166255c4f97",
    "identity": "36c3dab40ac2ff2131de05da",
    "pooling": "859668a110a321acb2ec3066",
    "depthwise": "a9f3d02cc640794eb9bde219",
    "inception": "73a3bff7736445499856457d",
    "partial_depthwise": "7e6bf6a0e722126778f73540",
    "attention": "b3295e27ae39c01cd8c5a357",
    "large_band": "d9aad5bb17b7535e99717d88",
    "mixed_depthwise": "5ee8023eb42ac5e72d10a6b3",
}
PINNED_FACTS = {"device_name": "d", "torch": "2", "threads": 2, "proxy_autocast": "off"}


def pinned_key(name, change=lambda record: record):
    """The key of a training by a named recipe, or of a network of one mixer; ``change`` is applied to its records."""
    blank = [Split(torch.zeros((1, 3, 32, 32), dtype=torch.uint8), torch.zeros(n)) for n in (64, 32, 0)]
    data = ImageData("drawn", *blank, tuple("abcdefghij"), True, "f")
    arch, proxy = network("inceptionnext_tiny"), EARLIER_PROXIES.get(name, EARLIER_PROXIES["cpu"])
    seed = int(name not in EARLIER_PROXIES)
    if seed:
        arch = arch.replace(mixers=(Mixer.of(name),) * 4)
    return Trainings(Path(), PINNED_FACTS).key(change(proxy.shrink(arch, 10)), change(proxy), data, seed)


@pytest.mark.parametrize("name", PINNED)
def test_trainings_of_the_first_release_are_found(name):
    assert digest(pinned_key(name)) == PINNED[name]


@pytest.mark.parametrize("name", PINNED)
def test_a_new_field_that_changes_nothing_changes_no_key(name, monkeypatch):
    for mixer in MIXER_TYPES:
        add_parameter(monkeypatch, mixer)
    assert digest(pinned_key(name, newer)) == PINNED[name]


def test_a_new_field_that_changes_something_changes_the_key(monkeypatch):
    def clipped(record):
        return newer(record, grad_clip=1.0) if isinstance(record, ProxyRecipe) else record

    def unbiased(record):
        return newer(record, head_bias=False) if isinstance(record, Arch) else record

    def grouped(record):
        return record.replace(mixers=(Mixer.of("inception", groups=2),) * 4) if isinstance(record, Arch) else record

    add_parameter(monkeypatch, "inception")
    assert {digest(pinned_key("inception", change)) for change in (clipped, unbiased, grouped)}.isdisjoint(
        {PINNED["inception"]}
    )


def test_all_parameters_of_a_users_mixer_are_in_the_key():
    declare("mine", {"size": 3}, "hash of its source")
    mixer = Mixer.of("mine")
    assert mixer.key_fields() == mixer.to_dict() == {"token_mixer": "mine", "size": 3}
