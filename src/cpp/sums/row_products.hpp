// SPDX-License-Identifier: BSD-3-Clause
// Sums over the rows of hollow Gram matrices Ku, one for each sample: the jackknife deletes them, and the moments under
// permutation are sums of them. If the rows of K sum to zero, as those of linear kernels do, Ku follows from K and its
// diagonal, so that these sums come from the same tiles as the products of pairs.
#pragma once

#include "layers/layer_set.hpp"
#include "layers/tiles.hpp"
#include "simd/operations.hpp"
#include "sums/centring_terms.hpp"
#include "sums/sum_tree.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace fastcka {

// The numbers of the sums of a sample i: sum_j W_ij V_ij of each wanted pair, sum_j W_ij^3 and sum_j w_i W_ij w_j of each
// layer, with W = Ku and V = Lu of two layers, w = k - mean k and k = diag(Kc).
class RowEntries {
  public:
    explicit RowEntries(const LayerSet& set) : set_(set) {}

    index count() const { return set_.wanted_pairs() + 2 * set_.count(); }
    // Of a wanted pair i <= j.
    index pair(index i, index j) const {
        if (set_.one_network()) return i * set_.count() - i * (i - 1) / 2 + j - i;
        if (i == j) return set_.rows() * set_.columns() + i;
        return i * set_.columns() + j - set_.first_column();
    }
    index cube(index layer) const { return set_.wanted_pairs() + layer; }
    index form(index layer) const { return set_.wanted_pairs() + set_.count() + layer; }

  private:
    const LayerSet& set_;
};

// The sums of the samples of one strip, over some tiles of its row and column of the grid.
struct RowProducts {
    Eigen::MatrixXd values;  // entries x samples

    static index bytes(const LayerSet& set, index samples) { return 8 * samples * RowEntries(set).count(); }
    // Throws std::invalid_argument where shapes differ.
    void merge(const RowProducts& other);
};

// For each strip, a tree over the strips of the other side of its tiles.
using RowTrees = std::vector<SumTree<RowProducts>>;

// The sums of all samples, entries x samples. Throws std::invalid_argument if some are missing.
Eigen::MatrixXd all_rows(const RowTrees& trees, index entries, index samples);

// sum_j value_j^3 and sum_j value_j weight_j: short sums in the type of the values, in lanes that a compiler can use.
template <class T>
void cubes_and_forms(const T* values, const T* weights, index length, double& cubes, double& product) {
    constexpr index lanes = 16, chunk = 16 * lanes;
    cubes = product = 0;
    for (index first = 0; first < length; first += chunk) {
        T cube[lanes] = {}, weighted[lanes] = {};
        const index last = std::min(length, first + chunk);
        index j = first;
        for (; j + lanes <= last; j += lanes)
            for (index lane = 0; lane < lanes; ++lane) {
                const T value = values[j + lane];
                cube[lane] += value * value * value;
                weighted[lane] += value * weights[j + lane];
            }
        for (index lane = 0; j < last; ++j, ++lane) {
            cube[lane] += values[j] * values[j] * values[j];
            weighted[lane] += values[j] * weights[j];
        }
        for (index lane = 0; lane < lanes; ++lane) {
            cubes += static_cast<double>(cube[lane]);
            product += static_cast<double>(weighted[lane]);
        }
    }
}

// Adds tiles of all layers to the sums of their rows and of their columns, one panel of samples at a time.
template <class T> class RowFold {
  public:
    // `margins`: of all layers; a layer that is degenerate has W = 0. `tile`: samples on its side.
    RowFold(const LayerSet& set, const Margins& margins, const std::vector<bool>& degenerate, index tile,
            const Engine& engine);
    static Bytes bytes(const LayerSet& set, index samples, index tile, index width);

    // Adds a tile of all layers to the trees of its strips. `in_blocks`: tiles are stored block by block; otherwise row
    // by row, by copy_values. each(panels, fill) has to call fill(panel, worker) for every panel.
    template <class Each>
    void add(const TileRange& range, bool in_blocks, const T* const* tiles, RowTrees& trees, Each&& each) {
        const auto add = [&](Side side, index samples, index strip, index other) {
            RowProducts sums{Eigen::MatrixXd::Zero(entries_.count(), samples)};
            const index panels = side == Side::rows ? range.row_panels(width_) : range.column_panels(width_);
            each(panels, [&](index panel, int worker) {
                fill(range, side, panel, in_blocks, tiles, scratch(worker), sums);
            });
            trees[static_cast<std::size_t>(strip)].add(other, std::move(sums));
        };
        const index row = range.first_row / tile_, column = range.first_column / tile_;
        add(Side::rows, range.rows, row, column);
        if (row != column) add(Side::columns, range.columns, column, row);
    }

  private:
    enum class Side { rows, columns };
    struct Scratch {
        Buffer<T> strips;  // a panel of rows of W of each layer, one layer after the other
        std::vector<double> products;

        Scratch(index layers, index width, index stride)
            : strips(strip_values(layers, width, stride)),
              products(static_cast<std::size_t>(layers * layers)) {}
        static index bytes(index layers, index width, index stride) {
            return Buffer<T>::bytes(strip_values(layers, width, stride)) + 8 * layers * layers;
        }
        static index strip_values(index layers, index width, index stride) {
            return size_product(layers, width * stride);
        }
    };
    Scratch& scratch(int worker);
    // Writes the sums of the samples of one panel, of the rows of a tile or of its columns, to their columns of `out`.
    void fill(const TileRange& range, Side side, index panel, bool in_blocks, const T* const* tiles,
              Scratch& scratch, RowProducts& out) const;
    void unpack(index layer, const TileRange& range, Side side, index panel, const T* tile, T* strip) const;
    void gather(index layer, const TileRange& range, Side side, index panel, const T* values, T* strip) const;

    const LayerSet& set_;
    RowEntries entries_;
    const Operations<T>& operations_;
    index samples_, tile_, width_, stride_;  // stride: values from row to row of a strip
    std::vector<CentringTerms<T>> terms_;
    std::vector<std::vector<T>> weights_;  // k - mean k of each layer
    std::vector<bool> degenerate_;
    std::vector<std::optional<Scratch>> scratch_;  // per thread
};

}  // namespace fastcka
