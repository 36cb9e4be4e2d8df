"""A room imports only rooms below it, and heavy libraries stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "archsearch"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Bottom to top. A room may import what stands before it, and itself.
ROOMS = [
    {"__init__"},
    {"errors"},
    {"shipped"},
    {"processor"},
    {"store"},
    {"yamlfile"},
    {"workers"},
    {"mixer"},
    {"arch"},
    {"networks"},
    {"paper"},
    {"objectives"},
    {"constraint"},
    {"recipes"},
    {"recipefile"},
    {"trial"},
    {"outcome"},
    {"points"},
    {"space"},
    {"spacefile"},
    {"liststudy"},
    {"studyfile"},
    {"plan"},
    {"analysis"},
    {"nn"},
    {"data"},
    {"train"},
    {"measure"},
    {"speed"},
    {"costs"},
    {"evaluate"},
    {"weights"},
    {"pool"},
    {"fidelity"},
    {"pairs"},
    {"ablation"},
    {"search"},
    {"report"},
    {"cli"},
]
HEAVY = {
    "torch": {"nn", "data", "train", "measure", "speed", "evaluate", "weights", "pool", "fidelity", "ablation"},
    "torchvision": {"data"},
    "timm": {"nn", "data"},
    "fvcore": {"measure"},
    "optuna": {"search"},
    "ray": {"search"},
    "plotly": {"report"},
    "moocore": {"analysis"},
    "scipy": {"analysis"},
    "sklearn": {"search"},
    "pynvml": {"speed"},
}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> set[str]:
    tree = ast.parse(module.read_text())
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def level(room: str) -> int:
    return next(i for i, rooms in enumerate(ROOMS) if room in rooms)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_rooms_import_downwards(module):
    room = room_of(module)
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "archsearch" or len(parts) == 1:
            continue
        target = parts[1] if (PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists() else "__init__"
        assert level(target) <= level(room), f"{room} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(module):
    for name in imports(module):
        library = name.split(".")[0]
        if library in HEAVY:
            assert room_of(module) in HEAVY[library], f"{module} imports {library}"


def loaded_by(command: str) -> set[str]:
    code = f"import sys; {command}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    names = loaded_by("from archsearch.cli import build_parser; build_parser()[0].format_help()")
    assert not names & {*HEAVY, "numpy", "pandas", "yaml", "rich", "sqlalchemy"}


def test_reports_do_not_load_torch():
    names = loaded_by("import archsearch.report.page, archsearch.search.study, archsearch.search.records")
    assert "plotly" in names
    assert not names & {"torch", "torchvision", "fvcore", "ray"}
