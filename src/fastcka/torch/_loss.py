# SPDX-License-Identifier: BSD-3-Clause
"""CKA as a differentiable function of torch tensors, and as a loss. The mathematics is in _gradients.py."""

from __future__ import annotations

from typing import Any

import torch

from .._arguments import ESTIMATORS, check_estimator
from .._pairwise import reason, warn
from ..kernels import RBF, Kernel, KernelLike, Linear, resolve_kernel
from ._common import Tensor
from ._gradients import align


def cka(x: Tensor, y: Tensor, *, kernel: KernelLike = "linear", estimator: str = "biased") -> Tensor:
    """Return CKA of two tensors, differentiable in both: the number of :func:`fastcka.cka`.

    ``CKA(x, y) = HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y))``, with the same estimator in all three places.

    Parameters
    ----------
    x, y : (n, p) and (n, q) tensor
        The same n samples in the same order, one in each row, on one device; float64, float32, float16 or
        bfloat16.
    kernel : {"linear", "rbf"} or kernel object, default "linear"
        ``fastcka.RBF`` keeps its options. Its relative bandwidth is differentiated: the median distance is a
        function of the samples, and moves with the two (or four) samples whose distance it is.
        ``RBF(sigma=...)`` is a constant.
    estimator : {"biased", "unbiased"}, default "biased"
        As for :func:`fastcka.cka`. In small batches the biased estimator is high for any features.

    Returns
    -------
    0-d tensor
        float64 when `x` or `y` is float64, otherwise float32, which is also the type of the arithmetic, under
        autocast too. Gradients have the dtypes of `x` and `y`. nan, with gradients of nan and a
        :class:`fastcka.DegenerateWarning`, where :func:`fastcka.cka` is nan; nan without a warning for values
        that are not finite.

    Raises
    ------
    TypeError
        When `x` or `y` is not a dense tensor of floating-point numbers.
    ValueError
        When shapes or devices do not match, there are fewer than 2 samples (4 for the unbiased estimator), or
        the kernel or the estimator is not supported.
    RuntimeError
        In a backward pass with ``create_graph=True``: there are no second derivatives.

    Notes
    -----
    The gradient is computed in closed form along with the value; the backward pass needs one saved
    matrix of the shape of each input. The linear kernel forms no n x n matrix when there are more samples
    than features. On a GPU, ``torch.backends.cuda.matmul.allow_tf32 = True`` (off unless set) costs digits.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414. Song et
    al. 2012, Feature Selection via Dependence Maximization.

    Examples
    --------
    >>> import torch, fastcka.torch
    >>> x = torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True)
    >>> y = torch.tensor([[0.0], [1.0], [4.0]])
    >>> value = fastcka.torch.cka(x, y)  # one column each: the squared correlation
    >>> value.backward()
    >>> round(value.item(), 4), [round(g, 4) for g in x.grad[:, 0].tolist()]
    (0.9231, [0.1538, -0.3077, 0.1538])
    """
    value, degenerate = _cka(x, y, kernel, estimator)
    if degenerate:
        warn(degenerate)
    return value


def cka_loss(x: Tensor, y: Tensor, *, kernel: KernelLike = "linear", estimator: str = "biased") -> Tensor:
    """Return ``1 - cka(x, y)``, to be minimised: 0 when both are the same up to rotation and scale.

    To drive representations apart, minimise :func:`cka` itself.

    Parameters
    ----------
    x, y, kernel, estimator
        As for :func:`cka`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As for :func:`cka`.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> import torch, fastcka.torch
    >>> _ = torch.manual_seed(0)
    >>> student, teacher = torch.nn.Linear(8, 4), torch.nn.Linear(8, 6)
    >>> images = torch.randn(64, 8)
    >>> loss = fastcka.torch.cka_loss(student(images), teacher(images).detach())
    >>> loss.backward()
    >>> student.weight.grad.shape
    torch.Size([4, 8])
    """
    value, degenerate = _cka(x, y, kernel, estimator)
    if degenerate:
        warn(degenerate)
    return 1 - value


def _cka(x: Tensor, y: Tensor, kernel: KernelLike, estimator: str) -> tuple[Tensor, list[str]]:
    """Return CKA as part of the graph, and what to warn of."""
    chosen = _supported(kernel)
    estimator = check_estimator(estimator)
    _check(x, y, estimator)
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    wanted = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in (x, y))
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        value, gradients, statuses = align(
            x.to(dtype),
            y.to(dtype),
            chosen if isinstance(chosen, RBF) else None,
            estimator == "unbiased",
            wanted,
        )
        if any(statuses):
            for result in (value, *gradients):
                if result is not None:
                    result.fill_(torch.nan)
    degenerate = [
        f"{name}: {reason(status, chosen)}" for name, status in zip("xy", statuses, strict=True) if status
    ]
    return _WithGradients.apply(x, y, value, *gradients), degenerate


class _WithGradients(torch.autograd.Function):  # type: ignore[misc]
    """A value, as a function of x and y by which its gradients are known already."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, value: Tensor, by_x: Tensor | None, by_y: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(by_x, by_y)
        ctx.dtypes = x.dtype, y.dtype
        return value.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True; what follows would be taken for constants
            raise RuntimeError("fastcka.torch.cka has first derivatives only: use create_graph=False")
        # Multiplied before it is narrowed: the factors of loss scaling keep float16 from underflow.
        by_x, by_y = (
            None if gradient is None else (outer * gradient).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return by_x, by_y, None, None, None


def _supported(kernel: KernelLike) -> Kernel:
    chosen = resolve_kernel(kernel)
    if not isinstance(chosen, Linear | RBF):
        raise ValueError(f"kernel {chosen} has no gradient here: supported are 'linear' and 'rbf'")
    return chosen


def _check(x: Tensor, y: Tensor, estimator: str) -> None:
    for name, tensor in (("x", x), ("y", y)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise TypeError(
                f"{name} must be a dense tensor of floating-point numbers, "
                f"got {tensor.dtype}, {tensor.layout}"
            )
        if tensor.ndim != 2 or tensor.numel() == 0:
            raise ValueError(
                f"{name} must be two-dimensional, (n_samples, n_features), and not empty, got shape "
                f"{tuple(tensor.shape)}; .flatten(1) makes one row of each sample"
            )
    if len(x) != len(y):
        raise ValueError(
            f"x has {len(x)} samples but y has {len(y)} (shapes {tuple(x.shape)} and {tuple(y.shape)}): "
            f"both must hold the same samples, in the same order, one in each row"
        )
    if x.device != y.device:
        raise ValueError(f"x is on {str(x.device)!r} but y is on {str(y.device)!r}: move one, .to(device)")
    if len(x) < ESTIMATORS[estimator]:
        raise ValueError(
            f"the {estimator} estimator needs at least {ESTIMATORS[estimator]} samples, x has {len(x)}"
        )
