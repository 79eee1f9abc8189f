// SPDX-License-Identifier: BSD-3-Clause
#include "inference/gram_rows.hpp"

#include "layers/origin.hpp"

#include <algorithm>

namespace fastcka {
namespace {

// About how many columns a tile has. Each panel of columns comes from memory and meets all panels of rows of a strip
// while it is in the L1 cache; the tile and the panels of rows stay in L2.
constexpr index columns_at_a_time = 256;

template <class T>
GramLayer<T> resolved(const Source& source, const Kernel& kernel, const LayerNote& note,
                      const Engine& engine) {
    GramLayer<T> layer(source, kernel, false, nullptr, engine);
    if (kernel.needs_median()) layer.set_sigma(note.sigma > 0 ? note.sigma : 1.0);
    if (kernel.is_given())
        layer.hold({0, 1}, {0, 1}, engine);  // all of it
    else
        source.forget();
    return layer;
}

}  // namespace

template <class T> index GramRows<T>::chunk_of(index panel_width) {
    return std::max(columns_at_a_time / panel_width, index{1}) * panel_width;
}

template <class T>
Bytes GramRows<T>::bytes(const Kernel& kernel, const LayerSet& set, index samples, index panel_width) {
    Bytes bytes{centring_bytes(samples, set.most_features()) + origin_bytes(samples, set.most_row_bytes()),
                TileScratch<T>::bytes(height_of(panel_width) * chunk_of(panel_width))};
    for (index l = 0; l < set.count(); ++l)
        bytes.shared += GramLayer<T>::bytes(kernel, samples, set.width(l), panel_width) +
                        GramLayer<T>::samples_bytes(kernel, set, l, samples, panel_width) +
                        CentringTerms<T>::bytes(samples);
    return bytes;
}

template <class T>
GramRows<T>::GramRows(const Layers& layers, const Kernel& kernel, const Margins& margins,
                      const std::vector<LayerNote>& notes, Centred centred, const Engine& engine)
    : engine_(engine), samples_(layers.samples()), width_(engine.operations<T>().panel_width),
      height_(height_of(width_)), chunk_(chunk_of(width_)) {
    layers.for_each([&](index l, const Source& source) {
        const LayerNote& note = notes[static_cast<std::size_t>(l)];
        layers_.push_back(resolved<T>(source, kernel, note, engine));
        terms_.emplace_back(margins, l, centred);
        degenerate_.push_back(note.status != Status::fine);
    });
}

template <class T>
void GramRows<T>::fill(index layer, index first, index chunk, T* strip, const TileScratch<T>& scratch,
                       int worker) const {
    const GramLayer<T>& from = layers_[static_cast<std::size_t>(layer)];
    const CentringTerms<T>& terms = terms_[static_cast<std::size_t>(layer)];
    const index begin = chunk * chunk_, end = std::min(begin + chunk_, samples_);
    const index rows = std::min(height_, samples_ - first), padded = std::min(begin + chunk_, stride());
    if (degenerate_[static_cast<std::size_t>(layer)]) {
        for (index i = 0; i < rows; ++i)
            std::fill(strip + i * stride() + begin, strip + i * stride() + padded, T(0));
        return;
    }

    const TileRange range{first, rows, begin, end - begin, false};
    T* const tile = scratch.tile.data();
    from.fill_range(range, tile, scratch.wide.data(), engine_, worker);
    range.for_each_block(width_, [&](index number, index row, index column) {
        const T* const block = tile + number * width_ * width_;
        const index columns = std::min(width_, samples_ - column);
        const T* const of_columns = terms.row.data() + column;
        for (index i = 0; i < std::min(width_, first + rows - row); ++i) {
            T* const out = strip + (row - first + i) * stride() + column;
            const T* const in = block + i * width_;
            const T of_row = terms.row[static_cast<std::size_t>(row + i)];
            for (index j = 0; j < columns; ++j) out[j] = in[j] - of_row - of_columns[j];
            std::fill(out + columns, out + width_, T(0));
        }
    });
    for (index i = std::max(first, begin); i < std::min(first + rows, end); ++i)
        strip[(i - first) * stride() + i] = terms.diagonal[static_cast<std::size_t>(i)];
}

template class GramRows<float>;
template class GramRows<double>;

}  // namespace fastcka
