// SPDX-License-Identifier: BSD-3-Clause
// The exact median of all squared distances between samples, without a matrix of them.
#pragma once

#include "layers/gram_layer.hpp"
#include "layers/median.hpp"

#include <cmath>

namespace fastcka {

// Median of |x_i - x_j|^2 in packed units, over all n^2 pairs (i, j) or, `offdiagonal`, those with i != j; the mean of
// the two middle ones when their number is even. `keep`: the tiles keep the distances for Gram values.
template <class T>
double median_squared_distance(PanelTiles<T>& tiles, const TileGrid& grid, bool offdiagonal, bool keep,
                               const Engine& engine);

// Counts the next digit of the distances that have the known leading digits, over tiles `numbers` of the grid.
template <class T>
DigitCounts count_distances(PanelTiles<T>& tiles, const TileGrid& grid, Span numbers,
                            const MedianSearch& search, const Engine& engine);

// The memory of a search besides a tile for each thread, and that of the distances that are kept, in bytes.
// `copied_features`: of the samples that are copied; 0 where strips are held, in whose memory the copies fit.
template <class T> Bytes median_search_bytes(const TileGrid& grid, index width, index copied_features);
template <class T> index kept_distances_bytes(const TileGrid& grid, index width);

// In the units of the data; `median`: of squared distances, packed.
inline double sigma_of(const Bandwidth& bandwidth, double median, const Centring& centring) {
    return bandwidth.relative * std::sqrt(median) / centring.scale;
}

// The sigma of a kernel whose bandwidth is relative to that median, in the units of the data.
template <class T>
double relative_sigma(GramLayer<T>& layer, const Bandwidth& bandwidth, const TileGrid& grid, bool keep,
                      const Engine& engine) {
    const double median =
        median_squared_distance(layer.panel_tiles(), grid, bandwidth.offdiagonal, keep, engine);
    return sigma_of(bandwidth, median, layer.centring());
}

}  // namespace fastcka
