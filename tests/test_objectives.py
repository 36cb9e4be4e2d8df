"""The tables at the bottom: objectives and recipes."""

import ast
import re
from pathlib import Path

import pytest

from archsearch.arch.networks import network
from archsearch.errors import ArchError, OptionError, UserError
from archsearch.objectives import OBJECTIVE_SETS, OBJECTIVES, Tier, parse_objectives
from archsearch.recipes import BENCHES, PROXIES, BenchRecipe, ProxyRecipe, override

PACKAGE = Path(__file__).parents[1] / "archsearch"
#: Modules whose help or error messages give an example of a constraint.
EXAMPLES = {"evaluate/constraint.py", "cli/study.py"}


@pytest.mark.parametrize("name", OBJECTIVE_SETS)
def test_sets_parse(name):
    assert tuple(o.name for o in parse_objectives(name)) == OBJECTIVE_SETS[name]


def test_any_list_parses():
    assert [o.name for o in parse_objectives("latency_ms, accuracy")] == ["latency_ms", "accuracy"]
    assert all(
        o.direction in ("maximize", "minimize") and o.subject in ("proxy", "target") for o in OBJECTIVES.values()
    )


def test_a_measured_objective_is_named_where_it_is_measured_and_nowhere_else():
    names = re.compile(rf"""["'.]({"|".join(o.name for o in OBJECTIVES.values() if o.tier is Tier.MEASURED)})\b""")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if names.search(_code(path))}
    outside = {path for path in found if not path.startswith("benchmark/")}
    # `benchmark` tabulates the fields of a timing; two texts of the command line give an example of a constraint.
    assert outside - EXAMPLES == {"objectives.py", "report/speed_tables.py"}


def _code(module):
    """The source of a module without its docstrings and comments."""
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()
    return ast.unparse(tree)


@pytest.mark.parametrize("script", sorted(PACKAGE.rglob("*.js")), ids=lambda path: path.name)
def test_the_page_knows_no_objective_by_name(script):
    text = script.read_text()
    assert not re.search(rf"""["'`.]({"|".join(OBJECTIVES)})\b""", text)


@pytest.mark.parametrize(
    ("text", "words"), [("acuracy", "did you mean 'accuracy'"), ("macs,macs", "twice"), ("", "known")]
)
def test_bad_objectives(text, words):
    with pytest.raises(OptionError, match=words):
        parse_objectives(text)


def test_proxy_shrinks_width_depth_and_stem():
    small = ProxyRecipe(width=1 / 3, width_step=8, depth=1 / 3).shrink(network("inceptionnext_tiny"), 10)
    assert small.dims == (32, 64, 128, 256)
    assert small.depths == (1, 1, 3, 1)
    assert (small.img_size, small.stem_patch_size, small.num_classes, small.drop_path_rate) == (32, 2, 10, 0.0)
    assert small.mixers == network("inceptionnext_tiny").mixers


def test_proxy_that_leaves_no_branch_is_an_error():
    with pytest.raises(ArchError, match="leaves no channel"):
        ProxyRecipe(width=0.05, width_step=4).shrink(network("inceptionnext_tiny"), 10)


def test_bands_have_room_in_every_named_proxy():
    for proxy in PROXIES.values():
        shrunk = proxy.shrink(network("inceptionnext_tiny"), 10)
        assert shrunk.img_size // shrunk.stem_patch_size >= 15


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        (ProxyRecipe(), {"epoch": 3}, "did you mean 'epochs'"),
        (ProxyRecipe(), {"epochs": 0}, "integer greater than 0"),
        (ProxyRecipe(), {"epochs": 2.5}, "integer greater than 0"),
        (ProxyRecipe(), {"lr": "fast"}, "number greater than 0"),
        (ProxyRecipe(), {"label_smoothing": 1}, r"in \[0, 1\)"),
        (ProxyRecipe(), {"flip": 3}, "true or false"),
        (BenchRecipe(), {"batch_size": 0}, "integer greater than 0"),
        (ProxyRecipe(), {"flip": "no"}, "true or false"),
        (BenchRecipe(), {"layout": "channel_last"}, "unknown layout 'channel_last': did you mean 'channels_last'"),
        (BenchRecipe(), {"precision": "fp64"}, "unknown precision 'fp64'"),
        (BenchRecipe(), {"mode": "jit"}, "unknown mode 'jit'.*eager, compile, cudagraph"),
        (BenchRecipe(), {"reference": 7}, "must be the name of a network"),
    ],
)
def test_recipes_check_their_fields(recipe, changes, words):
    with pytest.raises(UserError, match=words):
        override(recipe, changes)


def test_recipes_for_both_kinds_of_device():
    assert {"smoke", "cpu", "gpu"} <= set(PROXIES) & set(BENCHES)
