# SPDX-License-Identifier: BSD-3-Clause
"""Every tolerance of the numerical tests, with its reason: ``TOLERANCE[dtype, quantity]``.

dtype is that of the products ("float64" or "float32"). float16 and bfloat16 inputs use the float32 rows:
widening them is exact, and judge and implementation see the same widened values.
"""

TOLERANCE: dict[tuple[str, str], float] = {
    # CKA, absolute, for data of any mean up to 1e4 spreads: the promise of the package (docs/numerics.md).
    # A Gram entry carries a few roundings (1.1e-16 or 6e-8 of it); over n^2 entries they average out.
    ("float64", "cka"): 1e-12,
    ("float32", "cka"): 1e-6,
    # HSIC, relative to sqrt(HSIC(X, X) HSIC(Y, Y)): that, and errors that numerator and denominator share.
    ("float64", "hsic"): 1e-12,
    ("float32", "hsic"): 2e-6,
    # Entries of a Gram or centred matrix, relative to the largest: nothing averages out. Inner products of a
    # few hundred terms, and exponentials, whose relative error is the error of their argument (up to 20).
    ("float64", "gram"): 1e-13,
    ("float32", "gram"): 1e-5,
    # CKA from kernel values exp(-d) where d is about 50 everywhere: they carry 50 roundings.
    ("float64", "narrow"): 1e-12,
    ("float32", "narrow"): 1e-5,
    # CKA where many pairs of samples are at 1e-3 of their norms. |x|^2 + |y|^2 - 2 <x, y> knows such a
    # squared distance, 1e-6 |x|^2, to 1e-10 (float64) or 0.1 (float32) of it, and roots weight it up.
    ("float64", "near samples"): 1e-12,
    ("float32", "near samples"): 2e-4,
    # Two values of one implementation that mathematics says are equal (rotation, permutation, ...): each may
    # be wrong by the "cka" row, and rotated float32 data are rounded once more.
    ("float64", "identity"): 2e-12,
    ("float32", "identity"): 2e-6,
}
