// SPDX-License-Identifier: BSD-3-Clause
#include "layers/gram_layer.hpp"

#include "base/errors.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace fastcka {
namespace {

// Gram values exp(-t) with a typical exponent below this have the constant exp(-typical) left out. Beyond it they are
// far apart and small: they are multiplied by exp(min(typical, largest_shift)) instead, so that their products stay within
// the range of float32 for exponents from 0 to about 80.
constexpr double concentrated = 16, largest_shift = 40;

// Of a number of that type, relative to it.
double rounding_of(Element element) {
    switch (element) {
        case Element::f32: return 0x1p-24;
        case Element::f16: return 0x1p-11;
        case Element::bf16: return 0x1p-8;
        default: return 0x1p-53;
    }
}

bool uses_distances(KernelKind kind) {
    return kind == KernelKind::rbf || kind == KernelKind::laplacian || kind == KernelKind::distance;
}

// Squared norms from the same arithmetic as the inner products: equal samples are then at distance exactly zero.
template <class T> Buffer<T> self_products(const Panels<T>& panels, const Engine& engine) {
    const auto& operations = engine.operations<T>();
    const index width = panels.width();
    Buffer<T> products(panels.count() * width);
    engine.team.for_each(panels.count(), [&](index panel, int) {
        T* out = products.data() + panel * width;
        std::vector<double> wide(static_cast<std::size_t>(width));
        const index last = panels.coordinates();
        const bool carries = sizeof(T) == 4 && last > carry_interval;
        for (index k = 0; k < last; k += coordinate_block) {
            const index in_interval = k % carry_interval;
            operations.self_products(panels.operand(k, panel * width, width).panels,
                                     Panels<T>::block_size(k, last), carries ? in_interval == 0 : k == 0,
                                     out);
            if (carries && (k + coordinate_block >= last || in_interval + coordinate_block == carry_interval))
                operations.carry(out, width, k == in_interval, wide.data());
        }
        if (carries) operations.narrow(wide.data(), width, out);
    });
    return products;
}

template <class T> void resolve_distance(GramLayer<T>& layer, const Kernel& kernel) {
    layer.map.exponent = kernel.exponent;
    layer.map.reference = layer.map.centred ? std::pow(layer.mean_distance, kernel.exponent / 2) : 0;
    layer.unit = std::pow(1 / layer.centring.scale, kernel.exponent);
}

// gamma <x, y> + coef0 with x = mean + x_c is base + row term + column term + rate <x_c, y_c>.
template <class T> void resolve_polynomial(GramLayer<T>& layer, const Kernel& kernel, double largest_norm) {
    const double gamma =
        kernel.gamma == kernel.gamma ? kernel.gamma : 1.0 / static_cast<double>(layer.view.columns);
    const double scale = layer.centring.scale;
    const std::vector<double>& mean = layer.centring.mean;
    const double mean_squared = std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0);
    layer.map.degree = kernel.degree;
    layer.map.rate = gamma / (scale * scale);
    layer.map.reference = kernel.coef0 + gamma * mean_squared;
    double largest_term = 0;
    for (std::size_t i = 0; i < layer.norms.projections.size(); ++i) {
        const double term =
            layer.map.rate * layer.norms.projections[i];  // gamma <x_c, mean>, both in packed units
        layer.terms.data()[i] = static_cast<T>(term);
        largest_term = std::max(largest_term, std::abs(term));
    }
    const double step = 2 * largest_term + std::abs(layer.map.rate) * largest_norm;
    const double bound = 2 * std::pow(std::abs(layer.map.reference) + step, kernel.degree);
    if (layer.status != Status::constant &&
        !(bound < (sizeof(T) == 4 ? 1e18 : 1e150)))  // its square is summed
        throw std::invalid_argument(
            "the polynomial kernel overflows on these values; scale them or set gamma");
}

}  // namespace

template <class T>
GramLayer<T> make_gram_layer(const MatrixView& view, const Kernel& kernel, bool definition,
                             const Centring* known, const Engine& engine) {
    GramLayer<T> layer;
    layer.view = view;
    layer.map.kind = kernel.kind;
    layer.definition = definition;
    layer.map.centred = !definition;

    std::vector<double> row_scale;
    if (kernel.kind == KernelKind::cosine) row_scale = inverse_row_norms(view, engine);
    const double* const scaled = row_scale.empty() ? nullptr : row_scale.data();
    layer.centring = known != nullptr ? *known : centring_of(view, scaled, engine);
    if (layer.centring.largest == 0) layer.status = Status::constant;
    if (kernel.kind == KernelKind::precomputed) {
        const std::vector<double>& mean = layer.centring.mean;
        layer.grand_mean = std::accumulate(mean.begin(), mean.end(), 0.0) / static_cast<double>(view.rows);
        layer.unit = 1 / layer.centring.scale;
        double largest = layer.centring.largest;  // at least half of the largest |K_ij|, at most twice
        for (double value : mean) largest = std::max(largest, std::abs(value));
        layer.rounding = 8 * rounding_of(view.element) * largest * layer.centring.scale;
        return layer;
    }
    if (definition && kernel.is_linear()) {  // <x, y> itself
        layer.panels = pack<T>(view, true, nullptr, scaled, {}, layer.norms, engine);
        return layer;
    }
    if (definition && kernel.kind == KernelKind::polynomial) {  // no mean taken off: every term is zero
        std::fill(layer.centring.mean.begin(), layer.centring.mean.end(), 0.0);
    }
    const bool polynomial = kernel.kind == KernelKind::polynomial;
    std::vector<double> direction;
    if (polynomial)
        for (double mean : layer.centring.mean) direction.push_back(mean * layer.centring.scale);
    layer.panels = pack<T>(view, true, &layer.centring, scaled, std::move(direction), layer.norms, engine);
    layer.unit = 1 / (layer.centring.scale * layer.centring.scale);
    if (sizeof(T) == 4 && !definition && has_massive_sample(layer.norms)) throw NeedsDouble{};

    const std::vector<double>& squared = layer.norms.squared;
    const double largest_norm = *std::max_element(squared.begin(), squared.end());
    layer.mean_distance =
        2 * std::accumulate(squared.begin(), squared.end(), 0.0) / static_cast<double>(view.rows);
    if (uses_distances(kernel.kind)) {
        layer.terms = self_products(layer.panels, engine);
        layer.unit = 1;
    }
    if (kernel.kind == KernelKind::distance) resolve_distance(layer, kernel);
    if (polynomial) {
        layer.unit = 1;
        layer.terms = Buffer<T>(layer.panels.count() * layer.panels.width());
        std::fill_n(layer.terms.data(), layer.panels.count() * layer.panels.width(), T(0));
        resolve_polynomial(layer, kernel, largest_norm);
    }
    if (kernel.has_sigma() && !kernel.needs_median()) set_sigma(layer, kernel.sigma);
    return layer;
}

