// SPDX-License-Identifier: BSD-3-Clause
// The inner products of all wanted pairs of layers over a block of their Gram values: one symmetric product, in which a
// vector is a layer and a coordinate is a Gram value. Used by the Gram route with many layers.
#pragma once

#include "layers/layer_set.hpp"
#include "layers/tiles.hpp"

#include <vector>

namespace fastcka {

// Which pairs: all i <= j of `layers`, or the first `rows` layers with the others.
struct LayerBlock {
    index layers;
    index rows;  // 0: all pairs

    // `joint`: see Plan.
    static LayerBlock of(const LayerSet& set, bool joint) { return {set.count(), joint ? 0 : set.split()}; }
    index columns() const { return rows == 0 ? layers : layers - rows; }
    index left() const { return rows == 0 ? layers : rows; }
    index entries() const { return left() * columns(); }
    // With one more for each layer with itself, unless these are among the pairs already.
    index entries_with_selves() const { return entries() + (rows == 0 ? 0 : layers); }
};

template <class T> class PairProducts {
  public:
    // `values`: the most that come in one call of add().
    PairProducts(const LayerBlock& pairs, index values, const Engine& engine);

    static Bytes bytes(const LayerBlock& pairs, index values, index panel_width);

    // Adds the products over `values` Gram values; those of layer l begin at block + l * stride. Shared out to the team.
    void add(const T* block, index stride, index values);
    // Adds the sums since the last call to `products`, row by row, and starts again from zero.
    void finish(double* products);

  private:
    void pack(const T* block, index stride, index first, index count);
    void multiply(index count);

    LayerBlock pairs_;
    const Engine& engine_;
    index width_, side_, parts_;
    std::vector<TileRange> tiles_;    // of the products
    Panels<T> left_, right_;          // of a slab of values; `right_` only for the layers of the columns
    Buffer<double> sums_;             // per part and tile, block by block
    std::vector<unsigned char> any_;  // per part and tile: whether its sums are set
    std::vector<Buffer<T>> scratch_;  // a tile per thread
};

}  // namespace fastcka
