# SPDX-License-Identifier: BSD-3-Clause
"""Layers that are not in memory are read when their turn comes, some rows at a time: the same bits."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import ml_dtypes
import numpy as np
import pytest
import zarr

import fastcka
from fastcka._sources import Source, as_layer
from fastcka.layers import StoredLayer, open_layers

KERNELS = (
    "linear",
    "rbf",
    fastcka.RBF(sigma=200.0),
    "laplacian",
    "polynomial",
    "cosine",
    "correlation",
    "distance",
)


class Rows:
    """What h5py and zarr have in common: a shape, a dtype and slices of rows, which are noted."""

    def __init__(self, array, log=None):
        self.array, self.log = array, [] if log is None else log
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key):
        self.log.append((id(self), key.start, key.stop))
        return self.array[key].copy()


class Closed(Rows):
    """One whose values must not be read."""

    def __getitem__(self, key):
        raise AssertionError("read")


def lazy(layers, log=None):
    return None if layers is None else [Rows(X, log) for X in layers]


def wide(rng, *shapes, dtype=np.float32):
    """Layers of which 16 MB are some hundred rows."""
    return [rng.normal(1, 3, size=shape).astype(dtype) for shape in shapes]


def least_bytes(a, b=None, **options):
    with pytest.raises(MemoryError, match="at least") as refused:
        fastcka.plan(a, b, max_bytes=1000, **options)
    return int(str(refused.value).split("at least ")[1].split()[0])


def check_bits(a, b=None, **options):
    """With all the memory, and with the least, in which layers are read in pieces."""
    whole = fastcka.cka_matrix(a, b, **options)
    sources = lazy(a), lazy(b)
    np.testing.assert_array_equal(fastcka.cka_matrix(*sources, **options), whole)
    least = least_bytes(*sources, **options)
    for limit in (least, 2 * least):
        log = []
        part = fastcka.cka_matrix(lazy(a, log), lazy(b, log), max_bytes=limit, **options)
        np.testing.assert_array_equal(part, whole)
    return whole


# ------------------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_every_kernel(rng, kernel):
    layers = wide(rng, (300, 20_000), (300, 2000))
    assert fastcka.plan(layers, kernel=kernel).route == "gram"
    check_bits(layers[:1], layers[1:], kernel=kernel, estimator="unbiased")


@pytest.mark.parametrize("kernel", ["linear", "cosine", "correlation"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_feature_route(rng, kernel, dtype):
    layers = wide(rng, (15_000, 300), (15_000, 70))
    assert fastcka.plan(layers, kernel=kernel).route == "feature"
    check_bits(layers, kernel=kernel, dtype=dtype)


@pytest.mark.parametrize("dtype", ["f8", "f2", "i8", "i2", "u1", "?", ">f4", "bfloat16"])
def test_every_type(rng, dtype):
    chosen = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    layers = [
        (X > 0 if dtype == "?" else 10 * X).astype(chosen) for X in wide(rng, (150, 30_000), (150, 100))
    ]
    check_bits(layers, kernel=fastcka.RBF(sigma=1000.0))


def test_precomputed(rng):
    grams = [X @ X.T for X in wide(rng, (2200, 50), (2200, 70), dtype=np.float64)]
    check_bits(grams, kernel="precomputed")


@pytest.mark.parametrize(("count", "n", "p"), [(40, 1100, 600), (30, 300, 100)], ids=["shared", "whole tile"])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_many_layers(rng, count, n, p, kernel):
    layers = wide(rng, *[(n, p)] * count)
    whole = fastcka.cka_matrix(layers, kernel=kernel)
    np.testing.assert_array_equal(fastcka.cka_matrix(lazy(layers), kernel=kernel), whole)
    limit = least_bytes(lazy(layers), kernel=kernel)
    np.testing.assert_array_equal(fastcka.cka_matrix(lazy(layers), kernel=kernel, max_bytes=limit), whole)


def test_massive_samples_are_computed_in_float64_all_the_same(rng):
    layers = wide(rng, (300, 20_000), (300, 2000))
    layers[0][17, 5] = 1e5
    whole = fastcka.cka_matrix(layers)
    assert whole.provenance["dtype"] == "float64"
    for limit in (None, least_bytes(lazy(layers), dtype="float64")):
        assert fastcka.cka_matrix(lazy(layers), max_bytes=limit).equals(whole)


def test_in_memory_and_lazy_together(rng):
    a, b = wide(rng, (300, 20_000), (300, 50))
    whole = fastcka.cka_matrix([a, b])
    np.testing.assert_array_equal(fastcka.cka_matrix([a, Rows(b)]), whole)
    assert fastcka.cka(Rows(a), b) == fastcka.cka(a, Rows(b)) == fastcka.cka(a, b)
    assert fastcka.hsic(Rows(a), Rows(b)) == fastcka.hsic(a, b)


def test_inference(rng):
    layers = wide(rng, (200, 30_000), (200, 40), (200, 500))
    for options in ({}, {"groups": np.arange(200) % 50}, {"kernel": "rbf"}):
        whole = fastcka.cka_matrix(layers, inference=True, **options)
        assert fastcka.cka_matrix(lazy(layers), inference=True, **options).equals(whole)


def test_pieces_of_a_sweep_and_checkpoints(rng, tmp_path):
    layers = wide(rng, (420, 20_000), (420, 900))
    whole = fastcka.cka_matrix(layers, kernel="rbf")
    sweep = fastcka.Sweep(lazy(layers), kernel="rbf")
    statistics = sweep.run(1, "statistics") | sweep.run(0, "statistics")
    parts = [sweep.run(sweep.share(task, 2, given=statistics), given=statistics) for task in (0, 1)]
    assert sweep.result(parts[0] | parts[1]).equals(whole)
    for _ in range(2):
        saved = fastcka.cka_matrix(lazy(layers), kernel="rbf", checkpoint=tmp_path / "sums.npz")
        np.testing.assert_array_equal(saved, whole)


# ------------------------------------------------------------------------------------------- what is read


def test_a_plan_reads_nothing(rng):
    layers = wide(rng, (300, 50), (300, 70))
    plan = fastcka.plan([Closed(X) for X in layers], kernel="rbf")
    assert plan.n_samples == 300
    assert plan.bytes > fastcka.plan(layers, kernel="rbf").bytes  # what is read counts, too


def test_layers_are_read_one_after_the_other_and_once_where_there_is_room(rng):
    layers, log = wide(rng, (500, 300), (500, 70), (500, 20)), []
    sources = lazy(layers, log)
    plan = fastcka.plan(sources)
    fastcka.cka_matrix(sources)
    assert log == [(id(source), 0, 500) for source in sources]
    assert plan.reads == 1


def test_little_memory_reads_some_rows_at_a_time(rng):
    layers, log = wide(rng, (420, 20_000), (420, 20_000)), []
    sources = lazy(layers, log)
    limit = least_bytes(sources)
    fastcka.cka_matrix(sources, max_bytes=limit)
    assert 1 < max(stop - start for _, start, stop in log) <= 2**24 // 80_000
    plan = fastcka.plan(sources, max_bytes=limit)
    assert plan.reads - 1 <= len(log) * 209 / 420 / 2 <= 2 * plan.reads


PEAK = """
import sys
from pathlib import Path
import fastcka

