# SPDX-License-Identifier: BSD-3-Clause
"""Hostile arrays, objects that lie, damaged files: the right number or a clear error, never a crash.

`nox -s hostile` runs this under the address sanitizer; FASTCKA_EXAMPLES=100000 looks longer.
"""

from __future__ import annotations

import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from implementations import KERNELS
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import fastcka
from fastcka import reference

pytestmark = pytest.mark.filterwarnings("ignore::fastcka.DegenerateWarning")

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i1", "u2", "?", ">f8", ">f4", ">i4", ">f2"]
REFUSALS = (ValueError, TypeError, MemoryError)


class Claims(np.ndarray):
    """A subclass that says something else of itself than it is."""

    @property
    def shape(self):
        return (10**9, 10**9)

    @property
    def strides(self):
        return (0, 0)

    @property
    def flags(self):
        return {"C_CONTIGUOUS": True}


def every_second(X):
    spread = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)
    return spread[::2, ::3]


def misaligned(X):
    memory = np.zeros(X.nbytes + 1, np.uint8)
    view = memory[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


# Views of the same values, and views with other values of the same memory: what counts is what NumPy reads.
LAYOUTS = [
    np.asfortranarray,
    every_second,
    misaligned,
    read_only,
    lambda X: X[::-1],
    lambda X: X[:, ::-1],
    lambda X: X[::-1, ::-1],
    lambda X: X.T.copy().T,
    lambda X: np.broadcast_to(X[:1], X.shape),  # all rows are one
    lambda X: np.broadcast_to(X[:, :1], X.shape),  # all columns are one
    lambda X: as_strided(X, X.shape, (0, 0)),  # one value
    lambda X: sliding_window_view(np.ascontiguousarray(X).reshape(-1), X.shape[1])[
        : len(X)
    ],  # overlapping rows
    lambda X: X.view(np.matrix),
    lambda X: X.view(np.ma.MaskedArray),
    lambda X: X.view(Claims),
    lambda X: X[:0],
    lambda X: X[:, :0],
    lambda X: X[None],
]

SETTINGS = st.fixed_dictionaries(
    {
        "kernel": st.sampled_from([kernel for kernel in KERNELS if kernel != "precomputed"]),
        "estimator": st.sampled_from(["biased", "unbiased"]),
        "dtype": st.sampled_from([None, "float32", "float64"]),
        "n_threads": st.integers(1, 3),
    }
)


@st.composite
def layers(draw, n):
    """Small integers, which every type holds, or raw bytes (NaN, infinity), in any type and layout."""
    p = draw(st.one_of(st.integers(1, 9), st.integers(1, 200)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.integers(0, 4)) == 0 and dtype.kind != "b":
        X = np.frombuffer(rng.bytes(n * p * dtype.itemsize), dtype).reshape(n, p)
    else:
        X = rng.integers(0, 2 if dtype.kind == "b" else 12, (n, p)).astype(dtype)
    return draw(st.sampled_from(LAYOUTS))(X)


def outcome(function, *arguments, **options):
    """What came out: a number, or the class and the message of a refusal."""
    try:
        with np.errstate(all="ignore"):
            return np.float64(function(*arguments, **options)).tobytes()
    except REFUSALS as e:
        return refusal(e)


def refusal(error):
    assert str(error), "a refusal without a message"
    return type(error), str(error)


def plain(X):
    """The same values in the simplest layout."""
    return np.array(np.asarray(X), dtype=X.dtype.newbyteorder("="), order="C")


@hypothesis.given(data=st.data(), n=st.one_of(st.integers(1, 8), st.integers(1, 150)), settings=SETTINGS)
def test_the_layout_changes_nothing(data, n, settings):
    X, Y = data.draw(layers(n)), data.draw(layers(n))
    assert outcome(fastcka.cka, X, Y, **settings) == outcome(fastcka.cka, plain(X), plain(Y), **settings)


@hypothesis.given(data=st.data(), n=st.integers(4, 60), settings=SETTINGS)
def test_small_integers_have_the_value_of_the_reference(data, n, settings):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X, Y = (rng.integers(0, 12, (n, data.draw(st.integers(3, 40)))).astype(np.float64) for _ in "ab")
    layout = data.draw(st.sampled_from(LAYOUTS[:8]))
    options = {name: settings[name] for name in ("kernel", "estimator")}
    expected = reference.cka(X, Y, **options)
    found = fastcka.cka(layout(X), layout(Y), **options)
    # The worst that a self-HSIC close to the limit of nan allows.
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


class Liar:
    """An object whose attributes disagree with the array that it gives."""

    def __init__(self, shape, dtype, array):
        self.shape, self.dtype, self.ndim, self._array = shape, dtype, len(shape), array

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return self._array


@hypothesis.given(
    shape=st.lists(st.integers(-3, 10**12), min_size=0, max_size=3),
    claimed=st.sampled_from([np.dtype("f8"), np.dtype("O"), "bfloat16", None, 7]),
    n=st.integers(1, 20),
)
def test_an_object_that_lies_about_its_shape(shape, claimed, n):
    X = np.random.default_rng(0).normal(size=(n, 3))
    liar = Liar(tuple(shape) or (n,), claimed, X)
    assert outcome(fastcka.cka, liar, X) in (outcome(fastcka.cka, X, X), outcome(fastcka.cka, liar, X))


@hypothesis.given(data=st.data())
def test_a_damaged_file_is_refused_or_read(data, tmp_path_factory):
    """Of layers without a checksum, a changed value cannot be seen; all else is an error."""
    folder = tmp_path_factory.mktemp("damaged")
    suffix = data.draw(st.sampled_from([".npy", ".npz", ".safetensors", ".h5"]))
    path = folder / f"layers{suffix}"
    write_layers(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "zero"]))
        at = data.draw(
            st.integers(0, min(len(content) - 1, 400) if data.draw(st.booleans()) else len(content) - 1)
        )
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[max(at, 1) :]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy and h5py, about what they find
            for name, layer in fastcka.open_layers(path).items():
                assert isinstance(name, str)
                outcome(fastcka.cka, layer, layer)
    except (*REFUSALS, OSError) as e:
        refusal(e)


def write_layers(path):
    arrays = {"conv": np.arange(24.0).reshape(6, 4), "fc": np.arange(12, dtype=np.float32).reshape(6, 2)}
    if path.suffix == ".npy":
        np.save(path, arrays["conv"])
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    else:
        with pytest.importorskip("h5py").File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
