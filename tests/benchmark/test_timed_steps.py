import dataclasses
import gc
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from archsearch.arch.networks import network
from archsearch.benchmark import roofline
from archsearch.benchmark import timed_steps as steps
from archsearch.benchmark.clocks import SingleSteps, block_timer
from archsearch.benchmark.failures import failure
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.loading import built_network, lay_out_ahead, load_network
from archsearch.benchmark.timed_steps import check_device, has_tf32, images_for, lay_out, make_step, set_precision
from archsearch.benchmark.timing import Setting
from archsearch.errors import OptionError
from archsearch.nn import build
from archsearch.nn.device import is_out_of_memory
from archsearch.recipes import BenchRecipe

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
ATTO = network("inceptionnext_atto").replace(num_classes=5)
INFER = Setting("infer", "eager", "channels_last", "fp32", 3, 32)
TRAIN = dataclasses.replace(INFER, kind="train")


def ready(setting, device=CPU, arch=ATTO):
    torch.manual_seed(0)
    model = lay_out(build(arch), setting, device)
    return model, make_step(model, setting, device)


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_inference_is_a_forward_pass_and_changes_nothing(layout):
    model, step = ready(dataclasses.replace(INFER, layout=layout))
    before = weights(model)
    assert step().shape == (3, 5)
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    kernel = model.stages[0].blocks[0].mlp.fc1.weight
    if kernel.ndim == 4 and kernel.shape[2] > 1:
        assert kernel.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")
    assert model.stem[0].weight.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")


def test_training_is_forward_loss_backward_and_optimiser():
    model, step = ready(TRAIN)
    before = weights(model)
    step()
    assert model.training
    assert all(p.grad is not None for p in model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    first = weights(model)
    step()
    moved = [(b - a, c - b) for a, b, c in zip(before, first, weights(model), strict=True)]
    assert any(not torch.equal(one, two) for one, two in moved)


def test_targets_are_among_the_classes():
    _, step = ready(TRAIN)
    labels = next(
        cell.cell_contents for cell in step.__closure__ if getattr(cell.cell_contents, "dtype", 0) == torch.int64
    )
    assert labels.shape == (3,)
    assert 0 <= labels.min() <= labels.max() < 5


@pytest.mark.parametrize(
    ("precision", "weight", "output"),
    [
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.bfloat16, torch.bfloat16),
        ("amp_bf16", torch.float32, torch.bfloat16),
    ],
)
def test_precisions(precision, weight, output):
    setting = dataclasses.replace(INFER, precision=precision)
    model, step = ready(setting)
    assert model.stem[0].weight.dtype == weight
    assert images_for(setting, CPU).dtype == weight
    assert step().dtype == output
    _, train = ready(dataclasses.replace(TRAIN, precision=precision))
    train()


def test_tf32_is_switched_by_its_name():
    try:
        set_precision("tf32")
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        set_precision("fp32")
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = True


def test_what_a_device_cannot_do():
    assert not has_tf32(CPU)
    with pytest.raises(OptionError, match=r"cpu has no TF32; use float32"):
        check_device(BenchRecipe(), CPU)
    with pytest.raises(OptionError, match="mode cudagraph needs a CUDA device, not cpu"):
        check_device(BenchRecipe(precision="fp32", mode="cudagraph"), CPU)
    check_device(BenchRecipe(precision="bf16", mode="compile"), CPU)


