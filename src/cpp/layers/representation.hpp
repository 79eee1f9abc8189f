// SPDX-License-Identifier: BSD-3-Clause
// A representation on its way into the engine: feature means and scale, then panels. Used by both routes.
#pragma once

#include "base/buffer.hpp"
#include "base/parallel.hpp"
#include "base/source.hpp"
#include "simd/operations.hpp"
#include "simd/tuning.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace fastcka {

// Packed vectors, coordinate block by coordinate block; within one, panel by panel; within one, coordinate by
// coordinate, the values of a panel's vectors side by side. What a tile reads next is what lies next in memory.
template <class T> class Panels {
  public:
    Panels() = default;
    Panels(index vectors, index coordinates, index width)
        : vectors_(vectors), coordinates_(coordinates), capacity_(coordinates), width_(width),
          panels_(ceil_divide(vectors, width)), values_(size(vectors, coordinates, width)) {}

    static index bytes(index vectors, index coordinates, index width) {
        return Buffer<T>::bytes(size(vectors, coordinates, width));
    }

    index vectors() const { return vectors_; }
    index coordinates() const { return coordinates_; }
    index width() const { return width_; }
    index count() const { return panels_; }
    T* data() const { return values_.data(); }

    // The same memory, laid out for fewer coordinates than there is room for. Their values are undefined then.
    index capacity() const { return capacity_; }
    void set_coordinates(index coordinates) { coordinates_ = coordinates; }
    // The same of vectors.
    void set_vectors(index vectors) {
        vectors_ = vectors;
        panels_ = ceil_divide(vectors, width_);
    }

    static index block_size(index first_coordinate, index last_coordinate) {
        return std::min(coordinate_block, last_coordinate - first_coordinate);
    }
    // `first_coordinate` starts a coordinate block, `first_vector` a panel.
    Operand<T> operand(index first_coordinate, index first_vector, index vectors) const {
        const index size = block_size(first_coordinate, coordinates_), next = first_coordinate + size;
        const auto panel = [&](index block, index block_coordinates) {
            return block * panels_ * width_ + first_vector * block_coordinates;
        };
        const index here = panel(first_coordinate, size);
        const index to_next = next < coordinates_ ? panel(next, block_size(next, coordinates_)) - here : 0;
        return {values_.data() + here, vectors, to_next};
    }

  private:
    static index size(index vectors, index coordinates, index width) {
        return size_product(round_up(vectors, width), coordinates);
    }

    index vectors_ = 0, coordinates_ = 0, capacity_ = 0, width_ = 1, panels_ = 0;
    Buffer<T> values_;
};

// The feature means and the power of two that brings the largest deviation from them to about 1, so that products
// neither overflow nor vanish, for any units of the data.
struct Centring {
    std::vector<double> mean;
    std::vector<double> mean_low;  // the part of the mean that rounding has removed; empty: 0
    double scale = 1;
    double largest = 0;  // largest deviation from the first sample; 0: all samples are equal

    static index bytes(index features) { return 2 * 8 * features; }
};

struct Engine {
    const Level& level;
    Team& team;
    template <class T> const Operations<T>& operations() const { return operations_of<T>(level); }
};

// What is done to each sample first: (x - shift) * scale, one value of each for every sample. See RowFactors.
struct RowScaling {
    std::vector<double> shift, shift_low, scale;  // no shifts: 0

    static index bytes(Rows rows, index samples) {
        return (rows == Rows::standardised ? 3 : rows == Rows::unit ? 1 : 0) * 8 * samples;
    }
    // The factors of the samples from `first` on; they point into this.
    RowFactors factors(index first = 0) const {
        return {shift.empty() ? nullptr : shift.data() + first, scale.data() + first,
                shift.empty() ? nullptr : shift_low.data() + first};
    }
};

// nullopt for Rows::as_given. A sample without a direction (zero, or constant for standardised rows) gets the scale 0 and
// becomes zero. Throws NonFinite.
std::optional<RowScaling> row_scaling(const Source& source, Rows rows, const Engine& engine);

// |x_i| of every sample.
std::vector<double> row_norms(const Source& source, const Engine& engine);

// `rows` null: samples as they are. Throws NonFinite (network and layer 0) if an element is not a finite number, and
// std::invalid_argument if sums overflow.
Centring centring_of(const Source& source, const RowScaling* rows, const Engine& engine);
// The memory of centring_of() besides its result, in bytes.
index centring_bytes(index samples, index features);

// What packing yields besides the panels: a value for each sample, in packed units.
struct SampleSums {
    std::vector<double> squared;      // |x_i|^2 of the packed values
    std::vector<double> projections;  // <x_i, direction>; empty unless asked for

    static index bytes(index samples, bool projects) { return (projects ? 2 : 1) * 8 * samples; }
};

// Whether one sample outweighs the others so much that theirs are lost in the rounding of float32 products with it.
bool has_massive_sample(const SampleSums& norms);

// Whether a sample occurs so often that the rounding of its float32 distances to others does not average out. Samples
// with the same norm count as equal.
bool has_repeated_sample(const SampleSums& norms);

// The job that packs samples into `panels`, panel by panel. `view`: of all samples; only samples that are packed need to
// be in memory. `direction`: a value for each feature, then zeros up to a whole panel; or null. `sums`: an entry for each
// sample, zero at first; null if they are not wanted. It keeps pointers to all of them.
template <class T>
Packing<T> packing_of(const MatrixView& view, bool vectors_are_samples, const Centring* centring,
                      RowFactors rows, const double* direction, const Panels<T>& panels, SampleSums* sums);

// All coordinates of one panel.
template <class T>
void pack_panel(const Packing<T>& job, index panel, index coordinates, const Engine& engine, int worker) {
    for (index first = 0; first < coordinates; first += coordinate_block) {
        engine.operations<T>().pack(job, panel, first, Panels<T>::block_size(first, coordinates));
        engine.team.poll(worker);
    }
}

// Packs all samples of a layer. `centring`, `rows` null: values as they are. `direction`: a value for each feature, in
// packed units, for the projections in `sums`; or empty.
template <class T>
Panels<T> pack(const Source& source, bool vectors_are_samples, const Centring* centring,
               const RowScaling* rows, std::vector<double> direction, SampleSums& sums, const Engine& engine);

}  // namespace fastcka
