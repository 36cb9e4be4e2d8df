"""What the speeds of another machine mean for a study: which are wanted, and which architectures have them."""

from collections.abc import Sequence

from archsearch.benchmark.speeds import Speeds, read_speeds
from archsearch.errors import OptionError
from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import OBJECTIVES, Objective, Tier
from archsearch.search.spec import StudySpec
from archsearch.space.listed import ListedSpace
from archsearch.space.space import Space


def speeds_for(spec: StudySpec, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> Speeds:
    """Return the speeds that a study is given.

    Args:
        spec: What is asked for, with speeds.
        objectives: Its objectives.
        constraints: Its constraints.

    Raises:
        OptionError: The file is none, nothing would be read from it, or the spec says how to time here.
    """
    if not any(o.tier is Tier.MEASURED for o in (*objectives, *(c.objective for c in constraints))):
        measured = ", ".join(name for name, o in OBJECTIVES.items() if o.tier is Tier.MEASURED)
        raise OptionError(
            f"--speeds: nothing is measured for {','.join(spec.objective_names)}; "
            f"add one of {measured} to the objectives"
        )
    if spec.bench is not None or spec.bench_changes or spec.remeasure:
        raise OptionError("--speeds: nothing is timed here, so leave out --bench, --set bench.* and --remeasure")
    assert spec.speeds is not None  # noqa: S101 - the caller sees to that
    return read_speeds(spec.speeds)


def timed_space(
    space: Space, speeds: Speeds, objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> ListedSpace:
    """Return a space with those architectures alone whose speeds are known.

    Args:
        space: Whole space.
        speeds: Timings of another machine.
        objectives: Objectives of the study.
        constraints: Constraints of the study.

    Raises:
        OptionError: None is, or not that of the baseline which a constraint refers to.
    """
    quantities = (*objectives, *(constraint.objective for constraint in constraints))
    size = space.baseline.img_size
    known = [arch for arch in speeds.archs.values() if speeds.knows(arch, quantities)]
    own = [arch.replace(img_size=size) for arch in known if arch.stride <= size] if speeds.img_size else []
    listed = ListedSpace.of(space, (*known, *own), f"{speeds.path} has no speed of it")
    if not listed.listed:
        wanted = ", ".join(o.name for o in quantities if o.tier is Tier.MEASURED)
        raise OptionError(
            f"--speeds {speeds.path}: none of its {len(speeds.archs)} architectures is in space {space.name} and has "
            f"{wanted}; time some of the space there: `benchmark study:NAME#TRIAL ... --results-file FILE.json`"
        )
    for constraint in constraints:
        if constraint.of_baseline and not speeds.knows(space.baseline, [constraint.objective]):
            raise OptionError(
                f"--constraint {constraint}: {speeds.path} has no {constraint.objective.name} of the space's baseline; "
                "time that there too, or give a number"
            )
    return listed