def kilobytes(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry))

path, kernel, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]) or None
layers = fastcka.open_layers(path)
small = {name: X[:300, :50] for name, X in layers.items()}
fastcka.cka_matrix(small, kernel=kernel, n_threads=2)  # code and threads are there before
fastcka.release_buffers()
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
plan = fastcka.plan(layers, kernel=kernel, n_threads=2, max_bytes=limit)
fastcka.cka_matrix(layers, kernel=kernel, n_threads=2, max_bytes=limit)
print(plan.bytes, 1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="resident memory is read from /proc")
@pytest.mark.parametrize("kind", ["chunked.h5", "compressed.npz", "group.zarr"])
def test_peak_memory_stays_within_the_plan(rng, tmp_path, kind):
    layers = {f"layer{i}": X for i, X in enumerate(wide(rng, *[(2000, 3000)] * 3))}  # 72 MB
    FORMATS[kind](tmp_path / kind, layers)
    for limit in (0, int(1.1 * least_bytes(open_layers(tmp_path / kind), kernel="rbf"))):
        command = [sys.executable, "-c", PEAK, str(tmp_path / kind), "rbf", str(limit)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        planned, peak = map(int, answer.split())
        assert planned <= (limit or planned)
        assert peak < planned + 24e6  # chunks on their way, and what h5py, zarr and Python take


# ------------------------------------------------------------------------------------------- files


def save_hdf5(path, layers):
    with h5py.File(path, "w") as file:
        for name, X in layers.items():
            file.create_dataset(name, data=X, chunks=(100, min(1000, X.shape[1])))


def save_zarr(path, layers):
    group = zarr.open_group(path, mode="w")
    for name, X in layers.items():
        group.create_array(name, data=X, chunks=(100, min(1000, X.shape[1])))


def save_shards(path, layers):
    for name, X in layers.items():
        (path / name).mkdir(parents=True)
        for i, part in enumerate(np.array_split(X, 7)):
            np.save(path / name / f"batch_{i}.npy", part)


FORMATS = {
    "chunked.h5": save_hdf5,
    "group.zarr": save_zarr,
    "compressed.npz": lambda path, layers: np.savez_compressed(path, **layers),
    "columns.npz": lambda path, layers: np.savez_compressed(
        path, **{name: np.asfortranarray(X) for name, X in layers.items()}
    ),
    "shards": save_shards,
}


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_that_cannot_be_mapped(rng, tmp_path, kind):
    layers = {"a": wide(rng, (300, 16_500))[0], "b": wide(rng, (300, 300))[0]}
    whole = fastcka.cka_matrix(layers, kernel="laplacian")
    FORMATS[kind](tmp_path / kind, layers)
    opened = open_layers(tmp_path / kind)
    assert isinstance(opened["a"], StoredLayer)
    assert opened["a"].shape == (300, 16_500)
    assert opened["a"].dtype == np.float32
    assert len(opened["a"]) == 300
    assert "'a'" in repr(opened["a"])
    np.testing.assert_array_equal(opened["a"], layers["a"])
    np.testing.assert_array_equal(opened["a"][17:100], layers["a"][17:100])
    np.testing.assert_array_equal(opened["a"][60:5, 3], layers["a"][60:5, 3])
    np.testing.assert_array_equal(opened["a"][100:, 5:7], layers["a"][100:, 5:7])
    np.testing.assert_array_equal(opened["a"][[3, 1]], layers["a"][[3, 1]])
    np.testing.assert_array_equal(opened["a"][-1], layers["a"][-1])
    np.testing.assert_array_equal(fastcka.cka_matrix(opened, kernel="laplacian"), whole)
    least = least_bytes(opened, kernel="laplacian")
    np.testing.assert_array_equal(fastcka.cka_matrix(opened, kernel="laplacian", max_bytes=least), whole)


def test_datasets_of_open_files(rng, tmp_path):
    layers = {"a": wide(rng, (300, 200))[0], "b": wide(rng, (300, 20))[0]}
    whole = fastcka.cka_matrix(layers)
    save_hdf5(tmp_path / "a.h5", layers)
    save_zarr(tmp_path / "a.zarr", layers)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        assert isinstance(as_layer(file["a"], "a"), Source)  # read by rows, not as a whole
        np.testing.assert_array_equal(fastcka.cka_matrix(file), whole)
        assert fastcka.cka(file["a"], file["b"]) == whole["a", "b"]
        file["nothing"] = h5py.Empty("f4")
        with pytest.raises(TypeError, match=r"X .*Dataset.* cannot be read as a NumPy array"):
            fastcka.cka(file["nothing"], file["a"])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert isinstance(as_layer(group["a"], "a"), Source)
    np.testing.assert_array_equal(fastcka.cka_matrix({"a": group["a"], "b": group["b"]}), whole)


def test_arrays_at_odd_addresses_are_copied_in_pieces(rng):
    X, Y = wide(rng, (420, 20_000), (420, 500))
    odd = np.zeros(X.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(X.shape)
    odd[:] = X
    assert not odd.flags.aligned
    whole, least = fastcka.cka_matrix([X, Y]), least_bytes([odd, Y])
    assert least < X.nbytes + least_bytes([X, Y])
    np.testing.assert_array_equal(fastcka.cka_matrix([odd, Y], max_bytes=least), whole)


def open_files():
    descriptors = map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd"))
    return [os.readlink(fd) for fd in descriptors if os.path.exists(fd)]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="open files are counted in /proc")
@pytest.mark.parametrize("kind", ["chunked.h5", "compressed.npz", "group.zarr"])
def test_no_file_stays_open(rng, tmp_path, kind):
    layers = {"a": wide(rng, (300, 200))[0], "b": wide(rng, (300, 20))[0]}
    FORMATS[kind](tmp_path / kind, layers)
    layers["b"][5] = np.nan
    (tmp_path / "broken").mkdir()
    FORMATS[kind](tmp_path / "broken" / kind, layers)
    opened, broken = open_layers(tmp_path / kind), open_layers(tmp_path / "broken" / kind)

    def here():
        return [file for file in open_files() if str(tmp_path) in file]

    fastcka.cka_matrix(opened)
    assert here() == []
    opened["a"][3:7]
    with pytest.raises(ValueError, match="layer 'b' of layers_a contains NaN, first at sample 5"):
        fastcka.cka_matrix(broken)
    matrix = None
    with pytest.warns(fastcka.DegenerateWarning, match="layer 'b' of layers_a: contains NaN"):
        matrix = fastcka.cka_matrix(broken, nan_policy="propagate")
    assert matrix["a", "a"] == 1
    assert here() == []


# ------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("kind", ["chunked.h5", "compressed.npz"])
def test_a_file_that_has_changed_is_refused(rng, tmp_path, kind):
    layers = {"a": wide(rng, (300, 200))[0], "b": wide(rng, (300, 20))[0]}
    FORMATS[kind](tmp_path / kind, layers)
    opened = open_layers(tmp_path / kind)
    os.utime(tmp_path / kind, (1, 1))
    with pytest.raises(ValueError, match=rf"layer 'a' of .*{kind} cannot be read: the file has changed"):
        fastcka.cka_matrix(opened)


def test_a_zarr_array_of_another_shape_is_refused(rng, tmp_path):
    save_zarr(tmp_path / "a.zarr", {"a": wide(rng, (300, 200))[0]})
    opened = open_layers(tmp_path / "a.zarr")
    save_zarr(tmp_path / "a.zarr", {"a": wide(rng, (200, 200))[0]})
    with pytest.raises(ValueError, match=r"layer 'a' of .*a.zarr cannot be read: the file has changed since"):
        fastcka.cka_matrix(opened)


class Cutting(Rows):
    """A dataset whose file is cut short by the first read."""

    def __init__(self, dataset, path):
        super().__init__(dataset)
        self.file, self.path = dataset.file, path

    def __getitem__(self, key):
        os.truncate(self.path, 200_000)
        return self.array[key]


def test_a_file_that_is_cut_short_while_it_is_read(rng, tmp_path):
    save_hdf5(tmp_path / "a.h5", {"a": wide(rng, (3000, 2000))[0]})
    with h5py.File(tmp_path / "a.h5") as file:
        layers = {"a": Cutting(file["a"], tmp_path / "a.h5")}
        with pytest.raises(ValueError, match="layer 'a' of layers_a cannot be read: its file has changed"):
            fastcka.cka_matrix(layers)


class Failing(Rows):
    def __init__(self, array, failure, after=1):
        super().__init__(array)
        self.failure, self.after = failure, after

    def __getitem__(self, key):
        if len(self.log) >= self.after:
            raise self.failure
        return super().__getitem__(key)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (RuntimeError("no such chunk"), ValueError, "layer 'x' of layers_b cannot be read: no such chunk"),
        (OSError(5, "I/O error"), OSError, "layer 'x' of layers_b cannot be read: .*I/O error"),
        (MemoryError("too much"), MemoryError, "too much"),
        (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
    ],
)
def test_errors_while_reading(rng, failure, kind, words, after):
    X, Y = wide(rng, (300, 20_000), (300, 20_000))
    limit = least_bytes([X], [Rows(Y)])
    with pytest.raises(kind, match=words):
        fastcka.cka_matrix([X], {"x": Failing(Y, failure, after)}, max_bytes=limit)
    assert fastcka.cka(Rows(X), Rows(Y)) == fastcka.cka(X, Y)  # nothing is left behind


