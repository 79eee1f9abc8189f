// SPDX-License-Identifier: BSD-3-Clause
// The estimators: a page of arithmetic on sums, the same for every kernel and route.
#pragma once

#include "sums/settings.hpp"
#include "sums/sums.hpp"

namespace fastcka {

// `magnitude` is the sum of the absolute terms that made up `value`: rounding leaves value uncertain by a few units in
// the last place of magnitude.
struct Estimates {
    Eigen::ArrayXXd value;
    Eigen::ArrayXXd magnitude;
};

// A value whose condition, magnitude / value, is larger than this is pure rounding error.
inline constexpr double largest_condition = 0x1p40;

// The largest condition at which the roundings of float32 stay within the bound of docs/numerics.md. The roundings of
// products of centred samples may all be the same, and row sums follow from the diagonal, which does not contain them.
// Other Gram values are summed with their roundings: the part that all share cancels, and the rest averages out.
double largest_condition_in_float32(Estimator estimator, bool centred, double samples);

Estimates biased_hsic(const PairSums& sums, double samples);
Estimates unbiased_hsic(const PairSums& sums, double samples);

}  // namespace fastcka
