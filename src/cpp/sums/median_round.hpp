// SPDX-License-Identifier: BSD-3-Clause
// A round of the search for the medians that bandwidths follow, as a value: counts of the next digit of the distances of
// each layer, over some blocks of its grid. Once all blocks of a layer are in, one more digit is known, and its counts
// are forgotten: the merged result of a round is small.
#pragma once

#include "sums/partial.hpp"

namespace fastcka {

class MedianRound {
  public:
    using Range = SumTree<BlockSums>::Range;

    struct Layer {
        std::vector<Range> covered = {};  // blocks of its grid, as ranges in order
        DigitCounts counts = {};          // empty where nothing is to be counted, or everything is
    };

    // `known`: after the rounds before. `wide`: every layer is searched in float64; otherwise a layer is only where it needs it.
    MedianRound(index samples, bool offdiagonal, bool wide, index blocks, Statistics known);

    index samples() const { return samples_; }
    bool offdiagonal() const { return offdiagonal_; }
    bool wide() const { return wide_; }
    index blocks() const { return blocks_; }  // of each layer; they are numbered layer by layer
    const Statistics& known() const { return known_; }
    const std::vector<Layer>& layers() const { return layers_; }

    // Whether distances of a layer are to be counted, and in float64.
    bool counts(index layer) const;
    bool in_float64(index layer) const { return wide_ || of(layer).needs_float64; }

    // Adds blocks of a layer. Throws std::invalid_argument where one is in already, or shapes differ.
    void add(index layer, const std::vector<Range>& ranges, DigitCounts counts);
    // Puts a layer into the state that it had in another round of this kind. Throws as `add`.
    void restore(index layer, Layer state);
    // Throws std::invalid_argument, and changes nothing then, where a block is in both or they are of other rounds.
    void merge(const MedianRound& other);

    std::vector<Range> covered() const;  // blocks of all layers
    // After this round: with the bandwidths that are known now. A layer whose bandwidth is too narrow for float32 is
    // searched again in float64.
    Statistics narrowed(const Kernel& kernel) const;

  private:
    const LayerStatistics& of(index layer) const { return *known_.layers[static_cast<std::size_t>(layer)]; }

    index samples_;
    bool offdiagonal_, wide_;
    index blocks_;
    Statistics known_;
    std::vector<Layer> layers_;
};

}  // namespace fastcka
