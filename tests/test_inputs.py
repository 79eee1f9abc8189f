# SPDX-License-Identifier: BSD-3-Clause
"""What may not matter: memory layout, the type that holds the numbers, the collection that holds the layers.

Equal numbers must give equal bits, so next to nothing here needs a tolerance.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import ml_dtypes
import numpy as np
import pytest
from tolerances import TOLERANCE

import fastcka
from fastcka._arrays import as_representation
from fastcka.kernels import _KERNELS

SHAPES = [(37, 5), (150, 20), (40, 130)]  # small; more samples than features; more features than samples


def results(X, Y):
    """What several measures say about two representations."""
    return [
        fastcka.cka(X, Y),
        fastcka.cka(Y, X, estimator="unbiased"),
        fastcka.hsic(X, Y, kernel="rbf"),
        fastcka.hsic(Y, X, kernel="polynomial", estimator="unbiased"),
    ]


def numbers(rng, shape, dtype):
    """Random numbers of about one digit before the point."""
    values = 10 * rng.normal(size=shape)
    return values > 0 if np.dtype(dtype) == bool else values.astype(dtype)


# ---------------------------------------------------------------------- memory layout


def in_memory_map(array, folder):
    np.save(folder / "array.npy", array)
    return np.load(folder / "array.npy", mmap_mode="r")


def in_packed_records(array, folder):
    records = np.zeros(array.shape, dtype=[("other", "u1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


def read_only(array, folder):
    array = array.copy()
    array.flags.writeable = False
    return array


def spread(array, folder):
    wide = np.full((3 * array.shape[0], 2 * array.shape[1] + 1), 99, dtype=array.dtype)
    wide[1::3, 1::2] = array
    return wide[1::3, 1::2]


LAYOUTS = {
    "Fortran": lambda array, folder: np.asfortranarray(array),
    "reversed rows": lambda array, folder: np.ascontiguousarray(array[::-1])[::-1],
    "reversed columns": lambda array, folder: np.ascontiguousarray(array[:, ::-1])[:, ::-1],
    "reversed Fortran": lambda array, folder: np.asfortranarray(array[::-1, ::-1])[::-1, ::-1],
    "spread": spread,
    "spread Fortran": lambda array, folder: spread(array.T, folder).T,
    "read-only": read_only,
    "memory-mapped": in_memory_map,
    "packed records": in_packed_records,
    "other byte order": lambda array, folder: array.astype(array.dtype.newbyteorder()),
}


# NumPy knows bfloat16 in these only as two opaque bytes, which is tested below.
OPAQUE = ("other byte order", "memory-mapped", "packed records")


@pytest.mark.parametrize(
    ("layout", "dtype"),
    [
        (layout, dtype)
        for layout in LAYOUTS
        for dtype in (np.float64, np.float32, np.float16, np.int16, "bfloat16")
        if not (dtype == "bfloat16" and layout in OPAQUE)
    ],
)
def test_layout(rng, tmp_path, layout, dtype):
    if dtype == "bfloat16":
        dtype = ml_dtypes.bfloat16
    for shape in SHAPES:
        X, Y = numbers(rng, shape, dtype), numbers(rng, (shape[0], 7), dtype)
        same = LAYOUTS[layout](X, tmp_path)
        assert (same == X).all()
        assert results(same, Y) == results(X, Y)
        np.testing.assert_array_equal(fastcka.gram(same), fastcka.gram(X))
        np.testing.assert_array_equal(fastcka.center(same[:5, :5]), fastcka.center(X[:5, :5]))


def test_repeated_row(rng):
    row = rng.normal(size=5)
    view = np.broadcast_to(row, (6, 5))  # a stride of zero
    K = fastcka.gram(view, kernel="polynomial")
    np.testing.assert_array_equal(K, fastcka.gram(view.copy(), kernel="polynomial"))


def test_nothing_is_written_to_the_input(rng):
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    before = X.copy(), Y.copy()
    results(X, Y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


# ---------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("code", "?bBhHiIlLqQ")
def test_integers_are_read_as_float64(rng, code):
    info = (0, 2) if code == "?" else (np.iinfo(code).min, np.iinfo(code).max)
    low, high = (int(max(bound, -(2**50)) if bound < 0 else min(bound, 2**50)) for bound in info)
    X, Y = (rng.integers(low, high, size=(30, 4)).astype(code) for _ in range(2))
    assert results(X, Y) == results(X.astype(np.float64), Y.astype(np.float64))
    assert fastcka.gram(X).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_is_read_as_float32(rng, dtype):
    for shape in SHAPES:
        X = (100 + 10 * rng.normal(size=shape)).astype(dtype)
        X[0, 0] = 3e-7  # subnormal in float16
        Y = (1e3 * rng.normal(size=(shape[0], 9))).astype(dtype)  # whose squares overflow float16
        assert results(X, Y) == results(X.astype(np.float32), Y.astype(np.float32))
        assert fastcka.gram(X).dtype == np.float32


def test_bfloat16_from_a_file(rng, tmp_path):
    X = rng.normal(size=(30, 4)).astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "X.npy", X)
    for loaded in (np.load(tmp_path / "X.npy"), np.load(tmp_path / "X.npy", mmap_mode="r")):
        assert loaded.dtype.kind == "V"
        assert results(loaded, loaded) == results(X, X)
    records = np.zeros(X.shape, dtype=[("other", "u1"), ("value", "V2")])
    records["value"] = X.view("V2")
    assert results(records["value"], X) == results(X, X)


def test_arithmetic_follows_the_widest_input(rng):
    X, Y = rng.normal(size=(90, 6)), rng.normal(size=(90, 4)).astype(np.float32)
    assert results(X, Y) == results(X, Y.astype(np.float64))
    assert results(Y, X) == results(Y.astype(np.float64), X)
    for other in (np.float16, ml_dtypes.bfloat16):
        assert results(Y, Y.astype(other)) == results(Y, Y.astype(other).astype(np.float32))
    for other in (np.float32, np.float16, ml_dtypes.bfloat16):
        assert fastcka.plan([Y, Y.astype(other)]).dtype == "float32"
    for other in (np.float64, np.int8, bool):
        assert fastcka.plan([Y, Y.astype(other)]).dtype == "float64"


@pytest.mark.parametrize("name", ["float32", "float64", "f4", "f8", np.float32, np.float64, float])
def test_arithmetic_can_be_chosen(rng, name):
    X = rng.normal(size=(90, 6)).astype(
        np.float32
    )  # numbers that both types hold; not few samples, which are
    Y = rng.normal(size=(90, 4)).astype(np.float32)  # always in float64
    chosen = np.dtype(name)
    expected = fastcka.cka(X.astype(chosen), Y.astype(chosen))
    other = fastcka.cka(
        X.astype(chosen), Y.astype(chosen), dtype={4: "float64", 8: "float32"}[chosen.itemsize]
    )
    # The means are taken off in the type of the input: float64 data in float32 may differ in the last bits.
    same = pytest.approx(expected, rel=0, abs=TOLERANCE[chosen.name, "cka"])
    assert other != expected
    for x, y in ((X, Y), (X.astype(float), Y), (X.astype(float), Y.astype(float))):
        assert fastcka.cka(x, y, dtype=name) == same
        assert fastcka.cka_matrix([x, y], dtype=name).values[0, 1] == same
        assert fastcka.gram(x, dtype=name).dtype == chosen
        assert fastcka.plan([x], [y], dtype=name).dtype == chosen.name


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32, bool])
def test_types_that_come_back(rng, dtype):
    K = numbers(rng, (6, 6), dtype)
    K = np.maximum(K, K.T)
    working = np.float32 if dtype in (np.float32, np.float16) else np.float64
    assert fastcka.center(K).dtype == working
    assert fastcka.gram(K).dtype == working
    same = fastcka.gram(K, kernel="precomputed")
    assert same.dtype == working
    np.testing.assert_array_equal(same, K.astype(working))
    assert isinstance(fastcka.cka(K, K), float)
    assert isinstance(fastcka.hsic(K, K), float)


# ---------------------------------------------------------------------- what holds the numbers


class OnlyArrayInterface:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class OnlyDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


HOLDERS = {
    "array interface": OnlyArrayInterface,
    "DLPack": OnlyDLPack,
    "subclass": lambda array: array.view(np.recarray),
    "masked array without masked entries": np.ma.array,
    "pandas": lambda array: pytest.importorskip("pandas").DataFrame(array),
    "xarray": lambda array: pytest.importorskip("xarray").DataArray(array),
    "torch": lambda array: pytest.importorskip("torch").from_numpy(array),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("holder", HOLDERS)
def test_holder(rng, holder, dtype):
    X, Y = numbers(rng, (40, 6), dtype), numbers(rng, (40, 4), dtype)
    held = HOLDERS[holder](X)
    assert np.shares_memory(as_representation(held, "X"), as_representation(held, "X"))  # read in place
    assert results(held, Y) == results(X, Y)


def test_lists(rng):
    X, Y = rng.normal(size=(40, 6)), rng.integers(0, 9, size=(40, 4))
    assert results(X.tolist(), Y.tolist()) == results(X, Y)
    assert results(list(X), tuple(Y)) == results(X, Y)


def test_frame_of_several_dtypes(rng):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": rng.normal(size=9), "b": np.arange(9), "c": rng.normal(size=9) > 0})
    X = np.column_stack([frame["a"], frame["b"]])
    assert results(frame[["a", "b"]], X) == results(X, X)
    with pytest.raises(TypeError, match=r"X has columns that are not numbers: \[.d.\]"):
        fastcka.cka(frame.assign(d="text"), X)
    assert results(frame, X) == results(frame.astype(float), X)


def test_frame_of_nullable_dtypes(rng):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": rng.normal(size=9), "b": np.arange(9), "c": rng.normal(size=9) > 0})
    nullable = frame.astype({"a": "Float64", "b": "Int64", "c": "boolean"})
    assert results(nullable, nullable) == results(frame.astype(float), frame.astype(float))
    single = frame[["a", "b"]].astype("float32")
    assert results(single.astype("Float32"), single) == results(single, single)
    nullable.loc[4, "b"] = pandas.NA
    with pytest.raises(ValueError, match=r"X contains NaN, first at sample 4, feature 1"):
        fastcka.cka(nullable, frame["b"].to_numpy().reshape(-1, 1))


def tensors(torch, array):
    """The same numbers in several states of a tensor."""
    tensor = torch.from_numpy(array.copy())
    yield tensor
    yield tensor.T.contiguous().T
    yield torch.stack([tensor, tensor], dim=2)[:, :, 1]
    if tensor.dtype.is_floating_point:
        yield tensor.clone().requires_grad_()
        yield tensor.clone().requires_grad_() * 1
        yield torch.nn.Parameter(tensor)
        with torch.inference_mode():
            yield tensor.clone()
    if tensor.dtype == torch.float64:
        yield torch.complex(tensor, -tensor).conj().imag  # with the negative bit set


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_tensors(rng, dtype):
    torch = pytest.importorskip("torch")
    X, Y = numbers(rng, (40, 6), dtype), numbers(rng, (40, 4), dtype)
    for tensor in tensors(torch, X):
        assert results(tensor, Y) == results(X, Y)


def test_bfloat16_tensors(rng):
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(rng.normal(size=(40, 6))).to(torch.bfloat16)
    expected = results(X.float(), X.float().numpy())
    for tensor in (X, X.T.contiguous().T, X.clone().requires_grad_(), torch.stack([X, X], dim=1)[:, 1]):
        assert results(tensor, X) == expected
    assert as_representation(X, "X").ctypes.data == X.data_ptr()
    half = torch.view_as_complex(torch.zeros(40, 6, 2)).real.to(torch.bfloat16)
    assert fastcka.hsic(half, X) == 0


# ---------------------------------------------------------------------- what holds the layers


class Store(Mapping):
    """Layers that are read when they are asked for, as an opened store gives them."""

    def __init__(self, layers):
        self.layers = layers

    def __getitem__(self, name):
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


@pytest.fixture
def layers(rng):
    return {
        "conv1": rng.normal(size=(30, 6)),
        "conv2": rng.normal(size=(30, 9)),
        "fc": rng.normal(size=(30, 3)),
    }


def test_collections_of_layers(layers, tmp_path):
    expected = fastcka.cka_matrix(layers)
    assert expected.rows == expected.columns == ("conv1", "conv2", "fc")
    np.savez(tmp_path / "layers.npz", **layers)
    with np.load(tmp_path / "layers.npz") as archive:
        for mapping in (Store(layers), archive):
            matrix = fastcka.cka_matrix(mapping)
            assert matrix.rows == expected.rows
            np.testing.assert_array_equal(matrix, expected)
    for sequence in (list(layers.values()), tuple(layers.values()), layers.values(), iter(layers.values())):
        matrix = fastcka.cka_matrix(sequence)
        assert matrix.rows == matrix.columns == ("0", "1", "2")
        np.testing.assert_array_equal(matrix, expected)


def test_names_become_text(layers):
    matrix = fastcka.cka_matrix(dict(zip([3, "x", (1, 2)], layers.values(), strict=True)))
    assert matrix.rows == ("3", "x", "(1, 2)")


def test_data_set_of_xarray(layers):
    xarray = pytest.importorskip("xarray")
    data = xarray.Dataset({name: (("sample", f"features of {name}"), X) for name, X in layers.items()})
    matrix = fastcka.cka_matrix(data)
    assert matrix.rows == ("conv1", "conv2", "fc")
    np.testing.assert_array_equal(matrix, fastcka.cka_matrix(layers))


def test_one_side_or_two(layers):
    one = fastcka.cka_matrix(layers)
    same = fastcka.cka_matrix(layers, layers)
    two = fastcka.cka_matrix(layers, dict(layers))
    assert one.models == same.models == ("A", "A")
    assert two.models == ("A", "B")
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(one.values, one.values.T)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-12)
    assert fastcka.plan(layers).n_pairs == fastcka.plan(layers, layers).n_pairs == 6
    assert fastcka.plan(layers, dict(layers)).n_pairs == 9
    right = fastcka.cka_matrix(layers, {"other": layers["fc"]})
    assert right.columns == ("other",)
    assert right.values.shape == (3, 1)


def test_what_the_result_remembers(layers):
    matrix = fastcka.cka_matrix(layers, kernel=fastcka.RBF(bandwidth=0.5), estimator="unbiased")
    assert matrix.kernel == "RBF(bandwidth=0.5)"
    assert matrix.estimator == "unbiased"
    assert matrix.n_samples == 30
    assert matrix.warnings == ()
    assert fastcka.cka_matrix(layers).kernel == "linear"
    assert fastcka.cka_matrix(layers, kernel=fastcka.RBF()).kernel == "rbf"


@pytest.mark.parametrize(
    "kernel",
    [
        fastcka.Linear(),
        fastcka.Cosine(),
        fastcka.RBF(0.5),
        fastcka.RBF(sigma=2.0),
        fastcka.RBF(0.4, median="offdiag"),
        fastcka.Laplacian(np.float32(0.5)),
        fastcka.Polynomial(np.int64(3), coef0=0, gamma=0.1),
        fastcka.Distance(0.5),
    ],
    ids=str,
)
def test_kernels_read_as_they_are_written(kernel):
    assert eval(repr(kernel), vars(fastcka)) == kernel
    assert hash(eval(repr(kernel), vars(fastcka))) == hash(kernel)


@pytest.mark.parametrize("name", [name for name in _KERNELS if name != "precomputed"])
def test_a_name_is_the_kernel_with_its_defaults(name, layers):
    kernel = getattr(fastcka, "RBF" if name == "rbf" else name.capitalize())()
    assert str(kernel) == name
    X, Y = layers["conv1"], layers["fc"]
    assert fastcka.cka(X, Y, kernel=name) == fastcka.cka(X, Y, kernel=kernel)


# ---------------------------------------------------------------------- import


def test_no_optional_package_is_imported():
    code = """
import sys, numpy, fastcka
X = numpy.random.default_rng(0).normal(size=(20, 3))
fastcka.cka(X, X); fastcka.cka_matrix([X]); fastcka.plan([X]); fastcka.show_config()
optional = {"torch", "pandas", "xarray", "matplotlib", "sklearn", "scipy", "tqdm", "ml_dtypes", "h5py"}
sys.exit(", ".join(optional & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"imported: {done.stderr}"
