// SPDX-License-Identifier: BSD-3-Clause
#include "inference/permutations.hpp"

#include "layers/tiles.hpp"
#include "simd/dispatch.hpp"

#include <algorithm>
#include <stdexcept>

namespace fastcka {
namespace {

constexpr index permutations_in_task = 8;

void check_orders(const Permutations& permutations) {
    std::vector<char> seen(static_cast<std::size_t>(permutations.samples));
    for (index k = 0; k < permutations.count; ++k) {
        std::fill(seen.begin(), seen.end(), char(0));
        for (index i = 0; i < permutations.samples; ++i) {
            const std::int32_t to = permutations[k][i];
            if (to < 0 || to >= permutations.samples || seen[static_cast<std::size_t>(to)]++)
                throw std::invalid_argument("an order of samples is no permutation");
        }
    }
}

// use(first, last, worker) for some permutations at a time; shared out to the team.
template <class Use> void for_each_task(const Permutations& permutations, Team& team, Use&& use) {
    const index tasks = ceil_divide(permutations.count, permutations_in_task);
    team.for_each_observed(tasks, [&](index task, int worker) {
        const index first = task * permutations_in_task;
        use(first, std::min(first + permutations_in_task, permutations.count), worker);
    });
}

template <class T>
void products_of(const std::vector<const T*>& left, const std::vector<const T*>& right,
                 const Permutations& permutations, const Engine& engine, double* out) {
    const auto& operations = engine.operations<T>();
    const index n = permutations.samples, width = operations.panel_width;
    const auto matrices = static_cast<index>(left.size()), others = static_cast<index>(right.size());
    const index stride = round_up(n, width), pairs = matrices * others;
    // Rows of the left side, one after the other for all of its matrices, ending in zeros.
    const Buffer<T> rows(size_product(n * matrices, stride));
    engine.team.for_each(n, [&](index i, int) {
        for (index a = 0; a < matrices; ++a) {
            T* const row = rows.data() + (i * matrices + a) * stride;
            std::copy_n(left[static_cast<std::size_t>(a)] + i * n, n, row);
            std::fill(row + n, row + stride, T(0));
        }
    });
    for_each_task(permutations, engine.team, [&](index first, index last, int worker) {
        std::vector<index> places(static_cast<std::size_t>((last - first) * n));
        for (index k = first; k < last; ++k)
            for (index i = 0; i < n; ++i)
                places[static_cast<std::size_t>((k - first) * n + permutations[k][i])] = i;
        const Buffer<T> gathered(others * stride);
        std::vector<const T*> of_left(left.size()), of_right(right.size());
        for (index b = 0; b < others; ++b)
            of_right[static_cast<std::size_t>(b)] = gathered.data() + b * stride;
        std::vector<double> below(static_cast<std::size_t>((last - first) * pairs), 0.0);
        std::fill(out + first * pairs, out + last * pairs, 0.0);
        for (index row = 0; row < n; ++row) {  // of the right side
            for (index k = first; k < last; ++k) {
                const std::int32_t* const order = permutations[k];
                const index i = places[static_cast<std::size_t>((k - first) * n + row)];
                const index length = round_up(i, width);  // below the diagonal
                for (index a = 0; a < matrices; ++a)
                    of_left[static_cast<std::size_t>(a)] = rows.data() + (i * matrices + a) * stride;
                for (index b = 0; b < others; ++b) {
                    const T* const from = right[static_cast<std::size_t>(b)] + row * n;
                    T* const to = gathered.data() + b * stride;
                    for (index j = 0; j < i; ++j) to[j] = from[order[j]];
                    std::fill(to + i, to + length, T(0));
                    for (index a = 0; a < matrices; ++a)
                        out[k * pairs + a * others + b] +=
                            static_cast<double>(of_left[static_cast<std::size_t>(a)][i]) *
                            static_cast<double>(from[row]);
                }
                operations.products(of_left.data(), matrices, of_right.data(), others, length,
                                    below.data() + (k - first) * pairs, others);
            }
            engine.team.poll(worker);
        }
        for (index k = first; k < last; ++k)
            for (index pair = 0; pair < pairs; ++pair)
                out[k * pairs + pair] += 2 * below[static_cast<std::size_t>((k - first) * pairs + pair)];
    });
}

// Panels whose coordinates are samples, in another order of the samples.
template <class T> void reorder(const Panels<T>& from, const std::int32_t* order, const Panels<T>& to) {
    const index n = from.coordinates(), width = from.width(), panels = from.count();
    const auto place = [&](index panel, index sample) {
        const index first = sample / coordinate_block * coordinate_block;
        return first * panels * width + (panel * Panels<T>::block_size(first, n) + sample - first) * width;
    };
    for (index panel = 0; panel < panels; ++panel)
        for (index i = 0; i < n; ++i)
            std::copy_n(from.data() + place(panel, order[i]), width, to.data() + place(panel, i));
}

template <class T> Panels<T> packed(const MatrixView& view, const Kernel& kernel, const Engine& engine) {
    const std::optional<RowScaling> scaling = row_scaling(view, kernel.traits().rows, engine);
    const RowScaling* const rows = scaling ? &*scaling : nullptr;
    const Centring centring = centring_of(view, rows, engine);
    SampleSums unused;
    return pack<T>(view, false, &centring, rows, {}, unused, engine);
}

template <class T>
double squared_norm(const Panels<T>& left, const Panels<T>& right, T* tile, double* wide,
                    const Engine& engine, int worker) {
    const index width = left.width(), side = std::max(largest_tile / width, index{1}) * width;
    double sum = 0;
    for (index a = 0; a < left.vectors(); a += side)
        for (index b = 0; b < right.vectors(); b += side) {
            const TileRange range{a, std::min(side, left.vectors() - a), b,
                                  std::min(side, right.vectors() - b), false};
            const index values = range.blocks(width) * width * width;
            const bool carried =
                tile_products(left, right, range, 0, left.coordinates(), tile, wide, engine, worker);
            sum += carried ? engine.operations<double>().sum_of_squares(wide, values)
                           : engine.operations<T>().sum_of_squares(tile, values);
        }
    return sum;
}

}  // namespace

template <class T>
void permuted_products(const std::vector<const T*>& left, const std::vector<const T*>& right,
                       const Permutations& permutations, int threads, const Observer& observer, double* out) {
    check_orders(permutations);
    Team team(threads, observer);
    team.together([&] { products_of(left, right, permutations, Engine{current_level(), team}, out); });
}

template <class T>
void permuted_feature_products(const std::vector<MatrixView>& left, const std::vector<MatrixView>& right,
                               const Kernel& kernel, const Permutations& permutations, int threads,
                               const Observer& observer, double* out) {
    check_orders(permutations);
    Team team(threads, observer);
    team.together([&] {
        const Engine engine{current_level(), team};
        std::vector<Panels<T>> panels, others;
        for (const MatrixView& view : left) panels.push_back(packed<T>(view, kernel, engine));
        for (const MatrixView& view : right) others.push_back(packed<T>(view, kernel, engine));
        for_each_task(permutations, team, [&](index first, index last, int worker) {
            const Buffer<T> tile(largest_tile * largest_tile);
            const Buffer<double> wide(largest_tile * largest_tile);
            double* to = out + first * static_cast<index>(panels.size() * others.size());
            for (index k = first; k < last; ++k) {
                std::vector<Panels<T>> permuted;
                for (const Panels<T>& other : others) {
                    permuted.emplace_back(other.vectors(), other.coordinates(), other.width());
                    reorder(other, permutations[k], permuted.back());
                }
                for (const Panels<T>& mine : panels)
                    for (const Panels<T>& other : permuted)
                        *to++ = squared_norm(mine, other, tile.data(), wide.data(), engine, worker);
            }
        });
    });
}

template void permuted_products(const std::vector<const float*>&, const std::vector<const float*>&,
                                const Permutations&, int, const Observer&, double*);
template void permuted_products(const std::vector<const double*>&, const std::vector<const double*>&,
                                const Permutations&, int, const Observer&, double*);
template void permuted_feature_products<float>(const std::vector<MatrixView>&, const std::vector<MatrixView>&,
                                               const Kernel&, const Permutations&, int, const Observer&,
                                               double*);
template void permuted_feature_products<double>(const std::vector<MatrixView>&,
                                                const std::vector<MatrixView>&, const Kernel&,
                                                const Permutations&, int, const Observer&, double*);

}  // namespace fastcka
