// SPDX-License-Identifier: BSD-3-Clause
// A representation on the Gram route: its kernel resolved, and tiles of its Gram matrix on demand.
#pragma once

#include "kernels/kernel.hpp"
#include "layers/given_tiles.hpp"
#include "layers/layer_note.hpp"
#include "layers/layer_set.hpp"
#include "layers/panel_tiles.hpp"

#include <variant>

namespace fastcka {

template <class T> class GramLayer {
  public:
    GramLayer() = default;
    // Centres and packs; the kernel is resolved except for a bandwidth that is relative to the median. `as_defined`: see
    // LayerFacts. `known`: means and scale, or null.
    GramLayer(const Source& source, const Kernel& kernel, bool as_defined, const Centring* known,
              const Engine& engine, const Strips& strips = {});

    // Memory of a layer without its samples, and of what forget_values() keeps, in bytes.
    static index bytes(const Kernel& kernel, index samples, index features, index width) {
        const auto [form, rows] = kernel.traits();
        return Centring::bytes(features) + RowScaling::bytes(rows, samples) +
               SampleSums::bytes(samples, form == Form::about_the_origin) +
               (kernel.is_given() ? GivenTiles::bytes(samples)
                                  : PanelTiles<T>::bytes(form, samples, features, width));
    }
    static index bytes_left(index samples) { return SampleSums::bytes(samples, false); }
    // Memory of some samples of a layer: packed, or the rows of a given Gram matrix that is read.
    static index samples_bytes(const Kernel& kernel, const LayerSet& set, index layer, index samples,
                               index width) {
        return kernel.is_given() ? samples * set.row_bytes(layer)
                                 : Panels<T>::bytes(samples, set.width(layer), width);
    }

    LayerNote note;

    // The means and scale of the features, or of the columns of a given Gram matrix.
    const Centring& centring() const { return centring_; }
    // |x|^2 of each packed sample; empty for a given Gram matrix.
    const std::vector<double>& squared_norms() const { return squared_norms_; }
    // The mean squared distance of two packed samples.
    double mean_distance() const { return facts_.mean_distance; }
    // Throws std::bad_variant_access for a given Gram matrix.
    PanelTiles<T>& panel_tiles() { return std::get<PanelTiles<T>>(tiles_); }

    // See PanelTiles and GivenTiles.
    void hold(Span rows, Span columns, const Engine& engine) {
        if (auto* tiles = std::get_if<PanelTiles<T>>(&tiles_))
            tiles->hold(rows, columns, engine);
        else
            std::get<GivenTiles>(tiles_).hold(rows);
    }
    void release() {
        if (auto* tiles = std::get_if<PanelTiles<T>>(&tiles_)) tiles->release();
    }

    // Resolves the kernel for a bandwidth, in the units of the data.
    void set_sigma(double sigma);

    // Gram values of one tile, block by block. In a triangle the values on and below the diagonal are zero, and the
    // diagonal goes to `diagonal`, indexed by sample. `wide`: a worker's memory for one tile. Threads may fill different
    // tiles.
    void fill(const TileGrid& grid, index number, T* tile, double* wide, double* diagonal,
              const Engine& engine, int worker) const;

    // Gram values of some samples against others, block by block, with those on the diagonal.
    void fill_range(const TileRange& range, T* tile, double* wide, const Engine& engine, int worker) const;

    // Frees everything but the note and the norms.
    void forget_values();

  private:
    void resolve();

    Kernel kernel_;
    Centring centring_;
    LayerFacts facts_{};
    std::vector<double> squared_norms_;
    std::variant<GivenTiles, PanelTiles<T>> tiles_;
};

}  // namespace fastcka
