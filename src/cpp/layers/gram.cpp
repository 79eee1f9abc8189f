// SPDX-License-Identifier: BSD-3-Clause
#include "layers/gram.hpp"

#include "layers/bandwidth.hpp"
#include "simd/dispatch.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>

namespace fastcka {
namespace {

constexpr index side = 192;

template <class T>
void fill_gram(const MatrixView& samples, const Kernel& kernel, const Engine& engine, T* out) {
    const index n = samples.rows, width = engine.operations<T>().panel_width;
    const TileGrid grid(n, std::max(width, side / width * width));

    GramLayer<T> layer(samples, kernel, true, nullptr, engine);
    if (kernel.needs_median()) {
        const double sigma = relative_sigma(layer, *kernel.bandwidth(), grid, false, engine);
        if (!(sigma > 0)) return std::fill(out, out + n * n, static_cast<T>(not_given));  // NaN: no bandwidth
        layer.set_sigma(sigma);
    }
    std::vector<double> own = row_norms(samples, engine);
    for (double& term : own) term = kernel.own_term(term);

    const index values = grid.tile_values(width);
    std::vector<double> diagonal(static_cast<std::size_t>(n));
    engine.team.for_each_observed(grid.tiles(), [&](index number, int worker) {
        const TileScratch<T> scratch(values);
        layer.fill(grid, number, scratch.tile.data(), scratch.wide.data(), diagonal.data(), engine, worker);
        grid[number].for_each_block(width, [&](index block, index row, index column) {
            const T* products = scratch.tile.data() + block * width * width;
            for (index i = row; i < std::min(row + width, n); ++i)
                for (index j = std::max(i, column); j < std::min(column + width, n); ++j) {
                    const double value = i == j
                                             ? diagonal[static_cast<std::size_t>(i)]
                                             : static_cast<double>(products[(i - row) * width + j - column]);
                    const double terms = own[static_cast<std::size_t>(i)] + own[static_cast<std::size_t>(j)];
                    out[i * n + j] = out[j * n + i] = static_cast<T>(value * layer.note.unit + terms);
                }
        });
    });
}

template <class T> void fill_centred(const MatrixView& gram, const Engine& engine, T* out) {
    const index n = gram.rows;
    const Centring columns = centring_of(gram, nullptr, engine);
    const MatrixView transposed{gram.data, n, n, gram.column_stride, gram.row_stride, gram.element};
    const Centring rows = centring_of(transposed, nullptr, engine);
    const double grand =
        std::accumulate(columns.mean.begin(), columns.mean.end(), 0.0) / static_cast<double>(n);
    engine.team.for_each_observed(n, [&](index i, int) {
        std::vector<double> line(static_cast<std::size_t>(n), 0.0);
        double largest = 0;  // origin = column means: K_ij - mean_j
        engine.operations<double>().feature_statistics(gram, {}, i, 1, 0, n, columns.mean.data(), line.data(),
                                                       &largest);
        const double row = rows.mean[static_cast<std::size_t>(i)] - grand;
        for (index j = 0; j < n; ++j)
            out[i * n + j] = static_cast<T>(line[static_cast<std::size_t>(j)] - row);
    });
}

}  // namespace

template <class T>
void gram(const MatrixView& samples, const Kernel& kernel, int threads, const Observer& observer, T* out) {
    if (kernel.is_given()) throw std::invalid_argument("a precomputed Gram matrix has no samples");
    if (samples.rows < 1 || samples.columns < 1 || threads < 1) throw std::invalid_argument("nothing to do");
    Team team(threads, observer);
    team.together([&] { fill_gram(samples, kernel, Engine{current_level(), team}, out); });
}

template <class T> void center(const MatrixView& gram, int threads, const Observer& observer, T* out) {
    if (gram.columns != gram.rows || gram.rows < 1) throw std::invalid_argument("a Gram matrix is square");
    Team team(threads, observer);
    team.together([&] { fill_centred(gram, Engine{current_level(), team}, out); });
}

template void gram(const MatrixView&, const Kernel&, int, const Observer&, float*);
template void gram(const MatrixView&, const Kernel&, int, const Observer&, double*);
template void center(const MatrixView&, int, const Observer&, float*);
template void center(const MatrixView&, int, const Observer&, double*);

}  // namespace fastcka
