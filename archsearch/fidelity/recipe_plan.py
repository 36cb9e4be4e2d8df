"""The plan that measures one recipe, on any space and data set."""

from dataclasses import replace

from archsearch.fidelity.plan import Plan, Schedule
from archsearch.recipes import ProxyRecipe
from archsearch.space.space import Space

#: Fields of a recipe that make the proxy network: the reference trains the same ones.
NETWORK = (
    "width",
    "width_step",
    "depth",
    "img_size",
    "stem_patch_size",
    "layer_scale_init_value",
    "drop_path_rate",
    "fan_in_init",
)


def plan_of(recipe: ProxyRecipe, name: str, space: Space, like: Plan) -> Plan:
    """Return a plan with one schedule, a recipe; another plan gives the number of architectures and the reference.

    Args:
        recipe: Recipe to measure, as it is for the space.
        name: Name of the recipe.
        space: Space that the architectures are drawn from.
        like: Plan whose reference trains the recipe's proxy networks for longer.
    """
    made = {field: getattr(recipe, field) for field in NETWORK}
    return Plan(
        name=f"of {space.name}",
        title=f"How far can the recipe {name} be trusted in {space.name}?",
        space=space,
        archs=like.archs,
        schedules=(Schedule(name, recipe, max(schedule.seeds for schedule in like.schedules)),),
        reference=replace(like.reference, proxy=replace(like.reference.proxy, **made)),
        judged=like.judged,
    )
