"""Who evaluates a study's candidates, and where, as the command line has it."""

import argparse
import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from archsearch.cli.options import natural, seconds, share_of_one
from archsearch.errors import OptionError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from archsearch.data import ImageData
    from archsearch.evaluate.pool import Machine, StudyWork
    from archsearch.objectives import Objective
    from archsearch.recipes import BenchRecipe
    from archsearch.search.definition import Study
    from archsearch.search.engines.ray_cluster import Share
    from archsearch.search.engines.runner import Runner

Answer = TypeVar("Answer")

ENGINES = ("local", "ray")
#: Options that speak of Ray alone.
RAY_OPTIONS = ("ray_address", "gpus_per_trial", "cpus_per_trial")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """``--engine`` and what goes with it."""
    group = parser.add_argument_group("engine")
    add = group.add_argument
    add("--engine", default="local", metavar="NAME", help="local: processes here; ray: Ray Tune (default: %(default)s)")
    add("--workers", type=natural, metavar="N", help="candidates at a time (default: one per GPU, or per core); 0: in "
        "the command's own process")  # fmt: skip
    add("--trial-timeout", type=seconds, metavar="SECONDS", help="end a candidate that takes longer, as failed")
    add("--ray-address", metavar="HOST:PORT", help="of a Ray cluster, or auto (default: one on this machine, for now)")
    add("--gpus-per-trial", type=share_of_one, metavar="N", help="of a Ray cluster (default: 1, where it has any)")
    add("--cpus-per-trial", type=share_of_one, metavar="N", help="of a Ray cluster (default: its share)")


def check_engine(args: argparse.Namespace, objectives: "Sequence[Objective]") -> None:
    """Complains about options that do not go together.

    Raises:
        OptionError: what to change.
    """
    from archsearch.objectives import Tier

    if args.engine not in ENGINES:
        raise OptionError(unknown("engine", args.engine, ENGINES))
    if args.trial_timeout and args.workers == 0:
        raise OptionError("--trial-timeout ends processes, and --workers 0 has none; give --workers 1")
    given = [name for name in RAY_OPTIONS if getattr(args, name) is not None]
    if args.engine != "ray" and given:
        raise OptionError(f"--{given[0].replace('_', '-')} is for --engine ray; add that, or leave it out")
    if args.engine == "ray" and args.workers == 0:
        raise OptionError("--workers 0 is this process itself; leave --engine ray out, or give more workers")
    quantities = [*objectives, *(constraint.objective for constraint in getattr(args, "constraints", ()))]
    speeds = [quantity.name for quantity in quantities if quantity.tier is Tier.MEASURED]
    if args.gpus_per_trial is not None and args.gpus_per_trial % 1 and speeds:
        raise OptionError(
            f"--gpus-per-trial {args.gpus_per_trial:g}: {speeds[0]} is measured on a whole GPU; "
            f"give 1, or leave {speeds[0]} out"
        )


@dataclasses.dataclass(frozen=True)
class Place:
    """Where candidates are evaluated.

    Attributes:
        device: that trains and is timed, as it is called there.
        name: of its make.
        share: what of a Ray cluster a candidate has; None without one.
        remote: whether it may be another machine than this one.
        alone: whether the command's own process does the work.
    """

    device: str
    name: str
    share: "Share | None" = None
    remote: bool = False
    alone: bool = False

    @property
    def kind(self) -> str:
        """As recipes are named by it: ``cpu`` or ``gpu``."""
        return "cpu" if self.device == "cpu" else "gpu"

    @property
    def here(self) -> "torch.device":
        """The device for what this process does itself."""
        from archsearch.nn.device import pick_device

        return pick_device(self.device if self.alone else "cpu")

    def suited(self, bench: "BenchRecipe", asked: bool) -> "BenchRecipe":
        """The recipe as the device can do it; ``asked`` whether its precision was the user's wish."""
        from archsearch.benchmark.timed_steps import suited

        device = self.device
        return self.ask(lambda: suited(bench, asked, device))

    def ask(self, question: "Callable[[], Answer]") -> "Answer":
        """Return a function's result on the machine that evaluates candidates."""
        if self.share is None or not self.remote:
            return question()
        from archsearch.search.engines.ray_cluster import ask_cluster

        answer: Answer = ask_cluster(question, self.share)
        return answer


