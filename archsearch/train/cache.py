"""Disk cache of trainings: learning curves of finished ones, and weights where asked for; checkpoints of others."""

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
from archsearch.recipes import TEACHER, TRAINER, ProxyRecipe
from archsearch.train.training import Training
from archsearch.trial import Epoch
from archsearch.utils.disk_cache import DiskCache
from archsearch.utils.key_fields import key_fields
from archsearch.utils.whole_file import replacing

#: Facts of ``archsearch.nn.device.environment`` that results depend on besides network, recipe, data and seed.
DEVICE_FACTS = ("device_name", "torch", "cuda", "cudnn", "threads", "proxy_autocast")
#: Fields of a recipe that only shape the proxy network; a key holds the network's architecture instead.
SHAPE = ("width", "width_step", "depth", "stem_patch_size", "layer_scale_init_value", "drop_path_rate")
#: Threads of a process that sets none, and of the workers of ``archsearch.evaluate.machine``.
THREADS = (torch.get_num_threads(), 1)
#: Seconds of training between two checkpoints.
SAVE_EVERY_S = 60.0


class Trainings:
    """Disk cache of learning curves, shared by every process that trains on this machine."""

    def __init__(
        self, folder: Path, environment: Mapping[str, Any], reuse: bool = True, save_every_s: float = SAVE_EVERY_S
    ) -> None:
        """Open the cache.

        Args:
            folder: Folder of the cache; made when it is first written to.
            environment: Facts of ``archsearch.nn.device.environment`` about the device that trains.
            reuse: Whether earlier trainings are used.
            save_every_s: Seconds of training between two checkpoints.
        """
        self.store, self.reuse, self.save_every_s = DiskCache(folder), reuse, save_every_s
        self.device = {name: environment.get(name) for name in DEVICE_FACTS}

    def key(self, proxy_arch: Arch, proxy: ProxyRecipe, data: ImageData, seed: int) -> dict[str, Any]:
        """Return the key of a training: everything that its results depend on.

        Args:
            proxy_arch: Architecture of the proxy network.
            proxy: Recipe of the training.
            data: Data set, reduced to the recipe's samples.
            seed: Seed of the training.
        """
        kinds = {mixer.token_mixer for mixer in proxy_arch.mixers}
        return {
            "trainer": TRAINER,
            "arch": proxy_arch.key_fields(),
            "mixers": {name: declared for name, declared in declarations().items() if name in kinds},
            "proxy": {name: value for name, value in key_fields(proxy).items() if name not in SHAPE},
            "data": [data.name, data.fingerprint, data.img_size, len(data.train), len(data.val)],
            "seed": seed,
            **({"teacher": TEACHER} if proxy.teacher else {}),
            **self.device,
        }

    def curve(self, key: Mapping[str, Any], kept: bool = False) -> tuple[Epoch, ...] | None:
        """Return the learning curve of a finished training; None if there is none.

        A training with another number of threads counts too: it differs only by the order of its sums and by the
        seconds it took.

        Args:
            key: Key of the training.
            kept: Whether its weights have to be there, too.
        """
        found = self._find(key, kept) if self.reuse else None
        return None if found is None else self._finished(found)

    def weights(self, key: Mapping[str, Any]) -> Path:
        """Return the file with the weights of a finished training, which ``torch.load`` reads as a ``state_dict``.

        Args:
            key: Key of a training that ``epochs`` has just finished, or that ``curve`` found, with its weights.
        """
        return self._weights(self._find(key, kept=True) or key)

    def _find(self, key: Mapping[str, Any], kept: bool) -> dict[str, Any] | None:
        """Return the key of a finished training that differs by nothing but the number of threads."""
        keys = [{**key, "threads": n} for n in dict.fromkeys((key.get("threads"), *THREADS))]
        return next((k for k in keys if self._finished(k) and (not kept or self._weights(k).exists())), None)

    def _weights(self, key: Mapping[str, Any]) -> Path:
        return self.store.path(key, ".weights.pt")

    def _finished(self, key: Mapping[str, Any]) -> tuple[Epoch, ...] | None:
        try:
            return tuple(Epoch(**entry) for entry in self.store.get(key) or ()) or None
        except TypeError:
            return None

    def epochs(self, key: Mapping[str, Any], start: Callable[[], Training], keep: bool = False) -> Iterator[Epoch]:
        """Yield the epochs of a training, those before its last checkpoint from disk; cache the result.

        Args:
            key: Key of the training.
            start: Function that creates the training at its beginning.
            keep: Whether to keep the weights that it ends with, too.

        Raises:
            DivergedError: The training diverged.
        """
        training, curve = self._resume(key, start)
        yield from list(curve)
        saved = time.monotonic()
        try:
            for epoch in training:
                curve.append(epoch)
                finished = epoch.epoch == training.proxy.epochs
                if finished:
                    if keep:
                        with replacing(self._weights(key)) as scratch:
                            torch.save(training.judged.state_dict(), scratch)
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
        """Return a training at its checkpoint, with its curve so far; at its beginning if the file is unusable."""
        training = start()
        if not self.reuse or not self._checkpoint(key).exists():
            return training, []
        try:
            saved = torch.load(self._checkpoint(key), map_location=training.device, weights_only=True)
            curve = [Epoch(**entry) for entry in saved["curve"]]
            training.load_state_dict(saved["state"])
        except torch.OutOfMemoryError:  # the file is intact
            raise
        except Exception:  # truncated, or written for other modules
            self.forget(key)
            return start(), []  # a fresh one: this one may be half loaded
        return training, curve

    def forget(self, key: Mapping[str, Any]) -> None:
        """Delete the checkpoint of a training."""
        with suppress(OSError):
            self._checkpoint(key).unlink()

    def _save(self, key: Mapping[str, Any], training: Training, curve: list[Epoch]) -> None:
        state = {"state": training.state_dict(), "curve": [asdict(epoch) for epoch in curve]}
        with suppress(OSError, RuntimeError), replacing(self._checkpoint(key)) as scratch:
            torch.save(state, scratch)  # which reports a full disk as RuntimeError