@pytest.mark.slow
def test_compiled_steps_compute_the_same():
    torch.manual_seed(1)
    _eager_model, eager = ready(INFER)
    _compiled_model, compiled = ready(dataclasses.replace(INFER, mode="compile"))
    images = torch.randn(3, 3, 32, 32)
    for step in (eager, compiled):
        step.__closure__[list(step.__code__.co_freevars).index("images")].cell_contents.copy_(images)
    torch.testing.assert_close(compiled(), eager(), atol=1e-4, rtol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_blocks_of_steps():
    ran = []
    block = block_timer(lambda: ran.append(1), CPU)
    assert 0 < block(5) < 1.0
    assert len(ran) == 6  # one ran ahead
    block(1)
    assert len(ran) == 7


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_steps_whose_latency_is_timed_wait_for_each_other(device, monkeypatch):
    """Others are launched while the one before them runs; what stands in for the device notes what it is asked for."""
    said = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: said.append("wait"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: said.append("wait"))
    sampled = []
    block = SingleSteps(lambda: said.append("step"), torch.device(device), lambda: sampled.append(len(said)))
    seconds = block(3)
    assert said == ["step", *["wait", "step", "wait"] * 3]  # the first runs ahead, untimed
    assert len(block.last) == 3
    assert sampled == ([len(said)] if device == "cuda:0" else []), "the state of the device, after the last step"
    assert seconds == sum(block.last)
    said.clear()
    block(1)
    assert said == ["wait", "step", "wait"]


def test_a_block_on_mps_begins_and_ends_with_an_idle_device(monkeypatch):
    said = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: said.append("wait"))
    block = block_timer(lambda: said.append("step"), torch.device("mps"))
    assert block(3) > 0
    assert said == ["step", "wait", "step", "step", "step", "wait"]


def test_parts_on_mps_are_timed_from_one_idle_moment_to_another(monkeypatch):
    said = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: said.append("wait"))
    monkeypatch.setattr(roofline, "perf_counter", lambda: said.append("clock"))
    roofline._now(torch.device("mps"))
    assert said == ["wait", "clock"]


def test_networks_that_cannot_be_timed_say_why():
    bench = BenchRecipe(batch_size=1, precision="fp32", layout="both")
    job = Job((), ATTO, bench, ("infer", "train"), thorough=True)
    loaded = load_network(built_network(ATTO.replace(img_size=32), job), 0, job, CPU, lambda: None)
    assert loaded.measured.params == sum(p.numel() for p in build(ATTO).parameters())
    # One image on a map of one pixel has no batch statistics; inference goes on.
    assert {s.kind for s in loaded.steps} == {"infer"}
    assert {s.kind for s in loaded.errors} == {"train"}
    assert all("more than 1 value per channel" in error for error in loaded.errors.values())
    assert not loaded.did_not_fit


def test_a_captured_step_keeps_what_its_graph_points_at(monkeypatch):
    """A graph holds addresses; the model behind them lives as long as the step that replays it."""
    replayed = []
    graph = SimpleNamespace(replay=lambda: replayed.append(1))
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(steps, "_for_captures", lambda device: (stream, None))
    for name, stand_in in {
        "current_stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
        "synchronize": lambda device: None,
        "reset_peak_memory_stats": lambda device: None,
        "CUDAGraph": lambda: graph,
        "graph": lambda graph, pool, stream: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    for kind in ("infer", "train"):
        model, step = ready(dataclasses.replace(INFER, kind=kind, mode="cudagraph"))
        alive = weakref.ref(model)
        del model
        gc.collect()
        step()
        assert alive() is not None
        del step
        gc.collect()
        assert alive() is None
    assert len(replayed) == 2


def test_memory_that_runs_out_is_known_in_all_its_words():
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory"),
        Exception("backend='inductor' raised: OutOfMemoryError: CUDA out of memory."),
    ):
        assert is_out_of_memory(error)
        assert failure(error, INFER) == "out of memory at batch 3"
    assert not is_out_of_memory(RuntimeError("shape '[3]' is invalid"))
    assert failure(RuntimeError("first\nsecond"), INFER) == "RuntimeError: first"


def cell_of(step, name):
    """What a step from ``make_step`` holds under a name, also where it was captured."""
    inner = step.__defaults__[0] if step.__defaults__ else step
    return inner.__closure__[inner.__code__.co_freevars.index(name)].cell_contents


