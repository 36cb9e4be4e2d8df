"""Modules: from an ``Arch`` to a ``torch.nn.Module``."""

from archsearch.nn.backbone import Backbone, build_features
from archsearch.nn.deploy import deploy_form, has_deploy_form
from archsearch.nn.metanext import MetaNeXt, build, init_fan_in
from archsearch.nn.mixers import MIXERS
from archsearch.nn.user_mixers import check_mixers, load_mixers
from archsearch.nn.zoo import build_network, build_trained

__all__ = [
    "MIXERS",
    "Backbone",
    "MetaNeXt",
    "build",
    "build_features",
    "build_network",
    "build_trained",
    "check_mixers",
    "deploy_form",
    "has_deploy_form",
    "init_fan_in",
    "load_mixers",
]
