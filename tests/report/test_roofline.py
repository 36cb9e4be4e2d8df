import pytest

from archsearch.report.roofline_figure import points, roofline_figure, roofline_table

#: 100 GFLOP/s and 10 GB/s: the roofs meet at 10 FLOP/byte.
VIEW = {
    "roofs": {"flops_per_s": 100e9, "bytes_per_s": 10e9},
    "parts": [
        {"level": 0, "name": "stem", "seconds": 0.0, "flops": 0.0, "bytes_moved": 0.0},
        {"level": 0, "name": "stage 1", "seconds": 0.04, "flops": 2e9, "bytes_moved": 1e8},
        {"level": 1, "name": "token mixer", "seconds": 0.03, "flops": 1e7, "bytes_moved": 1e8},
        {"level": 0, "name": "head", "seconds": 0.01, "flops": 0.0, "bytes_moved": 1e7},
    ],
}


def test_parts_beside_their_roofs():
    stage, mixer, head = points(VIEW)
    assert (stage.ms, stage.share, stage.gflops, stage.gbytes) == pytest.approx((40.0, 0.8, 50.0, 2.5))
    assert (stage.intensity, stage.bound, stage.reached) == (20.0, "compute", pytest.approx(0.5))
    assert (mixer.intensity, mixer.bound) == (0.1, "memory")
    assert mixer.reached == pytest.approx(0.01 / 0.03)
    assert (head.gflops, head.bound, head.reached) == (0.0, "memory", pytest.approx(0.1))


def test_the_table_says_what_the_roofs_are():
    lines = roofline_table("net", VIEW).splitlines()
    assert "matrix product (100 GFLOP/s)" in lines[0]
    assert "copy (10.0 GB/s)" in lines[0]
    assert lines[4].split() == ["token", "mixer", "30.00", "60.0%", "0.3", "3.3", "0.1", "memory", "33%"]
    assert roofline_table("net", {"error": "out of memory"}) == "net: no roofline: out of memory"


def test_the_figure_has_roofs_above_all_points():
    figure = roofline_figure([("net", VIEW), ("other", VIEW)])
    *networks, roofs = figure.data
    assert [trace.name for trace in networks] == ["net", "other"]
    assert list(roofs.y[1:]) == [100.0, 100.0]
    assert roofs.y[0] == pytest.approx(10.0 * roofs.x[0])
    for trace in networks:
        assert len(trace.x) == 2  # the head computes nothing and has no place on a logarithmic axis
        assert all(y <= min(100.0, 10.0 * x) for x, y in zip(trace.x, trace.y, strict=True))
        assert min(trace.x) > roofs.x[0]