@contextlib.contextmanager
def place_of(args: argparse.Namespace) -> "Iterator[Place]":
    """Where candidates are evaluated; a cluster lasts as long as the context.

    Raises:
        OptionError: there is no such device, or no such cluster.
    """
    from archsearch.nn.device import device_name, pick_device

    if args.engine == "local":
        device = pick_device(args.device)
        yield Place(str(device), device_name(device), alone=args.workers == 0)
        return
    from archsearch.evaluate.pool import available_cores
    from archsearch.search.engines.ray_cluster import ask_cluster, cluster

    with cluster(args.ray_address, len(available_cores()) or None) as machines:
        share = _share(args, machines)
        device_there = "cuda:0" if share.gpus else "cpu"
        if args.ray_address is None:
            yield Place(device_there, device_name(pick_device(device_there)), share)
        else:
            name: str = ask_cluster(lambda: device_name(pick_device(device_there)), share)
            yield Place(device_there, name, share, remote=True)


def _share(args: argparse.Namespace, machines: "Sequence[Mapping[str, float]]") -> "Share":
    """What of a cluster each candidate has; GPUs of one make alone, as others have other speeds."""
    from archsearch.search.engines.ray_cluster import Share

    if args.device not in ("auto", "cpu", "cuda"):
        raise OptionError(f"--device {args.device}: Ray chooses among its devices; give auto, cpu or cuda")
    with_gpu = [there for there in machines if there.get("GPU")]
    if args.device == "cuda" and not with_gpu:
        raise OptionError("--device cuda: the Ray cluster has no GPU")
    if args.device == "cpu" or not with_gpu:
        share = Share(args.cpus_per_trial or 1.0, 0.0)
    else:
        gpus = args.gpus_per_trial or 1.0
        makes = Counter(name for there in with_gpu for name in there if name.startswith("accelerator_type:"))
        others = {makes.most_common(1)[0][0]: 0.001} if len(makes) > 1 else {}
        fitting = [there for there in with_gpu if set(others) <= set(there)]
        cores = min(there.get("CPU", 1.0) * gpus / there["GPU"] for there in fitting)
        share = Share(args.cpus_per_trial or max(1.0, cores // 1), gpus, others)
    if not share.slots(machines):
        raise OptionError(
            f"no machine of the Ray cluster has {share.cpus:g} cores and {share.gpus:g} GPUs for a candidate; "
            "give fewer by --cpus-per-trial and --gpus-per-trial"
        )
    return share


def carry_out(args: argparse.Namespace, runner: "Runner", study: "Study", data: "ImageData", place: Place) -> None:
    """Runs a study with the engine that is asked for."""
    from archsearch.evaluate.pool import Machine, devices_for
    from archsearch.search.engines.local import run_local
    from archsearch.search.engines.runner import run_here

    if place.share is not None:
        _on_ray(args, runner, study, data, place)
        return
    devices = devices_for(args.device)
    machine = Machine.here(devices, workers_of(args, devices, runner.left))
    work = work_of(args, study, machine)
    if not machine.workers:
        with contextlib.closing(dataclasses.replace(work, data=data)(0)) as evaluate:
            run_here(runner, evaluate)
    else:
        run_local(runner, work, machine.workers, args.trial_timeout)


def _on_ray(args: argparse.Namespace, runner: "Runner", study: "Study", data: "ImageData", place: Place) -> None:
    from archsearch.data.images import to_arrays
    from archsearch.evaluate.pool import Machine, begin_remotely
    from archsearch.search.engines.ray_tune import run_ray

    assert place.share is not None  # noqa: S101 - it is on Ray
    machine = Machine((place.device,), 1, (), max(1, int(place.share.cpus)))
    parameters = {
        "work": work_of(args, study, machine),
        "arrays": to_arrays(data),
        "mixers": {path.name: path.read_bytes() for path in args.mixers},
        "device_name": study.device,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    run_ray(runner, begin_remotely, place.share, parameters, args.workers, args.trial_timeout)


def workers_of(args: argparse.Namespace, devices: tuple[str, ...], trials: int) -> int:
    """How many workers: as many as asked for, and no more than there are trials for."""
    from archsearch.evaluate.pool import default_workers

    wanted: int = default_workers(devices) if args.workers is None else args.workers
    return min(wanted, max(1, trials))


def work_of(args: argparse.Namespace, study: "Study", machine: "Machine") -> "StudyWork":
    """What workers need to evaluate the candidates of a study."""
    from archsearch.evaluate.pool import Source, StudyWork

    source = Source(args.dataset, args.data_root, tuple(args.mixers), args.retrain)
    return StudyWork(
        source,
        machine,
        study.objectives,
        study.proxy,
        study.bench,
        args.remeasure,
        constraints=study.constraints,
        baseline=study.space.baseline,
        seeds=study.seeds,
    )
