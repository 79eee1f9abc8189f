// SPDX-License-Identifier: BSD-3-Clause
// The estimators: a page of arithmetic on sums, the same for every kernel and route.
#pragma once

#include "sums/sums.hpp"

namespace fastcka {

// `magnitude` is the sum of the absolute terms that made up `value`: rounding leaves value uncertain by a few units in
// the last place of magnitude.
struct Estimates {
    Eigen::ArrayXXd value;
    Eigen::ArrayXXd magnitude;
};

Estimates biased_hsic(const PairSums& sums, double samples);
Estimates unbiased_hsic(const PairSums& sums, double samples);

}  // namespace fastcka
