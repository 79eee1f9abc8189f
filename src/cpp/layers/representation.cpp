// SPDX-License-Identifier: BSD-3-Clause
#include "layers/representation.hpp"

#include "base/errors.hpp"

#include <cmath>
#include <limits>
#include <numeric>

namespace fastcka {
namespace {

// A fixed grid of chunks, whose sums are added up in order: the same bits for any number of threads.
struct Chunks {
    static constexpr index columns = 1024;  // in a chunk
    index rows, down, across;               // rows in a chunk; chunks

    Chunks(index samples, index features)
        : rows(std::max(least_rows_per_chunk, ceil_divide(samples, most_row_chunks))),
          down(ceil_divide(samples, rows)), across(ceil_divide(features, columns)) {}
};

[[noreturn]] void report_non_finite(const Source& source, const Engine& engine) {
    const auto& operations = engine.operations<double>();
    const auto columns = static_cast<std::size_t>(source.columns());
    const std::vector<double> origin(columns, 0.0);
    source.for_each_piece(0, source.rows(), 1, [&](const MatrixView& view, index first, index last) {
        for (index i = first; i < last; ++i) {
            std::vector<double> row(columns, 0.0);
            double largest = 0;
            operations.feature_statistics(view, {}, i, 1, 0, view.columns, origin.data(), row.data(),
                                          &largest);
            for (index j = 0; j < view.columns; ++j)
                if (!std::isfinite(row[static_cast<std::size_t>(j)])) throw NonFinite(0, 0, i, j);
        }
    });
    throw std::invalid_argument("values so large that their sum overflows; divide them by a constant first");
}

// `means`: set to those of the rows, which are subtracted first; null: nothing is subtracted.
std::vector<double> norms_of_rows(const Source& source, double* means, double* means_low,
                                  const Engine& engine) {
    std::vector<double> norms(static_cast<std::size_t>(source.rows()));
    const index chunk = 64;
    source.for_each_piece(0, source.rows(), chunk, [&](const MatrixView& view, index from, index to) {
        engine.team.for_each(ceil_divide(to - from, chunk), [&](index task, int) {
            const index first = from + task * chunk;
            engine.operations<double>().row_norms(
                view, first, std::min(chunk, to - first), means != nullptr ? means + first : nullptr,
                means != nullptr ? means_low + first : nullptr, norms.data() + first);
        });
    });
    for (index i = 0; i < source.rows(); ++i)
        if (!std::isfinite(norms[static_cast<std::size_t>(i)]) ||
            (means != nullptr && !std::isfinite(means[i])))
            report_non_finite(source, engine);
    return norms;
}

bool reads_as_float(Element element) {
    return element == Element::f32 || element == Element::f16 || element == Element::bf16;
}

}  // namespace

std::optional<RowScaling> row_scaling(const Source& source, Rows rows, const Engine& engine) {
    if (rows == Rows::as_given) return {};
    RowScaling scaling;
    const bool shifts = rows == Rows::standardised;
    scaling.shift.resize(shifts ? static_cast<std::size_t>(source.rows()) : 0);
    scaling.shift_low = scaling.shift;
    scaling.scale =
        norms_of_rows(source, shifts ? scaling.shift.data() : nullptr, scaling.shift_low.data(), engine);
    for (double& value : scaling.scale) value = value > 0 ? 1 / value : 0;
    return scaling;
}

std::vector<double> row_norms(const Source& source, const Engine& engine) {
    return norms_of_rows(source, nullptr, nullptr, engine);
}

Centring centring_of(const Source& source, const RowScaling* rows, const Engine& engine) {
    const auto& operations = engine.operations<double>();
    const RowFactors factors = rows != nullptr ? rows->factors() : RowFactors{};
    const index n = source.rows(), p = source.columns();
    const Chunks chunks(n, p);
    std::vector<double> origin(static_cast<std::size_t>(p), 0.0);  // the first sample
    std::vector<double> none(static_cast<std::size_t>(p), 0.0);

    std::vector<double> sums(static_cast<std::size_t>(chunks.down * p), 0.0);
    std::vector<double> largest(static_cast<std::size_t>(chunks.down * chunks.across), 0.0);
    source.for_each_piece(0, n, 1, [&](const MatrixView& view, index from, index to) {
        if (from == 0) {
            double ignored = 0;
            operations.feature_statistics(view, factors, 0, 1, 0, p, none.data(), origin.data(), &ignored);
        }
        const index first_chunk = from / chunks.rows, last_chunk = (to - 1) / chunks.rows + 1;
        engine.team.for_each((last_chunk - first_chunk) * chunks.across, [&](index task, int) {
            const index r = first_chunk + task / chunks.across, c = task % chunks.across;
            const index first_row = std::max(from, r * chunks.rows), first_column = c * chunks.columns;
            operations.feature_statistics(view, factors, first_row,
                                          std::min(to, (r + 1) * chunks.rows) - first_row, first_column,
                                          std::min(chunks.columns, p - first_column),
                                          origin.data() + first_column, sums.data() + r * p + first_column,
                                          &largest[static_cast<std::size_t>(r * chunks.across + c)]);
        });
    });

    Centring centring;
    centring.mean = std::move(none);
    for (index r = 0; r < chunks.down; ++r)
        for (index j = 0; j < p; ++j)
            centring.mean[static_cast<std::size_t>(j)] += sums[static_cast<std::size_t>(r * p + j)];
    centring.mean_low.resize(centring.mean.size());
    for (std::size_t j = 0; j < centring.mean.size(); ++j) {
        const double deviation = centring.mean[j] / static_cast<double>(n), mean = origin[j] + deviation;
        const double added = mean - origin[j];
        centring.mean_low[j] = (origin[j] - (mean - added)) + (deviation - added);
        centring.mean[j] = mean;
        if (!std::isfinite(centring.mean[j])) report_non_finite(source, engine);
    }
    centring.largest = *std::max_element(largest.begin(), largest.end());
    // Normalised rows that differ by roundings only are equal.
    if (rows != nullptr && centring.largest <= 4 * std::numeric_limits<double>::epsilon())
        centring.largest = 0;
    if (centring.largest > 0) {
        int exponent = 0;
        std::frexp(centring.largest, &exponent);
        centring.scale = std::ldexp(1.0, -std::clamp(exponent, -1000, 1000));
    }
    return centring;
}

index centring_bytes(index samples, index features) {
    const Chunks chunks(samples, features);
    return 8 * (chunks.down * (features + chunks.across) + features);
}

bool has_repeated_sample(const SampleSums& norms) {
    const auto n = static_cast<index>(norms.squared.size()), count = std::min(n, samples_looked_at);
    std::vector<double> some;
    for (index i = 0; i < count; ++i) some.push_back(norms.squared[static_cast<std::size_t>(i * n / count)]);
    std::sort(some.begin(), some.end());
    const auto part = static_cast<std::size_t>(repeated_part * static_cast<double>(count)) + 1;
    for (std::size_t i = part; i < some.size(); ++i)
        if (some[i] == some[i - part]) return true;
    return false;
}

bool has_massive_sample(const SampleSums& norms) {
    const double largest = *std::max_element(norms.squared.begin(), norms.squared.end());
    const double others = std::accumulate(norms.squared.begin(), norms.squared.end(), -largest) /
                          static_cast<double>(norms.squared.size() - 1);
    return largest > massive_norm_ratio * std::max(others, 0.0) && others < largest;
}

template <class T>
Packing<T> packing_of(const MatrixView& view, bool vectors_are_samples, const Centring* centring,
                      RowFactors rows, const double* direction, const Panels<T>& panels, SampleSums* sums) {
    const double scale = centring ? centring->scale : 1.0;
    // Differences, scaled values and the scale itself must stay within the range of float.
    const bool in_range = !centring || (centring->largest < 1e37 && scale < 1e37 && scale > 1e-37);
    return {
        .view = view,
        .vectors_are_samples = vectors_are_samples,
        .through_double = !reads_as_float(view.element) || rows.scale != nullptr || !in_range,
        .rows = rows,
        .mean = centring ? centring->mean.data() : nullptr,
        .mean_low = centring && !centring->mean_low.empty() ? centring->mean_low.data() : nullptr,
        .scale = scale,
        .panels = panels.data(),
        .squared_norms = sums != nullptr ? sums->squared.data() : nullptr,
        .direction = sums != nullptr ? direction : nullptr,
        .projections = sums != nullptr ? sums->projections.data() : nullptr,
    };
}

template <class T>
Panels<T> pack(const Source& source, bool vectors_are_samples, const Centring* centring,
               const RowScaling* rows, std::vector<double> direction, SampleSums& sums,
               const Engine& engine) {
    const auto& operations = engine.operations<T>();
    const index n = source.rows(), p = source.columns();
    Panels<T> panels(vectors_are_samples ? n : p, vectors_are_samples ? p : n, operations.panel_width);
    const bool projects = !direction.empty();
    direction.resize(static_cast<std::size_t>(p + operations.panel_width), 0.0);
    sums.squared.assign(static_cast<std::size_t>(n), 0.0);
    sums.projections.assign(projects ? static_cast<std::size_t>(n) : 0, 0.0);
    Packing<T> job = packing_of(source.view(), vectors_are_samples, centring,
                                rows != nullptr ? rows->factors() : RowFactors{},
                                projects ? direction.data() : nullptr, panels, &sums);
    // A task owns its samples, since it adds to their norms.
    const index unit = vectors_are_samples ? panels.width() : coordinate_block;
    source.for_each_piece(0, n, unit, [&](const MatrixView& view, index from, index to) {
        job.view = view;
        engine.team.for_each(ceil_divide(to - from, unit), [&](index task, int worker) {
            if (vectors_are_samples)
                return pack_panel(job, from / unit + task, panels.coordinates(), engine, worker);
            const index first = from + task * unit;
            for (index panel = 0; panel < panels.count(); ++panel) {
                operations.pack(job, panel, first, Panels<T>::block_size(first, panels.coordinates()));
                engine.team.poll(worker);
            }
        });
    });
    return panels;
}

template Packing<float> packing_of(const MatrixView&, bool, const Centring*, RowFactors, const double*,
                                   const Panels<float>&, SampleSums*);
template Packing<double> packing_of(const MatrixView&, bool, const Centring*, RowFactors, const double*,
                                    const Panels<double>&, SampleSums*);
template Panels<float> pack(const Source&, bool, const Centring*, const RowScaling*, std::vector<double>,
                            SampleSums&, const Engine&);
template Panels<double> pack(const Source&, bool, const Centring*, const RowScaling*, std::vector<double>,
                             SampleSums&, const Engine&);

}  // namespace fastcka
