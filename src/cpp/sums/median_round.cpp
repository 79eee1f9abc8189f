// SPDX-License-Identifier: BSD-3-Clause
#include "sums/median_round.hpp"

#include "base/errors.hpp"
#include "layers/bandwidth.hpp"

#include <algorithm>
#include <stdexcept>

namespace fastcka {
namespace {

using Range = MedianRound::Range;

std::vector<Range> joined(std::vector<Range> ranges, const std::vector<Range>& more) {
    ranges.insert(ranges.end(), more.begin(), more.end());
    std::sort(ranges.begin(), ranges.end());
    std::vector<Range> all;
    for (const Range& range : ranges)
        if (all.empty() || all.back().last < range.first)
            all.push_back(range);
        else {
            check(all.back().last == range.first, "a block is in both");
            all.back().last = range.last;
        }
    return all;
}

bool suits_float32(const Kernel& kernel, const LayerStatistics& layer, double sigma) {
    try {
        kernel.resolve({.as_defined = false,
                        .precision = Precision::float32,
                        .features = static_cast<index>(layer.centring.mean.size()),
                        .scale = layer.centring.scale,
                        .mean_distance = layer.mean_distance,
                        .squared_norms = {},
                        .largest_projection = not_given,
                        .origin_norm = not_given,
                        .sigma = sigma > 0 ? sigma : 1.0});
        return true;
    } catch (const NeedsDouble&) {
        return false;
    }
}

}  // namespace

MedianRound::MedianRound(index samples, bool offdiagonal, bool wide, index blocks, Statistics known)
    : samples_(samples), offdiagonal_(offdiagonal), wide_(wide), blocks_(blocks), known_(std::move(known)),
      layers_(known_.layers.size()) {
    check(samples > 1 && blocks > 0, "no blocks");
    for (const auto& layer : known_.layers) {
        check(layer.has_value(), "statistics of some layers are missing");
        const int all = wide || layer->needs_float64 ? digits_of<double> : digits_of<float>;
        check(layer->search.found() || layer->search.digits < all, "more digits than there are");
    }
}

bool MedianRound::counts(index layer) const {
    const LayerStatistics& known = of(layer);
    return known.centring.largest > 0 && !(known.sigma == known.sigma) && !known.search.found();
}

void MedianRound::add(index layer, const std::vector<Range>& ranges, DigitCounts counts) {
    Layer& mine = layers_.at(static_cast<std::size_t>(layer));
    std::vector<Range> covered = joined(mine.covered, ranges);
    for (const Range& range : covered)
        check(0 <= range.first && range.first < range.last && range.last <= blocks_, "no such blocks");
    const bool counted = this->counts(layer);
    check(static_cast<index>(counts.bins.size()) == (counted ? digit_values : 0), "counts of another shape");
    if (mine.counts.bins.empty())
        mine.counts = std::move(counts);
    else
        mine.counts.merge(counts);
    mine.covered = std::move(covered);
    if (!counted || mine.covered != std::vector{Range{0, blocks_}}) return;
    MedianSearch& search = known_.layers[static_cast<std::size_t>(layer)]->search;
    const MedianRanks ranks(samples_, offdiagonal_);
    in_float64(layer) ? search.advance<double>(mine.counts, ranks)
                      : search.advance<float>(mine.counts, ranks);
    mine.counts = {};
}

void MedianRound::restore(index layer, Layer state) {
    Layer& mine = layers_.at(static_cast<std::size_t>(layer));
    check(mine.covered.empty(), "a layer comes twice");
    if (joined({}, state.covered) != std::vector{Range{0, blocks_}})
        return add(layer, state.covered, std::move(state.counts));
    check(state.counts.bins.empty() && state.counts.above == DigitCounts{}.above, "counts of another shape");
    mine = std::move(state);
}

void MedianRound::merge(const MedianRound& other) {
    check(layers_.size() == other.layers_.size() && samples_ == other.samples_ && blocks_ == other.blocks_ &&
              offdiagonal_ == other.offdiagonal_ && wide_ == other.wide_,
          "another number of layers, samples or blocks");
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        const bool both = !layers_[l].covered.empty() && !other.layers_[l].covered.empty();
        if (!both) continue;
        joined(layers_[l].covered, other.layers_[l].covered);
        check(known_.layers[l]->search == other.known_.layers[l]->search, "a layer of another round");
    }
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        const Layer& theirs = other.layers_[l];
        if (theirs.covered.empty()) continue;
        if (layers_[l].covered.empty()) {
            layers_[l] = theirs;
            known_.layers[l] = other.known_.layers[l];
            continue;
        }
        add(static_cast<index>(l), theirs.covered, theirs.counts);
    }
}

std::vector<Range> MedianRound::covered() const {
    std::vector<Range> all;
    for (std::size_t l = 0; l < layers_.size(); ++l)
        for (const Range& range : layers_[l].covered) {
            const index first = static_cast<index>(l) * blocks_;
            all = joined(std::move(all), {{first + range.first, first + range.last}});
        }
    return all;
}

Statistics MedianRound::narrowed(const Kernel& kernel) const {
    check(covered() == std::vector{Range{0, static_cast<index>(layers_.size()) * blocks_}},
          "blocks are missing");
    Statistics found = known_;
    for (auto& layer : found.layers) {
        if (!layer->is_open(kernel)) continue;
        if (!layer->search.found()) continue;
        const double sigma = sigma_of(*kernel.bandwidth(), layer->search.median, layer->centring);
        if (wide_ || layer->needs_float64 || suits_float32(kernel, *layer, sigma)) {
            layer->sigma = sigma;
        } else {
            layer->needs_float64 = true;
            layer->search = {};
        }
    }
    return found;
}

}  // namespace fastcka
