from archsearch.trial import Evaluation


def test_a_score_beside_the_fixed_reference_needs_no_footnote():
    busy = {"warnings": ["other programs kept 1.9 of 2 cores busy during the timing"]}
    bent = {"infer_throughput": {"conditions": busy}, "peak_memory_mb": {"conditions": busy}}
    held = {name: {**detail, "fixed_reference_s": 0.2} for name, detail in bent.items()}
    assert Evaluation(details=bent).disturbances == busy["warnings"]
    assert Evaluation(details=held).disturbances == []
    assert Evaluation(details={"infer_throughput": {}}).disturbances == []
