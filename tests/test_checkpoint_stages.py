# SPDX-License-Identifier: BSD-3-Clause
"""A run with a checkpoint resumes in any stage, medians and inference too, and so does `cka_models`."""

from __future__ import annotations

import numpy as np
import pytest
from test_sweep import networks

import fastcka
from fastcka import _checkpoint

OPTIONS = {"kernel": "rbf", "dtype": "float64", "inference": True}


class Stopped(Exception):
    pass


@pytest.fixture
def stopping(monkeypatch):
    """Stop a run once some blocks of a stage are in the file, and not all of them."""
    write = _checkpoint._write

    def stop(stage, call):
        def writing(path, done, samples):
            write(path, done, samples)
            if stage in done and len(done[stage].covered[0]) >= 2 and done[stage].missing:
                raise Stopped

        monkeypatch.setattr(_checkpoint, "_write", writing)
        with pytest.raises(Stopped):
            call()
        monkeypatch.setattr(_checkpoint, "_write", write)

    return stop


@pytest.mark.parametrize("stage", ["median-1", "median-3", "products", "inference"])
def test_a_run_that_is_stopped_resumes_in_that_stage(tmp_path, stopping, made_blocks, stage):
    a, b = networks(True, "float64")
    path, whole = tmp_path / "sums.npz", fastcka.cka_matrix(a, b, **OPTIONS)
    stopping(stage, lambda: fastcka.cka_matrix(a, b, checkpoint=path, **OPTIONS))
    all_made, done = dict(made_blocks), _checkpoint._read(path, None)
    assert list(done)[-1] == stage
    made_blocks.clear()
    assert fastcka.cka_matrix(a, b, checkpoint=path, **OPTIONS).equals(whole)
    assert made_blocks[stage] == sum(map(len, done[stage].missing))
    earlier = [name for name in all_made if name not in ("statistics", stage)]
    assert not any(made_blocks[name] for name in earlier)
    made_blocks.clear()
    assert fastcka.cka_matrix(a, b, checkpoint=path, **OPTIONS).equals(whole)
    assert set(made_blocks) == {"statistics"}  # which tell that the data is the same


def test_the_inference_of_a_finished_run_can_be_left_out_and_added(tmp_path, made_blocks):
    a, b = networks(True, "float32")
    path = tmp_path / "sums.npz"
    for inference in (False, True, False):
        options = {"kernel": "distance", "inference": inference}
        assert fastcka.cka_matrix(a, b, checkpoint=path, **options).equals(
            fastcka.cka_matrix(a, b, **options)
        )
    assert made_blocks["products"] == len(fastcka.Sweep(a, b, kernel="distance").blocks())


@pytest.mark.parametrize(
    ("options", "stage"),
    [
        ({}, "products"),
        ({"kernel": "rbf"}, "median-2"),
        ({"kernel": "distance", "inference": True}, "inference"),
    ],
    ids=["linear", "rbf", "inference"],
)
def test_models(tmp_path, stopping, options, stage):
    a, b = networks(True, "float64")
    models, path = {"resnet": a, "vit": b, "both": {"x": a["layer7"]}}, tmp_path / "sums.npz"
    whole = fastcka.cka_models(models, **options)
    stopping(stage, lambda: fastcka.cka_models(models, checkpoint=path, **options))
    found = fastcka.cka_models(models, checkpoint=path, **options)
    assert found.pair("resnet", "vit").equals(whole.pair("resnet", "vit"))
    np.testing.assert_array_equal(np.asarray(found.summary()), np.asarray(whole.summary()))
    b["layer30"][3, 4] += 1
    with pytest.raises(
        ValueError, match=r"belongs to another comparison: layer 'layer30' of model 'vit' has other values"
    ):
        fastcka.cka_models(models, checkpoint=path, **options)
    with pytest.raises(ValueError, match="nan_policy"):
        fastcka.cka_models(models, checkpoint=path, nan_policy="propagate", **options)
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        fastcka.cka_models(models, checkpoint=tmp_path / "sums.bin", **options)
