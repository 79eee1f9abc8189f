# SPDX-License-Identifier: BSD-3-Clause
"""The plan says what will happen, and people can read it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fastcka


def test_plan_reads_well():
    layers = {"conv": np.zeros((3000, 64), np.float32), "fc": np.zeros((3000, 10), np.float32)}
    plan = fastcka.plan(layers, n_threads=1)
    lines = str(plan).splitlines()
    assert lines[0] == "linear CKA of 3 pairs of layers, 3000 samples"
    assert [line.split()[0] for line in lines[1:]] == [
        "route",
        "work",
        "memory",
        "reads",
        "threads",
        "arithmetic",
    ]
    assert lines[1] == f"  route       {plan.route} (tiles of features x features)"
    assert f"{plan.flops / 1e9:.3g} GFLOP" in lines[2]
    assert f"({plan.bytes} bytes)" in lines[3]
    assert lines[4] == "  reads       each input value about 2 times"
    assert lines[5] == "  threads     1"
    assert f"float32, SIMD level {plan.simd_level}" in lines[6]
    assert "samples x samples" in str(fastcka.plan(layers, kernel="rbf"))
    assert str(fastcka.plan(layers, kernel=fastcka.RBF(0.5))).startswith("RBF(bandwidth=0.5) CKA of 3 pairs")


def test_plan_reads_no_values():
    layers = [np.full((3000, 64), np.nan)]
    plan = fastcka.plan(layers, [*layers, *layers])
    assert str(fastcka.plan(layers)).startswith("linear CKA of one pair of layers, 3000 samples")
    assert (plan.n_samples, plan.n_pairs, plan.dtype) == (3000, 2, "float64")


def test_kernels_but_linear_need_the_gram_route():
    tall = [np.zeros((5000, 8), np.float32)]
    assert fastcka.plan(tall).route == "feature"
    for kernel in ("rbf", "laplacian", "polynomial", "distance"):
        assert fastcka.plan(tall, kernel=kernel).route == "gram"
    assert fastcka.plan([np.zeros((8, 8), np.float32)], kernel="precomputed").route == "gram"


def test_double_precision_needs_more_memory():
    layers = [np.zeros((3000, 640), np.float32)]
    assert fastcka.plan(layers, dtype="float64").bytes > fastcka.plan(layers).bytes


def test_plan_takes_the_arguments_of_cka_matrix():
    signatures = [inspect.signature(function) for function in (fastcka.plan, fastcka.cka_matrix)]
    assert signatures[0].parameters == signatures[1].parameters
    sweep = inspect.signature(fastcka.Sweep).parameters
    assert {name: signatures[1].parameters[name] for name in sweep} == dict(sweep)
    options = {"estimator": "debiased", "nan_policy": "propagate", "progress": True, "max_bytes": "1GiB"}
    layers = [np.zeros((5, 3))]
    assert fastcka.plan(layers, **options) == fastcka.plan(layers)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("estimator", "other", ValueError),
        ("nan_policy", "omit", ValueError),
        ("nan_policy", 1, TypeError),
        ("progress", 1, TypeError),
        ("max_bytes", "much", ValueError),
    ],
)
def test_plan_refuses_what_cka_matrix_refuses(option, value, error):
    for function in (fastcka.plan, fastcka.cka_matrix):
        with pytest.raises(error, match=option):
            function([[[1.0], [2.0]]], **{option: value})


def test_plan_refuses_options_that_do_not_go_together(rng):
    for options, words in (
        ({"measure": "rv2", "inference": True}, "inference=True is for measure='cka', got measure='rv2'"),
        ({"nan_policy": "propagate", "checkpoint": "sums.npz"}, "checkpoint: .* nan_policy"),
    ):
        for function in (fastcka.plan, fastcka.cka_matrix):
            with pytest.raises(ValueError, match=words):
                function([rng.normal(size=(8, 3))], **options)


def test_plan_needs_as_many_samples_as_the_estimator():
    layers = [np.zeros((3, 3))]
    assert fastcka.plan(layers).n_samples == 3
    with pytest.raises(ValueError, match="at least 4 samples"):
        fastcka.plan(layers, estimator="unbiased")
