import dataclasses

from archsearch.fidelity.recipe_plan import plan_of
from archsearch.fidelity.yaml import load_plan
from archsearch.recipes import PROXIES
from archsearch.space.yaml import load_space


def test_the_plan_of_a_recipe_trains_its_networks_for_longer():
    like, space = load_plan("inception_dw_drawn"), load_space("metanext")
    recipe = dataclasses.replace(space.fitted(PROXIES["quick"]), width=1 / 3, lr=0.01)
    plan = plan_of(recipe, "quick", space, like)
    plan.check()
    assert [(s.name, s.proxy, s.seeds) for s in plan.schedules] == [("quick", recipe, 2)]
    assert (plan.space, plan.archs, plan.paper) == (space, like.archs, ())
    long = plan.reference.proxy
    assert long.shrink(space.baseline, 10) == recipe.shrink(space.baseline, 10)
    assert (long.epochs, long.train_samples, long.lr) == (
        like.reference.proxy.epochs,
        like.reference.proxy.train_samples,
        like.reference.proxy.lr,
    )
