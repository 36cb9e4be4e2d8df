"""Which recipes a caller chose, and the recipes that come of it on a kind of device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archsearch.errors import OptionError, UserError, unknown
from archsearch.recipes import (
    BENCHES,
    FORMER_BENCHES,
    FORMER_PROXIES,
    PROXIES,
    BenchRecipe,
    ProxyRecipe,
    default_proxy,
    override,
)
from archsearch.space.proxy_yaml import Fit, load_proxy

#: Kinds of device that default recipes are named after.
KINDS = ("cpu", "gpu")
#: Proxy recipes by name as an earlier version had them.
EARLIER_PROXIES = PROXIES | FORMER_PROXIES


@dataclass(frozen=True)
class RecipeChoice:
    """Recipes as far as a caller chose them.

    Attributes:
        proxy: Proxy recipe: a name, a YAML file, or a recipe; None for the default.
        proxy_changes: Fields of it to change.
        bench: Recipe of the timing: a name, or a recipe; None for the default of the device.
        bench_changes: Fields of it to change.
    """

    proxy: str | Path | ProxyRecipe | None = None
    proxy_changes: Mapping[str, Any] = field(default_factory=dict)
    bench: str | BenchRecipe | None = None
    bench_changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chose_precision(self) -> bool:
        """Whether the precision of the timing was chosen, and not left to the device."""
        return isinstance(self.bench, BenchRecipe) or "precision" in self.bench_changes

    def recipes(
        self,
        kind: str,
        fit: Fit,
        dataset: str,
        default_bench_changes: Mapping[str, Any] | None = None,
    ) -> tuple[ProxyRecipe, BenchRecipe]:
        """Return the recipes for a kind of device: the named ones, fitted, then changed by a file and the caller.

        Args:
            kind: Kind of device, ``cpu`` or ``gpu``.
            fit: What the space or study makes of a named proxy recipe.
            dataset: Name of the data set, one of ``archsearch.recipes.DATASETS``.
            default_bench_changes: Fields that the study file changes in the device's own recipe of the timing.

        Raises:
            OptionError: A recipe or a field is unknown, or a value is not allowed.
        """
        proxy, bench = self.proxy, self.bench
        if not isinstance(proxy, ProxyRecipe):
            proxy = load_proxy(str(proxy or default_proxy(kind, dataset)), kind, fit)
        if not isinstance(bench, BenchRecipe):
            bench = self._named_bench(kind, default_bench_changes or {})
        try:
            return override(proxy, self.proxy_changes), override(bench, self.bench_changes)
        except UserError as error:
            raise OptionError(f"--set: {error}") from None

    def by_kind(self, fit: Fit, dataset: str) -> dict[str, tuple[ProxyRecipe, BenchRecipe]]:
        """Return the recipes by kind of device, for those kinds that have any: the study runs on one of them.

        Args:
            fit: What the space makes of a named proxy recipe.
            dataset: Name of the data set.

        Raises:
            UserError: What was chosen is wrong on every kind of device.
        """
        found, errors = {}, list[UserError]()
        for kind in KINDS:
            try:
                found[kind] = self.recipes(kind, fit, dataset)
            except UserError as error:  # cutout is 8, say, on images that are made smaller
                errors.append(error)
        if not found:
            raise errors[0]
        return found

    def former_proxy(self, kind: str, fit: Fit) -> ProxyRecipe | None:
        """Return the proxy recipe that ``recipes`` returned in an earlier version; None where a recipe was given.

        Args:
            kind: Kind of device, ``cpu`` or ``gpu``.
            fit: What the space or study makes of a named proxy recipe.
        """
        if isinstance(self.proxy, ProxyRecipe):
            return None
        try:
            return override(load_proxy(str(self.proxy or kind), kind, fit, EARLIER_PROXIES), self.proxy_changes)
        except UserError:  # what is changed does not suit the former one
            return None

    def former_bench(self, kind: str) -> BenchRecipe | None:
        """Return what ``recipes`` returned in an earlier version for a kind of device; None if that is the same.

        Args:
            kind: Kind of device, ``cpu`` or ``gpu``.
        """
        if isinstance(self.bench, BenchRecipe) or str(self.bench or kind) not in FORMER_BENCHES:
            return None
        return override(FORMER_BENCHES[str(self.bench or kind)], self.bench_changes)

    def _named_bench(self, kind: str, changes: Mapping[str, Any]) -> BenchRecipe:
        name = str(self.bench or kind)
        if name not in BENCHES:
            raise OptionError(unknown("bench", name, BENCHES))
        return override(BENCHES[name], changes if name == kind else {})
