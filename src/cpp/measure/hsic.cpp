// SPDX-License-Identifier: BSD-3-Clause
#include "measure/hsic.hpp"

namespace fastcka {

using Eigen::MatrixXd;

// tr(K H L H) / (n - 1)^2 (Gretton et al. 2005; Kornblith et al. 2019, eq. 3), without centring K or L:
// tr(K H L H) = <K, L> - 2/n (K 1)'(L 1) + (1'K 1)(1'L 1) / n^2.
Estimates biased_hsic(const MatrixXd& products, const Margins& k, const Margins& l) {
    const double n = static_cast<double>(k.diagonal.rows());
    const MatrixXd k_rows = k.row_sums + k.diagonal, l_rows = l.row_sums + l.diagonal;  // K 1, L 1

    const MatrixXd inner = products + k.diagonal.transpose() * l.diagonal;  // <K, L>
    const MatrixXd rows = (2 / n) * (k_rows.transpose() * l_rows);
    const MatrixXd totals = (k_rows.colwise().sum().transpose() * l_rows.colwise().sum()) / (n * n);

    const double scale = 1 / ((n - 1) * (n - 1));
    return {scale * (inner - rows + totals), scale * (inner.cwiseAbs() + rows.cwiseAbs() + totals.cwiseAbs())};
}

// HSIC_1 (Song et al. 2012, eq. 5): K0, L0 are K, L with zero diagonal,
// [tr(K0 L0) + (1'K0 1)(1'L0 1) / ((n - 1)(n - 2)) - 2/(n - 2) 1'K0 L0 1] / (n (n - 3)).
Estimates unbiased_hsic(const MatrixXd& products, const Margins& k, const Margins& l) {
    const double n = static_cast<double>(k.diagonal.rows());

    const MatrixXd totals =
        (k.row_sums.colwise().sum().transpose() * l.row_sums.colwise().sum()) / ((n - 1) * (n - 2));
    const MatrixXd rows = (2 / (n - 2)) * (k.row_sums.transpose() * l.row_sums);

    const double scale = 1 / (n * (n - 3));
    return {scale * (products + totals - rows), scale * (products.cwiseAbs() + totals.cwiseAbs() + rows.cwiseAbs())};
}

}  // namespace fastcka
