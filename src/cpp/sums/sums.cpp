// SPDX-License-Identifier: BSD-3-Clause
#include "sums/sums.hpp"

namespace fastcka {

using Eigen::MatrixXd;

MatrixXd centred_diagonals(const Margins& k) {
    const double n = static_cast<double>(k.diagonal.rows());
    const MatrixXd means = (k.row_sums + k.diagonal) / n;
    const Eigen::RowVectorXd grand = means.colwise().sum() / n;
    return (k.diagonal - 2 * means).rowwise() + grand;
}

namespace {

MatrixXd without_means(const MatrixXd& values) {
    return values.rowwise() - Eigen::RowVectorXd(values.colwise().mean());
}

}  // namespace

PairSums pair_sums(const MatrixXd& products, const Margins& k, const Margins& l) {
    const MatrixXd k_full = k.row_sums + k.diagonal, l_full = l.row_sums + l.diagonal;
    const auto totals = [](const MatrixXd& a, const MatrixXd& b) -> MatrixXd {
        return a.colwise().sum().transpose() * b.colwise().sum();
    };
    const MatrixXd k_centred = centred_diagonals(k), l_centred = centred_diagonals(l);
    return {
        .products = products.array(),
        .diagonals = (k.diagonal.transpose() * l.diagonal).array(),
        .rows = (k.row_sums.transpose() * l.row_sums).array(),
        .totals = totals(k.row_sums, l.row_sums).array(),
        .full_rows = (k_full.transpose() * l_full).array(),
        .full_totals = totals(k_full, l_full).array(),
        .magnitudes = products.array().abs(),
        .spreads = (without_means(k_centred).transpose() * without_means(l_centred)).array(),
        .traces = totals(k_centred, l_centred).array(),
    };
}

PairSums self_sums(const Eigen::VectorXd& products, const Margins& k) {
    const MatrixXd full = k.row_sums + k.diagonal, centred = centred_diagonals(k);
    return {
        .products = products.array(),
        .diagonals = k.diagonal.colwise().squaredNorm().transpose().array(),
        .rows = k.row_sums.colwise().squaredNorm().transpose().array(),
        .totals = k.row_sums.colwise().sum().transpose().array().square(),
        .full_rows = full.colwise().squaredNorm().transpose().array(),
        .full_totals = full.colwise().sum().transpose().array().square(),
        .magnitudes = products.array().abs(),
        .spreads = without_means(centred).colwise().squaredNorm().transpose().array(),
        .traces = centred.colwise().sum().transpose().array().square(),
    };
}

namespace {

PairSums without_diagonal(PairSums full) {
    full.magnitudes += full.diagonals.abs();
    full.products -= full.diagonals;
    return full;
}

}  // namespace

PairSums pair_sums_of_full(const MatrixXd& full_products, const Margins& k, const Margins& l) {
    return without_diagonal(pair_sums(full_products, k, l));
}

PairSums self_sums_of_full(const Eigen::VectorXd& full_products, const Margins& k) {
    return without_diagonal(self_sums(full_products, k));
}

}  // namespace fastcka
