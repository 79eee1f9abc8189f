// SPDX-License-Identifier: BSD-3-Clause
// The exact median of all squared distances between samples, without a matrix of them.
#pragma once

#include "layers/gram_layer.hpp"

namespace fastcka {

// Median of |x_i - x_j|^2 in packed units, over all n^2 pairs (i, j) or, `offdiagonal`, those with i != j; the mean of
// the two middle ones when their number is even. `keep`: the layer keeps the distances for its Gram tiles.
template <class T>
double median_squared_distance(GramLayer<T>& layer, const TileGrid& grid, bool offdiagonal, bool keep,
                               const Engine& engine);

}  // namespace fastcka
