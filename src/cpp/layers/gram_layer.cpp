// SPDX-License-Identifier: BSD-3-Clause
#include "layers/gram_layer.hpp"

#include "base/errors.hpp"
#include "layers/origin.hpp"

#include <cmath>
#include <numeric>
#include <utility>

namespace fastcka {
namespace {

double largest_of(const std::vector<double>& values) {
    double largest = 0;
    for (double value : values) largest = std::max(largest, std::abs(value));
    return largest;
}

double mean_of(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Norms that are large compared with distances cost float32 digits; if they cost too many, the layer is computed in
// float64. There, near samples are subtracted from each other. A polynomial kernel is taken relative to its value at
// the origin; the rest is smallest for an origin amid the samples.
template <class T> OriginRule origin_rule(Form form) {
    if (sizeof(T) == 4) return median_if_far;
    return form == Form::about_the_origin ? median_of : median_if_exact;
}

}  // namespace

template <class T>
GramLayer<T>::GramLayer(const Source& source, const Kernel& kernel, bool as_defined, const Centring* known,
                        const Engine& engine, const Strips& strips)
    : kernel_(kernel) {
    const auto [form, rows_as] = kernel.traits();
    std::optional<RowScaling> scaling = row_scaling(source, rows_as, engine);
    const RowScaling* const rows = scaling ? &*scaling : nullptr;
    centring_ = known != nullptr ? *known : centring_of(source, rows, engine);
    if (centring_.largest == 0) note.status = Status::constant;
    if (form == Form::given) {
        GivenTiles given(source, centring_, strips.samples);
        note.unit = 1 / centring_.scale;
        note.rounding = given.rounding();
        tiles_ = std::move(given);
        return;
    }

    // The origin is subtracted from the samples. With `as_defined`, a kernel of inner products sees them where they are;
    // distances do not depend on an origin, and the map of a polynomial kernel adds the terms of the origin again.
    const bool in_place = as_defined && form == Form::products;
    if (in_place) centring_.scale = 1;
    Centring origin = centring_;
    if (form != Form::products) {
        origin.mean_low = {};
        if (as_defined && form == Form::about_the_origin)
            std::fill(origin.mean.begin(), origin.mean.end(), 0.0);
        else
            origin.mean = robust_origin(source, origin_rule<T>(form), engine);
    }
    std::vector<double> direction;
    if (form == Form::about_the_origin)
        for (double value : origin.mean) direction.push_back(value * origin.scale);
    SampleSums sums;
    SampleSource samples{source, {}, std::move(scaling), std::move(direction)};
    if (!in_place) samples.origin = origin;
    PanelTiles<T> tiles(std::move(samples), form, strips, sums, engine);
    if (sizeof(T) == 4 && !as_defined &&
        (has_massive_sample(sums) || (form != Form::products && has_repeated_sample(sums))))
        throw NeedsDouble{};
    tiles_ = std::move(tiles);
    squared_norms_ = std::move(sums.squared);

    double offset = 0;       // |mean - origin|^2, packed
    double origin_norm = 0;  // |origin|^2, in the units of the data
    for (std::size_t j = 0; j < origin.mean.size(); ++j) {
        offset += std::pow((centring_.mean[j] - origin.mean[j]) * origin.scale, 2);
        origin_norm += origin.mean[j] * origin.mean[j];
    }
    facts_ = {
        .as_defined = as_defined,
        .precision = precision_of<T>,
        .features = source.columns(),
        .scale = centring_.scale,
        .mean_distance = std::max(0.0, 2 * (mean_of(squared_norms_) - offset)),
        .squared_norms = squared_norms_,
        .largest_projection = largest_of(sums.projections),
        .origin_norm = origin_norm,
        .sigma = not_given,
    };
    if (const Bandwidth* bandwidth = kernel.bandwidth(); bandwidth == nullptr)
        resolve();
    else if (!bandwidth->needs_median())
        set_sigma(bandwidth->sigma);
}

template <class T> void GramLayer<T>::set_sigma(double sigma) {
    note.sigma = facts_.sigma = sigma;
    resolve();
}

template <class T> void GramLayer<T>::resolve() {
    const auto [map, unit, left_out] = kernel_.resolve(facts_);
    panel_tiles().set_map(map);
    note.unit = unit;
    note.left_out = left_out;
}

template <class T> void GramLayer<T>::forget_values() {
    tiles_ = GivenTiles{};
    centring_ = {};
}

template <class T>
void GramLayer<T>::fill(const TileGrid& grid, index number, T* tile, double* wide, double* diagonal,
                        const Engine& engine, int worker) const {
    const auto& operations = engine.operations<T>();
    const index width = operations.panel_width;
    const TileRange range = grid[number];
    if (const auto* given = std::get_if<GivenTiles>(&tiles_))
        given->fill(range, tile, engine);
    else
        std::get<PanelTiles<T>>(tiles_).fill(grid, number, tile, wide, engine, worker);

    std::vector<T> on_diagonal(static_cast<std::size_t>(width));
    range.for_each_block(width, [&](index block, index row, index column) {
        if (row != column) return;
        operations.take_diagonal(tile + block * width * width, on_diagonal.data());
        for (index i = 0; i < std::min(width, range.first_row + range.rows - row); ++i)
            diagonal[row + i] = static_cast<double>(on_diagonal[static_cast<std::size_t>(i)]);
    });
}

template <class T>
void GramLayer<T>::fill_range(const TileRange& range, T* tile, double* wide, const Engine& engine,
                              int worker) const {
    if (const auto* given = std::get_if<GivenTiles>(&tiles_))
        given->fill(range, tile, engine);
    else
        std::get<PanelTiles<T>>(tiles_).fill_range(range, tile, wide, engine, worker);
}

template class GramLayer<float>;
template class GramLayer<double>;

}  // namespace fastcka
