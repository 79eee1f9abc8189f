// SPDX-License-Identifier: BSD-3-Clause
// What blocks of either route add up to: a value that merges with that of the blocks that follow.
#pragma once

#include "layers/tiles.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <optional>
#include <vector>

namespace fastcka {

// Values in a buffer that is reused between calls, and may be copied.
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

// A tile of X'Y over some segments of the samples: squared and forgotten when all of them are in.
struct OpenTile {
    index entry;              // of the products, which its squares go to
    index rows, width;        // features on its side; on that of a square block of its values
    bool symmetric;           // of a layer with itself: what is off the diagonal counts twice
    bool triangle;            // on the diagonal of that product: blocks below it are not there
    index present, segments;  // how many segments are in, and how many there are
    TileValues values;

    double sum_of_squares() const;
};

// A sum for each of some consecutive samples and each layer.
struct SampleValues {
    index first = 0;         // sample
    Eigen::MatrixXd values;  // samples x layers

    index last() const { return first + values.rows(); }
    static index bytes(index samples, index layers) { return 8 * samples * layers; }
    // Adds those of other samples or the same. Throws std::invalid_argument where the layers differ.
    void add(const SampleValues& other);
};

struct BlockSums {
    index first = 0;  // the entry of the first of the products
    std::vector<double>
        products;  // Gram route: sum_{i < j} K_ij L_ij; feature route: |X'Y|^2; an entry for each pair
    // Gram route: of the samples of its rows sum_{j > i} K_ij, of those of its columns sum_{i < j} K_ij, over its own
    // tiles; empty where the rows of K sum to 0.
    SampleValues row_sums, column_sums;
    std::optional<OpenTile> open;  // feature route; there are no products then

    // Adds the sums of the blocks that follow. Throws std::invalid_argument where shapes differ.
    void merge(const BlockSums& right);
    // Adds to one entry, not before the first.
    void add(index entry, double product);
    // Squares an open tile that is complete.
    void close();
};

}  // namespace fastcka
