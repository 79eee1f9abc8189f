// SPDX-License-Identifier: BSD-3-Clause
// From sums to CKA, and to the layers for which there is none.
#pragma once

#include "measure/hsic.hpp"
#include "measure/kernel.hpp"

#include <vector>

namespace fastcka {

enum class Status { fine, constant, nonpositive, zero_bandwidth };

// What became of one layer on the way to its sums.
struct LayerReport {
    Status status = Status::fine;
    double unit = 1;  // HSIC in the kernel's own units = HSIC of the sums * unit_a * unit_b
    double sigma = not_given;
    double rounding = 0;  // of Gram values that were given, in the units of the sums
};

struct RouteResult {
    Sums sums;
    std::vector<LayerReport> a, b;
};

struct Alignment {
    Eigen::MatrixXd cka;     // layers of a x layers of b; NaN where a layer is degenerate
    Eigen::MatrixXd chance;  // mean of CKA over all permutations of the samples of one side
    Eigen::MatrixXd hsic;
    Eigen::VectorXd self_a, self_b;  // HSIC of each layer with itself
    std::vector<LayerReport> a, b;
};

// `double_precision`: the sums come from float64 arithmetic. `one_sided`: b is a.
Alignment alignment_of(RouteResult result, bool unbiased, bool double_precision, bool one_sided);

}  // namespace fastcka
