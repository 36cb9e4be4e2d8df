"""Networks whose every weight and statistic matters, as after a training."""

import torch
from torch import nn

from archsearch.nn import build
from archsearch.recipes import PROXIES


def enliven(model, seed=0):
    """Draw a model's weights, and the scales, shifts and statistics of its norms, and return it in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, low, high):
        return tensor.copy_(torch.empty(tensor.shape).uniform_(low, high, generator=generator))

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                spread = (3 / module.weight[0].numel()) ** 0.5
                draw(module.weight, -spread, spread)
                if module.bias is not None:
                    draw(module.bias, -0.5, 0.5)
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                draw(module.weight, 0.5, 1.5)
                draw(module.bias, -0.5, 0.5)
            if isinstance(module, nn.BatchNorm2d):
                draw(module.running_mean, -0.5, 0.5)
                draw(module.running_var, 0.3, 2.0)
        for name, weight in model.named_parameters():
            if name.rpartition(".")[2].startswith("gamma"):
                draw(weight, 0.2, 1.2)
    return model.eval()


def small(arch, space=None, **changes):
    """Return a network of one block per stage and few channels, from an architecture with some fields replaced.

    Of an architecture of a space it is the smoke recipe's proxy network, as the space fits that.
    """
    recipe = PROXIES["smoke"] if space is None else space.fitted(PROXIES["smoke"])
    return enliven(build(recipe.shrink(arch.replace(**changes), num_classes=10)))


def drawn(space, rng):
    """Return a random architecture of a space."""
    return next(filter(None, (space.possible(space.sample(rng)) for _ in range(1000))))
