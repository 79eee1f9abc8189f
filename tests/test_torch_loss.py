# SPDX-License-Identifier: BSD-3-Clause
"""The differentiable CKA: the values of fastcka.cka, the gradients of finite differences and of autograd."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from tolerances import TOLERANCE

import fastcka
from fastcka import reference

torch = pytest.importorskip("torch")
from fastcka.torch import cka, cka_loss  # noqa: E402  (it needs torch)

KERNELS = [
    "linear",
    "rbf",
    fastcka.RBF(0.4),
    fastcka.RBF(1.5, median="offdiag"),
    fastcka.RBF(sigma=4.0),
]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=str)
each_estimator = pytest.mark.parametrize("estimator", ["biased", "unbiased"])
# More samples than features (products of features for the linear kernel), fewer, and some of each. An even
# and an odd number of distances have their median in two places and in one.
each_shape = pytest.mark.parametrize("shape", [(30, 6, 4), (13, 20, 25), (15, 30, 4)], ids=str)


def related(rng, n, p, q, dtype=torch.float64):
    X, Y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    Y[:, 0] += 2 * X[:, 0]
    return torch.tensor(X, dtype=dtype, requires_grad=True), torch.tensor(Y, dtype=dtype, requires_grad=True)


def plain(x, y, kernel, estimator):
    """Compute CKA as the papers define it, with n x n matrices, for autograd to differentiate."""

    def centred(x):
        n = len(x)
        if kernel == "linear":
            K = (x - x.mean(dim=0)) @ (x - x.mean(dim=0)).T
        else:
            D2 = (x[:, None] - x[None]).square().sum(dim=2)
            sigma = kernel.sigma
            if sigma is None:
                entries = D2[~torch.eye(n, dtype=bool)] if kernel.median == "offdiag" else D2.flatten()
                sigma = kernel.bandwidth * torch.quantile(entries, 0.5).sqrt()
            K = torch.exp(-D2 / (2 * sigma**2))
        if estimator == "biased":
            H = torch.eye(n, dtype=x.dtype) - 1 / n
            return H @ K @ H
        K = K * (1 - torch.eye(n, dtype=x.dtype))
        rows = K.sum(dim=0) / (n - 2)
        return (K - rows - rows[:, None] + rows.sum() / (n - 1)) * (1 - torch.eye(n, dtype=x.dtype))

    K, L = centred(x), centred(y)
    return (K * L).sum() / (K.norm() * L.norm())


# ------------------------------------------------------------------------------------------------ values


@each_shape
@each_estimator
@each_kernel
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_value_is_that_of_the_package(rng, dtype, kernel, estimator, shape):
    x, y = related(rng, *shape, dtype=getattr(torch, dtype))
    options = {"kernel": kernel, "estimator": estimator}
    value = cka(x, y, **options)
    tolerance = TOLERANCE["float64" if dtype == "float64" else "float32", "cka"]
    assert value.shape == ()
    assert value.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert value.item() == pytest.approx(fastcka.cka(x, y, **options), abs=tolerance)
    X, Y = (tensor.detach().double().numpy() for tensor in (x, y))
    assert value.item() == pytest.approx(reference.cka(X, Y, **options), abs=tolerance)
    assert cka_loss(x, y, **options) == 1 - value


@each_shape
@each_estimator
@each_kernel
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_mean_of_ten_thousand_spreads(rng, dtype, kernel, estimator, shape):
    """The judge sees the same rounded values. Gradients are those without the offset."""
    x, y = (
        (tensor.detach() + 1e4).to(getattr(torch, dtype)).requires_grad_() for tensor in related(rng, *shape)
    )
    value = cka(x, y, kernel=kernel, estimator=estimator)
    value.backward()
    X, Y = (tensor.detach().double().numpy() for tensor in (x, y))
    expected = reference.cka(X, Y, kernel=kernel, estimator=estimator)
    assert value.item() == pytest.approx(expected, abs=TOLERANCE[dtype, "cka"])
    x0, y0 = (torch.tensor(Z - 1e4, requires_grad=True) for Z in (X, Y))
    cka(x0, y0, kernel=kernel, estimator=estimator).backward()
    for moved, still in ((x.grad, x0.grad), (y.grad, y0.grad)):
        # Each of some 30 x 30 products carries a few roundings; nothing grows with the offset.
        tolerance = (1e-10 if dtype == "float64" else 2e-5) * still.abs().max()
        torch.testing.assert_close(moved.double(), still, rtol=0, atol=tolerance.item())


@each_estimator
@each_kernel
def test_units_do_not_matter(rng, kernel, estimator):
    """Fourth powers of these values are out of the range of float32; an absolute sigma has units, too."""
    x, _ = related(rng, 30, 6, 4, torch.float32)
    scale = 2.0**60
    absolute = getattr(kernel, "sigma", None) is not None
    kernels = [kernel, fastcka.RBF(sigma=4.0 * scale) if absolute else kernel]
    small, large = x, (x.detach() * scale).requires_grad_()
    values = [
        cka(z, z.detach().square() / z.detach().abs().max(), kernel=k, estimator=estimator)
        for z, k in zip((small, large), kernels, strict=True)
    ]
    for value in values:
        value.backward()
    assert values[0].item() == pytest.approx(values[1].item(), abs=TOLERANCE["float32", "identity"])
    torch.testing.assert_close(large.grad * scale, small.grad, rtol=1e-4, atol=1e-6)


def test_wide_and_narrow_bandwidths_keep_their_digits(rng):
    """All kernel values are within 1e-8 of 1, or below 1e-17: neither differs from a constant in float32."""
    x, y = related(rng, 60, 20, 25, torch.float32)
    for kernel in (fastcka.RBF(1e4), fastcka.RBF(0.11)):
        for estimator in ("biased", "unbiased"):
            expected = reference.cka(
                x.detach().double().numpy(), y.detach().double().numpy(), kernel=kernel, estimator=estimator
            )
            value = cka(x, y, kernel=kernel, estimator=estimator).item()
            assert value == pytest.approx(expected, abs=TOLERANCE["float32", "narrow"])


def test_vanishing_sigma_is_no_nan(rng):
    x, y = related(rng, 30, 6, 4, torch.float32)
    value = cka(x, y, kernel=fastcka.RBF(sigma=1e-40))
    value.backward()
    assert value.item() == pytest.approx(1, abs=TOLERANCE["float32", "cka"])
    assert (x.grad == 0).all()


def test_views_and_strides(rng):
    x, y = related(rng, 30, 6, 4)
    value = cka(x.T.contiguous().T, torch.stack([y, y], dim=2)[:, :, 1])
    value.backward()
    gradients = x.grad.clone(), y.grad.clone()
    x.grad = y.grad = None
    cka(x, y).backward()
    torch.testing.assert_close((x.grad, y.grad), gradients, rtol=0, atol=1e-15)


# --------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "shape", [(10, 3, 2), (7, 9, 8), (8, 9, 3)], ids=str
)  # as above: each entry costs two values
@each_estimator
@each_kernel
def test_gradient_is_that_of_finite_differences(rng, kernel, estimator, shape):
    x, y = related(rng, *shape)
    assert torch.autograd.gradcheck(lambda x, y: cka(x, y, kernel=kernel, estimator=estimator), (x, y))


def test_gradient_of_the_loss(rng):
    assert torch.autograd.gradcheck(cka_loss, related(rng, 9, 4, 3))


@each_shape
@each_estimator
@each_kernel
def test_gradient_is_that_of_autograd(rng, kernel, estimator, shape):
    x, y = related(rng, *shape)
    outer = torch.tensor(3.0, dtype=torch.float64)
    kernel = fastcka.RBF() if kernel == "rbf" else kernel
    expected = torch.autograd.grad(plain(x, y, kernel, estimator), (x, y), outer)
    gradients = torch.autograd.grad(cka(x, y, kernel=kernel, estimator=estimator), (x, y), outer)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-13)


@each_shape
@each_estimator
@each_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gradients_of_narrow_types(rng, dtype, kernel, estimator, shape):
    """They come in the type of the input and are as good as float32, rounded once to that type."""
    x, y = related(rng, *shape, dtype=dtype)
    x64, y64 = (tensor.detach().double().requires_grad_() for tensor in (x, y))
    options = {"kernel": kernel, "estimator": estimator}
    expected = torch.autograd.grad(cka(x64, y64, **options), (x64, y64))
    for gradient, exact in zip(torch.autograd.grad(cka(x, y, **options), (x, y)), expected, strict=True):
        assert gradient.dtype == dtype
        # float16 has subnormal numbers in steps of 6e-8; 2e-5 are the roundings of some 30 x 30 products.
        tolerance = (2e-5 + torch.finfo(dtype).eps) * exact.abs().max() + 6e-8
        torch.testing.assert_close(gradient.double(), exact, rtol=0, atol=tolerance.item())


def test_loss_scaling_keeps_float16_gradients(rng):
    x, y = related(rng, 30, 6, 4, torch.float16)
    x = (x.detach() * 512).requires_grad_()
    scale = 2.0**16
    (scaled,) = torch.autograd.grad(scale * cka(x, y), x)
    x64 = x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(cka(x64, y.double()), x64)
    assert exact.abs().max() < 1e-3
    torch.testing.assert_close(
        scaled.double() / scale, exact, rtol=2e-3, atol=1e-3 * exact.abs().max().item()
    )


@each_kernel
def test_the_bandwidth_is_differentiated_or_constant(rng, kernel):
    """CKA with a relative bandwidth does not change with the scale of X, so nor along its gradient."""
    x, y = related(rng, 30, 6, 4)
    (gradient,) = torch.autograd.grad(cka(x, y, kernel=kernel), x)
    along_scale = (gradient * x).sum().abs().item()
    if getattr(kernel, "sigma", None) is None:
        assert along_scale < 1e-13
    else:
        assert along_scale > 1e-3
    assert gradient.sum(dim=0).abs().max() < 1e-14  # nor with an offset


@each_kernel
def test_only_what_is_wanted_is_differentiated(rng, kernel):
    for shape in ((30, 6, 4), (13, 20, 25)):
        x, y = related(rng, *shape)
        expected = torch.autograd.grad(cka(x, y, kernel=kernel), (x, y))
        cka(x, y.detach(), kernel=kernel).backward()
        cka(x.detach(), y, kernel=kernel).backward()
        torch.testing.assert_close((x.grad, y.grad), expected, rtol=0, atol=0)
        assert not cka(x.detach(), y.detach(), kernel=kernel).requires_grad
        with torch.no_grad():
            assert not cka(x, y, kernel=kernel).requires_grad


def test_one_tensor_twice(rng):
    """CKA(f(x), f(x)) is 1 for every f: nothing is left of the two gradients, which cancel."""
    x, _ = related(rng, 30, 6, 4)
    cka(x, x).backward()
    assert x.grad.abs().max() < 1e-15


def test_second_derivatives_are_refused(rng):
    x, y = related(rng, 30, 6, 4)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(cka(x, y), x, create_graph=True)


def test_autocast_does_not_narrow_the_arithmetic(rng):
    x, y = related(rng, 30, 6, 4, torch.float32)
    expected = cka(x, y), *torch.autograd.grad(cka(x, y), (x, y))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = cka(x, y)
        gradients = torch.autograd.grad(value, (x, y))
    torch.testing.assert_close((value, *gradients), expected, rtol=0, atol=0)


def test_types_may_differ(rng):
    x, y = related(rng, 30, 6, 4, torch.bfloat16)
    wide = y.detach().double().requires_grad_()
    value = cka(x, wide)
    value.backward()
    assert (value.dtype, x.grad.dtype, wide.grad.dtype) == (torch.float64, torch.bfloat16, torch.float64)
    assert value.item() == pytest.approx(fastcka.cka(x, wide), abs=TOLERANCE["float64", "cka"])


@each_estimator
@each_kernel
def test_training_raises_cka(rng, kernel, estimator):
    """A linear map learns to show its input as another one does."""
    torch.manual_seed(0)
    teacher, student = torch.nn.Linear(8, 3), torch.nn.Linear(8, 5)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    images = torch.randn(200, 8)
    target = teacher(images).detach()
    start = cka(student(images), target, kernel=kernel, estimator=estimator).item()
    for _ in range(150):
        batch = torch.randint(len(images), (64,))
        optimizer.zero_grad()
        cka_loss(student(images[batch]), target[batch], kernel=kernel, estimator=estimator).backward()
        optimizer.step()
    end = fastcka.cka(student(images), target, kernel=kernel, estimator=estimator)
    assert start < 0.8
    assert end > 0.97


# ------------------------------------------------------------------------------------- degenerate input


@each_estimator
@each_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(30, 6, 3), (5, 20, 25)], ids=str)
def test_no_variation(rng, shape, dtype, kernel, estimator):
    x, y = related(rng, *shape, dtype=dtype)
    constant = torch.full_like(y, 0.1).requires_grad_()
    with pytest.warns(
        fastcka.DegenerateWarning, match="^not defined, nan instead: y: no variation"
    ) as caught:
        value = cka(x, constant, kernel=kernel, estimator=estimator)
    assert caught[0].filename == __file__
    assert math.isnan(value.item())
    value.backward()
    assert x.grad.isnan().all()
    assert constant.grad.isnan().all()
    with pytest.warns(fastcka.DegenerateWarning, match="nan instead: x: no variation") as caught:
        assert math.isnan(cka_loss(constant, x, kernel=kernel, estimator=estimator).item())
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_orthogonal_samples_have_no_unbiased_hsic(rng, kernel):
    x, _ = related(rng, 10, 3, 1)
    rotation = torch.tensor(np.linalg.qr(rng.normal(size=(12, 12)))[0])
    axes = rotation[:10].float()  # of length 1 and at right angles, within rounding
    with pytest.warns(fastcka.DegenerateWarning, match="y: its unbiased HSIC with itself is not above zero"):
        assert math.isnan(cka(x.float(), axes, kernel=kernel, estimator="unbiased").item())
    assert 0 < cka(x.float(), axes, kernel=kernel).item() < 1


def test_evenly_spread_samples_have_no_unbiased_hsic_by_features(rng):
    """The ten corners of a regular simplex are all at the same distance."""
    x, _ = related(rng, 10, 3, 1)
    basis = torch.linalg.svd(torch.eye(10, dtype=torch.float64) - 0.1).U[:, :9]
    with pytest.warns(fastcka.DegenerateWarning, match="y: its unbiased HSIC with itself is not above zero"):
        assert math.isnan(cka(x.float(), basis.float(), estimator="unbiased").item())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_zero_median_distance(rng, dtype):
    """Eight of ten samples coincide."""
    x, y = (tensor.detach() for tensor in related(rng, 10, 50, 40, dtype))
    y[2:] = y[2]
    y.requires_grad_()
    with pytest.warns(fastcka.DegenerateWarning, match="y: its median distance is zero"):
        value = cka(x, y, kernel="rbf")
    value.backward()
    assert math.isnan(value.item())
    assert y.grad.isnan().all()
    kernel = fastcka.RBF(sigma=2.0)
    assert cka(x, y, kernel=kernel).item() == pytest.approx(fastcka.cka(x, y, kernel=kernel), abs=1e-6)


def test_equal_samples_leave_the_gradient_finite(rng):
    """Their distance of zero is a minimum: nothing to divide by, and nothing to gain."""
    x, y = related(rng, 9, 4, 3)
    x = x.detach()
    x[5] = x[3]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: cka(x, y, kernel="rbf"), (x, y))


@each_kernel
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("shape", [(30, 6, 4), (13, 20, 25)], ids=str)
def test_values_that_are_not_finite_give_nan(rng, shape, bad, kernel):
    x, y = (tensor.detach() for tensor in related(rng, *shape, dtype=torch.float32))
    x[2, 3] = bad
    y.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = cka(x, y, kernel=kernel)
        value.backward()
    assert math.isnan(value.item())
    assert y.grad.isnan().all()


# -------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kernel": "cosine"}, ValueError, "kernel cosine .* supported are 'linear' and 'rbf'"),
        ({"kernel": fastcka.Laplacian(2)}, ValueError, r"kernel Laplacian\(bandwidth=2.0\) .* supported"),
        ({"kernel": "precomputed"}, ValueError, "supported are 'linear' and 'rbf'"),
        ({"kernel": "rfb"}, ValueError, "unknown kernel 'rfb'.*did you mean 'rbf'"),
        ({"estimator": "debias"}, ValueError, "unknown estimator 'debias'"),
        ({"x": np.zeros((8, 3))}, TypeError, "x must be a torch tensor, got ndarray"),
        ({"y": torch.zeros(8, 2, dtype=torch.int64)}, TypeError, "y must be .* floating-point .*int64"),
        ({"y": torch.zeros(8, 2).to_sparse()}, TypeError, "y must be a dense tensor"),
        ({"y": torch.zeros(8)}, ValueError, r"y must be two-dimensional.*got shape \(8,\)"),
        ({"x": torch.zeros(8, 3, 4)}, ValueError, r"got shape \(8, 3, 4\); .flatten\(1\)"),
        ({"x": torch.zeros(8, 0)}, ValueError, r"not empty, got shape \(8, 0\)"),
        ({"y": torch.zeros(7, 2)}, ValueError, r"x has 8 samples but y has 7 \(shapes \(8, 3\) and \(7, 2\)"),
        ({"y": torch.zeros(8, 2, device="meta")}, ValueError, "x is on 'cpu' but y is on 'meta'"),
        (
            {"x": torch.zeros(3, 3), "y": torch.zeros(3, 2), "estimator": "unbiased"},
            ValueError,
            "unbiased estimator needs at least 4 samples, x has 3",
        ),
        ({"x": torch.zeros(1, 3), "y": torch.zeros(1, 2)}, ValueError, "biased estimator needs at least 2"),
    ],
)
def test_bad_input(change, error, words):
    arguments = {"x": torch.randn(8, 3), "y": torch.randn(8, 2)} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    for function in (cka, cka_loss):
        with pytest.raises(error, match=words):
            function(x, y, **arguments)


def test_the_package_does_not_import_torch():
    code = "import sys, fastcka; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@each_estimator
def test_many_samples_need_no_gram_matrix(rng, estimator):
    """Of these, one n x n matrix would take 160 GB."""
    x, y = related(rng, 200_000, 8, 5, torch.float32)
    value = cka(x, y, estimator=estimator)
    value.backward()
    expected = fastcka.cka(x, y, estimator=estimator)
    assert value.item() == pytest.approx(expected, abs=TOLERANCE["float32", "cka"])
    assert x.grad.isfinite().all()


def test_long_sums_over_features_keep_their_digits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 2_000_000)) + 0.3 * rng.normal(size=(8, 1)) * rng.normal(size=2_000_000)
    y = rng.normal(size=(8, 3)) + x[:, :50].sum(axis=1, keepdims=True) * [1, 0, 0]
    x, y = (torch.tensor(values, dtype=torch.float32) for values in (x, y))
    expected = fastcka.cka(x, y)
    assert cka(x, y).item() == pytest.approx(expected, abs=TOLERANCE["float32", "cka"])
