// SPDX-License-Identifier: BSD-3-Clause
#include "sums/sums.hpp"

#include <utility>

namespace fastcka {

using Eigen::MatrixXd;

MatrixXd centred_diagonals(const MatrixXd& diagonal, const MatrixXd& row_sums) {
    const double n = static_cast<double>(diagonal.rows());
    const MatrixXd means = (row_sums + diagonal) / n;
    const Eigen::RowVectorXd grand = means.colwise().sum() / n;
    return (diagonal - 2 * means).rowwise() + grand;
}

Terms::Terms(Margins margins) : diagonal(std::move(margins.diagonal)), row_sums(std::move(margins.row_sums)) {
    full = row_sums + diagonal;
    left_out = std::move(margins.left_out);
    centred = (full.array() == 0).all();
    spread = centred_diagonals(diagonal, row_sums);
    totals = row_sums.colwise().sum();
    full_totals = full.colwise().sum();
    traces = spread.colwise().sum();
    spread.rowwise() -= Eigen::RowVectorXd(spread.colwise().mean());
}

namespace {

// The sum of the magnitudes of the terms of n (n - 3) HSIC_1.
Eigen::ArrayXXd magnitudes_of(const PairSums& sums, double n) {
    return sums.products.abs() + sums.rows.abs() * (2 / (n - 2)) + sums.totals.abs() / ((n - 1) * (n - 2));
}

// a + b + c, the numerator of the condition of a self-HSIC (docs/numerics.md).
Eigen::ArrayXd condition_terms(const PairSums& self, const Terms& terms) {
    const double n = static_cast<double>(terms.diagonal.rows()), all = n * (n - 1);
    const double b = 2 / (n - 2), c = 1 / ((n - 1) * (n - 2));
    if (terms.left_out.size() == 0) {
        // K = H K H: a + c - b is n (n - 3) HSIC_1, and with k = diag(H K H) b is 2 / (n - 2) |k|^2.
        const Eigen::ArrayXd hsic = self.products + c * self.totals - b * self.rows;
        return hsic.abs() + 2 * b * (self.spreads + self.traces / n);
    }
    const Eigen::ArrayXd constant = terms.left_out.array(), total = terms.totals.transpose().array();
    const Eigen::ArrayXd products = self.products + constant * (2 * total + all * constant);
    const Eigen::ArrayXd rows = self.rows + (n - 1) * constant * (2 * total + all * constant);
    return products + b * rows + c * (total + all * constant).square();
}

}  // namespace

PairSums pair_sums(const MatrixXd& products, const Terms& terms, LayerRange rows, LayerRange columns,
                   Spreads spreads) {
    const auto product = [&](const MatrixXd& of) -> Eigen::ArrayXXd {
        return (of.middleCols(rows.first, rows.count).transpose() *
                of.middleCols(columns.first, columns.count))
            .array();
    };
    const auto outer = [&](const Eigen::RowVectorXd& of) -> Eigen::ArrayXXd {
        return (of.segment(rows.first, rows.count).transpose() * of.segment(columns.first, columns.count))
            .array();
    };
    const Eigen::ArrayXXd zero = Eigen::ArrayXXd::Zero(rows.count, columns.count);
    const Eigen::ArrayXXd diagonals = product(terms.diagonal);
    PairSums sums{
        .products = products.array(),
        .diagonals = diagonals,
        .rows = terms.centred ? diagonals : product(terms.row_sums),
        .totals = outer(terms.totals),
        .full_rows = terms.centred ? zero : product(terms.full),
        .full_totals = terms.centred ? zero : outer(terms.full_totals),
        .magnitudes = {},
        .spreads = spreads == Spreads::made ? product(terms.spread) : zero,
        .traces = outer(terms.traces),
    };
    sums.magnitudes = magnitudes_of(sums, static_cast<double>(terms.diagonal.rows()));
    return sums;
}

PairSums self_sums(const Eigen::VectorXd& products, const Terms& terms) {
    PairSums sums{
        .products = products.array(),
        .diagonals = terms.diagonal.colwise().squaredNorm().transpose().array(),
        .rows = terms.row_sums.colwise().squaredNorm().transpose().array(),
        .totals = terms.totals.transpose().array().square(),
        .full_rows = terms.full.colwise().squaredNorm().transpose().array(),
        .full_totals = terms.full_totals.transpose().array().square(),
        .magnitudes = {},
        .spreads = terms.spread.colwise().squaredNorm().transpose().array(),
        .traces = terms.traces.transpose().array().square(),
    };
    sums.magnitudes =
        magnitudes_of(sums, static_cast<double>(terms.diagonal.rows())).max(condition_terms(sums, terms));
    return sums;
}

PairSums without_diagonal(PairSums full) {
    full.magnitudes += full.diagonals.abs();
    full.products -= full.diagonals;
    return full;
}

PairSums self_sums_without_diagonal(const Eigen::VectorXd& products, const Terms& terms) {
    PairSums sums = without_diagonal(self_sums(products, terms));
    sums.magnitudes = sums.magnitudes.max(condition_terms(sums, terms));
    return sums;
}

}  // namespace fastcka
