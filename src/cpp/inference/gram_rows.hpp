// SPDX-License-Identifier: BSD-3-Clause
// Centred Gram matrices, a strip of rows at a time: inference needs the share of each sample in a result, which sums over
// all samples do not contain.
#pragma once

#include "layers/gram_layer.hpp"
#include "layers/layer_set.hpp"
#include "sums/centring_terms.hpp"

namespace fastcka {

inline constexpr index panels_of_rows = 4;  // in a strip

template <class T> class GramRows {
  public:
    // `margins` and `notes`: of the layers, from sums over all samples. A degenerate layer has W = 0.
    GramRows(const Layers& layers, const Kernel& kernel, const Margins& margins,
             const std::vector<LayerNote>& notes, Centred centred, const Engine& engine);
    // Its memory, with one scratch() for each thread.
    static Bytes bytes(const Kernel& kernel, const LayerSet& set, index samples, index panel_width);

    index samples() const { return samples_; }
    index layers() const { return static_cast<index>(layers_.size()); }
    index height() const { return height_; }                      // rows of a strip
    index stride() const { return stride_of(samples_, width_); }  // values from row to row
    static index height_of(index panel_width) { return panels_of_rows * panel_width; }
    static index stride_of(index samples, index panel_width) { return round_up(samples, panel_width); }
    index chunks() const { return ceil_divide(samples_, chunk_); }
    index end_of(index chunk) const { return std::min((chunk + 1) * chunk_, samples_); }  // last column + 1

    TileScratch<T> scratch() const { return TileScratch<T>(height_ * chunk_); }

    // Writes one chunk of the columns of W, in rows [first, first + height) of a layer or as many as there are, to
    // `strip`, rows `stride` apart; zeros in columns beyond the last sample. Threads may fill different chunks.
    void fill(index layer, index first, index chunk, T* strip, const TileScratch<T>& scratch,
              int worker) const;

  private:
    static index chunk_of(index panel_width);

    const Engine& engine_;
    index samples_, width_, height_, chunk_;
    std::vector<GramLayer<T>> layers_;
    std::vector<CentringTerms<T>> terms_;
    std::vector<bool> degenerate_;
};

}  // namespace fastcka
