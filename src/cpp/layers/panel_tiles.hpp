// SPDX-License-Identifier: BSD-3-Clause
// Tiles of a Gram matrix out of packed samples: inner products, and the kernel's map of them while they are in the cache.
#pragma once

#include "layers/tiles.hpp"

namespace fastcka {

template <class T> class PanelTiles {
  public:
    PanelTiles() = default;
    // `sums`: what packing found out about the samples.
    PanelTiles(Panels<T> panels, Form form, const SampleSums& sums, const Engine& engine);

    index samples() const { return panels_.vectors(); }
    void set_map(const KernelMap& map) { map_ = map; }

    // Gram values of one tile, block by block. `wide` is a worker's memory for one tile.
    void fill(const TileGrid& grid, index number, T* tile, double* wide, const Engine& engine,
              int worker) const;

    // The same of any range; nothing that is kept is used.
    void fill_range(const TileRange& range, T* tile, double* wide, const Engine& engine, int worker) const;

    // Squared distances of one tile; meaningless on and below the diagonal of a triangle.
    void fill_distances(const TileRange& range, T* tile, double* wide, const Engine& engine,
                        int worker) const;

    // Keeps all squared distances, tile after tile, for the tiles that are filled later.
    void keep_distances(Buffer<T> distances) { kept_ = std::move(distances); }
    // Null: none are kept.
    const T* kept_distances() const { return kept_.data(); }

  private:
    // Near pairs of a block, which are marked by NaN: their squared distances by direct differences, and with `map` their
    // Gram values.
    void mend(T* block, index row, index column, const KernelMap* map, const Engine& engine) const;

    // visit(block, row, column, rows, columns)
    template <class Visit> void for_each_block(const TileRange& range, T* tile, Visit&& visit) const;

    Panels<T> panels_;
    Buffer<T> terms_;  // what the map needs of each sample, zero beyond the last; empty if nothing
    Buffer<T> kept_;
    KernelMap map_;
};

}  // namespace fastcka
