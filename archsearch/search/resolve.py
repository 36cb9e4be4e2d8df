"""From what a study is asked to do to what it does: defaults filled in, and everything checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.arch.networks import find
from archsearch.benchmark.speeds import Speeds
from archsearch.errors import OptionError
from archsearch.evaluate.constraint import Constraint, parse_constraints
from archsearch.objectives import Objective, Tier, parse_objectives
from archsearch.recipes import BenchRecipe, ProxyRecipe, Recipe, check_dataset
from archsearch.search.definition import Study, recorded
from archsearch.search.place import Place, check_engine
from archsearch.search.same_recipe import PARTS, same_part
from archsearch.search.samplers.by_name import check_sampler
from archsearch.search.spec import StudySpec
from archsearch.search.speeds_elsewhere import speeds_for, timed_space
from archsearch.search.storage.opening import check_storage
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.utils.key_fields import key_fields

if TYPE_CHECKING:
    from archsearch.data import ImageData
    from archsearch.data.folder import Track

#: Number of trials where none is asked for.
N_TRIALS = 24
#: Sampler of a new study where none is asked for; benchmarks/tabular.py says why.
SAMPLER = "cost_aware"


@dataclass(frozen=True)
class ResolvedStudy:
    """A study's specification with its defaults filled in.

    Attributes:
        spec: What was asked for.
        name: Name of the study.
        space: Search space.
        objectives: Objectives in the order of the recorded values.
        constraints: Constraints that candidates have to keep.
        sampler: Name of the sampler.
        n_trials: Number of trials in all, with those of earlier runs.
        recipes: Proxy recipe and recipe of the timing by kind of device, ``cpu`` and ``gpu``, where they can be had.
        begun: Whether the storage has the study already.
        begun_with: Fields of the proxy recipe and of the recipe of the timing that it was made with, by ``proxy`` and
            ``bench``.
        speeds: Timings of another machine that measured scores are taken from; None where this one times.
    """

    spec: StudySpec
    name: str
    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    sampler: str
    n_trials: int
    recipes: Mapping[str, tuple[ProxyRecipe, BenchRecipe]]
    begun: bool
    begun_with: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    speeds: Speeds | None = None

    @property
    def quantities(self) -> tuple[Objective, ...]:
        """Objectives and constrained quantities, each once."""
        return tuple(dict.fromkeys((*self.objectives, *(constraint.objective for constraint in self.constraints))))


def resolve(spec: StudySpec, *, create: bool = True) -> ResolvedStudy:
    """Fill in what a specification leaves open, and check it as far as that takes no device and no data.

    Args:
        spec: What is asked for; files with mixers that it names are executed.
        create: Whether the storage is going to be written to.

    Raises:
        UserError: Something in it is wrong; the message says what would be right.
    """
    objectives = parse_objectives(",".join(spec.objective_names))
    _load_mixers(spec)
    space = spec.space if isinstance(spec.space, Space) else load_space(spec.space)
    constraints = parse_constraints(spec.constraints)
    speeds, recipes = None, spec.recipes
    if spec.speeds is not None:
        speeds = speeds_for(spec, objectives, constraints)
        space = timed_space(space, speeds, objectives, constraints)
        recipes = replace(recipes, bench=speeds.bench())
    name = _name(spec, space, speeds)
    before = recorded(name, spec.storage)
    sampler = spec.sampler or (before or {}).get("sampler", SAMPLER)
    check_sampler(sampler, space)
    if spec.seeds > 1 and all(objective.tier is not Tier.TRAINED for objective in objectives):
        raise OptionError(
            f"--seeds {spec.seeds}: nothing is trained for {','.join(spec.objective_names)}; leave it out"
        )
    resolved = ResolvedStudy(
        spec=spec,
        name=name,
        space=space,
        objectives=objectives,
        constraints=constraints,
        sampler=sampler,
        n_trials=spec.n_trials or (sampler == "grid" and space.distinct()) or N_TRIALS,
        recipes=recipes.by_kind(space.fitted, spec.dataset),
        begun=before is not None,
        begun_with={part: (before or {}).get(part) for part in PARTS},
        speeds=speeds,
    )
    check_engine(spec.engine, () if speeds else resolved.quantities)
    check_dataset(spec.dataset, None if spec.data_root is None else Path(spec.data_root))
    check_storage(spec.storage, create=create)
    return resolved


def _load_mixers(spec: StudySpec) -> None:
    """Make the user's own token mixers known; PyTorch is not imported where there are none."""
    if spec.mixers:
        from archsearch.nn import load_mixers

        for path in spec.mixers:
            load_mixers(path)


