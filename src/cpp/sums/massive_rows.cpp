// SPDX-License-Identifier: BSD-3-Clause
#include "sums/massive_rows.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fastcka {
namespace {

// The most samples of a block that are massive in a layer.
index most_massive(index samples) { return std::max<index>(samples / massive_fraction, 1); }

// The median of a feature, of at most 64 evenly spaced samples.
double median_of_feature(const SampleRows& block, index layer, index feature) {
    const index count = std::min<index>(block.count(), 64);
    std::vector<double> values;
    for (index i = 0; i < count; ++i)
        values.push_back(block.value(layer, i * block.count() / count, feature));
    const auto middle = values.begin() + count / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// |x - middle|^2 of all samples, in some unit
std::vector<double> squared_distances(const SampleRows& block, index layer, index width) {
    Eigen::VectorXd middle(width), deviation(width);
    for (index j = 0; j < width; ++j) middle(j) = median_of_feature(block, layer, j);
    const auto deviation_of = [&](index row) -> const Eigen::VectorXd& {
        for (index j = 0; j < width; ++j) deviation(j) = block.value(layer, row, j) - middle(j);
        return deviation;
    };
    double largest = 0;
    for (index i = 0; i < block.count(); ++i)
        largest = std::max(largest, deviation_of(i).cwiseAbs().maxCoeff());
    std::vector<double> squared;
    for (index i = 0; i < block.count(); ++i)  // where the largest is 0, so are all
        squared.push_back(largest > 0 ? (deviation_of(i) / largest).squaredNorm() : 0.0);
    return squared;
}

}  // namespace

bool may_be_massive(std::vector<double> squared_norms) {
    const auto n = static_cast<index>(squared_norms.size()), rest = n - most_massive(n);
    if (rest < 1) return false;
    std::nth_element(squared_norms.begin(), squared_norms.begin() + rest, squared_norms.end());
    const double mean =
        std::accumulate(squared_norms.begin(), squared_norms.begin() + rest, 0.0) / static_cast<double>(rest);
    return *std::max_element(squared_norms.begin() + rest, squared_norms.end()) > massive_norm_ratio * mean;
}

std::vector<double> massive_shares(const SampleRows& block, const LayerSet& set, const Engine& engine) {
    const index n = block.count();
    std::vector<std::vector<double>> of_layers(set.widths().size());
    engine.team.for_each(set.count(), [&](index layer, int) {
        std::vector<double>& squared = of_layers[static_cast<std::size_t>(layer)];
        squared = squared_distances(block, layer, set.width(layer));
        std::vector<double> sorted = squared;
        std::sort(sorted.begin(), sorted.end());
        double sum = 0;    // of squared distances
        double least = 0;  // the smallest squared distance of a massive sample; 0: there is none
        for (index k = 0; k < n; ++k) {
            const double value = sorted[static_cast<std::size_t>(k)];
            if (least == 0 && k >= n - most_massive(n) &&
                value > massive_norm_ratio * sum / static_cast<double>(k))
                least = value;
            sum += value;
        }
        for (double& value : squared) value = least > 0 && value >= least ? value / sum : 0;
    });
    std::vector<double> shares(static_cast<std::size_t>(n), 0.0);
    for (const std::vector<double>& of_layer : of_layers)
        for (std::size_t i = 0; i < shares.size(); ++i) shares[i] = std::max(shares[i], of_layer[i]);
    return shares;
}

MassiveRows MassiveRows::with(const SampleRows& block, const std::vector<double>& shares_of_block,
                              const LayerSet& set, Precision precision, SampleRows& others) const {
    struct Candidate {
        double share;
        const SampleRows* from;
        index row;
    };
    std::vector<Candidate> candidates;
    for (index i = 0; i < rows.count(); ++i)
        candidates.push_back({shares[static_cast<std::size_t>(i)], &rows, i});
    for (index i = 0; i < block.count(); ++i)
        if (const double share = shares_of_block[static_cast<std::size_t>(i)]; share > 0)
            candidates.push_back({share, &block, i});
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.share > b.share; });
    MassiveRows kept(set, precision);
    for (const Candidate& candidate : candidates)
        if (kept.rows.full()) {
            others.append(*candidate.from, candidate.row);
        } else {
            kept.rows.append(*candidate.from, candidate.row);
            kept.shares.push_back(candidate.share);
        }
    return kept;
}

}  // namespace fastcka
