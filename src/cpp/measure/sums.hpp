// SPDX-License-Identifier: BSD-3-Clause
// The few sums that both routes deliver and from which measure/hsic makes every estimator.
#pragma once

#include "base/matrix_view.hpp"

#include <Eigen/Core>

namespace fastcka {

// What belongs to one representation alone, a column per layer. K is its Gram matrix up to terms that centring removes.
struct Margins {
    Eigen::MatrixXd diagonal;  // K_ii, samples x layers
    Eigen::MatrixXd row_sums;  // sum_{j != i} K_ij, samples x layers
};

// All pairs of layers of two sides; the sides are the same when only one was given.
struct Sums {
    Margins a, b;
    Eigen::MatrixXd products;         // sum_{i != j} K_ij L_ij, layers of a x layers of b
    Eigen::VectorXd self_a, self_b;   // sum_{i != j} K_ij^2
};

}  // namespace fastcka