def _name(spec: StudySpec, space: Space, speeds: Speeds | None) -> str:
    if spec.study_name == "":
        raise OptionError("--study-name is empty; leave it out for the default name")
    elsewhere = ("on", *re.findall(r"[a-z0-9]+", speeds.device.lower())) if speeds else ()
    return spec.study_name or "-".join((space.name, *spec.objective_names, spec.dataset, *elsewhere))


def define(resolved: ResolvedStudy, place: Place, track: "Track | None" = None) -> "tuple[Study, ImageData]":
    """Return the definition of a study as it runs at a place, and its data; everything about them is checked.

    Args:
        resolved: What is asked for.
        place: Where candidates are evaluated.
        track: Wraps an iterable to show the progress of decoding a folder of images.

    Raises:
        UserError: A recipe does not suit the space or the device, or the data cannot be had.
    """
    from archsearch.data import load_for

    spec, (proxy, bench) = resolved.spec, _recipes_at(resolved, place)
    data = load_for(proxy, spec.dataset, spec.data_root, place.here, track)
    study = Study(
        name=resolved.name,
        space=resolved.space,
        objectives=resolved.objectives,
        proxy=proxy,
        bench=bench,
        data={"name": data.name, "fingerprint": data.fingerprint},
        device=place.name,
        sampler=resolved.sampler,
        seed=spec.seed,
        population=max(8, min(50, resolved.n_trials // 4)),
        constraints=resolved.constraints,
        seeds=spec.seeds,
        early_stopping=spec.early_stopping,
        stopping_level=spec.stopping_level,
        speeds=resolved.speeds,
    )
    return study, data


def _recipes_at(resolved: ResolvedStudy, place: Place) -> tuple[ProxyRecipe, BenchRecipe]:
    """The recipes for the place's device, checked against the space."""
    spec, space = resolved.spec, resolved.space
    if place.kind not in resolved.recipes:
        spec.recipes.recipes(place.kind, space.fitted, spec.dataset)  # says why
    proxy, bench = resolved.recipes[place.kind]
    proxy = _as_begun(resolved, "proxy", proxy, spec.recipes.former_proxy(place.kind, space.fitted))
    if resolved.speeds is None:
        bench = _bench_at(resolved, place, bench)
    space.check_proxy(proxy)
    if spec.mixers:
        _try_mixers(space, proxy, bench)
    return proxy, bench


def _bench_at(resolved: ResolvedStudy, place: Place, bench: BenchRecipe) -> BenchRecipe:
    """The recipe of the timing as the place's device can follow it, checked against the space."""
    from archsearch.benchmark.onnx_steps import check_steps
    from archsearch.benchmark.reported import check_reported

    spec = resolved.spec
    suited = partial(place.suited, chosen=spec.recipes.chose_precision)
    former = spec.recipes.former_bench(place.kind)
    bench = _as_begun(resolved, "bench", suited(bench), former and suited(former))
    place.ask(partial(check_reported, resolved.quantities, place.device))
    check_steps(bench, [how.step for quantity in resolved.quantities if (how := quantity.measured)])
    resolved.space.check_bench(bench)
    find(bench.reference, bench.img_size or None)
    return bench


def _as_begun(resolved: ResolvedStudy, part: str, now: Recipe, former: Recipe | None) -> Recipe:
    """A recipe, or that which an earlier version had under its name where the study began with that."""
    begun = resolved.begun_with.get(part)
    if begun is None or former is None or same_part(part, begun, key_fields(now)):
        return now
    return former if same_part(part, begun, key_fields(former)) else now


def _try_mixers(space: Space, proxy: ProxyRecipe, bench: BenchRecipe) -> None:
    """Run the user's mixers as targets and proxy networks will have them, before anything is trained."""
    from archsearch.nn import check_mixers

    targets = (space.arch(params) for params in space.some())
    check_mixers(
        arch for target in targets for arch in (target, bench.resized(target), proxy.shrink(target, num_classes=10))
    )
