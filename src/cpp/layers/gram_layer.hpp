// SPDX-License-Identifier: BSD-3-Clause
// A representation on the Gram route: its panels, its kernel resolved, and tiles of its Gram matrix on demand.
#pragma once

#include "kernels/kernel.hpp"
#include "layers/layer_note.hpp"
#include "layers/tiles.hpp"

namespace fastcka {

template <class T> struct GramLayer {
    MatrixView view;
    bool definition = false;  // the kernel as defined, for gram(), not up to what centring removes
    Status status = Status::fine;
    double unit = 1;           // Gram values in the kernel's own units = packed ones * unit
    double sigma = not_given;  // rbf, laplacian: in the units of the data
    KernelMap<T> map;
    Panels<T> panels;    // empty for a precomputed Gram matrix
    Buffer<T> terms;     // what the map needs of each sample, zero beyond the last; empty if nothing
    Buffer<T> kept;      // squared distances from the search for the median, tile by tile, or empty
    Buffer<T> no_terms;  // a panel's width of zeros, in place of terms for kept distances
    Centring centring;   // of features; of Gram columns when precomputed
    SampleSums norms;
    double rounding = 0;       // of the values of a precomputed Gram matrix, packed units
    double grand_mean = 0;     // of a precomputed Gram matrix
    double mean_distance = 0;  // mean squared distance between samples, packed units

    // Gram values of one tile, block by block; zero on and below the diagonal of a triangle, whose diagonal goes to
    // `diagonal` (indexed by sample). `wide` is a worker's memory for one tile.
    void fill(const TileGrid& grid, index number, T* tile, double* wide, double* diagonal,
              const Engine& engine, int worker) const;

    // Squared distances of one tile; meaningless on and below the diagonal of a triangle.
    void fill_distances(const TileRange& range, T* tile, double* wide, const Engine& engine,
                        int worker) const;
};

// Centres and packs; the kernel is resolved except for a bandwidth that is relative to the median. `known`: its means and
// scale, or null.
template <class T>
GramLayer<T> make_gram_layer(const MatrixView& view, const Kernel& kernel, bool definition,
                             const Centring* known, const Engine& engine);

// Sets sigma (units of the data) for rbf and laplacian.
template <class T> void set_sigma(GramLayer<T>& layer, double sigma);

}  // namespace fastcka
