// SPDX-License-Identifier: BSD-3-Clause
// The moments of a stream that are small beside its products of features, and how they change with their origin.
#pragma once

#include "sums/feature_tiles.hpp"

#include <Eigen/Core>

#include <functional>
#include <vector>

namespace fastcka {

// Moments of packed samples z about some origin, and of their squared norms r = |z|^2.
struct SmallMoments {
    double samples = 0;
    std::vector<Eigen::VectorXd> z;   // sum z, per layer
    std::vector<Eigen::MatrixXd> zr;  // sum z r' of one layer's z with the r of every layer (columns)
    Eigen::MatrixXd rr;               // sum r r', layers x layers
    Eigen::VectorXd r;                // sum r
};

// sum z_i z_j' of a wanted pair of layers i <= j.
using PairProducts = std::function<Eigen::MatrixXd(index i, index j)>;

// The moments after z -> factor z + e, which takes r to factor^2 r + 2 factor e'z + |e|^2, given the products before.
SmallMoments moved(const SmallMoments& old, const LayerSet& set, const std::vector<double>& factor,
                   const std::vector<Eigen::VectorXd>& e, const PairProducts& products);

}  // namespace fastcka
