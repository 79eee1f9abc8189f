// SPDX-License-Identifier: BSD-3-Clause
// The few sums that every route delivers and from which measures/hsic makes every estimator.
#pragma once

#include "base/matrix_view.hpp"

#include <Eigen/Core>

namespace fastcka {

// Sums over samples for pairs of Gram matrices K, L (up to terms that centring removes), an entry for each pair.
struct PairSums {
    Eigen::ArrayXXd products;   // sum_{i != j} K_ij L_ij
    Eigen::ArrayXXd diagonals;  // sum_i K_ii L_ii
    Eigen::ArrayXXd rows;       // sum_i (sum_{j != i} K_ij) (sum_{j != i} L_ij)
    Eigen::ArrayXXd totals;     // (sum_{i != j} K_ij) (sum_{i != j} L_ij)
    Eigen::ArrayXXd full_rows;  // `rows` and `totals` with the diagonals
    Eigen::ArrayXXd full_totals;
    // The sum of the magnitudes of the terms that n (n - 3) HSIC_1 is the difference of; of a layer with itself the sum
    // of the terms of its condition (docs/numerics.md) if that is larger.
    Eigen::ArrayXXd magnitudes;
    // With k = diag(H K H) and l = diag(H L H):
    Eigen::ArrayXXd spreads;  // sum_i (k_i - mean k) (l_i - mean l)
    Eigen::ArrayXXd traces;   // (sum_i k_i) (sum_i l_i)

    static index bytes(index pairs) {
        return pairs * static_cast<index>(sizeof(PairSums) / sizeof(Eigen::ArrayXXd) * sizeof(double));
    }
};

struct Sums {
    double samples;
    PairSums pairs;   // rows x columns of the result
    PairSums selves;  // each layer with itself: layers x 1
};

// Sums over one Gram matrix alone, a column per layer.
struct Margins {
    Eigen::MatrixXd diagonal;  // K_ii, samples x layers
    Eigen::MatrixXd row_sums;  // sum_{j != i} K_ij, samples x layers
    // For kernels of distances the constant that all K_ij of a layer lack (LayerNote); otherwise empty.
    Eigen::VectorXd left_out = {};
};

// diag(H K H), samples x layers.
Eigen::MatrixXd centred_diagonals(const Eigen::MatrixXd& diagonal, const Eigen::MatrixXd& row_sums);
inline Eigen::MatrixXd centred_diagonals(const Margins& k) {
    return centred_diagonals(k.diagonal, k.row_sums);
}

// The factors of the sums of pairs, computed once for all pairs; a column per layer.
struct Terms {
    explicit Terms(Margins margins);
    // Four matrices, and the means that the last of them is computed with.
    static index bytes(index samples, index layers) { return 5 * 8 * samples * layers; }

    Eigen::MatrixXd diagonal, row_sums;              // as in Margins
    Eigen::MatrixXd full;                            // sum_j K_ij
    Eigen::MatrixXd spread;                          // diag(H K H) less its mean
    Eigen::RowVectorXd totals, full_totals, traces;  // sums of `row_sums` and `full`; tr(H K H)
    Eigen::VectorXd left_out;                        // as in Margins
    bool centred;                                    // `full` is zero
};

struct LayerRange {
    index first, count;
};

// Only RV2 and RSA need PairSums::spreads.
enum class Spreads { skipped, made };

// The sums of some layers with some others, and of each layer with itself. `products`: see PairSums.
PairSums pair_sums(const Eigen::MatrixXd& products, const Terms& terms, LayerRange rows, LayerRange columns,
                   Spreads spreads = Spreads::made);
PairSums self_sums(const Eigen::VectorXd& products, const Terms& terms);
// The same from products that include the diagonal, which is subtracted: ||X'Y||^2 = <K, L>.
PairSums without_diagonal(PairSums full);
PairSums self_sums_without_diagonal(const Eigen::VectorXd& products, const Terms& terms);

}  // namespace fastcka
