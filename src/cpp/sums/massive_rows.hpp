// SPDX-License-Identifier: BSD-3-Clause
// Massive samples, as language models have them: with one value of 3000 among values of about 1, what a sum of products
// holds of all others is lost in its rounding. A stream keeps a few of them apart.
#pragma once

#include "layers/representation.hpp"
#include "sums/sample_rows.hpp"

#include <vector>

namespace fastcka {

// Samples that a stream keeps apart, at most, and samples in a block for one that may be massive in a layer: where more
// are, they do not outweigh one another.
inline constexpr index most_massive_rows = 64, massive_fraction = 16;

// A look at squared norms about the mean of a block: whether it may have massive samples.
bool may_be_massive(std::vector<double> squared_norms);

// For each sample of a block: its largest share of the squared distances of a layer from their middle, where it is massive
// in some layer, and 0 where it is massive in none. In a layer, those are massive whose squared distance is more than
// `massive_norm_ratio` times the mean of all that are nearer, one sample in 16 at most. The middle is the median of 64
// samples, feature by feature, which massive ones do not move.
std::vector<double> massive_shares(const SampleRows& block, const LayerSet& set, const Engine& engine);

// The samples with the largest shares, at most `most_massive_rows`.
struct MassiveRows {
    SampleRows rows;
    std::vector<double> shares;

    MassiveRows(const LayerSet& set, Precision precision) : rows(set, precision, most_massive_rows) {}
    // These, and samples of a block: those with a share above 0. What there is no room for is appended to `others`.
    MassiveRows with(const SampleRows& block, const std::vector<double>& shares_of_block, const LayerSet& set,
                     Precision precision, SampleRows& others) const;
};

}  // namespace fastcka