@pytest.mark.gpu
def test_a_replayed_graph_computes_the_same():
    set_precision("fp32")
    setting = Setting("infer", "eager", "channels_last", "fp32", 8, 64)
    _eager_model, eager = ready(setting, GPU)
    _graph_model, graph = ready(dataclasses.replace(setting, mode="cudagraph"), GPU)
    torch.testing.assert_close(graph(), eager(), atol=1e-4, rtol=1e-3)
    before, others = graph().clone(), torch.randn(8, 3, 64, 64, device=GPU)
    for step in (eager, graph):
        cell_of(step, "images").copy_(others)
    torch.testing.assert_close(graph(), eager(), atol=1e-4, rtol=1e-3)
    assert not torch.allclose(graph(), before, atol=1e-3)


@pytest.mark.gpu
def test_a_replayed_training_step_trains_as_an_eager_one():
    """The weights move as far, and in the same direction; one step more or less would change that by a quarter."""
    set_precision("fp32")
    setting = Setting("train", "eager", "channels_last", "fp32", 8, 64)
    moved = []
    for mode, count in (("eager", steps.CAPTURE_WARMUP + 2), ("cudagraph", 2)):  # a capture itself computes nothing
        torch.manual_seed(0)
        start = torch.cat([p.detach().flatten() for p in build(ATTO).parameters()])
        model, step = ready(dataclasses.replace(setting, mode=mode), GPU)
        for _ in range(count):
            step()
        torch.cuda.synchronize()
        moved.append(torch.cat([p.detach().flatten().cpu() for p in model.parameters()]) - start)
    eager, replayed = moved
    assert eager.norm() > 0
    assert (replayed - eager).norm() < 0.05 * eager.norm()


@pytest.mark.gpu
def test_device_events_agree_with_the_wall_clock():
    from time import perf_counter

    setting = Setting("infer", "eager", "channels_last", "fp32", 32, 224)
    _, step = ready(setting, GPU, network("inceptionnext_atto"))
    block = block_timer(step, GPU)
    block(10)
    measured = block(50) / 50
    torch.cuda.synchronize()
    start = perf_counter()
    for _ in range(50):
        step()
    torch.cuda.synchronize()
    assert measured == pytest.approx((perf_counter() - start) / 50, rel=0.3)


@pytest.mark.gpu
def test_a_latency_is_no_shorter_than_a_step_in_a_row():
    _, step = ready(dataclasses.replace(INFER, kind="latency", batch_size=1, img_size=224), GPU)
    in_a_row, alone = block_timer(step, GPU), SingleSteps(step, GPU)
    for block in (in_a_row, alone):
        block(20)
    assert alone(100) > 0.9 * in_a_row(100)


@pytest.mark.gpu
def test_peak_memory_holds_the_weights_that_were_on_the_device_before():
    """Of two small images, the activations are a small part of it."""
    arch = network("inceptionnext_atto").replace(img_size=32)
    mib = 4 * sum(p.numel() for p in build(arch).parameters()) / 2**20
    job = Job((), arch, BenchRecipe(batch_size=2, precision="fp32"))
    load_network(built_network(arch, job), 0, job, GPU, lambda: None)  # the first pays for cuBLAS's own memory
    built = built_network(arch, job)
    lay_out_ahead(built, 0, job, GPU)
    assert len(built.laid_out) == 1
    (step,) = load_network(built, 0, job, GPU, lambda: None).steps.values()
    assert mib < step.peak_memory_mb < 3 * mib


@pytest.mark.gpu
def test_peak_memory_holds_weights_and_activations():
    job = Job((), ATTO, BenchRecipe(batch_size=64), ("infer", "train"), thorough=True)
    loaded = load_network(built_network(network("inceptionnext_atto"), job), 0, job, GPU, lambda: None)
    peak = {setting.kind: step.peak_memory_mb for setting, step in loaded.steps.items()}
    assert 4 * loaded.measured.params / 2**20 < peak["infer"] < peak["train"]
