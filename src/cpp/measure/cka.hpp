// SPDX-License-Identifier: BSD-3-Clause
// From sums to CKA, and to the layers for which there is none.
#pragma once

#include "measure/hsic.hpp"
#include "measure/layer_set.hpp"
#include "measure/settings.hpp"

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

struct Alignment {
    LayerSet set;
    Eigen::MatrixXd cka;     // rows x columns; NaN where a layer is degenerate
    Eigen::MatrixXd chance;  // mean of CKA over all permutations of the samples of one network
    Eigen::MatrixXd hsic;
    Eigen::VectorXd self;  // HSIC of each layer with itself
    std::vector<LayerReport> layers;
};

// `precision`: that of the arithmetic which the sums come from.
Alignment alignment_of(const Sums& sums, const LayerSet& set, std::vector<LayerReport> layers,
                       Estimator estimator, Precision precision);

}  // namespace fastcka
