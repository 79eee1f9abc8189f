// SPDX-License-Identifier: BSD-3-Clause
#include "sums/sums.hpp"

#include <utility>

namespace fastcka {

using Eigen::MatrixXd;

MatrixXd centred_diagonals(const Margins& k) {
    const double n = static_cast<double>(k.diagonal.rows());
    const MatrixXd means = (k.row_sums + k.diagonal) / n;
    const Eigen::RowVectorXd grand = means.colwise().sum() / n;
    return (k.diagonal - 2 * means).rowwise() + grand;
}

Terms::Terms(Margins margins) : diagonal(std::move(margins.diagonal)), row_sums(std::move(margins.row_sums)) {
    full = row_sums + diagonal;
    centred = (full.array() == 0).all();
    spread = centred_diagonals({diagonal, row_sums});
    totals = row_sums.colwise().sum();
    full_totals = full.colwise().sum();
    traces = spread.colwise().sum();
    spread.rowwise() -= Eigen::RowVectorXd(spread.colwise().mean());
}

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
    return {
        .products = products.array(),
        .diagonals = diagonals,
        .rows = terms.centred ? diagonals : product(terms.row_sums),
        .totals = outer(terms.totals),
        .full_rows = terms.centred ? zero : product(terms.full),
        .full_totals = terms.centred ? zero : outer(terms.full_totals),
        .magnitudes = products.array().abs(),
        .spreads = spreads == Spreads::made ? product(terms.spread) : zero,
        .traces = outer(terms.traces),
    };
}

PairSums self_sums(const Eigen::VectorXd& products, const Terms& terms) {
    return {
        .products = products.array(),
        .diagonals = terms.diagonal.colwise().squaredNorm().transpose().array(),
        .rows = terms.row_sums.colwise().squaredNorm().transpose().array(),
        .totals = terms.totals.transpose().array().square(),
        .full_rows = terms.full.colwise().squaredNorm().transpose().array(),
        .full_totals = terms.full_totals.transpose().array().square(),
        .magnitudes = products.array().abs(),
        .spreads = terms.spread.colwise().squaredNorm().transpose().array(),
        .traces = terms.traces.transpose().array().square(),
    };
}

PairSums without_diagonal(PairSums full) {
    full.magnitudes += full.diagonals.abs();
    full.products -= full.diagonals;
    return full;
}

}  // namespace fastcka
