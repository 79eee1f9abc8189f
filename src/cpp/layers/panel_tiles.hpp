// SPDX-License-Identifier: BSD-3-Clause
// Tiles of a Gram matrix out of packed samples: inner products, and the kernel's map of them while they are in the cache.
#pragma once

#include "layers/tiles.hpp"

namespace fastcka {

// What is needed to pack any samples of a layer.
struct SampleSource {
    Source source;
    std::optional<Centring> origin;
    std::optional<RowScaling> rows;
    std::vector<double> direction;  // of projections; empty: none
};

// Samples are packed strip by strip, one strip for each row of tiles of a grid, and only some strips are in memory.
struct Strips {
    index samples = 0;  // in each; 0: all samples are packed at once
    index held = 0;     // strips of this layer that fit into memory while no other layer has any
};

template <class T> class PanelTiles {
  public:
    PanelTiles() = default;
    // Packs all samples once, to learn their `sums`; in strips, nothing stays in memory for certain.
    PanelTiles(SampleSource source, Form form, const Strips& strips, SampleSums& sums, const Engine& engine);

    // What it takes up besides panels and kept distances.
    static index bytes(Form form, index samples, index features, index width) {
        return Centring::bytes(features) +
               (has_terms(form) ? Buffer<T>::bytes(round_up(samples, width)) : 0) +
               (form == Form::about_the_origin ? 8 * (features + width) : 0);
    }

    index samples() const { return samples_; }
    void set_map(const KernelMap& map) { map_ = map; }

    // Packs the strips of these rows and columns of tiles that are not in memory, and forgets all others. Does nothing
    // where all samples are packed. Tiles are filled out of strips that are held.
    void hold(Span rows, Span columns, const Engine& engine) {
        hold(rows, columns, nullptr, engine);
        source_.source.forget();
    }
    // As many as fit while no other layer has any.
    Held held_alone() const;
    // Gives all memory of strips back.
    void release();

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
    void forget_distances() { kept_ = {}; }
    // Null: none are kept.
    const T* kept_distances() const { return kept_.data(); }

  private:
    static bool has_terms(Form form) { return form == Form::distances || form == Form::about_the_origin; }
    void hold(Span rows, Span columns, SampleSums* sums, const Engine& engine);
    void pack(Span strips, SampleSums* sums, const Engine& engine);
    void add_terms(Form form, index strip, const SampleSums& sums, const Engine& engine);

    // Samples of a range that is within one strip, in its panels.
    struct Side {
        const Panels<T>& panels;
        index first;  // sample of the strip
    };
    Side side(index sample) const {
        const index strip = sample / strip_;
        return {strips_[static_cast<std::size_t>(strip)], strip * strip_};
    }
    void products(const TileRange& range, T* tile, double* wide, const Engine& engine, int worker) const;

    // Near pairs of a block, which are marked by NaN: their squared distances by direct differences, and with `map` their
    // Gram values.
    void mend(T* block, index row, index column, const KernelMap* map, const Engine& engine) const;

    // visit(block, row, column, rows, columns)
    template <class Visit> void for_each_block(const TileRange& range, T* tile, Visit&& visit) const;

    index samples_ = 0, width_ = 1;
    index strip_ = 1, most_held_ = 0;  // samples in a strip; strips that fit, 0: all
    SampleSource source_{};            // of strips that are not held
    std::vector<Panels<T>> strips_;    // empty where they are not held
    std::vector<Panels<T>> spare_;     // memory of strips that were
    Buffer<T> terms_;  // what the map needs of each sample, zero beyond the last; empty if nothing
    Buffer<T> kept_;
    KernelMap map_;
};

}  // namespace fastcka
