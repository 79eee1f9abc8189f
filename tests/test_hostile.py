# SPDX-License-Identifier: BSD-3-Clause
"""Hostile arrays and objects that lie: the right number or a clear error, never a crash.

`nox -s hostile` runs this under the address sanitizer; FASTCKA_EXAMPLES=100000 looks longer.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from implementations import FEATURE_KERNELS, KERNELS
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


SAME_VALUES = [
    np.asfortranarray,
    every_second,
    misaligned,
    read_only,
    lambda X: X[::-1],
    lambda X: X[:, ::-1],
    lambda X: X[::-1, ::-1],
    lambda X: X.T.copy().T,
]
# And views with other values of the same memory: what counts is what NumPy reads.
LAYOUTS = [
    *SAME_VALUES,
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


def settings_of(kernels):
    return st.fixed_dictionaries(
        {
            "kernel": st.sampled_from([kernel for kernel in kernels if kernel != "precomputed"]),
            "estimator": st.sampled_from(["biased", "unbiased"]),
            "dtype": st.sampled_from([None, "float32", "float64"]),
            "n_threads": st.integers(1, 3),
        }
    )


@pytest.fixture(autouse=True, scope="module")
def _fast_disk():
    """Nobody pulls the plug: what stores write may stay in the buffers of the system."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


SETTINGS = settings_of(KERNELS)
FEW, MANY = st.one_of(st.integers(1, 9), st.integers(1, 200)), st.integers(151, 10**6)


@st.composite
def layers(draw, n, widths=FEW):
    """Small integers, which every type holds, or raw bytes (NaN, infinity), in any type and layout."""
    p = draw(widths)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.integers(0, 4)) == 0 and dtype.kind != "b":
        X = np.frombuffer(rng.bytes(n * p * dtype.itemsize), dtype).reshape(n, p)
    else:
        X = rng.integers(0, 2 if dtype.kind == "b" else 12, (n, p)).astype(dtype)
    below = draw(st.sampled_from([np.asarray, *SAME_VALUES]))
    return draw(st.sampled_from(LAYOUTS))(below(X))


def outcome(function, *arguments, **options):
    """What came out: bytes, or a refusal."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arguments, **options)).tobytes()
    except REFUSALS as e:
        return refusal(e)


class Refusal(NamedTuple):
    kind: type[Exception]
    message: str


def refusal(error):
    assert str(error), "a refusal without a message"
    if isinstance(error, MemoryError):  # which says how much is free at the moment
        return Refusal(MemoryError, "")
    return Refusal(type(error), str(error))


def plain(X):
    """The same values in the simplest layout."""
    return np.array(np.asarray(X), dtype=X.dtype.newbyteorder("="), order="C")


# Everything that takes arrays, as a function of two of them.


def gram(X, Y, *, estimator, **settings):
    return fastcka.gram(X, **settings)


def center(X, Y, *, n_threads, **settings):
    return fastcka.center(X, n_threads=n_threads)


def matrix(X, Y, **settings):
    return fastcka.cka_matrix({"x": X, "y": Y}, [Y], **settings).values


def inference(X, Y, **settings):
    result = fastcka.cka_matrix([X], [Y], inference=True, **settings)
    return np.array([result.values, result.stderr, result.pvalues, result.zscores])


def cka_test(X, Y, **settings):
    test = fastcka.cka_test(X, Y, **settings)
    return [test.statistic, test.pvalue, test.stderr, test.null_mean, test.null_std, test.null_skewness]


def stream(X, Y, *, kernel, **settings):
    return streamed(fastcka.StreamingCKA(**settings), X, Y)


def mini_batches(X, Y, *, estimator, **settings):
    return streamed(fastcka.StreamingCKA("minibatch", **settings), X, Y)


def streamed(stream, X, Y):
    stream.update(X, Y)
    stream.update({"0": X}, [Y])
    return stream.result().values


def store(X, Y, **settings):
    with tempfile.TemporaryDirectory() as folder:
        with fastcka.create_store(Path(folder) / "s") as writer:
            writer.append([X, Y])
            writer.append([X, Y])
        return np.concatenate([np.fromfile(x, np.uint8) for x in sorted(Path(folder).glob("s/*.npy"))])


ENTRIES = [fastcka.cka, fastcka.hsic, gram, center, matrix, inference, cka_test, stream, mini_batches, store]
of_each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
# Of very many samples, these take time and memory in proportion to them.
of_each_fast_entry = pytest.mark.parametrize(
    "entry", [fastcka.cka, fastcka.hsic, matrix, stream, store], ids=lambda entry: entry.__name__
)


@of_each_entry
@hypothesis.given(data=st.data(), n=st.one_of(st.integers(1, 8), st.integers(1, 150)), settings=SETTINGS)
def test_the_layout_changes_nothing(entry, data, n, settings):
    widths = st.just(n) if entry is center else FEW
    X, Y = data.draw(layers(n, widths)), data.draw(layers(n, widths))
    assert outcome(entry, X, Y, **settings) == outcome(entry, plain(X), plain(Y), **settings)


@of_each_fast_entry
@hypothesis.given(data=st.data(), n=MANY, settings=settings_of(FEATURE_KERNELS))
def test_the_layout_of_very_many_samples_changes_nothing(entry, data, n, settings):
    X, Y = (data.draw(layers(n, st.integers(1, 2))) for _ in "XY")
    assert outcome(entry, X, Y, **settings) == outcome(entry, plain(X), plain(Y), **settings)


@hypothesis.given(data=st.data(), n=st.integers(4, 60), settings=SETTINGS)
def test_small_integers_have_the_value_of_the_reference(data, n, settings):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X, Y = (rng.integers(0, 12, (n, data.draw(st.integers(3, 40)))).astype(np.float64) for _ in "ab")
    layout = data.draw(st.sampled_from(SAME_VALUES))
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


class LyingRows(Liar):
    """As datasets in files are, it is asked for rows."""

    def __getitem__(self, key):
        return self._array[key]


DOUBLE = np.dtype("f8")


@of_each_entry
@hypothesis.given(
    data=st.data(),
    kind=st.sampled_from([Liar, LyingRows]),
    claimed=st.sampled_from([DOUBLE, DOUBLE, np.dtype("f4"), np.dtype("O"), "bfloat16", None, 7]),
    n=st.integers(1, 20),
    both=st.booleans(),
)
def test_an_object_that_lies_about_its_shape(entry, data, kind, claimed, n, both):
    X, Y = np.random.default_rng(0).normal(size=(2, n, n if entry is center else 3))
    any_shape = st.lists(st.integers(-3, 10**12), min_size=1, max_size=3)
    shape = tuple(data.draw(st.one_of(any_shape, st.tuples(st.just(n), st.integers(1, 40)))))
    first, second = (kind(shape, claimed, array) for array in (X, Y))
    settings = {"kernel": "linear", "estimator": "unbiased", "dtype": None, "n_threads": 1}
    found = outcome(entry, first, second if both else Y, **settings)
    assert found == outcome(entry, X, Y, **settings) or isinstance(found, Refusal)
