// SPDX-License-Identifier: BSD-3-Clause
#include "layers/given_tiles.hpp"

#include <cmath>
#include <numeric>

namespace fastcka {
namespace {

// The largest relative rounding error of a number of that type.
double rounding_of(Element element) {
    switch (element) {
        case Element::f32: return 0x1p-24;
        case Element::f16: return 0x1p-11;
        case Element::bf16: return 0x1p-8;
        default: return 0x1p-53;
    }
}

}  // namespace

GivenTiles::GivenTiles(const Source& gram, const Centring& columns, index strip)
    : source_(gram), strip_(strip > 0 ? strip : gram.rows()), gram_(gram.view()), mean_(columns.mean),
      mean_low_(columns.mean_low), scale_(columns.scale) {
    mean_low_.resize(mean_.size());
    for (std::size_t i = 0; i < mean_.size(); ++i)
        offset_.push_back((mean_[i] - mean_[0]) + (mean_low_[i] - mean_low_[0]));
    const double average =
        std::accumulate(offset_.begin(), offset_.end(), 0.0) / static_cast<double>(gram.rows());
    for (double& offset : offset_) offset -= average;
    double largest = columns.largest;  // at least half of the largest |K_ij|, at most twice
    for (double value : mean_) largest = std::max(largest, std::abs(value));
    rounding_ = 8 * rounding_of(gram.element()) * largest * scale_;
}

void GivenTiles::hold(Span strips) {
    gram_ = source_.read(strips.first * strip_, std::min(strips.last * strip_, source_.rows()));
}

template <class T> void GivenTiles::fill(const TileRange& range, T* tile, const Engine& engine) const {
    const auto& operations = engine.operations<T>();
    const index width = operations.panel_width;
    range.for_each_block(width, [&](index number, index row, index column) {
        operations.centred_block(gram_, mean_.data(), mean_low_.data(), offset_.data(), scale_, row,
                                 std::min(width, gram_.rows - row), column,
                                 std::min(width, gram_.columns - column), tile + number * width * width);
    });
}

template void GivenTiles::fill(const TileRange&, float*, const Engine&) const;
template void GivenTiles::fill(const TileRange&, double*, const Engine&) const;

}  // namespace fastcka
