// SPDX-License-Identifier: BSD-3-Clause
// Massive samples, as language models have them: one value of 3000 among values of about 1. In a sum of products with
// such a sample, the products of all others are lost in the rounding. A stream keeps a few massive samples apart.
#pragma once

#include "layers/representation.hpp"
#include "sums/sample_rows.hpp"

#include <vector>

namespace fastcka {

// The most samples that a stream keeps apart; and how many samples of a block there are for each that may be massive in a
// layer: if there are more, they do not outweigh the others.
inline constexpr index most_massive_rows = 64, massive_fraction = 16;

// A quick test by the squared norms of a block about its mean: false if it has no massive samples.
bool may_be_massive(std::vector<double> squared_norms);

// For each sample of a block, its share of the sum of squared distances from the middle, in the layer in which that is
// largest; 0 if it is massive in no layer. A sample is massive in a layer if its squared distance is more than
// `massive_norm_ratio` times the mean of all nearer samples; one sample in 16 at most. The middle is the median of 64
// samples, feature by feature, which massive samples do not move.
std::vector<double> massive_shares(const SampleRows& block, const LayerSet& set, const Engine& engine);

// The samples with the largest shares, at most `most_massive_rows`.
struct MassiveRows {
    SampleRows rows;
    std::vector<double> shares;

    MassiveRows(const LayerSet& set, Precision precision) : rows(set, precision, most_massive_rows) {}
    // These samples and those of a block with a share above 0: the largest shares of all. The rest is appended to `others`.
    MassiveRows with(const SampleRows& block, const std::vector<double>& shares_of_block, const LayerSet& set,
                     Precision precision, SampleRows& others) const;
};

}  // namespace fastcka
