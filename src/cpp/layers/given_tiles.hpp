// SPDX-License-Identifier: BSD-3-Clause
// Tiles of a Gram matrix that the caller gives: double-centred and scaled on the way.
#pragma once

#include "layers/tiles.hpp"

namespace fastcka {

class GivenTiles {
  public:
    GivenTiles() = default;
    // `columns`: the means of its columns, and the scale. `strip`: rows in a strip; 0: all of them.
    GivenTiles(const Source& gram, const Centring& columns, index strip);
    // Its memory besides the rows that are read, in bytes.
    static index bytes(index samples) { return 3 * 8 * samples; }

    // Reads the rows of these strips if the matrix is not in memory. Tiles are filled from strips that are held.
    void hold(Span strips);

    // The rounding error of a value when it was stored, in the units of the tiles.
    double rounding() const { return rounding_; }

    // Gram values of one tile, block by block.
    template <class T> void fill(const TileRange& range, T* tile, const Engine& engine) const;

  private:
    Source source_;
    index strip_ = 0;
    MatrixView gram_{};                    // where rows that are held can be read
    std::vector<double> mean_, mean_low_;  // of columns
    std::vector<double> offset_;           // of those means from the mean of all
    double scale_ = 1, rounding_ = 0;
};

}  // namespace fastcka
