// SPDX-License-Identifier: BSD-3-Clause
// Parts of a computation as values that can be computed anywhere, merged and finished: statistics of layers, needed before
// the first block, and the sums of blocks.
#pragma once

#include "kernels/kernel.hpp"
#include "layers/layer_note.hpp"
#include "layers/median.hpp"
#include "sums/block_sums.hpp"
#include "sums/row_products.hpp"
#include "sums/sum_tree.hpp"

#include <optional>
#include <vector>

namespace fastcka {

struct LayerStatistics {
    Centring centring;
    double sigma = not_given;    // the bandwidth, if it follows the median distance; 0: the median is zero
    bool needs_float64 = false;  // float32 would lose digits
    double mean_distance = not_given;  // of two samples, squared and packed; if there is a bandwidth
    MedianSearch search = {};          // the state after the rounds so far

    // Whether the bandwidth is still to be found.
    bool is_open(const Kernel& kernel) const {
        return kernel.needs_median() && centring.largest > 0 && !(sigma == sigma);
    }
};

// The statistics of some layers or all; nullopt: not known yet.
struct Statistics {
    std::vector<std::optional<LayerStatistics>> layers;

    explicit Statistics(index count) : layers(static_cast<std::size_t>(count)) {}
    bool needs_float64() const;  // whether any of them does

    void merge(const Statistics& other);  // throws std::invalid_argument, and changes nothing then
};

struct Partial {
    SumTree<BlockSums> sums;
    Eigen::MatrixXd diagonals;  // K_ii, samples x layers; NaN where no block has set it
    RowTrees rows;              // sums of single samples; empty where they were not asked for
    std::vector<LayerNote> layers;

    Partial(index blocks, index samples, index count);
    // Besides the sums that are in it.
    static index bytes(index samples, index count) { return 8 * samples * count; }
    // Throws std::invalid_argument, and changes nothing then, where a block is in both or they are not of the same data.
    void merge(const Partial& other);
};

}  // namespace fastcka
