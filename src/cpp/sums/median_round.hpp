// SPDX-License-Identifier: BSD-3-Clause
// A round of the search for the median distances that bandwidths are relative to, as a value: counts of the next digit of
// the distances of each layer, over some blocks of its grid. Once all blocks of a layer are in, one more digit is known,
// and its counts are freed: the merged result of a round is small.
#pragma once

#include "sums/partial.hpp"

namespace fastcka {

class MedianRound {
  public:
    using Range = SumTree<BlockSums>::Range;

    struct Layer {
        std::vector<Range> covered = {};  // blocks of its grid, as ranges in order
        DigitCounts counts = {};  // empty before the first block, after the last one, and without a search
    };

    // `known`: the statistics after the previous round. `wide`: all layers are searched in float64; otherwise only those
    // that need it.
    MedianRound(index samples, bool offdiagonal, bool wide, index blocks, Statistics known);

    index samples() const { return samples_; }
    bool offdiagonal() const { return offdiagonal_; }
    bool wide() const { return wide_; }
    index blocks() const { return blocks_; }  // of each layer; they are numbered layer by layer
    const Statistics& known() const { return known_; }
    const std::vector<Layer>& layers() const { return layers_; }

    // Whether distances of a layer have to be counted; and whether in float64.
    bool counts(index layer) const;
    bool in_float64(index layer) const { return wide_ || of(layer).needs_float64; }

    // Adds blocks of a layer. Throws std::invalid_argument if one is in already, or shapes differ.
    void add(index layer, const std::vector<Range>& ranges, DigitCounts counts);
    // Restores the saved state of a layer, which has no blocks yet. Throws as `add` does.
    void restore(index layer, Layer state);
    // Adds the blocks of another part of the same round. Throws std::invalid_argument, and changes nothing, if a block is
    // in both or it is not the same round.
    void merge(const MedianRound& other);

    std::vector<Range> covered() const;  // blocks of all layers
    // The statistics after this round, with the bandwidths that are known now. A layer whose bandwidth is too narrow for
    // float32 is searched again in float64. Throws std::invalid_argument if blocks are missing.
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
