"""The mode in which onnxruntime runs the networks."""

import dataclasses

import pytest
import tiny
import torch
from lively import enliven

from archsearch import benchmark
from archsearch.ablation.resolve import resolve as resolve_ablation
from archsearch.ablation.spec import AblationSpec
from archsearch.benchmark import BenchmarkSpec, NamedNetwork, onnx_steps
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.loading import built_network, load_network, write_ahead
from archsearch.benchmark.onnx_steps import OnnxFiles, OnnxStep, check_onnxruntime, check_steps
from archsearch.benchmark.timer import Timings
from archsearch.benchmark.timing import Setting, Timing
from archsearch.errors import OptionError
from archsearch.nn import build, deploy_form, onnx_export
from archsearch.nn.device import environment
from archsearch.recipes import NO_TRAINING, BenchRecipe
from archsearch.search.storage.rescoring import same_runtime

onnxruntime = pytest.importorskip("onnxruntime")
CPU = torch.device("cpu")
SETTING = Setting("infer", "onnxruntime", "channels_first", "fp32", 3, 64)
QUICK = {"rounds": 2, "max_rounds": 2, "min_block_s": 0.001, "warmup_limit_s": 0.01, "reference": "small"}
RUNTIME = {"onnxruntime": onnxruntime.__version__, "provider": "CPUExecutionProvider"}


@pytest.fixture
def files():
    with OnnxFiles(enliven(build(tiny.SMALL))) as made:
        yield made


@pytest.mark.parametrize("form", ["train", "deploy"])
def test_a_step_fills_its_logits_from_its_images(files, form):
    step = OnnxStep(files.of(dataclasses.replace(SETTING, form=form)), SETTING, CPU)
    model = deploy_form(files.model) if form == "deploy" else files.model
    for seed in (0, 1):
        step._images.copy_(torch.randn(step._images.shape, generator=torch.Generator().manual_seed(seed)))
        with torch.no_grad():
            expected = model(step._images)
        assert step() is step.logits
        assert expected.abs().max() > 0.1
        assert torch.allclose(step.logits, expected, atol=1e-4)
    assert step.runtime == {**RUNTIME, "threads": torch.get_num_threads()}


def test_a_session_that_fell_back_to_another_provider_is_refused(files, monkeypatch):
    path = files.of(SETTING)
    monkeypatch.setitem(onnx_steps.PROVIDERS, "cpu", "CUDAExecutionProvider")  # which no library is there for
    fallen = onnx_export.open_session(path, ["CPUExecutionProvider"])
    monkeypatch.setattr(onnx_steps, "open_session", lambda *args: fallen)
    with pytest.raises(OptionError, match=r"^onnxruntime could not load CUDA.* and took CPU.*, or use --device cpu$"):
        OnnxStep(path, SETTING, CPU)


def test_forms_have_a_file_each_and_batches_share_one(files):
    first = files.of(SETTING)
    deployed = files.of(dataclasses.replace(SETTING, form="deploy"))
    assert files.of(dataclasses.replace(SETTING, kind="latency", batch_size=1)) == first != deployed
    assert first.stat().st_size != deployed.stat().st_size
    files.__exit__()
    assert not first.exists()


def test_files_are_written_before_the_device_is_taken(monkeypatch):
    job = Job((tiny.SMALL,), tiny.SMALL, dataclasses.replace(tiny.BENCH, form="deploy"), kinds=("train", "infer"),
              modes=("eager", "onnxruntime"))  # fmt: skip
    built = built_network(tiny.SMALL, job)
    write_ahead(built, 0, job)
    written = []
    monkeypatch.setattr(onnx_steps, "export_onnx", lambda *args: written.append(args))
    loaded = load_network(built, 0, job, CPU, lambda: None)
    assert written == []
    steps = {(setting.kind, setting.mode): step.runtime is not None for setting, step in loaded.steps.items()}
    assert steps == {("train", "eager"): False, ("infer", "eager"): False, ("infer", "onnxruntime"): True}
    assert list(loaded.errors.values()) == [NO_TRAINING]


