// SPDX-License-Identifier: BSD-3-Clause
// From sums to CKA, and to the layers for which there is none.
#pragma once

#include "layers/layer_note.hpp"
#include "layers/layer_set.hpp"
#include "measures/hsic.hpp"
#include "sums/settings.hpp"

#include <vector>

namespace fastcka {

struct Alignment {
    LayerSet set;
    Eigen::MatrixXd cka;     // rows x columns; NaN where a layer is degenerate
    Eigen::MatrixXd chance;  // mean of CKA over all permutations of the samples of one network
    Eigen::MatrixXd hsic;
    Eigen::VectorXd self;  // HSIC of each layer with itself
    std::vector<LayerNote> layers;
};

// `precision`: that of the arithmetic which the sums come from.
Alignment alignment_of(const Sums& sums, const LayerSet& set, std::vector<LayerNote> layers,
                       Estimator estimator, Precision precision);

}  // namespace fastcka
