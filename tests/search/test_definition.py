"""What a study's record tells of its definition."""

import dataclasses

import pytest
import tiny

from archsearch.search.definition import create_or_resume, load, objectives_of
from archsearch.search.storage.opening import open_storage


@pytest.mark.parametrize("form", ["train", "deploy"])
def test_stored_objectives_say_the_form_that_was_timed(form, small_space, tmp_path):
    study = tiny.make_study(small_space, objectives="accuracy,macs,infer_throughput")
    study = dataclasses.replace(study, bench=dataclasses.replace(study.bench, form=form))
    storage = open_storage(str(tmp_path / "s.db"), create=True)
    create_or_resume(study, storage)
    stored = objectives_of(load(study.name, storage))
    assert stored == study.named_objectives
    assert ["deploy form" in objective.label for objective in stored] == [False, False, form == "deploy"]
