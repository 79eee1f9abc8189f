// SPDX-License-Identifier: BSD-3-Clause
// Widening, centring, scaling, transposing and packing in one copy. What it writes is read by engine/tile.
#pragma once

#include "engine/elements.hpp"
#include "engine/operations.hpp"
#include "engine/simd.hpp"
#include "engine/transpose.hpp"
#include "engine/tuning.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

namespace fastcka::FASTCKA_LEVEL {

template <class T> using Line = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
template <class T> using ConstLine = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;

inline constexpr index line_length = coordinate_block;
static_assert(panel_width<float> <= line_length);

// The mean of a feature as an unevaluated sum of two B, so that subtracting it costs no digits of x - mean.
template <class B> struct SplitMean {
    B high = 0, low = 0;
    explicit SplitMean(double mean)
        : high(static_cast<B>(mean)), low(static_cast<B>(mean - static_cast<double>(high))) {}
    SplitMean() = default;
};

// source: `lines` rows of `line_length` values; target[k * panel_width + lane] = source[lane][k].
template <class T> inline void transpose_strip(const T* source, index coordinates, T* target) {
    constexpr index N = lanes<T>, W = panel_width<T>;
    index k = 0;
    for (; k + N <= coordinates; k += N)
        for (index lane = 0; lane < W; lane += N)
            transpose_square(source + lane * line_length + k, line_length, [&](index i, auto values) {
                Eigen::internal::pstoreu(target + (k + i) * W + lane, values);
            });
    for (; k < coordinates; ++k)
        for (index lane = 0; lane < W; ++lane) target[k * W + lane] = source[lane * line_length + k];
}

inline void fetch(const std::byte* first, index bytes) {
    for (index offset = 0; offset < bytes; offset += cache_line) __builtin_prefetch(first + offset, 0, 3);
}

// What follows a line is read by the next call; a panel reads more lines at a time than the hardware can foresee.
inline void fetch_what_follows(const std::byte* first, index stride, index length) {
    if (stride >= 0 && stride <= 8) fetch(first + length * stride, length * stride);
}

// A SIMD vector of float64 out of as many packed values.
template <class T> inline typename Vector<double>::type widened(const T* values) {
    typedef T Narrow __attribute__((vector_size(lanes<double> * sizeof(T)), aligned(sizeof(T)), may_alias));
    return __builtin_convertvector(*reinterpret_cast<const Narrow*>(values), typename Vector<double>::type);
}

// Norms and projections of samples, from the packed values, so that they do not depend on the memory order of the input.
template <class T>
inline void add_sample_sums(const Packing<T>& job, const T* panel, index first_vector, index used,
                            index first_coordinate, index coordinates) {
    using Wide = typename Vector<double>::type;
    constexpr index W = panel_width<T>, N = lanes<double>, groups = W / N;
    if (job.vectors_are_samples) {
        Wide squares[groups] = {}, products[groups] = {};
        for (index k = 0; k < coordinates; ++k) {
            const double direction = job.direction ? job.direction[first_coordinate + k] : 0.0;
            for (index g = 0; g < groups; ++g) {
                const Wide value = widened(panel + k * W + g * N);
                squares[g] += value * value;
                products[g] += value * direction;
            }
        }
        for (index lane = 0; lane < used; ++lane) {
            job.squared_norms[first_vector + lane] += squares[lane / N][lane % N];
            if (job.direction) job.projections[first_vector + lane] += products[lane / N][lane % N];
        }
        return;
    }
    const auto total = [](Wide values) {  // halves onto halves: additions that need not wait for each other
        alignas(Wide) double sums[N];
        *reinterpret_cast<Wide*>(sums) = values;
        for (index half = N / 2; half > 0; half /= 2)
            for (index lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
        return sums[0];
    };
    const index used_groups = (used + N - 1) / N;
    for (index k = 0; k < coordinates; ++k) {
        Wide squares = {}, products = {};
        for (index g = 0; g < used_groups; ++g) {
            const Wide value = widened(panel + k * W + g * N);
            squares += value * value;
            if (job.direction) products += value * widened(job.direction + first_vector + g * N);
        }
        job.squared_norms[first_coordinate + k] += total(squares);
        if (job.direction) job.projections[first_coordinate + k] += total(products);
    }
}

// See Operations::copy_rows.
template <class T> bool copy_rows(const MatrixView& view, T* out) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    constexpr Bits exponent =
        std::bit_cast<Bits>(std::numeric_limits<T>::infinity());  // all ones: NaN or infinity
    constexpr Bits limit = sizeof(T) == 4 ? exponent : std::bit_cast<Bits>(T(0x1p1008));  // sums are float64
    alignas(64) T line[line_length];
    Bits bad = 0;
    for (index i = 0; i < view.rows; ++i)
        for (index first = 0; first < view.columns; first += line_length) {
            const index length = std::min(line_length, view.columns - first);
            T* target = out ? out + i * view.columns + first : line;
            widen_line(view.element, view.at(i, first), view.column_stride, length, target);
            for (index j = 0; j < length; ++j)
                bad |= (std::bit_cast<Bits>(target[j]) & exponent) >= limit ? 1 : 0;
        }
    return bad == 0;
}

// See Operations::weighted_sums.
template <class T>
void weighted_sums(const T* panel, index coordinates, const double* weights, index stride, index count,
                   double* out, index out_stride) {
    using Wide = typename Vector<double>::type;
    constexpr index W = panel_width<T>, N = lanes<double>, groups = W / N;
    for (index l = 0; l < count; ++l) {
        Wide sums[groups] = {};
        for (index k = 0; k < coordinates; ++k)
            for (index g = 0; g < groups; ++g)
                sums[g] += weights[l * stride + k] * widened(panel + k * W + g * N);
        for (index lane = 0; lane < W; ++lane) out[l * out_stride + lane] += sums[lane / N][lane % N];
    }
}

template <class T, class B>
void pack_through(const Packing<T>& job, index panel, index first_coordinate, index coordinates) {
    constexpr index W = panel_width<T>;
    const MatrixView& view = job.view;
    const index vectors = job.vectors_are_samples ? view.rows : view.columns;
    const index panels = (vectors + W - 1) / W;
    const index first_vector = panel * W, used = std::min(W, vectors - first_vector);
    T* target = job.panels + first_coordinate * panels * W + panel * W * coordinates;

    // The part of the matrix to read, as lines along its contiguous axis.
    const index first_row = job.vectors_are_samples ? first_vector : first_coordinate;
    const index first_column = job.vectors_are_samples ? first_coordinate : first_vector;
    const index rows = job.vectors_are_samples ? used : coordinates;
    const index columns = job.vectors_are_samples ? coordinates : used;
    const bool along_features = view.columns_are_contiguous();
    const bool along_vectors =
        along_features != job.vectors_are_samples;  // a line holds one coordinate of all vectors

    alignas(64) T strip[W * line_length];
    alignas(64) B line[line_length];
    B mean_high[line_length], mean_low[line_length];
    const B scale = static_cast<B>(job.scale);
    if (along_features && job.mean)
        for (index j = 0; j < columns; ++j) {
            const SplitMean<B> mean(job.mean[first_column + j]);
            mean_high[j] = mean.high, mean_low[j] = mean.low;
        }
    if (!along_vectors && used < W) std::fill(strip, strip + W * line_length, T(0));
    if (along_vectors && used < W) std::fill(target, target + W * coordinates, T(0));

    const index lines = along_features ? rows : columns;
    const index length = along_features ? columns : rows;
    for (index l = 0; l < lines; ++l) {
        const std::byte* first =
            along_features ? view.at(first_row + l, first_column) : view.at(first_row, first_column + l);
        const index stride = along_features ? view.column_stride : view.row_stride;
        fetch_what_follows(first, stride, length);
        widen_line(view.element, first, stride, length, line);
        T* out = along_vectors ? target + l * W : strip + l * line_length;
        if (along_features) {
            if (job.row_scale) {
                const B factor = static_cast<B>(job.row_scale[first_row + l]);
                for (index j = 0; j < length; ++j) line[j] *= factor;
            }
            if (job.mean)
                for (index j = 0; j < length; ++j)
                    out[j] = static_cast<T>(((line[j] - mean_high[j]) - mean_low[j]) * scale);
            else
                for (index j = 0; j < length; ++j) out[j] = static_cast<T>(line[j] * scale);
        } else {
            const SplitMean<B> mean(job.mean ? job.mean[first_column + l] : 0.0);
            if (job.row_scale)
                for (index i = 0; i < length; ++i) line[i] *= static_cast<B>(job.row_scale[first_row + i]);
            for (index i = 0; i < length; ++i)
                out[i] = static_cast<T>(((line[i] - mean.high) - mean.low) * scale);
        }
    }
    if (!along_vectors) transpose_strip(strip, coordinates, target);
    add_sample_sums(job, target, first_vector, used, first_coordinate, coordinates);
}

template <class T> void pack(const Packing<T>& job, index panel, index first_coordinate, index coordinates) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (!job.through_double) return pack_through<T, float>(job, panel, first_coordinate, coordinates);
    }
    pack_through<T, double>(job, panel, first_coordinate, coordinates);
}