def test_networks_are_timed_by_onnxruntime_beside_eager_ones():
    networks = (NamedNetwork("small", tiny.SMALL), NamedNetwork("plain", tiny.PLAIN))
    changes = QUICK | {"form": "deploy"}
    spec = BenchmarkSpec(networks, "cpu", ("train", "infer", "latency"), ("eager", "onnxruntime"), changes=changes)
    small, plain = benchmark.run(spec).records
    for record in (small, plain):
        timings = {t.setting.kind: t for t in record.measured.timings if t.setting.mode == "onnxruntime"}
        assert len(timings) == len([t for t in record.measured.timings if t.setting.mode == "onnxruntime"]) == 3
        assert {t.setting.layout for t in timings.values()} == {"channels_first"}
        assert timings["train"].error == NO_TRAINING
        for kind, batch in (("infer", 2), ("latency", 1)):
            timing = timings[kind]
            assert (timing.error, timing.setting.form, timing.setting.batch_size) == (None, "deploy", batch)
            assert len(timing.blocks_s) == len(timing.reference_s) == 2
            assert {**timing.runtime, "threads": None} == {**RUNTIME, "threads": None}
            assert timing.peak_memory_mb is None
            assert timing.best
        assert timings["latency"].single_steps_s is not None
        assert record.measured.reference_errors == (), "that no network trains in it is no fault of the reference"
        eager = [t for t in record.measured.timings if t.setting.mode == "eager"]
        assert {t.runtime for t in eager} == {None}


def test_what_it_cannot_do_is_refused(monkeypatch, tmp_path):
    bench = BenchRecipe(mode="onnxruntime", precision="fp32")
    check_onnxruntime(bench, CPU)
    with pytest.raises(OptionError, match=r"^mode onnxruntime computes in float32 .*, not amp_bf16$"):
        check_onnxruntime(dataclasses.replace(bench, precision="amp_bf16"), CPU)
    with pytest.raises(OptionError, match=r"^mode onnxruntime runs on cpu and cuda, not on mps$"):
        check_onnxruntime(bench, torch.device("mps"))
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(OptionError, match=r"^onnxruntime has no CUDAExecutionProvider here: pip install"):
            check_onnxruntime(bench, torch.device("cuda:0"))
    with pytest.raises(OptionError, match=f"^{NO_TRAINING}; time infer or latency"):
        check_steps(bench, ("infer", "train"))
    check_steps(bench, ("infer", "latency"))
    with pytest.raises(OptionError, match=f"^{NO_TRAINING}; time infer or latency"):
        BenchmarkSpec(("inceptionnext_atto",), kinds=("train",), modes=("onnxruntime",))
    ablation = {"study": "inceptionnext_table8", "device": "cpu", "storage": str(tmp_path / "s.db")}
    with pytest.raises(OptionError, match=f"^{NO_TRAINING}"):
        resolve_ablation(AblationSpec(**ablation, bench_changes={"mode": "onnxruntime"}))
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'archsearch\[onnx\]'$"):
        check_onnxruntime(bench, CPU)


def test_its_timings_are_known_by_its_version(tmp_path, monkeypatch):
    timings, bench = Timings(tmp_path, environment(CPU)), dataclasses.replace(tiny.BENCH, mode="onnxruntime")
    made = Timing(SETTING, (0.1, 0.2), (0.1, 0.2), runtime={**RUNTIME, "threads": 1})
    timings.put(tiny.SMALL, bench, "infer", made)
    assert timings.get(tiny.SMALL, bench, "infer") == made
    assert timings.get(tiny.SMALL, tiny.BENCH, "infer") is None
    details = made.details()
    assert details["runtime"] == made.runtime == Timing.from_details(details).runtime
    assert same_runtime(details)
    assert same_runtime(Timing(dataclasses.replace(SETTING, mode="eager"), (0.1,), (0.1,)).details())
    monkeypatch.setattr(onnxruntime, "__version__", "0.1")
    assert timings.get(tiny.SMALL, bench, "infer") is None
    assert not same_runtime(details)
    assert onnx_steps.runtime_version() == "0.1"
