// SPDX-License-Identifier: BSD-3-Clause
#include "measures/hsic.hpp"

#include <algorithm>

namespace fastcka {

using Eigen::ArrayXXd;

double largest_condition_in_float32(Estimator estimator, bool centred, double n) {
    if (estimator == Estimator::biased) return 0x1p20;
    return centred ? 0x1p4 : std::min(16 * n * n, 0x1p26);
}

// tr(K H L H) / (n - 1)^2 (Gretton et al. 2005; Kornblith et al. 2019, eq. 3), without centring K or L:
// tr(K H L H) = <K, L> - 2/n (K 1)'(L 1) + (1'K 1)(1'L 1) / n^2.
Estimates biased_hsic(const PairSums& sums, double n) {
    const ArrayXXd inner = sums.products + sums.diagonals;
    const ArrayXXd rows = sums.full_rows * (2 / n);
    const ArrayXXd totals = sums.full_totals / (n * n);

    const double scale = 1 / ((n - 1) * (n - 1));
    return {scale * (inner - rows + totals), scale * (inner.abs() + rows.abs() + totals.abs())};
}

// HSIC_1 (Song et al. 2012, eq. 5): K0, L0 are K, L with zero diagonal,
// [tr(K0 L0) + (1'K0 1)(1'L0 1) / ((n - 1)(n - 2)) - 2/(n - 2) 1'K0 L0 1] / (n (n - 3)).
Estimates unbiased_hsic(const PairSums& sums, double n) {
    const ArrayXXd totals = sums.totals / ((n - 1) * (n - 2));
    const ArrayXXd rows = sums.rows * (2 / (n - 2));

    const double scale = 1 / (n * (n - 3));
    return {scale * (sums.products + totals - rows), scale * sums.magnitudes};
}

}  // namespace fastcka