def test_rows_that_are_not_what_was_said(rng):
    (X,) = wide(rng, (300, 40))

    class Short(Rows):
        def __getitem__(self, key):
            return self.array[key][:-1]

    class Other(Rows):
        def __getitem__(self, key):
            return self.array[key].astype(np.float64)

    class Shrinking(Rows):
        def __getitem__(self, key):
            self.shape = (200, 40)
            return self.array[key]

    for layer, words in (
        (Short(X), r"rows 0 to 299 are \(299, 40\) of float32, not \(300, 40\)"),
        (Other(X), r"rows 0 to 299 are \(300, 40\) of float64, not \(300, 40\) of float32"),
    ):
        with pytest.raises(ValueError, match=rf"X cannot be read: {words}"):
            fastcka.cka(layer, X)
    big = wide(rng, (420, 20_000))[0]
    with pytest.raises(ValueError, match=r"its shape was \(420, 20000\) and is now \(200, 40\)"):
        fastcka.cka_matrix([Shrinking(big)], [big], max_bytes=least_bytes([Rows(big)], [big]))


def test_refusals_are_those_of_arrays(rng):
    (X,) = wide(rng, (300, 40))
    for bad, words in (
        (np.zeros((300, 4), complex), "X has dtype complex128; complex values"),
        (np.zeros((300, 4, 5), np.float32), r"X must be two-dimensional.*flatten it"),
        (np.full((300, 2), 2**60), "X has the int64 value 1152921504606846976"),
        (X[:200], "X has 200 samples but Y has 300"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            fastcka.cka(Rows(bad), X)
    K = X @ X.T
    K[3, 5] += 50
    with pytest.raises(ValueError, match=r"X must be a Gram matrix, but it is not symmetric: row [35]"):
        fastcka.cka(Rows(K), X @ X.T, kernel="precomputed")
