# SPDX-License-Identifier: BSD-3-Clause
"""Every refusal, in the words that were promised; and the warning for what has no similarity."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import fastcka
from fastcka import RBF, Cosine, Distance, Laplacian, Polynomial
from fastcka.kernels import _KERNELS

try:
    import ml_dtypes

    BFLOAT16, FLOAT8 = [ml_dtypes.bfloat16], [ml_dtypes.float8_e4m3fn]
except ImportError:  # there is none for musl
    ml_dtypes, BFLOAT16, FLOAT8 = np, [], []

X = np.random.default_rng(1).normal(size=(8, 3))
CONSTANT = np.full((8, 3), 0.1)


def holding(value, dtype=np.float64, at=(5, 2)):
    """X with one other value."""
    array = X.astype(dtype)
    array[at] = value
    return array


def words(error: type[Exception], *parts: str):
    """The error, with all these words in this order (plain text, no pattern)."""

    return pytest.raises(error, match=".*".join(map(re.escape, parts)))


# ---------------------------------------------------------------------- what is no representation

NOT_AN_ARRAY = [
    (None, TypeError, ["X must be an array", "got NoneType"]),
    (3.0, ValueError, ["X must be two-dimensional", "a single value"]),
    ("text", TypeError, ["X has dtype <U4", "numbers are expected: float64"]),
    pytest.param(object(), TypeError, ["X must be an array", "got object"], id="object"),
    ({"a": X}, TypeError, ["X must be one array, got dict", "cka_matrix"]),
    ([[1.0, 2.0], [3.0]], ValueError, ["X (list) cannot be read as a NumPy array"]),
    (X + 1j, TypeError, ["X has dtype complex128", "complex"]),
    (X.astype(object), TypeError, ["X has dtype object", ".astype(float)"]),
    (X.astype(np.longdouble), TypeError, ["X has dtype", "more digits", ".astype(np.float64)"]),
    (X.astype(">c8"), TypeError, ["X has dtype >c8", "complex"]),
    (X.astype("m8[s]"), TypeError, ["X has dtype timedelta64[s]", "numbers are expected"]),
    (X.astype("M8[s]"), TypeError, ["X has dtype datetime64[s]", "numbers are expected"]),
    (X.astype(str), TypeError, ["X has dtype <U", "numbers are expected"]),
    (X.astype("V8"), TypeError, ["X has dtype |V8", "numbers are expected"]),
    (np.zeros((8, 3), [("a", "i1"), ("b", "i1")]), TypeError, ["X has dtype [('a'", "numbers are expected"]),
    *((X.astype(f8), TypeError, ["X has dtype float8_e4m3fn", "numbers are expected"]) for f8 in FLOAT8),
    (np.ma.masked_less(X, 0), ValueError, ["X has masked entries"]),
]


@pytest.mark.parametrize(("bad", "error", "parts"), NOT_AN_ARRAY, ids=lambda value: str(value)[:30])
def test_not_an_array_of_numbers(bad, error, parts):
    with words(error, *parts):
        fastcka.cka(bad, X)
    with words(error, *[part.replace("X", "Y", 1) for part in parts]):
        fastcka.hsic(X, bad)
    with words(error, *[part.replace("X", "layer 'conv1' of layers_a", 1) for part in parts]):
        fastcka.cka_matrix({"conv1": bad})
    with words(error, *parts):
        fastcka.gram(bad)
    with words(error, *[part.replace("X", "K", 1) for part in parts]):
        fastcka.center(bad)


def test_what_refuses_to_become_an_array():
    class Device:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("the data are elsewhere")

    with words(TypeError, "X (", "Device) cannot be read as a NumPy array: the data are elsewhere"):
        fastcka.cka(Device(), X)

    class Large:
        def __array__(self, dtype=None, copy=None):
            raise MemoryError("no room")

    with words(MemoryError, "no room"):
        fastcka.cka(Large(), X)

    class Table:  # as polars has them: its types have no kind
        columns, dtypes = ("a", "b"), ("Int64", "String")

        def __array__(self, dtype=None, copy=None):
            return np.array([[1, "x"]] * 8, dtype=object)

    with words(TypeError, "X has dtype object", ".astype(float)"):
        fastcka.cka(Table(), X)


def test_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    with words(TypeError, "X is a sparse", ".toarray()"):
        fastcka.cka(sparse.csr_array(X), X)


SHAPES = [
    ((8,), ["got shape (8,)", ".reshape(-1, 1)"]),
    ((8, 4, 3), ["got shape (8, 4, 3)", ".reshape(len(array), -1)", "(8, 12)", ".mean(axis=1)", "(8, 3)"]),
    ((8, 4, 3, 2), ["got shape (8, 4, 3, 2)", "(8, 24)", ".mean(axis=(2, 3))", "(8, 4)"]),
    ((8, 1, 1, 1, 5), ["got shape (8, 1, 1, 1, 5)", "(8, 5)", ".mean(axis=(2, 3, 4))", "(8, 1)"]),
]


@pytest.mark.parametrize(("shape", "parts"), SHAPES, ids=lambda value: str(value)[:15])
def test_number_of_dimensions(shape, parts):
    bad = np.zeros(shape)
    with words(ValueError, "Y must be two-dimensional, (n_samples, n_features),", *parts):
        fastcka.cka(X, bad)
    with words(ValueError, "layer '1' of layers_b must be two-dimensional", *parts):
        fastcka.cka_matrix([X], [X, bad])


@pytest.mark.parametrize(
    ("shape", "what"), [((8, 0), "no features"), ((0, 3), "no samples"), ((0, 0), "no features")]
)
def test_nothing_in_it(shape, what):
    with words(ValueError, f"X has {what}: its shape is {shape}"):
        fastcka.cka(np.zeros(shape), X)
    with words(ValueError, f"X has {what}: its shape is {shape}"):
        fastcka.gram(np.zeros(shape))


# ---------------------------------------------------------------------- numbers of samples


def test_different_numbers_of_samples():
    with words(ValueError, "X has 8 samples but Y has 7", "(8, 3) and (7, 3)", "same order"):
        fastcka.cka(X, X[:7])
    with words(ValueError, "layer 'a' of layers_a has 8 samples but layer 'c' of layers_b has 7"):
        fastcka.cka_matrix({"a": X}, {"b": X, "c": X[:7]})
    with words(ValueError, "layer '0' of layers_a has 8 samples but layer '1' of layers_a has 7"):
        fastcka.plan([X, X[:7]])


@pytest.mark.parametrize(("estimator", "fewest"), [("biased", 2), ("unbiased", 4)])
def test_too_few_samples(estimator, fewest):
    few = X[: fewest - 1]
    expected = f"the {estimator} estimator needs at least {fewest} samples, "
    with words(ValueError, expected, f"X has {fewest - 1}"):
        fastcka.cka(few, few, estimator=estimator)
    with words(ValueError, expected, f"X has {fewest - 1}"):
        fastcka.hsic(few, few, estimator=estimator)
    with words(ValueError, expected, f"layer '0' of layers_a has {fewest - 1}"):
        fastcka.cka_matrix([few], estimator=estimator)
    assert np.isfinite(fastcka.hsic(X[:fewest], X[:fewest], estimator=estimator))


# ---------------------------------------------------------------------- NaN and infinity

NUMBERS = [np.float64, np.float32, np.float16, *BFLOAT16]


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_not_finite(kernel, value, name, dtype):
    bad, good = holding(value, dtype), X.astype(dtype)
    place = f"contains {name}, first at sample 5, feature 2 (1 of the 3 values of that sample are not finite)"
    with words(ValueError, f"X {place}"):
        fastcka.cka(bad, good, kernel=kernel)
    with words(ValueError, f"Y {place}"):
        fastcka.hsic(good, bad, kernel=kernel)
    with words(ValueError, f"layer 'b' of layers_a {place}"):
        fastcka.cka_matrix({"a": good, "b": bad}, kernel=kernel)
    with words(ValueError, f"layer 'd' of layers_b {place}"):
        fastcka.cka_matrix({"a": good}, {"c": good, "d": bad, "e": bad}, kernel=kernel)
    with words(ValueError, f"X {place}"):
        fastcka.gram(bad, kernel=kernel)


@pytest.mark.parametrize(("rows", "columns"), [(8, 3), (3, 700), (700, 3), (300, 300)])
def test_not_finite_is_found_wherever_it_is(rng, rows, columns):
    data = rng.normal(size=(rows, columns))
    for row, column in [(0, 0), (rows - 1, columns - 1), (0, columns - 1), (rows - 1, 0)]:
        bad = data.copy()
        bad[row, column] = np.nan
        with words(ValueError, f"Y contains NaN, first at sample {row}, feature {column}"):
            fastcka.cka(data, bad)


def test_not_finite_in_a_gram_matrix():
    K = X @ X.T
    K[2, 5] = K[5, 2] = np.nan
    with words(ValueError, "Y contains NaN, first at sample 2, feature 5"):
        fastcka.cka(X @ X.T, K, kernel="precomputed")
    with words(ValueError, "X contains NaN, first at sample 2, feature 5"):
        fastcka.gram(K, kernel="precomputed")
    with words(ValueError, "K contains NaN, first at sample 2, feature 5"):
        fastcka.center(K)


# ---------------------------------------------------------------------- collections of layers

NO_LAYERS = [
    ({}, ValueError, "layers_a is empty"),
    ([], ValueError, "layers_a is empty"),
    (X, TypeError, "layers_a is a single numpy.ndarray of shape (8, 3)"),
    (np.zeros((2, 8, 3)), TypeError, "layers_a is a single numpy.ndarray of shape (2, 8, 3)"),
    ("conv1", TypeError, "layers_a must be a mapping of names to arrays or a sequence of arrays, got str"),
    (None, TypeError, "layers_a must be a mapping of names to arrays or a sequence of arrays, got NoneType"),
    (
        {"1": X, 1: X},
        ValueError,
        "layers_a has two layers of the same name: the keys '1' and 1 both read '1'",
    ),
]


@pytest.mark.parametrize(("bad", "error", "text"), NO_LAYERS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("function", [fastcka.cka_matrix, fastcka.plan])
def test_no_layers(function, bad, error, text):
    with words(error, text):
        function(bad)
    if bad is not None:
        with words(error, text.replace("layers_a", "layers_b")):
            function([X], bad)


def test_one_array_of_layers_says_how_to_wrap_it():
    with words(TypeError, "wrap one layer in a list or a dict, [array] or {'name': array}", "list(array)"):
        fastcka.cka_matrix([X], X)


# ---------------------------------------------------------------------- Gram matrices


def test_gram_matrix_is_not_square():
    text = "must be a square Gram matrix (n_samples, n_samples), got shape (8, 3)"
    with words(ValueError, f"X {text}"):
        fastcka.cka(X, X, kernel="precomputed")
    with words(ValueError, f"layer 'b' of layers_b {text}"):
        fastcka.cka_matrix([X @ X.T], {"b": X}, kernel="precomputed")
    with words(ValueError, f"X {text}"):
        fastcka.gram(X, kernel="precomputed")
    with words(ValueError, f"layer '0' of layers_b {text}"):
        fastcka.plan([X @ X.T], [X], kernel="precomputed")
    with words(ValueError, f"K {text}"):
        fastcka.center(X)


@pytest.mark.parametrize("dtype", [*NUMBERS, np.uint8])
def test_gram_matrix_is_not_symmetric(dtype):
    K = np.eye(600, dtype=np.float32).astype(dtype)
    K[3, 590] = 1
    with words(ValueError, "Y must be a Gram matrix, but it is not symmetric: the largest difference is 1, "):
        fastcka.cka(np.eye(600), K, kernel="precomputed")
    with words(ValueError, "between [3, 590] and [590, 3]", "(K + K.T) / 2"):
        fastcka.gram(K, kernel="precomputed")


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: np.dtype(dtype).name)
def test_gram_matrix_is_symmetric_but_for_rounding(rng, dtype):
    K = rng.normal(size=(40, 40))
    K = (K @ K.T).astype(dtype)
    K[3, 30] *= 1 + 2 * float(ml_dtypes.finfo(dtype).eps)
    assert K[3, 30] != K[30, 3]
    assert fastcka.cka(K, K, kernel="precomputed") == pytest.approx(1)


# ---------------------------------------------------------------------- names and options


@pytest.mark.parametrize("function", [fastcka.cka, fastcka.hsic])
def test_unknown_estimator(function):
    with words(ValueError, "unknown estimator 'unbias'", "'biased', 'unbiased'", "did you mean 'unbiased'"):
        function(X, X, estimator="unbias")
    with words(TypeError, "estimator must be one of 'biased', 'unbiased', got True"):
        function(X, X, estimator=True)
    with words(ValueError, "unknown estimator"):
        fastcka.cka_matrix([X], estimator="U")


KNOWN = ", ".join(map(repr, sorted(_KERNELS)))


@pytest.mark.parametrize("module", [fastcka, fastcka.reference])
def test_debiased_is_another_word_for_unbiased(module):
    a, b = X[:, :2], X[:, 1:]
    for function in (module.cka, module.hsic):
        assert function(a, b, estimator="debiased") == function(a, b, estimator="unbiased")
        assert function(a, b, estimator="debiased") != function(a, b)
    matrix = module.cka_matrix([a], [b], estimator="debiased")
    assert np.asarray(matrix).item() == module.cka(a, b, estimator="unbiased")
    assert getattr(matrix, "estimator", "unbiased") == "unbiased"


def test_names_of_kernels_in_other_packages_are_hinted_at():
    for given, known in (("gaussian", "rbf"), ("poly", "polynomial")):
        with words(ValueError, f"unknown kernel '{given}'", f"did you mean '{known}'?"):
            fastcka.cka(X, X, kernel=given)


def test_a_bandwidth_beside_a_sigma_is_an_error_even_if_it_is_the_default():
    for kind in (RBF, Laplacian):
        with words(ValueError, f"{kind.__name__}: sigma is the bandwidth itself"):
            kind(bandwidth=1, sigma=2)
        assert (kind().bandwidth, kind(sigma=2).bandwidth) == (1.0, None)
        assert kind(1) == kind()
        assert (str(kind(1)), repr(kind(sigma=2))) == (kind.name, f"{kind.__name__}(sigma=2.0)")


def test_unknown_kernel():
    with words(ValueError, f"unknown kernel 'liner': known are {KNOWN}; did you mean 'linear'?"):
        fastcka.cka(X, X, kernel="liner")
    with words(ValueError, "unknown kernel 'RBF'", "did you mean 'rbf'?"):
        fastcka.cka_matrix([X], kernel="RBF")
    with pytest.raises(ValueError, match=f"unknown kernel 'sigmoidal': known are {KNOWN}$"):
        fastcka.gram(X, kernel="sigmoidal")
    with words(TypeError, "kernel is the class RBF; pass an object, RBF()"):
        fastcka.hsic(X, X, kernel=RBF)
    with words(TypeError, f"kernel must be one of {KNOWN}, got None"):
        fastcka.plan([X], kernel=None)

    class Own(fastcka.Kernel):
        name = "own"

    for kernel in (Own(), fastcka.Kernel()):
        with words(TypeError, f"kernel is a {type(kernel).__name__}, which the core", "kernel='precomputed'"):
            fastcka.cka(X, X, kernel=kernel)


OPTIONS = [
    (lambda: RBF(0), ValueError, "RBF: bandwidth must be above 0, got 0"),
    (lambda: RBF(-1.5), ValueError, "RBF: bandwidth must be above 0, got -1.5"),
    (lambda: RBF(float("nan")), ValueError, "RBF: bandwidth must be above 0, got nan"),
    (lambda: RBF(float("inf")), ValueError, "RBF: bandwidth must be above 0, got inf"),
    (lambda: RBF(10**400), ValueError, "RBF: bandwidth must be above 0, got 1000"),
    (lambda: RBF("median"), TypeError, "RBF: bandwidth must be a number, got 'median'"),
    (lambda: RBF(True), TypeError, "RBF: bandwidth must be a number, got True"),
    (lambda: RBF(sigma=0.0), ValueError, "RBF: sigma must be above 0, got 0.0"),
    (lambda: RBF(0.5, sigma=2.0), ValueError, "RBF: sigma is the bandwidth itself; give either sigma, or"),
    (lambda: RBF(sigma=2.0, median="offdiag"), ValueError, "give either sigma, or bandwidth and median"),
    (lambda: RBF(median="of"), ValueError, "unknown median of RBF 'of': known are 'all', 'offdiag'"),
    (lambda: RBF(median=0.5), TypeError, "median of RBF must be one of 'all', 'offdiag', got 0.5"),
    (lambda: Laplacian(-1), ValueError, "Laplacian: bandwidth must be above 0, got -1"),
    (lambda: Laplacian(sigma="1"), TypeError, "Laplacian: sigma must be a number, got '1'"),
    (lambda: Polynomial(0), ValueError, "Polynomial: degree must be a positive integer, got 0"),
    (lambda: Polynomial(2.5), TypeError, "Polynomial: degree must be a positive integer, got 2.5"),
    (lambda: Polynomial(coef0=-1), ValueError, "Polynomial: coef0 must be at least 0, got -1"),
    (lambda: Polynomial(gamma=0), ValueError, "Polynomial: gamma must be above 0, got 0"),
    (lambda: Distance(0), ValueError, "Distance: exponent must be above 0 and below 2, got 0"),
    (lambda: Distance(2), ValueError, "Distance: exponent must be above 0 and below 2, got 2"),
]


@pytest.mark.parametrize(("make", "error", "text"), OPTIONS, ids=[case[2][:40] for case in OPTIONS])
def test_kernel_options(make, error, text):
    with words(error, text):
        make()


def test_kernels_cannot_be_changed():
    with pytest.raises(AttributeError):
        RBF().bandwidth = 0.0


@pytest.mark.parametrize("dtype", ["float16", np.int32, "nonsense", "f4,f4", 32])
def test_arithmetic_types(dtype):
    with words(ValueError, "dtype is the type of the arithmetic and must be 'float32', 'float64' or None"):
        fastcka.cka(X, X, dtype=dtype)


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (2.0, TypeError), (b"2", TypeError)],
)
@pytest.mark.parametrize("name", ["n_threads", "max_bytes"])
def test_positive_integers(name, value, error):
    text = f"{name} must be a positive integer, got {value!r}"
    for call in (
        lambda **option: fastcka.cka(X, X, **option),
        lambda **option: fastcka.hsic(X, X, **option),
        lambda **option: fastcka.cka_matrix([X], **option),
        lambda **option: fastcka.plan([X], **option),
    ):
        with words(error, text):
            call(**{name: value})
    if name == "n_threads":
        with words(error, text):
            fastcka.gram(X, n_threads=value)
        with words(error, text):
            fastcka.center(X @ X.T, n_threads=value)


def test_more_threads_than_any_machine_has():
    with words(ValueError, "n_threads must be at most 4096, got 10000000000"):
        fastcka.cka(X, X, n_threads=10**10)


def test_memory_limit():
    needed = fastcka.plan([X], [X]).bytes
    with words(MemoryError, "1"):
        fastcka.cka(X, X, max_bytes=1)
    with pytest.raises(MemoryError):
        fastcka.hsic(X, X, max_bytes=1)
    with pytest.raises(MemoryError):
        fastcka.cka_matrix([X], max_bytes=1)
    assert fastcka.cka(X, X, max_bytes=needed) == fastcka.cka(X, X)


# ---------------------------------------------------------------------- what has no similarity

HALF_EQUAL = np.vstack([np.zeros((7, 3)), X[:1]])

DEGENERATE = [
    (CONSTANT, "linear", "biased", "no variation: all samples are equal"),
    (CONSTANT, "linear", "unbiased", "no variation: all samples are equal"),
    (CONSTANT, "distance", "biased", "no variation: all samples are equal"),
    (CONSTANT, RBF(sigma=1.0), "biased", "no variation: all samples are equal"),
    (CONSTANT, "rbf", "unbiased", "no variation: all samples are equal"),
    (CONSTANT, Polynomial(), "biased", "no variation: all its kernel values are equal"),
    (1e-300 * X, Polynomial(), "biased", "no variation: all its kernel values are equal"),
    (
        np.outer(2.0 ** np.arange(8), [1, 2, 2]),
        "cosine",
        "biased",
        "no variation: all samples have the same direction",
    ),
    (
        np.outer(2.0 ** np.arange(8), [1, 2, 5]) + np.arange(8)[:, None],
        "correlation",
        "biased",
        "no variation: all samples are equal but for an offset and a factor",
    ),
    (np.ones((8, 8)), "precomputed", "biased", "no variation: its centred Gram matrix is zero"),
    (np.eye(8), "linear", "unbiased", "its unbiased HSIC with itself is not above zero, within rounding"),
    (HALF_EQUAL, "rbf", "biased", "its median distance is zero (samples coincide), and so is its bandwidth"),
    (
        HALF_EQUAL,
        Laplacian(),
        "unbiased",
        "its median distance is zero (samples coincide), and so is its bandwidth",
    ),
]


@pytest.mark.parametrize(("bad", "kernel", "estimator", "reason"), DEGENERATE)
def test_degenerate(bad, kernel, estimator, reason):
    options = {"kernel": kernel, "estimator": estimator}
    good = X @ X.T if kernel == "precomputed" else X
    with pytest.warns(fastcka.DegenerateWarning) as caught:
        assert np.isnan(fastcka.cka(good, bad, **options))
    (warning,) = caught
    assert str(warning.message).startswith("not defined, nan instead: Y: " + reason)
    assert warning.filename == __file__  # at the caller's line

    with pytest.warns(fastcka.DegenerateWarning) as caught:
        matrix = fastcka.cka_matrix({"good": good, "bad": bad}, {"fine": good, "again": good}, **options)
    (warning,) = caught
    assert str(warning.message).startswith("not defined, nan instead: layer 'bad' of layers_a: " + reason)
    assert "good" not in str(warning.message)
    assert warning.filename == __file__
    assert np.isnan(matrix.values[1]).all()
    np.testing.assert_allclose(matrix.values[0], 1)  # the others are unharmed
    assert len(matrix.warnings) == 1
    assert matrix.warnings[0].startswith("layer 'bad' of layers_a: " + reason)


def test_one_warning_for_a_call_that_names_all():
    with pytest.warns(fastcka.DegenerateWarning) as caught:
        assert np.isnan(fastcka.cka(CONSTANT, CONSTANT))
    (warning,) = caught
    assert str(warning.message).count("no variation: all samples are equal") == 2

    layers = {f"dead{i}": CONSTANT for i in range(7)} | {"alive": X}
    with pytest.warns(fastcka.DegenerateWarning, match="'dead0'.*'dead4'.*and 2 more$") as caught:
        matrix = fastcka.cka_matrix(layers)
    assert len(caught) == 1
    assert len(matrix.warnings) == 7
    assert np.isnan(matrix.values).sum() == 8 * 8 - 1


def test_hsic_without_variation_is_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in ("linear", "distance", "rbf", RBF(sigma=1.0), Cosine()):
            for estimator in ("biased", "unbiased"):
                assert fastcka.hsic(X, CONSTANT, kernel=kernel, estimator=estimator) == 0.0


def test_hsic_without_a_bandwidth_is_nan():
    with pytest.warns(fastcka.DegenerateWarning, match="not defined, nan instead: X: its median") as caught:
        assert np.isnan(fastcka.hsic(HALF_EQUAL, X, kernel="rbf"))
    assert [warning.filename for warning in caught] == [__file__]


def test_gram_without_a_bandwidth_is_nan():
    with pytest.warns(fastcka.DegenerateWarning, match="not defined, nan instead: X: its median") as caught:
        assert np.isnan(fastcka.gram(HALF_EQUAL, kernel="rbf")).all()
    assert [warning.filename for warning in caught] == [__file__]
    assert np.isfinite(fastcka.gram(HALF_EQUAL, kernel=RBF(sigma=1.0))).all()


# ---------------------------------------------------------------------- tensors


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_tensor_elsewhere(torch):
    with words(TypeError, "X is a tensor on 'meta'", ".cpu()"):
        fastcka.cka(torch.zeros(8, 3, device="meta"), X)


def test_tensor_that_is_not_dense(torch):
    with words(TypeError, "Y is a tensor of layout torch.sparse_coo", ".to_dense()"):
        fastcka.cka(X, torch.eye(8).to_sparse())


def test_tensor_of_another_dtype(torch):
    with words(TypeError, "X has dtype complex64", "complex"):
        fastcka.cka(torch.zeros(8, 3, dtype=torch.complex64), X)
    with words(TypeError, "X is a tensor of torch.float8_e4m3fn", ".float()"):
        fastcka.cka(torch.zeros(8, 3).to(torch.float8_e4m3fn), X)


def test_tensor_with_nan(torch):
    bad = torch.ones(8, 3, dtype=torch.bfloat16)
    bad[5, 2] = float("nan")
    with words(ValueError, "X contains NaN, first at sample 5, feature 2"):
        fastcka.cka(bad, X)


def test_stack_of_tensors(torch):
    with words(TypeError, "layers_a is a single torch.Tensor of shape (2, 8, 3)", "list(array)"):
        fastcka.cka_matrix(torch.zeros(2, 8, 3))


def test_a_frame_with_text_names_its_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, 2.0], "stimulus": ["x", "y"], "b": [3, 4]})
    with words(TypeError, "X has columns that are not numbers: ['stimulus']"):
        fastcka.cka(frame, frame[["a"]])


def test_pairs_of_names_and_arrays_are_hinted_at():
    with words(TypeError, "layers_a is a sequence of (name, array) pairs", "dict(layers_a)"):
        fastcka.cka_matrix([("a", X), ("b", X)])
