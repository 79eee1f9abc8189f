# SPDX-License-Identifier: BSD-3-Clause
"""Inputs that know their samples must hold the same ones, in the same order."""

from __future__ import annotations

import numpy as np
import pytest

import fastcka

pd = pytest.importorskip("pandas")
NAMES = [f"image{i}" for i in range(20)]


@pytest.fixture
def frame(rng):
    return pd.DataFrame(rng.normal(size=(20, 3)), index=NAMES)


DOORS = {
    "cka": fastcka.cka,
    "hsic": fastcka.hsic,
    "matrix": lambda a, b: fastcka.cka_matrix({"a": a}, {"b": b}),
    "one side": lambda a, b: fastcka.cka_matrix({"a": a, "b": b}),
    "models": lambda a, b: fastcka.cka_models({"a": [a], "b": [b]}),
    "sweep": lambda a, b: fastcka.Sweep([a], [b]),
    "plan": lambda a, b: fastcka.plan([a], [b]),
    "test": fastcka.cka_test,
    "largest": lambda a, b: fastcka.calibrated_max({"a": a}, {"b": b}, n_resamples=1),
    "stream": lambda a, b: fastcka.StreamingCKA().update({"a": a, "b": b}),
    "stream of two": lambda a, b: fastcka.StreamingCKA().update(a, b),
}


@pytest.mark.parametrize("door", DOORS)
def test_another_order_is_an_error_that_says_how_to_align(frame, door):
    DOORS[door](frame, frame.copy())
    DOORS[door](frame, frame.to_numpy()[::-1])  # an array knows no samples
    with pytest.raises(
        ValueError, match=r"sample 0 is 'image0' in .* and 'image19' in .*another order.*\.loc\["
    ):
        DOORS[door](frame, frame[::-1])
    with pytest.raises(ValueError, match=r"sample 3 is 'image3' .* 19 ids are in both"):
        DOORS[door](frame, frame.rename(index={"image3": "other"}))


def test_a_default_index_counts_only_beside_the_same_labels(frame):
    default = frame.reset_index(drop=True)
    fastcka.cka(frame, default)
    fastcka.cka(default, default.copy())
    with pytest.raises(ValueError, match="another order"):
        fastcka.cka(default, default[::-1])
    fastcka.cka(default, default.set_axis(range(5, 25)))  # other labels: nothing is known


def test_indices_of_xarray_are_compared(frame):
    xr = pytest.importorskip("xarray")
    X = xr.DataArray(frame.to_numpy(), dims=("image", "unit"), coords={"image": NAMES})
    fastcka.cka(X, frame)
    fastcka.cka(X, X.drop_vars("image"))
    with pytest.raises(ValueError, match="'image0' in X and 'image19' in Y"):
        fastcka.cka(X, X[::-1])


def test_ids_of_a_store_are_compared_with_an_index(frame, tmp_path):
    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append({"fc": frame.to_numpy()}, ids=NAMES)
    store = fastcka.open_store(tmp_path / "s")
    fastcka.cka_matrix(store, {"frame": frame})
    with pytest.raises(ValueError, match="'image0' in layers_a and 'image19' in layer 'frame' of layers_b"):
        fastcka.cka_matrix(store, {"frame": frame[::-1]})
    with pytest.raises(ValueError, match="'image0' in batch_a and 'image19' in batch_b"):
        fastcka.StreamingCKA().update(store, frame[::-1])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_float64_does_not_hold(dtype):
    X = np.arange(12, dtype=dtype).reshape(6, 2)
    fastcka.cka(X + dtype(2**53 - 11), X)
    big = X + dtype(2**53)
    with pytest.raises(
        ValueError, match=f"X has the {np.dtype(dtype)} value {2**53 + 11}.*[Ss]ubtract an offset"
    ):
        fastcka.cka(big, X)
    with pytest.raises(ValueError, match="layer 'big' of batch_a has"):
        fastcka.StreamingCKA().update({"big": big})
