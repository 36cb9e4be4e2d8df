"""The ``README.md`` of an exported folder: what the network is, how well it does, and how to use it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archsearch import __version__
from archsearch.handover.confirmation import Confirmed
from archsearch.handover.export_spec import Exported, ExportSpec
from archsearch.handover.references import StudyTrial, Subject
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.search.storage.opening import masked
from archsearch.stats.noise import score_interval, seed_values
from archsearch.utils.tables import Document, Table, render

#: Heading that the Hugging Face hub reads.
FRONT_MATTER = "---\nlibrary_name: timm\ntags:\n- image-classification\n- timm\n---"
#: Facts of an environment that a card tells.
TOLD = ("archsearch", "commit", "torch", "timm", "python", "platform", "device_name", "cuda")

#: What is to be said of the command of full training.
TRAINING = (
    "With the recipe of *InceptionNeXt* (Table 9), by timm's `train.py`, which is in its repository and not in its "
    "package; `DATA` holds `train/` and `validation/` with a folder per class. On several GPUs, `torchrun "
    "--nproc_per_node=8 train.py` instead of `python train.py`, and an eighth of `--grad-accum-steps`. With other "
    "classes, add `--num-classes N`. Then `archsearch export NETWORK --weights model_best.pth.tar --out DIR` takes the "
    "trained weights."
)


def model_card(spec: ExportSpec, subject: Subject, made: Exported, facts: Mapping[str, Any]) -> str:
    """Return the text of the card, in Markdown.

    Args:
        spec: What was asked for.
        subject: The network that it was asked of.
        made: What was written; its commands name the folder as ``DIR``.
        facts: What is known of trained weights.
    """
    origin = subject.origin
    parts = [FRONT_MATTER, f"# {subject.name}", _summary(made)]
    if origin is not None:
        parts += ["## Scores", *_scores(origin, facts)]
    if facts:
        parts += ["## Weights", _facts_table(_weights_facts(facts))]
        parts += ["Proxy recipe of these weights:", _facts_table(facts["proxy"])] if facts.get("proxy") else []
    if environment := facts.get("environment") or (origin.trial.environment if origin else {}):
        parts += ["## Environment", _facts_table({key: environment[key] for key in TOLD if environment.get(key)})]
    parts += ["## Use", "`DIR` is this folder.", _fenced("python", made.loading), _other_uses(made)]
    if made.training is not None:
        parts += ["## Full training", TRAINING, _fenced("sh", [made.training])]
    return "\n\n".join([*parts, *_repeat(spec, origin)]) + "\n"


def repeating(spec: ExportSpec, of_study: bool) -> str:
    """Return the command line that exports the same again."""
    words = ["archsearch", "export", spec.network, "--out", "DIR"]
    words += ["--storage", masked(spec.storage)] if of_study else []
    for option, value in (("--weights", spec.weights), ("--name", spec.name), ("--seed", spec.seed or None)):
        words += [option, str(value)] if value is not None else []
    words += [word for path in spec.mixers for word in ("--mixers", str(path))]
    return shlex.join(words + ["--deploy"] * spec.deploy + ["--onnx"] * spec.onnx)


def _summary(made: Exported) -> str:
    built = (
        f"timm's own classes build it, as `{made.entry}`" if made.module is None else f"`{made.module}.py` builds it"
    )
    mixers = ", ".join(dict.fromkeys(f"`{mixer}`" for mixer in made.arch.mixers))
    return (
        f"{made.subject}, with {made.params:,} parameters and {made.arch.num_classes} classes: {made.arch.outline}; "
        f"token mixers {mixers}. {built}. Weights: {made.weights}. `architecture.json` is its description, for "
        f"`archsearch describe architecture.json`. Exported by archsearch {__version__}."
    )


def _scores(origin: StudyTrial, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of the trial's scores and what is to be said of it."""
    evaluation = origin.trial.evaluation
    known = [objective for objective in origin.objectives if objective.name in evaluation.scores]
    rows = [*(_score_row(origin, objective) for objective in known), *_confirmed_row(origin.confirmed)]
    yield _markdown(("score", "value", "95 % interval"), rows)
    words = [f"Trial {origin.trial.number} of study `{origin.study}`, which was {origin.trial.state}."]
    if origin.noise is not None and any(objective.name == "accuracy" for objective in known):
        words.append(f"Intervals of the search's accuracies are {origin.noise.words}.")
    data = origin.recipe.get("data", {})
    words.append(f"Data: {data.get('name', 'unknown')} (fingerprint {data.get('fingerprint', 'unknown')}).")
    yield " ".join(words)
    recipe = origin.recipe.get("proxy", {})
    if recipe and recipe != facts.get("proxy"):
        yield "Proxy recipe of the search:"
        yield _facts_table(recipe)


def _score_row(origin: StudyTrial, objective: Objective) -> tuple[str, str, str]:
    evaluation, name = origin.trial.evaluation, objective.name
    score = evaluation.scores[name]
    ends = score_interval(name, evaluation.details.get(name, {}))
    if name == "accuracy" and origin.noise is not None:
        ends = origin.noise.interval(score, len(seed_values(evaluation)) or 1)

    return _row(objective, objective.label, score, ends)


def _confirmed_row(confirmed: Confirmed | None) -> Iterator[tuple[str, str, str]]:
    """Yield the accuracy of a confirmation, where there is one."""
    if confirmed is None or confirmed.accuracy is None:
        return
    accuracy, seeds = OBJECTIVES["accuracy"], len(confirmed.trained.accuracies)
    ends = None if confirmed.low is None or confirmed.high is None else (confirmed.low, confirmed.high)
    yield _row(accuracy, f"confirmed on the test split, {seeds} seeds: {accuracy.label}", confirmed.accuracy, ends)


def _row(objective: Objective, label: str, score: float, ends: tuple[float, float] | None) -> tuple[str, str, str]:
    def shown(value: float) -> str:
        return f"{value * objective.scale:,.{objective.precision}f}"

    return label, shown(score), f"{shown(ends[0])} to {shown(ends[1])}" if ends else "-"


def _weights_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of trained weights, without what has its own place."""
    told = {key: facts[key] for key in ("study", "trial", "seed", "split", "accuracy", "mean", "std") if key in facts}
    data = facts.get("data", {})
    named = {"data": f"{data['name']} (fingerprint {data.get('fingerprint')})"} if "name" in data else {}
    return told | named | {"classes": len(facts.get("classes", ()))}


def _other_uses(made: Exported) -> str:
    alone = f'; `timm.create_model("{made.entry}")` is the same network' if made.module else ""
    return (
        "`num_classes`, `in_chans`, `drop_path_rate` and `features_only=True` with `out_indices` work as for networks "
        f"of timm's{alone}. `timm.data.resolve_model_data_config(model)` is the preprocessing."
    )


def _repeat(spec: ExportSpec, origin: StudyTrial | None) -> Iterator[str]:
    commands = () if origin is None else filter(None, (origin.command, origin.confirming))
    yield "## Repeat"
    yield _fenced("sh", [*commands, repeating(spec, origin is not None)])


def _facts_table(facts: Mapping[str, Any]) -> str:
    return _markdown(("field", "value"), [(key, _cell(value)) for key, value in facts.items()], words=(0, 1))


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[object]], words: Sequence[int] = (0,)) -> str:
    return render(Document([Table(header, rows, words)], []), "markdown")


def _fenced(language: str, lines: Sequence[str]) -> str:
    return "\n".join((f"```{language}", *lines, "```"))
