// SPDX-License-Identifier: BSD-3-Clause
// The estimators: a page of arithmetic on sums, the same for every kernel and route.
#pragma once

#include "measure/sums.hpp"

namespace fastcka {

// `magnitude` is the sum of the absolute terms that made up `value`: rounding leaves value uncertain by a few units in
// the last place of magnitude.
struct Estimates {
    Eigen::MatrixXd value;
    Eigen::MatrixXd magnitude;
};

// HSIC of every layer of a (columns of k) with every layer of b (columns of l), given sum_{i != j} K_ij L_ij.
Estimates biased_hsic(const Eigen::MatrixXd& products, const Margins& k, const Margins& l);
Estimates unbiased_hsic(const Eigen::MatrixXd& products, const Margins& k, const Margins& l);

}  // namespace fastcka
