"""No training twice: finished ones by all that they depend on, and where long ones were stopped."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from archsearch.arch import Arch
from archsearch.arch.mixer import declarations
from archsearch.data.images import ImageData
from archsearch.errors import DivergedError
from archsearch.recipes import TRAINER, ProxyRecipe
from archsearch.train.training import Training
from archsearch.trial import Epoch
from archsearch.utils.disk_cache import DiskCache
from archsearch.utils.key_fields import key_fields

#: What a training's numbers depend on besides network, recipe, data and seed, as ``environment`` has it.
DEVICE_FACTS = ("device_name", "torch", "cuda", "cudnn", "threads", "proxy_autocast")
#: Fields of a recipe that only say what the proxy network looks like, which its architecture says too.
SHAPE = ("width", "width_step", "depth", "stem_patch_size", "layer_scale_init_value", "drop_path_rate")
#: Threads of a process that sets none, and of the workers of ``archsearch.evaluate.pool``.
THREADS = (torch.get_num_threads(), 1)
#: Seconds of training between two states on disk.
SAVE_EVERY_S = 60.0


class Trainings:
    """Learning curves on disk, shared by all that trains on this machine."""

    def __init__(
        self, folder: Path, environment: Mapping[str, Any], reuse: bool = True, save_every_s: float = SAVE_EVERY_S
    ) -> None:
        """Args: folder: where; environment: of ``archsearch.nn.device``; reuse: whether old ones count."""
        self.store, self.reuse, self.save_every_s = DiskCache(folder), reuse, save_every_s
        self.device = {name: environment.get(name) for name in DEVICE_FACTS}

    def key(self, proxy_arch: Arch, proxy: ProxyRecipe, data: ImageData, seed: int) -> dict[str, Any]:
        """All that the numbers of a training depend on."""
        kinds = {mixer.token_mixer for mixer in proxy_arch.mixers}
        return {
            "trainer": TRAINER,
            "arch": proxy_arch.key_fields(),
            "mixers": {name: declared for name, declared in declarations().items() if name in kinds},
            "proxy": {name: value for name, value in key_fields(proxy).items() if name not in SHAPE},
            "data": [data.name, data.fingerprint, data.img_size, len(data.train), len(data.val)],
            "seed": seed,
            **self.device,
        }

    def curve(self, key: Mapping[str, Any]) -> tuple[Epoch, ...] | None:
        """That of a finished training; None where there is none.

        One with another number of threads counts too: it differs by the order of its sums, and took other seconds.
        """
        if not self.reuse:
            return None
        known = (self._finished({**key, "threads": n}) for n in dict.fromkeys((key.get("threads"), *THREADS)))
        return next((curve for curve in known if curve), None)

    def _finished(self, key: Mapping[str, Any]) -> tuple[Epoch, ...] | None:
        try:
            return tuple(Epoch(**entry) for entry in self.store.get(key) or ()) or None
        except TypeError:
            return None

    def epochs(self, key: Mapping[str, Any], start: Callable[[], Training]) -> Iterator[Epoch]:
        """Those of a training from its first, or from after where it was stopped; its results are kept.

        Args:
            key: of the training.
            start: makes it, at its beginning.
        """
        training, curve = self._resume(key, start)
        yield from list(curve)
        saved = time.monotonic()
        try:
            for epoch in training:
                curve.append(epoch)
                finished = epoch.epoch == training.proxy.epochs
                if finished:
                    self.store.put(key, [asdict(entry) for entry in curve])
                    self.forget(key)
                elif time.monotonic() - saved >= self.save_every_s:
                    self._save(key, training, curve)
                    saved = time.monotonic()
                yield epoch
        except DivergedError:
            self.forget(key)
            raise

    def _checkpoint(self, key: Mapping[str, Any]) -> Path:
        return self.store.path(key, ".pt")

    def _resume(self, key: Mapping[str, Any], start: Callable[[], Training]) -> tuple[Training, list[Epoch]]:
        """A training where it was stopped; whatever is wrong with that file, at its beginning."""
        training = start()
        if not self.reuse or not self._checkpoint(key).exists():
            return training, []
        try:
            saved = torch.load(self._checkpoint(key), map_location=training.device, weights_only=True)
            curve = [Epoch(**entry) for entry in saved["curve"]]
            training.load_state_dict(saved["state"])
        except torch.OutOfMemoryError:  # nothing is wrong with the file
            raise
        except Exception:  # cut short, or of another make
            self.forget(key)
            return start(), []  # one that is half loaded is no beginning
        return training, curve

    def forget(self, key: Mapping[str, Any]) -> None:
        """Gives up where a training was."""
        with suppress(OSError):
            self._checkpoint(key).unlink()

    def _save(self, key: Mapping[str, Any], training: Training, curve: list[Epoch]) -> None:
        path = self._checkpoint(key)
        scratch = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"state": training.state_dict(), "curve": [asdict(epoch) for epoch in curve]}, scratch)
            scratch.replace(path)
        except (OSError, RuntimeError):  # a full disk is a RuntimeError to torch
            with suppress(OSError):
                scratch.unlink()
