"""What all tests share: a small space, and a cache folder of their own."""

import shutil
from pathlib import Path

import pytest
import tiny
import torch

from archsearch.arch import mixer
from archsearch.nn.mixers import MIXERS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _forget_own_mixers():
    """What a file of mixers declares lasts as long as its process; here, as long as a test."""
    tables = (mixer.MIXER_PARAMS, mixer._SOURCES, MIXERS)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def small_space(tmp_path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(tiny.SPACE)
    return path


def pytest_collection_modifyitems(config, items):
    """Tests whose machine is missing say so instead of passing."""
    no_gpu = pytest.mark.skip(reason="no CUDA device here")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    no_browser = pytest.mark.skip(reason="Chromium or chromedriver is not installed here")
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if "browser" in item.keywords and not (chromium and shutil.which("chromedriver")):
            item.add_marker(no_browser)
