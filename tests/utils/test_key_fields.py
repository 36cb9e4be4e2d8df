import dataclasses

import pytest
from newer import NewerProxy, newer

from archsearch.errors import UserError
from archsearch.recipes import PROXIES, BenchRecipe, ProxyRecipe
from archsearch.utils.key_fields import KEYED, completed, key_fields, restored

#: As a study stored it that was made before the newest fields of today.
OLD = {"epochs": 3, "width": 0.5}


def test_a_field_counts_where_it_changes_what_was_done_before():
    plain = key_fields(ProxyRecipe())
    first = {name: value for name, value in dataclasses.asdict(ProxyRecipe()).items() if name in ProxyRecipe.FIRST}
    assert key_fields(newer(ProxyRecipe())) == plain == first
    assert key_fields(newer(ProxyRecipe(), grad_clip=1.0)) == plain | {"grad_clip": 1.0}
    assert key_fields(NewerProxy()) == key_fields(ProxyRecipe()) | {"schedule": "linear"}


def test_fields_of_the_first_release_are_explicit():
    """Whatever becomes of their defaults: so a default may change, and an old record still means the same."""
    for kind in (ProxyRecipe, BenchRecipe):
        assert list(key_fields(kind())) == list(kind.FIRST)
        keyed = [field.name for field in dataclasses.fields(kind) if field.metadata.get(KEYED, True)]
        assert keyed[: len(kind.FIRST)] == list(kind.FIRST)


def test_what_is_missing_means_what_was_done_before():
    assert completed(NewerProxy, OLD)["schedule"] == "cosine"
    assert completed(NewerProxy, OLD)["epochs"] == 3
    assert restored(NewerProxy, OLD) == newer(ProxyRecipe(epochs=3, width=0.5))
    assert restored(ProxyRecipe, key_fields(PROXIES["paper"])) == PROXIES["paper"]


def test_a_field_of_a_newer_version_is_told():
    with pytest.raises(UserError, match="grad_clip is a field of a newer archsearch; update archsearch"):
        restored(ProxyRecipe, key_fields(newer(ProxyRecipe(), grad_clip=1.0)))
