"""Checks of everything that the user may have got wrong in an ablation, before anything is written."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from archsearch.ablation.baseline import Networks, read_networks
from archsearch.ablation.measure import check_proxies, key_of
from archsearch.ablation.pairs import all_pairs, plan_pairs
from archsearch.ablation.spec import AblationSpec
from archsearch.ablation.variants import SPEEDS, ListStudy, Variant
from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.benchmark.onnx_steps import check_steps
from archsearch.benchmark.timed_steps import recipe_on_device
from archsearch.errors import OptionError, StudyFileError
from archsearch.nn.device import device_name, pick_device
from archsearch.recipes import PATIENT, TRAINER, BenchRecipe, ProxyRecipe, check_dataset, override
from archsearch.search.definition import load, own_mixers
from archsearch.search.recipe_choice import RecipeChoice
from archsearch.search.storage.opening import check_storage, open_storage
from archsearch.utils.key_fields import key_fields

if TYPE_CHECKING:
    from archsearch.data import ImageData


@dataclass(frozen=True)
class ResolvedAblation:
    """A checked ablation.

    Attributes:
        spec: What was asked for.
        study: All networks of the study.
        chosen: Networks to time and train; fewer than ``study`` where ``spec.only`` leaves factors out.
        proxy: Proxy recipe.
        bench: Recipe of the timing.
        device: Device that trains and is timed.
        name: Name of the ablation in the storage.
        dataset: Name of the data set.
        train: Whether to train.
        search: Search whose parameter importances are reported; None for none.
    """

    spec: AblationSpec
    study: ListStudy
    chosen: ListStudy
    proxy: ProxyRecipe
    bench: BenchRecipe
    device: torch.device
    name: str
    dataset: str
    train: bool
    search: str | None

    @property
    def kind(self) -> str:
        """Kind of the device, ``cpu`` or ``gpu``."""
        return _kind(self.device)

    def timed(self, variant: Variant) -> Arch | TimmModel:
        """Return the network of a variant at the resolution at which it is timed."""
        network = self.study.timed(variant, self.kind)
        return replace(network, img_size=self.bench.img_size) if self.bench.img_size else network

    def recipe(self, data: "ImageData | None") -> dict[str, Any]:
        """Return what the results depend on, JSON-ready, for the storage.

        Args:
            data: Images that the proxy networks are trained on; None where nothing is trained.
        """
        networks = [variant.network for variant in self.study.variants]
        own = own_mixers({mixer.token_mixer for n in networks if isinstance(n, Arch) for mixer in n.mixers})
        recipe: dict[str, Any] = {
            "version": 1,
            "ablation": self.study.name,
            "space_name": self.study.name,
            "objectives": ["accuracy"],
            "bench": key_fields(self.bench),
            "baseline": key_of(self.study.baseline.network),
            "timed": {"resolution": self.study.resolutions[self.kind]},
            "device": device_name(self.device),
            "mixers": own,
        }
        if data is not None:
            samples = {"train_samples": len(data.train), "val_samples": len(data.val)}
            recipe |= {"proxy": key_fields(self.proxy), "trainer": TRAINER}
            recipe["data"] = {"name": data.name, "fingerprint": data.fingerprint, **samples}
        return recipe


def resolve(spec: AblationSpec, networks: Networks | None = None) -> ResolvedAblation:
    """Check a spec and settle everything that it leaves open; write nothing.

    Args:
        spec: Ablation to check.
        networks: Networks of the spec, if they have been read already.

    Raises:
        UserError: Something has to change; the message says what.
    """
    found = networks or read_networks(spec)
    study, search = found.study, found.search
    given = spec.dataset or (search.dataset if search else None)
    train = spec.train and spec.weights is None and (study.train or given is not None)
    dataset = given or "drawn"
    chosen = _chosen(spec, study, train)
    check_dataset(dataset, spec.data_root)
    choice = RecipeChoice(spec.proxy, spec.proxy_changes, spec.bench, spec.bench_changes)
    device = pick_device(spec.device)
    kind = _kind(device)
    proxy, bench = choice.recipes(kind, study.fitted, dataset, {**PATIENT[kind], **study.changes[kind]})
    check_storage(spec.storage, create=True)
    if spec.importance is not None:
        load(spec.importance, open_storage(spec.storage, create=False))
    if search is not None and spec.proxy is None:
        fits = search.proxy if spec.study is None else study.fitted(search.proxy)  # else it is made for its space
        proxy = override(fits, spec.proxy_changes)
    bench = recipe_on_device(bench, choice.chose_precision, str(device))
    if spec.speed:
        check_steps(bench, SPEEDS)
    if train:
        check_proxies(chosen, proxy)
    if spec.pairs:
        plan_pairs(len(all_pairs(chosen, proxy)), spec.pairs, spec.seeds)
    return ResolvedAblation(
        spec=spec,
        study=study,
        chosen=chosen,
        proxy=proxy,
        bench=replace(bench, reference=study.baseline.name),
        device=device,
        name=spec.study_name or _default_name(spec, study, dataset if train else None),
        dataset=dataset,
        train=train,
        search=spec.importance or (search.name if search else None),
    )


def _chosen(spec: AblationSpec, study: ListStudy, train: bool) -> ListStudy:
    """Return the study of the factors that were asked for.

    Raises:
        UserError: It has no such factor, or not what was asked for.
    """
    if study.kernel_sizes:
        raise StudyFileError(f"study {study.name} counts operators and compares no networks; name another study")
    chosen = study.only(spec.only) if spec.only else study
    if spec.weights is not None and not any(variant.weights for variant in chosen.variants):
        raise OptionError(f"--weights: study {study.name} names none; imagenet_table4 does")
    if spec.pairs and not train:
        raise OptionError(f"--pairs are trained, and study {study.name} only with --dataset NAME; name one")
    return chosen


def _kind(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else "gpu"


def _default_name(spec: AblationSpec, study: ListStudy, dataset: str | None) -> str:
    """Return the name in the storage where none is given; None for ``dataset`` where nothing is trained."""
    baseline = spec.baseline if spec.study is not None else None
    return "-".join(word for word in ("ablate", study.name, baseline, dataset) if word)