// See Operations::feature_statistics. Deviations from an origin (the first sample) are exactly zero for a constant
// feature and lose nothing to a large common mean.
inline void feature_statistics(const MatrixView& view, const double* row_scale, index first_row, index rows,
                               index first_column, index columns, const double* origin, double* sum,
                               double* largest) {
    alignas(64) double line[line_length];
    double most = 0;
    if (view.columns_are_contiguous()) {
        alignas(64) double highest[line_length] = {};
        for (index i = first_row; i < first_row + rows; ++i) {
            const double factor = row_scale ? row_scale[i] : 1.0;
            for (index first = 0; first < columns; first += line_length) {
                const index length = std::min(line_length, columns - first);
                if (i + 2 < first_row + rows)  // a row is where the hardware does not foresee the next one
                    fetch(view.at(i + 2, first_column + first), length * view.column_stride);
                widen_line(view.element, view.at(i, first_column + first), view.column_stride, length, line);
                for (index j = 0; j < length; ++j) {
                    const double deviation = line[j] * factor - origin[first + j];
                    sum[first + j] += deviation;
                    highest[j] = std::abs(deviation) > highest[j] ? std::abs(deviation) : highest[j];
                }
            }
        }
        most = Line<double>(highest, line_length).maxCoeff();
    } else {
        // A few features at a time, each added up sample by sample as above, so that the memory order does not matter.
        constexpr index group = 8;
        alignas(64) double lines[line_length][group];
        for (index c = 0; c < columns; c += group) {
            const index width = std::min(group, columns - c);
            for (index first = first_row; first < first_row + rows; first += line_length) {
                const index length = std::min(line_length, first_row + rows - first);
                for (index j = 0; j < width; ++j) {
                    widen_line(view.element, view.at(first, first_column + c + j), view.row_stride, length,
                               line);
                    for (index i = 0; i < length; ++i) lines[i][j] = line[i];
                }
                for (index i = 0; i < length; ++i) {
                    const double factor = row_scale ? row_scale[first + i] : 1.0;
                    for (index j = 0; j < width; ++j) {
                        const double deviation = lines[i][j] * factor - origin[c + j];
                        sum[c + j] += deviation;
                        most = std::max(most, std::abs(deviation));
                    }
                }
            }
        }
    }
    *largest = most;
}

