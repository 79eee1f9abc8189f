// SPDX-License-Identifier: BSD-3-Clause
// Tiles of a Gram matrix out of packed samples: inner products, and the kernel's map of them while they are in the cache.
#pragma once

#include "layers/tiles.hpp"

namespace fastcka {

// Everything that packing samples of a layer needs.
struct SampleSource {
    Source source;
    std::optional<Centring> origin;
    std::optional<RowScaling> rows;
    std::vector<double> direction;  // of projections; empty: none
};

// How much of a layer is packed at a time. A strip holds the samples of one row of tiles of the grid; only some strips
// are in memory.
struct Strips {
    index samples = 0;  // in each; 0: all samples are packed at once
    index held = 0;     // the strips of this layer that fit into memory if no other layer holds any
};

template <class T> class PanelTiles {
  public:
    PanelTiles() = default;
    // Packs all samples once, which yields their `sums`. With strips, call hold() before tiles are filled.
    PanelTiles(SampleSource source, Form form, const Strips& strips, SampleSums& sums, const Engine& engine);

    // Its memory besides panels and kept distances, in bytes.
    static index bytes(Form form, index samples, index features, index width) {
        return Centring::bytes(features) +
               (has_terms(form) ? Buffer<T>::bytes(round_up(samples, width)) : 0) +
               (form == Form::about_the_origin ? 8 * (features + width) : 0);
    }

    index samples() const { return samples_; }
    void set_map(const KernelMap& map) { map_ = map; }

    // Packs the strips of these rows and columns of tiles, unless they are in memory, and frees all others. Does nothing
    // if all samples are packed. Tiles are filled from strips that are held.
    void hold(Span rows, Span columns, const Engine& engine) {
        hold(rows, columns, nullptr, engine);
        source_.source.forget();
    }
    // The rows and columns of tiles that fit if no other layer holds any.
    Held held_alone() const;
    // Frees all strips.
    void release();
    bool holds_strips() const { return most_held_ > 0; }

    // Evenly spaced samples, packed as they are here, to form distances from; at most most_copied() of them. If strips are
    // held, they and the copies take no more than the strips that fit.
    PanelTiles copy(index count, const Engine& engine);
    index most_copied() const { return holds_strips() ? most_held_ / 2 * strip_ : samples_; }
    static index copies_bytes(index count, index features, index width) {
        return Panels<T>::bytes(count, features, width) + Buffer<T>::bytes(round_up(count, width));
    }

    // Gram values of one tile, block by block. `wide` is a worker's memory for one tile.
    void fill(const TileGrid& grid, index number, T* tile, double* wide, const Engine& engine,
              int worker) const;

    // The same for any range; kept distances are not used.
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

    // The strip of a sample.
    struct Side {
        const Panels<T>& panels;
        index first;  // its first sample
    };
    Side side(index sample) const {
        const index strip = sample / strip_;
        return {strips_[static_cast<std::size_t>(strip)], strip * strip_};
    }
    void products(const TileRange& range, T* tile, double* wide, const Engine& engine, int worker) const;

    // Replaces the NaN that mark near pairs of a block: by squared distances from direct differences, and with `map` by
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
