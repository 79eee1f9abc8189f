# SPDX-License-Identifier: BSD-3-Clause
"""The kernels: small immutable objects that define how two samples are compared.

A kernel is chosen by name (``kernel="rbf"``) or by object (``kernel=fastcka.RBF(bandwidth=0.5)``). It is
resolved separately for each representation: a relative bandwidth becomes another number for every layer. The
arithmetic is in the core, a file of src/cpp/kernels for each. Names, the command line and the lists of the
tests come from `_KERNELS`, at the end.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias

from . import _core
from ._arguments import finite_number, positive_integer, unknown


class Kernel:
    """Base class of all kernels: for type checks, not instantiated directly.

    Kernels are immutable dataclasses; two with the same options are equal.

    Attributes
    ----------
    name : str
        The name that ``kernel=`` also accepts, for the kernel with its default options.

    Examples
    --------
    >>> import fastcka
    >>> kernel = fastcka.RBF(0.5)
    >>> isinstance(kernel, fastcka.Kernel), kernel.name, kernel == fastcka.RBF(bandwidth=0.5)
    (True, 'rbf', True)
    """

    name: ClassVar[str]
    # Why a representation has no variation under this kernel, as the warning says it.
    _constant: ClassVar[str] = "no variation: all samples are equal"

    def _options(self) -> dict[str, Any]:
        """Return the options as the core names them; nan is its word for "not given"."""
        return {}

    def __repr__(self) -> str:
        default = type(self)()
        options = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        shown = (
            f"{name}={value!r}"
            for name, value in options.items()
            if value is not None and value != getattr(default, name)
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def __str__(self) -> str:
        """Return the name, or the whole kernel where it has options that are not the default."""
        text = repr(self)
        return self.name if text.endswith("()") else text


KernelLike: TypeAlias = str | Kernel


def _check(kernel: Kernel, option: str, **bounds: float) -> None:
    """Store an option as a finite float within bounds; a frozen dataclass needs this detour."""
    number = finite_number(getattr(kernel, option), f"{type(kernel).__name__}: {option}", **bounds)
    object.__setattr__(kernel, option, number)


@dataclass(frozen=True, repr=False)
class Linear(Kernel):
    """Linear kernel, the inner product of two samples: ``k(x, y) = <x, y>``.

    CKA with it is invariant to rotations, isotropic scaling and offsets of the features, and equals the RV
    coefficient.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.gram([[1.0, 0.0], [1.0, 2.0]], kernel=fastcka.Linear())
    array([[1., 1.],
           [1., 5.]])
    """

    name = "linear"


@dataclass(frozen=True, repr=False)
class _Bandwidth(Kernel):
    """The options of the kernels that have a bandwidth."""

    bandwidth: float | None = None  # 1.0 once checked, unless there is a sigma
    _: KW_ONLY
    sigma: float | None = None
    median: Literal["all", "offdiag"] = "all"

    def __post_init__(self) -> None:
        if self.bandwidth is not None:
            _check(self, "bandwidth", above=0)
        elif self.sigma is None:
            object.__setattr__(self, "bandwidth", 1.0)
        if self.median not in ("all", "offdiag"):
            raise unknown(f"median of {type(self).__name__}", self.median, ("all", "offdiag"))
        if self.sigma is not None:
            _check(self, "sigma", above=0)
            if (self.bandwidth, self.median) != (None, "all"):
                raise ValueError(
                    f"{type(self).__name__}: sigma is the bandwidth itself; "
                    f"give either sigma, or bandwidth and median"
                )

    def _options(self) -> dict[str, Any]:
        sigma = math.nan if self.sigma is None else self.sigma
        bandwidth = 1.0 if self.bandwidth is None else self.bandwidth  # unused where sigma is given
        return {"bandwidth": bandwidth, "sigma": sigma, "offdiagonal": self.median == "offdiag"}


@dataclass(frozen=True, repr=False)
class RBF(_Bandwidth):
    """Gaussian kernel: ``k(x, y) = exp(-||x - y||^2 / (2 sigma^2))``.

    Parameters
    ----------
    bandwidth : float, default 1.0
        ``sigma = bandwidth * sqrt(median of the squared distances between samples)``, computed separately for
        each representation.
    sigma : float, optional
        An absolute bandwidth instead, the same for all representations; ``bandwidth`` is None then.
    median : {"all", "offdiag"}, default "all"
        The distances that the median is taken over. "all": all n^2 pairs, the zero distance of every sample
        to itself included, as the code of Kornblith et al. does. "offdiag": pairs of different samples. For
        an even count, the median is the mean of the two middle distances.

    Raises
    ------
    TypeError, ValueError
        If an option is not a number or out of range, or sigma comes with a bandwidth or a median.

    Notes
    -----
    A representation whose median distance is zero has no relative bandwidth: its values are nan, with a
    warning. As the bandwidth grows, CKA tends to that of the linear kernel (Alvarez 2021, arXiv:2112.09305).

    References
    ----------
    Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.RBF(bandwidth=0.5)
    RBF(bandwidth=0.5)
    """

    name = "rbf"


@dataclass(frozen=True, repr=False)
class Laplacian(_Bandwidth):
    """Laplacian kernel of the Euclidean distance: ``k(x, y) = exp(-||x - y|| / sigma)``.

    Parameters
    ----------
    bandwidth : float, default 1.0
        ``sigma = bandwidth * sqrt(median of the squared distances between samples)``, computed separately for
        each representation.
    sigma : float, optional
        An absolute scale instead, the same for all representations; ``bandwidth`` is None then.
    median : {"all", "offdiag"}, default "all"
        The distances that the median is taken over, as for :class:`RBF`.

    Raises
    ------
    TypeError, ValueError
        If an option is not a number or out of range, or sigma comes with a bandwidth or a median.

    References
    ----------
    Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 4.2.1 (there the exponential
    covariance). The rule for the bandwidth: Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.gram([[0.0], [1.0]], kernel=fastcka.Laplacian(sigma=1)).round(4)
    array([[1.    , 0.3679],
           [0.3679, 1.    ]])
    """

    name = "laplacian"


@dataclass(frozen=True, repr=False)
class Polynomial(Kernel):
    """Polynomial kernel: ``k(x, y) = (gamma <x, y> + coef0)^degree``.

    It depends on where the origin is: the features are not centred first.

    Parameters
    ----------
    degree : int, default 2
        At least 1.
    coef0 : float, default 1.0
        At least 0: the kernel of a negative one need not be positive semidefinite.
    gamma : float, optional
        Above 0. None: 1 / n_features, separately for each representation.

    Raises
    ------
    TypeError, ValueError
        If an option is not a number, or out of range.

    References
    ----------
    Schölkopf and Smola 2002, Learning with Kernels, section 2.3.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.gram([[1.0, 0.0], [1.0, 2.0]], kernel=fastcka.Polynomial(degree=2, gamma=1))
    array([[ 4.,  4.],
           [ 4., 36.]])
    """

    name = "polynomial"
    _constant = "no variation: all its kernel values are equal"

    degree: int = 2
    _: KW_ONLY
    coef0: float = 1.0
    gamma: float | None = None

    def __post_init__(self) -> None:
        degree = positive_integer(self.degree, "Polynomial: degree", 2**31 - 1)
        object.__setattr__(self, "degree", degree)
        _check(self, "coef0", least=0)
        if self.gamma is not None:
            _check(self, "gamma", above=0)

    def _options(self) -> dict[str, Any]:
        gamma = math.nan if self.gamma is None else self.gamma
        return {"degree": self.degree, "coef0": self.coef0, "gamma": gamma}


@dataclass(frozen=True, repr=False)
class Cosine(Kernel):
    """Cosine of the angle between two samples, seen from the origin: ``k(x, y) = <x, y> / (||x|| ||y||)``.

    The features are not centred first. The cosine with a zero sample is 0.

    References
    ----------
    Shawe-Taylor and Cristianini 2004, Kernel Methods for Pattern Analysis (there the normalised kernel).

    Examples
    --------
    >>> import fastcka
    >>> fastcka.gram([[3.0, 4.0], [0.0, 2.0]], kernel=fastcka.Cosine()).round(4)
    array([[1. , 0.8],
           [0.8, 1. ]])
    """

    name = "cosine"
    _constant = "no variation: all samples have the same direction"


@dataclass(frozen=True, repr=False)
class Correlation(Kernel):
    """Pearson's correlation of two samples across features: ``k(x, y) = <x', y'> / (||x'|| ||y'||)``.

    Here ``x' = x - mean(x)`` and ``y' = y - mean(y)``, as in representational similarity analysis.
    Scaling or shifting a sample does not change it. The correlation with a sample whose values are all
    equal is 0, as the cosine with a zero sample is.

    References
    ----------
    Kriegeskorte, Mur and Bandettini 2008, Representational Similarity Analysis - Connecting the Branches of
    Systems Neuroscience.

    Examples
    --------
    >>> import fastcka
    >>> fastcka.gram([[1.0, 2.0, 3.0], [30.0, 20.0, 10.0]], kernel=fastcka.Correlation()).round(4)
    array([[ 1., -1.],
           [-1.,  1.]])
    """

    name = "correlation"
    _constant = "no variation: all samples are equal but for an offset and a factor"


@dataclass(frozen=True, repr=False)
class Distance(Kernel):
    """Distance-induced kernel: ``k(x, y) = (||x||^e + ||y||^e - ||x - y||^e) / 2``.

    CKA with it is the *squared* distance correlation of Szekely, Rizzo and Bakirov, and with
    ``estimator="unbiased"`` the bias-corrected distance correlation.

    Parameters
    ----------
    exponent : float, default 1.0
        The exponent e, between 0 and 2, both excluded.

    Raises
    ------
    TypeError, ValueError
        If an option is not a number, or out of range.

    References
    ----------
    Székely, Rizzo and Bakirov 2007, Measuring and Testing Dependence by Correlation of Distances. As a
    kernel: Sejdinovic et al. 2013, Equivalence of Distance-Based and RKHS-Based Statistics in Hypothesis
    Testing.

    Examples
    --------
    The squared distance correlation that the package dcor documents for these samples:

    >>> import numpy as np, fastcka
    >>> a, b = np.arange(1, 17).reshape(4, 4), np.array([[1], [0], [0], [1]])
    >>> round(fastcka.cka(a, b, kernel="distance"), 6)
    0.27735
    """

    name = "distance"

    exponent: float = 1.0

    def __post_init__(self) -> None:
        _check(self, "exponent", above=0, below=2)

    def _options(self) -> dict[str, Any]:
        return {"exponent": self.exponent}


@dataclass(frozen=True, repr=False)
class Precomputed(Kernel):
    """The inputs are Gram matrices (n_samples, n_samples) themselves; chosen by ``kernel="precomputed"``."""

    name = "precomputed"
    _constant = "no variation: its centred Gram matrix is zero"


_KERNELS: dict[str, Kernel] = {
    kind.name: kind()
    for kind in (Linear, RBF, Laplacian, Polynomial, Cosine, Correlation, Distance, Precomputed)
}
_KINDS: tuple[type[Kernel], ...] = tuple(type(kernel) for kernel in _KERNELS.values())

# What other packages call them.
_ALIASES = {"gaussian": "rbf", "gauss": "rbf", "poly": "polynomial"}


def core_kernel(kernel: Kernel) -> _core.Kernel:
    """Return the kernel of the core."""
    return _core.Kernel(kernel.name, **kernel._options())


def option_names(kernel: Kernel) -> list[str]:
    """Return the names of the options."""
    return [field.name for field in fields(kernel)]  # type: ignore[arg-type]


def follows_median(kernel: Kernel) -> bool:
    """Whether the bandwidth of each representation follows the median of its distances."""
    return isinstance(kernel, _Bandwidth) and kernel.sigma is None


def resolve_kernel(kernel: object) -> Kernel:
    """Return the kernel object for a name or an object."""
    if isinstance(kernel, _KINDS):
        return kernel
    if isinstance(kernel, str) and kernel in _KERNELS:
        return _KERNELS[kernel]
    if isinstance(kernel, Kernel):
        raise TypeError(
            f"kernel is a {type(kernel).__name__}, which the core does not know: for a kernel of your own, "
            f"pass Gram matrices and kernel='precomputed'"
        )
    if isinstance(kernel, type) and issubclass(kernel, Kernel):
        raise TypeError(f"kernel is the class {kernel.__name__}; pass an object, {kernel.__name__}()")
    raise unknown("kernel", kernel, _KERNELS, _ALIASES)
