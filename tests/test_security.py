"""Nothing that a file or a storage contains is executed, and nothing listens to other machines."""

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from archsearch.ablation.yaml import load_study
from archsearch.arch import Arch
from archsearch.errors import UserError
from archsearch.search.storage.opening import open_storage
from archsearch.space.yaml import load_space
from archsearch.utils.disk_cache import DiskCache
from archsearch.utils.package_data import shipped

PACKAGE = Path(__file__).parents[1] / "archsearch"
MODULES = sorted(PACKAGE.rglob("*.py"))
#: What executes, or unpickles, what it is given; the second half is allowed with the keyword that makes it safe.
FORBIDDEN = {"eval", "exec", "compile", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "os.system",
             "cloudpickle.load", "cloudpickle.loads", "joblib.load", "dill.load", "pd.read_pickle", "yaml.unsafe_load",
             "yaml.full_load", "subprocess.getoutput"}  # fmt: skip


def calls(module):
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}, node.lineno


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_call_executes_what_it_reads(module):
    for name, words, line in calls(module):
        where = f"{module}:{line}"
        assert name not in FORBIDDEN, where
        assert words.get("shell") != "True", where
        if name == "torch.load":
            assert words.get("weights_only") == "True", where
        if name == "np.load":
            assert words.get("allow_pickle", "False") == "False", where
        if name == "yaml.load":
            assert words["Loader"] == "_Loader", where  # a SafeLoader, as the next test sees


EVIL = "!!python/object/apply:os.system ['touch {mark}']"


@pytest.mark.parametrize("field", ["name", "baseline", "axes"])
def test_yaml_makes_no_objects(tmp_path, field):
    mark = tmp_path / "mark"
    lines = {"name": "evil", "baseline": "inceptionnext_atto", "axes": "{depths: [[1, 1, 1, 1]]}"}
    lines[field] = EVIL.format(mark=mark)
    path = tmp_path / "evil.yaml"
    path.write_text("\n".join(f"{name}: {value}" for name, value in lines.items()))
    for load in (load_space, load_study):
        with pytest.raises(UserError, match=r"evil\.yaml"):
            load(str(path), shipped("search_spaces"))
    assert not mark.exists()


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_pickle_among_the_states_of_trainings_is_not_run(tmp_path):
    """A checkpoint that another user, or a copied folder, put where ours are."""
    import tiny

    from archsearch.arch.networks import network
    from archsearch.data import load, reduce
    from archsearch.evaluate.pipeline import build_proxy
    from archsearch.train import Training
    from archsearch.train.cache import Trainings

    mark = tmp_path / "mark"
    data = reduce(load("drawn", None, 32), tiny.PROXY)
    proxy_arch = tiny.PROXY.shrink(network("inceptionnext_atto"), len(data.classes))
    trainings = Trainings(tmp_path / "trainings", {})
    key = trainings.key(proxy_arch, tiny.PROXY, data, 0)
    path = DiskCache(tmp_path / "trainings").path(key, ".pt")
    path.parent.mkdir()
    torch.save(Evil(mark), path)
    start = lambda: Training(build_proxy(proxy_arch, tiny.PROXY, 0), data, tiny.PROXY, 0)  # noqa: E731
    assert len(list(trainings.epochs(key, start))) == tiny.PROXY.epochs
    assert not mark.exists()


def test_a_json_record_is_data_alone(tmp_path):
    text = json.dumps({**_arch(), "stem_patch_size": "__import__('os').system('touch mark')"})
    with pytest.raises(UserError):
        Arch.from_dict(json.loads(text))


def _arch():
    from archsearch.arch.networks import network

    return network("inceptionnext_atto").to_dict()


def test_storages_of_other_kinds_are_not_opened(tmp_path):
    """Optuna's journal files hold JSON, its in-memory caches pickles: only databases are opened."""
    for url in ("journal.log", f"{tmp_path}/x.pkl"):
        Path(tmp_path / Path(url).name).write_bytes(b"\x80\x04cposix\nsystem\n(S'touch mark'\ntR.")
        with pytest.raises(UserError):
            open_storage(str(tmp_path / Path(url).name), create=False)


@pytest.mark.ray
def test_a_cluster_of_our_own_listens_on_loopback_alone():
    """All sockets that Ray's processes listen on, while a cluster of ours runs."""
    if not find_spec("ray"):  # not imported here: it reads its settings from the environment then
        pytest.skip("Ray is not installed here")
    code = """
import sys
from pathlib import Path
from archsearch.search.engines.ray_cluster import cluster
def listening():
    found = set()
    for table, width in (("tcp", 8), ("tcp6", 32)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add((table, fields[1]))
    return found
before = listening()
with cluster(None, 1):
    print(*sorted(f"{table} {address}" for table, address in listening() - before), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    addresses = [line.split()[1].partition(":")[0] for line in done.stdout.splitlines()]
    assert addresses
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert set(addresses) <= loopback, done.stdout
    assert done.stderr == ""
