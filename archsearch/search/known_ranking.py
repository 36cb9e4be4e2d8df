"""What is known of how a study's recipe ranks, kept in the study's record."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import optuna

from archsearch.objectives import Tier
from archsearch.rankings.known import Question, find, kept_folder, read_rankings, recipe_fields
from archsearch.rankings.words import sentence
from archsearch.recipes import ProxyRecipe
from archsearch.search.definition import Study
from archsearch.search.spec import StudySpec
from archsearch.space.space import Space

#: Study attribute with what was known when it last ran: a sentence under ``words``, and the ranking under ``found``.
RANKING = "ranking"


def look_up(study: Study, spec: StudySpec) -> dict[str, Any] | None:
    """Return what is known of how a study's recipe ranks; None where the study trains nothing.

    Args:
        study: The study.
        spec: What was asked for, which names the command that would measure it.
    """
    if not any(quantity.tier is Tier.TRAINED for quantity in study.quantities):
        return None
    question = Question(recipe_fields(study.proxy), study.space.name, study.data["name"], study.data["fingerprint"])
    known = find(question, read_rankings(kept_folder()))
    told = sentence(question, known, measuring_command(spec))
    return {"words": told, "found": asdict(known.exact) if known.exact else None}


def ranking_words(record: optuna.Study) -> str:
    """Return what a study's record says of its recipe's ranking; an empty text where it says nothing."""
    told: Mapping[str, Any] = record.user_attrs.get(RANKING) or {}
    return str(told.get("words", ""))


def measuring_command(spec: StudySpec) -> str:
    """Return the command that measures how a study's recipe ranks the architectures of its space on its data.

    >>> measuring_command(StudySpec(space="metanext", proxy="quick", proxy_changes={"lr": 0.01}))
    'fidelity --space metanext --proxy quick --set proxy.lr=0.01 --dataset drawn'
    """
    words = ["fidelity", "--space", spec.space.name if isinstance(spec.space, Space) else str(spec.space)]
    if isinstance(spec.proxy, ProxyRecipe):
        words += ["--proxy", "FILE.yaml"]
    elif spec.proxy is not None:
        words += ["--proxy", str(spec.proxy)]
    if spec.proxy_changes:
        words += ["--set", *(f"proxy.{name}={value}" for name, value in spec.proxy_changes.items())]
    words += ["--dataset", spec.dataset]
    return shlex.join([*words, "--data-root", str(spec.data_root)] if spec.data_root else words)
