"""A Ray cluster, joined or started, and what of it a candidate needs. Ray is imported when it is asked for."""

import functools
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import archsearch
from archsearch.errors import ArchsearchError, OptionError
from archsearch.utils.workers import environ

#: How Tune behaves where only the environment of the driver says so: silent, and without records of its own.
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

#: Seconds for a cluster to answer.
CONNECT_S = 10.0
#: Seconds for a machine of it to be free and answer a question; that may take an import of torch.
ANSWER_S = 300.0


@dataclass(frozen=True)
class Share:
    """What of a cluster a candidate has to itself.

    Attributes:
        cpus: cores.
        gpus: GPUs.
        others: further resources that only fitting machines have, as Ray names them.
    """

    cpus: float
    gpus: float
    others: Mapping[str, float] = field(default_factory=dict)

    def resources(self) -> dict[str, float]:
        """As Tune takes them."""
        return {"cpu": self.cpus, **({"gpu": self.gpus} if self.gpus else {}), **self.others}

    def slots(self, machines: Sequence[Mapping[str, float]]) -> int:
        """How many candidates the machines of a cluster have room for.

        >>> Share(2, 1).slots([{"CPU": 16, "GPU": 4}, {"CPU": 3, "GPU": 4}, {"CPU": 64}])
        5
        >>> Share(1, 0).slots([{"CPU": 2.0}])
        2
        """
        wanted = [(name, each) for name, each in {"CPU": self.cpus, "GPU": self.gpus, **self.others}.items() if each]
        return sum(min(int(there.get(name, 0.0) / each + 1e-6) for name, each in wanted) for there in machines)


def nodes() -> list[dict[str, float]]:
    """What each machine of the cluster has, as Ray names it."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


@contextmanager
def cluster(address: str | None, cpus: int | None = None) -> Iterator[list[dict[str, float]]]:
    """Connects to a Ray cluster, or starts one on this machine that nobody else can reach.

    Args:
        address: ``HOST:PORT`` or ``auto``; None starts one.
        cpus: cores of one that is started.

    Yields:
        The resources of each machine.

    Raises:
        OptionError: Ray is not installed, or there is no cluster at that address.
    """
    if address is not None and "://" in address:
        raise OptionError(f"--ray-address {address}: run the command on a machine of the cluster, and give HOST:PORT")
    with environ({**SETTINGS, **({} if address else _own_cluster())}):
        ray = _import_ray()
        if address is not None:
            address = _answering(address)
        options: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
        if not address:
            options["_node_ip_address"] = "127.0.0.1"
        handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with mock.patch("ray._private.worker.listen_error_messages", _listen_to_nothing):
                ray.init(
                    address or "local",
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    runtime_env={"env_vars": {"PYTHONPATH": _own_paths()}},
                    **options,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if address is None:
                raise ArchsearchError(f"a Ray cluster cannot be started on this machine: {reason}") from None
            raise OptionError(f"--ray-address {address}: no Ray cluster answers there ({reason})") from None
        finally:
            restore(handlers)
        for name in ("ray", "ray.tune", "ray.train", "ray.air"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            yield nodes()
        finally:
            ray.shutdown()
            restore(handlers)


def ask_cluster(question: Callable[[], Any], share: Share) -> Any:
    """Answers a question on a machine of the cluster that has what candidates need."""
    import ray

    others = dict(share.others)
    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, resources=others or None, max_retries=0)(question)
    try:
        return ray.get(task.remote(), timeout=ANSWER_S)
    except ray.exceptions.GetTimeoutError:
        raise ArchsearchError(f"no machine of the Ray cluster was free to answer for {ANSWER_S:.0f} s") from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def restore(handlers: Mapping[int, Any]) -> None:
    """Puts signal handlers back, which Ray replaces."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _own_cluster() -> dict[str, str]:
    """A cluster of this command's: it listens on loopback alone, and to those alone who know a word."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _word(),
    }


def _answering(address: str) -> str:
    """The address, once somebody listens there: Ray itself would try for minutes, and complain to the terminal."""
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
        raise OptionError(f"--ray-address {address}: no Ray cluster answers there ({reason})") from None
    return found


def _own_paths() -> str:
    """Where this process imports from beyond its environment: the checkout that it runs from, for one."""
    shared = (sys.prefix, sys.base_prefix)
    own = [str(Path(archsearch.__file__).parents[1]), *(p for p in sys.path if p and not p.startswith(shared))]
    return os.pathsep.join(dict.fromkeys(own))


@functools.cache
def _word() -> str:
    """One for all clusters of a process: Ray reads it once."""
    return secrets.token_hex(32)


def _import_ray() -> Any:
    try:
        import ray
        import ray.tune
    except ImportError:
        raise OptionError("--engine ray needs Ray: pip install 'archsearch[ray]'") from None
    return ray


def _listen_to_nothing(*args: Any) -> None:
    """Instead of what prints the ends of workers and nodes on stdout; the study tells of them."""
