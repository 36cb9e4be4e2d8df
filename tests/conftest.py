"""Fixtures that all tests share, and the order and groups in which they run."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import isolation  # before torch, whose threads read the environment when they are loaded
import pytest
import tiny
import torch
from hypothesis import settings

from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.nn.mixers import MIXERS, SOURCES

#: Fixtures that start a server once for all tests, which therefore run in one worker of pytest-xdist.
SERVERS = {"_cluster": "ray", "postgres": "postgresql", "chromium": "chromium"}

#: Change the process that loads them, which pytest would do again while it looks for examples in docstrings.
collect_ignore = ["benchmark/capturing.py", "isolation.py"]

# A busy machine makes no example wrong.
settings.register_profile("archsearch", deadline=None)
settings.load_profile("archsearch")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as own:  # a test's own ``monkeypatch.undo()`` leaves this one
        own.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _forget_own_mixers():
    """Remove mixers that a user's file declared during a test."""
    tables = (MIXER_TYPES, MIXERS, SOURCES)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def three_gpus(monkeypatch):
    """Three GPUs in name only, the last of another model; nothing can run on them."""
    names = ("first model", "first model", "another model")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[getattr(device, "index", device)])
    memory = SimpleNamespace(total_memory=10 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)


@pytest.fixture
def small_space(tmp_path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(tiny.SPACE)
    return path


@pytest.fixture
def wide_space(tmp_path) -> Path:
    path = tmp_path / "wide.yaml"
    path.write_text(tiny.WIDE_SPACE)
    return path


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Skip tests whose machine is missing; group those that share a fixture; begin with the slow ones."""
    no_gpu = pytest.mark.skip(reason="no CUDA device here")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    no_browser = pytest.mark.skip(reason="Chromium or chromedriver is not installed here")
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if "browser" in item.keywords and not (chromium and shutil.which("chromedriver")):
            item.add_marker(no_browser)
        if isolation.WORKER and (group := group_of(item)):
            item.add_marker(pytest.mark.xdist_group(group))
    if isolation.WORKER:
        items.sort(key=lambda item: "slow" not in item.keywords)


def pytest_configure():
    """Leave one core to the other worker: training in this process takes one thread."""
    if isolation.WORKER:
        import archsearch.train.cache  # noqa: F401 - it looks up how many threads a process has that sets none

        torch.set_num_threads(1)


def group_of(item) -> str | None:
    """Name of the group of tests that have to run in one worker: those of a server, or of a module's own fixture."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None or "serial" in item.keywords:
        return None
    names = {name for name in SERVERS if name in info.name2fixturedefs}
    if "ray" in item.keywords:
        names.add("_cluster")
    if "database" in info.name2fixturedefs and "postgresql" in item.callspec.params.values():
        names.add("postgres")
    if names:
        return SERVERS[sorted(names)[0]]
    scopes = {definitions[-1].scope for definitions in info.name2fixturedefs.values()}
    return item.nodeid.partition("::")[0] if "module" in scopes else None
