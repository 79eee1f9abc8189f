// SPDX-License-Identifier: BSD-3-Clause
// The sums of a block, by either route: a value that merges with the sums of the blocks that follow.
#pragma once

#include "layers/tiles.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <optional>
#include <vector>

namespace fastcka {

// Values in a Buffer, which can be copied.
class TileValues {
  public:
    TileValues() = default;
    explicit TileValues(index size) : size_(size), values_(size) {}
    TileValues(const TileValues& other) : TileValues(other.size_) {
        std::copy_n(other.data(), size_, data());
    }
    TileValues& operator=(const TileValues&) = delete;
    TileValues(TileValues&&) noexcept = default;
    TileValues& operator=(TileValues&&) noexcept = default;
    ~TileValues() = default;

    index size() const { return size_; }
    static index bytes(index size) { return Buffer<double>::bytes(size); }
    double* data() const { return values_.data(); }

  private:
    index size_ = 0;
    Buffer<double> values_;
};

// A tile of X'Y over some segments of the samples: squared and freed once all segments are in.
struct OpenTile {
    index entry;              // the entry of the products that the sum of its squares is added to
    index rows, width;        // features on the side of the tile, and on the side of a square block of it
    bool symmetric;           // of a layer with itself: values off the diagonal count twice
    bool triangle;            // on the diagonal of such a product: blocks below the diagonal are not stored
    index present, segments;  // the number of segments that are in, and of all segments
    TileValues values;

    double sum_of_squares() const;
};

// A sum for each of some consecutive samples and each layer.
struct SampleValues {
    index first = 0;         // the first sample
    Eigen::MatrixXd values;  // samples x layers

    index last() const { return first + values.rows(); }
    static index bytes(index samples, index layers) { return 8 * samples * layers; }
    // Adds sums of the same samples or others; samples in between get zeros. Throws std::invalid_argument if the layers
    // differ.
    void add(const SampleValues& other);
};

struct BlockSums {
    index first = 0;  // the entry that `products` begins with
    // Gram route: sum_{i < j} K_ij L_ij; feature route: |X'Y|^2. An entry for each pair of layers.
    std::vector<double> products;
    // Gram route: sum_{j > i} K_ij of the samples i of its rows and sum_{i < j} K_ij of the samples j of its columns,
    // over the tiles of the block; empty if the rows of K sum to 0.
    SampleValues row_sums, column_sums;
    std::optional<OpenTile> open;  // feature route, with segments; there are no products then

    // Adds the sums of the blocks that follow. Throws std::invalid_argument if shapes differ.
    void merge(const BlockSums& right);
    // Adds to one entry, not before the first.
    void add(index entry, double product);
    // Turns an open tile that is complete into its product.
    void close();
};

}  // namespace fastcka