template <class T> void set_sigma(GramLayer<T>& layer, double sigma) {
    layer.sigma = sigma;
    const double packed = sigma * layer.centring.scale;
    const bool rbf = layer.map.kind == KernelKind::rbf;
    // Distances are about 1, or at least 1e-8 of that: beyond the largest rate all exponents are far below any that
    // counts, and an infinite one would make NaN of distance zero. Below the smallest one exp(-t) - 1 is -t in float64,
    // too, so that any rate that small gives the same values but for a factor.
    constexpr double largest_rate = sizeof(T) == 4 ? 1e36 : 1e300, smallest_rate = 1e-20;
    const double rate = rbf ? 1 / (2 * packed * packed) : 1 / packed;
    layer.map.rate = std::min(rate, largest_rate);
    if (layer.definition) return;
    layer.map.rate = std::max(layer.map.rate, smallest_rate);
    const double typical = layer.map.rate * (rbf ? layer.mean_distance : std::sqrt(layer.mean_distance));
    if (sizeof(T) == 4 && typical > largest_shift) throw NeedsDouble{};
    layer.map.centred = typical < concentrated;
    layer.map.reference =
        static_cast<double>(static_cast<T>(std::min(typical, largest_shift)));  // as applied
    layer.map.level = std::exp(-layer.map.reference);
    if (!layer.map.centred) {
        layer.unit = layer.map.level;
        return;
    }
    // Values are about the typical exponent; a power of two brings them to about 1.
    int exponent = 0;
    std::frexp(std::min(typical, 1.0), &exponent);
    layer.map.level = std::ldexp(layer.map.level, -exponent);
    layer.unit = std::ldexp(std::min(rate / smallest_rate, 1.0), exponent);
}

template <class T>
void GramLayer<T>::fill_distances(const TileRange& range, T* tile, double* wide, const Engine& engine,
                                  int worker) const {
    const auto& operations = engine.operations<T>();
    const index width = panels.width();
    gram_products(panels, range, tile, wide, engine, worker);
    range.for_each_block(width, [&](index number, index row, index column) {
        operations.squared_distances(terms.data() + row, terms.data() + column,
                                     std::min(width, view.rows - row), std::min(width, view.rows - column),
                                     tile + number * width * width);
    });
}

template <class T>
void GramLayer<T>::fill(const TileGrid& grid, index number, T* tile, double* wide, double* diagonal,
                        const Engine& engine, int worker) const {
    const auto& operations = engine.operations<T>();
    const index width = operations.panel_width, n = view.rows;
    const TileRange range = grid[number];
    // |x - y|^2 = 0 + 0 - 2 (-|x - y|^2 / 2): kept distances take the same map as products, with terms of zero.
    const bool from_kept = kept.data() != nullptr;
    std::vector<T> on_diagonal(static_cast<std::size_t>(width));

    if (from_kept) {
        const index values = range.blocks(width) * width * width;
        const T* distances = kept.data() + number * grid.tile_values(width);
        for (index i = 0; i < values; ++i) tile[i] = T(-0.5) * distances[i];
    } else if (map.kind != KernelKind::precomputed) {
        gram_products(panels, range, tile, wide, engine, worker);
    }
    range.for_each_block(width, [&](index block_index, index row, index column) {
        T* block = tile + block_index * width * width;
        const index rows = std::min(width, n - row), columns = std::min(width, n - column);
        if (map.kind == KernelKind::precomputed)
            operations.centred_block(view, centring.mean.data(), grand_mean, centring.scale, row, rows,
                                     column, columns, block);
        else if (terms.data() != nullptr)
            operations.apply(map, from_kept ? no_terms.data() : terms.data() + row,
                             from_kept ? no_terms.data() : terms.data() + column, rows, columns, block);
        if (row != column) return;
        operations.take_diagonal(block, on_diagonal.data());
        for (index i = 0; i < rows; ++i)
            diagonal[row + i] = static_cast<double>(on_diagonal[static_cast<std::size_t>(i)]);
    });
}

template struct GramLayer<float>;
template struct GramLayer<double>;
template GramLayer<float> make_gram_layer(const MatrixView&, const Kernel&, bool, const Centring*,
                                          const Engine&);
template GramLayer<double> make_gram_layer(const MatrixView&, const Kernel&, bool, const Centring*,
                                           const Engine&);
template void set_sigma(GramLayer<float>&, double);
template void set_sigma(GramLayer<double>&, double);

}  // namespace fastcka