// See Operations::centred_block.
template <class T>
void centred_block(const MatrixView& gram, const double* mean, double grand_mean, double scale,
                   index first_row, index rows, index first_column, index columns, T* block) {
    constexpr index W = panel_width<T>;
    alignas(64) double line[W];
    for (index i = 0; i < W; ++i) {
        T* values = block + i * W;
        std::fill(values, values + W, T(0));
        if (i >= rows) continue;
        widen_line(gram.element, gram.at(first_row + i, first_column), gram.column_stride, columns, line);
        const double row = mean[first_row + i] - grand_mean;
        for (index j = 0; j < columns; ++j)
            values[j] = static_cast<T>(((line[j] - mean[first_column + j]) - row) * scale);
    }
}

// See Operations::row_norms.
inline void row_norms(const MatrixView& view, index first_row, index rows, double* norm) {
    alignas(64) double line[line_length];
    for (index i = 0; i < rows; ++i) {
        double largest = 0, sum = 0;  // sum of (x / largest)^2
        for (index first = 0; first < view.columns; first += line_length) {
            const index length = std::min(line_length, view.columns - first);
            widen_line(view.element, view.at(first_row + i, first), view.column_stride, length, line);
            Line<double> values(line, length);
            const double top = values.abs().maxCoeff();
            if (top > largest) {
                sum *= (largest / top) * (largest / top);
                largest = top;
            }
            if (largest > 0) sum += (values / largest).square().sum();
        }
        norm[i] = largest * std::sqrt(sum);
    }
}

}  // namespace fastcka::FASTCKA_LEVEL
