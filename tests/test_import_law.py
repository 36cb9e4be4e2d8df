"""A room imports only rooms below it, and heavy libraries stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "archsearch"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Levels, bottom to top. A room may import itself and the rooms of the levels below its own.
LEVELS = [
    {"__init__", "errors"},
    {"utils"},
    {"objectives", "recipes", "trial", "arch"},
    {"space", "stats"},
    {"nn", "data"},
    {"train", "complexity", "rankings"},
    {"benchmark"},
    {"evaluate"},
    {"search"},
    {"ablation", "fidelity", "handover"},
    {"report"},
    {"cli"},
]
#: Where a heavy library may be imported: rooms, folders or files.
HEAVY = {
    "torch": {"nn", "data", "train", "complexity", "benchmark", "evaluate", "ablation", "fidelity", "handover"},
    "torchvision": {"data"},
    "timm": {"nn", "data", "handover"},
    "safetensors": {"handover"},
    "onnx": {"benchmark", "handover"},
    "onnxruntime": {"nn", "benchmark", "handover"},
    "pytorch_grad_cam": {"handover"},
    "fvcore": {"complexity"},
    "optuna": {"search"},
    "ray": {"search/engines"},
    "plotly": {"report", "ablation/figures.py"},
    "moocore": {"stats"},
    "scipy": {"stats", "search"},
    "sklearn": {"search"},
    "pynvml": {"benchmark"},
}

#: Names that files of several rooms may share, because each has the same role in its room.
ROLES = {"__init__", "run", "execute", "resolve", "spec", "yaml", "tables", "figures"}


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
    return next(number for number, rooms in enumerate(LEVELS) if room in rooms)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_rooms_import_downwards(module):
    room = room_of(module)
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "archsearch" or len(parts) == 1:
            continue
        target = parts[1] if (PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists() else "__init__"
        assert target == room or level(target) < level(room), f"{room} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(module):
    path = str(module.relative_to(PACKAGE))
    for name in imports(module):
        library = name.split(".")[0]
        allowed = HEAVY.get(library, {""})
        assert any(path.startswith(place) for place in allowed), f"{module} imports {library}"


def internals_of_optuna(module: Path) -> list[str]:
    """Places that reach into Optuna: names with an underscore that only its own code may use."""
    places = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Attribute):
            text, own = ast.unparse(node), node.attr in ("_storage", "_study_id", "_trial_id", "_backend")
            places += [text] if own or (text.startswith("optuna.") and "._" in text) else []
    places += [name for name in imports(module) if name.startswith("optuna.") and "._" in name]
    return places


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_only_storage_and_samplers_touch_optunas_internals(module):
    if module.relative_to(PACKAGE).parts[:2] not in (("search", "storage"), ("search", "samplers")):
        assert internals_of_optuna(module) == []


def test_internals_of_optuna_are_recognised():
    assert internals_of_optuna(PACKAGE / "search/storage/mirror.py")
    assert "optuna.samplers._ga" in internals_of_optuna(PACKAGE / "search/samplers/optuna_samplers.py")


def test_files_of_one_name_have_the_same_role_in_sibling_rooms():
    places: dict[str, set[tuple[str, ...]]] = {}
    for module in MODULES:
        *rooms, name = module.relative_to(PACKAGE).with_suffix("").parts
        places.setdefault(name, set()).add(tuple(rooms))
    shared = {name: rooms for name, rooms in places.items() if len(rooms) > 1 and name != "__init__"}
    assert shared.keys() <= ROLES, "another name, or ROLES, has to say what sets them apart"
    assert all(len(room) == 1 for rooms in shared.values() for room in rooms), shared


def test_tests_mirror_the_package():
    tests = Path(__file__).parent
    folders = {file.parent.relative_to(tests) for file in tests.rglob("test_*.py")}
    assert [folder for folder in folders if not (PACKAGE / folder).is_dir()] == []


def loaded_by(command: str) -> set[str]:
    code = f"import sys; {command}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    names = loaded_by("from archsearch.cli import build_parser; build_parser()[0].format_help()")
    assert not names & {*HEAVY, "numpy", "pandas", "yaml", "rich", "sqlalchemy"}


def test_the_package_loads_nothing_heavy():
    names = loaded_by("import archsearch, archsearch.search")
    assert not names & {*HEAVY, "numpy", "pandas", "yaml", "rich", "sqlalchemy"}
    names = loaded_by("from archsearch import AblationSpec, Arch, Engine, Mixer, Space, StudySpec, load_space, network")
    assert not names & {*HEAVY, "numpy", "pandas", "rich", "sqlalchemy"}


def test_reports_do_not_load_torch():
    names = loaded_by(
        "import archsearch.report.page.html, archsearch.search.definition, archsearch.search.storage.records"
    )
    assert "plotly" in names
    assert not names & {"torch", "torchvision", "fvcore", "ray"}
