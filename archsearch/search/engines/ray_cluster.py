"""Ray clusters: connecting to one, or starting one, and the resources that a candidate needs.

Ray reads its settings from the environment when it is imported, so this module imports it only in functions.
"""

import functools
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import archsearch
from archsearch.errors import ArchsearchError, OptionError, first_line
from archsearch.utils.interrupts import SIGNALS, set_handlers
from archsearch.utils.worker_process import environ

#: Settings of Tune that it reads from the environment: be silent, and keep no records.
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_THRESHOLD_S": "1000000000",
}

#: Maximum seconds to wait for a cluster's answer.
CONNECT_S = 10.0
#: Maximum seconds to wait for a function's result from a cluster, which may have to import torch.
ANSWER_S = 300.0


@dataclass(frozen=True)
class Share:
    """Resources of a cluster per candidate.

    Attributes:
        cpus: Number of cores.
        gpus: Number of GPUs.
        others: Further resources that suitable machines have, by Ray's names.
    """

    cpus: float
    gpus: float
    others: Mapping[str, float] = field(default_factory=dict)

    def resources(self) -> dict[str, float]:
        """Return the resources in Tune's form."""
        return {"cpu": self.cpus, **({"gpu": self.gpus} if self.gpus else {}), **self.others}

    def slots(self, machines: Sequence[Mapping[str, float]]) -> int:
        """Return how many candidates a cluster has room for at a time.

        Args:
            machines: Resources of each machine, by Ray's names.

        >>> Share(2, 1).slots([{"CPU": 16, "GPU": 4}, {"CPU": 3, "GPU": 4}, {"CPU": 64}])
        5
        >>> Share(1, 0).slots([{"CPU": 2.0}])
        2
        """
        wanted = [(name, each) for name, each in {"CPU": self.cpus, "GPU": self.gpus, **self.others}.items() if each]
        return sum(min(int(there.get(name, 0.0) / each + 1e-6) for name, each in wanted) for there in machines)


def nodes() -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster, by Ray's names."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


@contextmanager
def cluster(address: str | None, cpus: int | None = None) -> Iterator[list[dict[str, float]]]:
    """Connect to a Ray cluster, or start one on this machine that no other user can reach.

    Args:
        address: ``HOST:PORT`` or ``auto``; None to start a cluster.
        cpus: Number of cores of a cluster that is started; None for all.

    Yields:
        The resources of each machine, by Ray's names.

    Raises:
        OptionError: Ray is not installed, or there is no cluster at that address.
        ArchsearchError: A cluster cannot be started.
    """
    if address is not None and "://" in address:
        raise OptionError(f"--ray-address {address}: run the command on a machine of the cluster, and give HOST:PORT")
    with environ({**SETTINGS, **({} if address else _own_cluster())}):
        ray = _import_ray()
        handlers: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}  # Ray replaces them
        try:
            _connect(ray, address and _answering(address), cpus)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = first_line(error)
            if address is None:
                raise ArchsearchError(f"a Ray cluster cannot be started on this machine: {reason}") from None
            raise OptionError(f"--ray-address {address}: no Ray cluster answers there ({reason})") from None
        finally:
            set_handlers(handlers)
        for name in ("ray", "ray.tune", "ray.train", "ray.air"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            yield nodes()
        finally:
            ray.shutdown()
            set_handlers(handlers)


def _connect(ray: Any, address: str | None, cpus: int | None) -> None:
    """Connect this process to a cluster, or start one of so many cores."""
    options: dict[str, Any] = {}
    if not address:
        options = {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    with mock.patch("ray._private.worker.listen_error_messages", _listen_to_nothing):
        ray.init(
            address or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env={"env_vars": {"PYTHONPATH": _own_paths()}},
            **options,
        )


def ask_cluster(question: Callable[[], Any], share: Share) -> Any:
    """Call a function on a machine of the cluster that has the resources for a candidate, and return its result.

    Args:
        question: Function without arguments.
        share: Resources per candidate.

    Raises:
        ArchsearchError: No machine was free in time.
    """
    import ray

    def ask() -> Any:  # Ray takes functions alone, and no other callables
        return question()

    others = dict(share.others)
    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, resources=others or None, max_retries=0)(ask)
    try:
        return ray.get(task.remote(), timeout=ANSWER_S)
    except ray.exceptions.GetTimeoutError:
        raise ArchsearchError(f"no machine of the Ray cluster was free to answer for {ANSWER_S:.0f} s") from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _own_cluster() -> dict[str, str]:
    """Return the settings of a cluster of this process alone: it listens on loopback, and asks for a token."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
    }


def _answering(address: str) -> str:
    """Return the address once a server listens there; Ray itself would try for minutes and write to the terminal."""
    from ray._private.services import canonicalize_bootstrap_address

    found = address
    if address == "auto":
        with suppress(ConnectionError):
            found = canonicalize_bootstrap_address(address) or address
        if found == "auto":
            raise OptionError("--ray-address auto: no Ray cluster runs on this machine; start one (ray start --head)")
    host, _, port = found.rpartition(":")
    if not host or not port.isdigit():
        raise OptionError(f"--ray-address {address}: write HOST:PORT, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or error
        told = f"there ({reason})"
        if address == "auto":  # the last one has left its address
            told = f"at {found} ({reason}); start one (ray start --head)"
        raise OptionError(f"--ray-address {address}: no Ray cluster answers {told}") from None
    return found


def _own_paths() -> str:
    """Return the import paths of this process beyond its Python environment, such as its checkout."""
    shared = (sys.prefix, sys.base_prefix)
    own = [str(Path(archsearch.__file__).parents[1]), *(p for p in sys.path if p and not p.startswith(shared))]
    return os.pathsep.join(dict.fromkeys(own))


@functools.cache
def _token() -> str:
    """Return the same token for all clusters of this process, as Ray reads it once."""
    return secrets.token_hex(32)


def _import_ray() -> Any:
    try:
        import ray
        import ray.tune
    except ImportError:
        raise OptionError("--engine ray needs Ray: pip install 'archsearch[ray]'") from None
    return ray


def _listen_to_nothing(*args: Any) -> None:
    """Replace the function of Ray that prints the ends of workers and nodes on stdout; the study reports them."""
