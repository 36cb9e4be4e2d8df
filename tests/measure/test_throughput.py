import pytest
import torch

from archsearch.errors import OptionError
from archsearch.measure import throughput
from archsearch.measure.device import device_name, environment, git_commit, pick_device
from archsearch.measure.throughput import infer_step, measure, train_step
from archsearch.networks import network
from archsearch.nn import build
from archsearch.recipes import Bench

CPU = torch.device("cpu")


class Clock:
    """A machine whose every step takes as long as the script says, and whose clock it owns."""

    def __init__(self, durations):
        self.durations, self.now, self.steps = iter(durations), 0.0, 0

    def step(self):
        self.now += next(self.durations)
        self.steps += 1

    def perf_counter(self):
        return self.now


def timed(monkeypatch, durations, bench):
    clock = Clock(durations)
    monkeypatch.setattr(throughput.time, "perf_counter", clock.perf_counter)
    return measure(clock.step, bench, 32, CPU), clock


def test_warm_up_does_not_count(monkeypatch):
    bench = Bench(batch_size=4, warmup_blocks=2, blocks=3, min_block_s=0.0)
    timing, clock = timed(monkeypatch, [9.0, 9.0, 0.5, 0.5, 0.5], bench)
    assert timing.blocks_s == (0.5, 0.5, 0.5)
    assert timing.throughput == 8.0
    assert clock.steps == 5


def test_the_median_shrugs_off_a_slow_block(monkeypatch):
    bench = Bench(batch_size=1, warmup_blocks=1, blocks=5, min_block_s=0.0)
    timing, _ = timed(monkeypatch, [1.0, 1.0, 1.2, 50.0, 1.1, 0.9], bench)
    assert timing.step_s == pytest.approx(1.1)
    assert timing.quartiles_s == pytest.approx((1.0, 1.2))


def test_blocks_are_long_enough_for_the_clock(monkeypatch):
    bench = Bench(batch_size=1, warmup_blocks=2, blocks=2, min_block_s=1.0)
    timing, _ = timed(monkeypatch, [0.03] * 1000, bench)
    assert timing.steps_per_block * 0.03 >= 1.0
    assert timing.step_s == pytest.approx(0.03)


def test_steps_do_what_they_time():
    arch, bench = network("inceptionnext_atto").replace(num_classes=5), Bench(batch_size=3)
    model = build(arch)
    before = model.stem[0].weight.detach().clone()
    assert infer_step(model, bench, 32, CPU)().shape == (3, 5)
    assert torch.equal(before, model.stem[0].weight)
    assert model.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    train_step(model, bench, 32, CPU)()
    assert not torch.equal(before, model.stem[0].weight)


def test_devices():
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(OptionError, match="no device 'cuda:99' here"):
        pick_device("cuda:99")
    with pytest.raises(OptionError, match=r"there is: auto, cpu"):
        pick_device("gpu")


def test_the_environment_names_what_a_figure_depends_on():
    facts = environment(CPU)
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["device_name"] == device_name(CPU) != ""
    assert facts["commit"] == git_commit()
    assert facts["proxy_autocast"] in ("bfloat16", "off")


@pytest.mark.gpu
def test_device_events_agree_with_the_wall_clock():
    model = build(network("inceptionnext_atto"))
    bench, device = Bench(batch_size=32, blocks=5), torch.device("cuda")
    step = infer_step(model, bench, 224, device)
    timing = measure(step, bench, 224, device)
    torch.cuda.synchronize()
    start = throughput.time.perf_counter()
    for _ in range(50):
        step()
    torch.cuda.synchronize()
    assert timing.step_s == pytest.approx((throughput.time.perf_counter() - start) / 50, rel=0.3)
