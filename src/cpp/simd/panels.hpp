// SPDX-License-Identifier: BSD-3-Clause
// Widening, centring, scaling, transposing and packing in one copy. What it writes is read by simd/tile.
#pragma once

#include "simd/lines.hpp"
#include "simd/operations.hpp"
#include "simd/transpose.hpp"

#include <algorithm>

namespace fastcka::FASTCKA_LEVEL {

// The mean of a feature as an unevaluated sum of two B, so that subtracting it costs no digits of x - mean.
template <class B> struct SplitMean {
    B high = 0, low = 0;
    // `rest`: what rounding took off `mean`.
    SplitMean(double mean, double rest)
        : high(static_cast<B>(mean)), low(static_cast<B>((mean - static_cast<double>(high)) + rest)) {}
    SplitMean() = default;
};

// source: `lines` rows of `line_length` values; target[k * panel_width + lane] = source[lane][k].
template <class T> inline void transpose_strip(const T* source, index coordinates, T* target) {
    using Vec = typename Vector<T>::type;
    constexpr index N = lanes<T>, W = panel_width<T>;
    index k = 0;
    for (; k + N <= coordinates; k += N)
        for (index lane = 0; lane < W; lane += N)
            transpose_square(source + lane * line_length + k, line_length, [&](index i, Vec values) {
                *reinterpret_cast<Vec*>(target + (k + i) * W + lane) = values;
            });
    for (; k < coordinates; ++k)
        for (index lane = 0; lane < W; ++lane) target[k * W + lane] = source[lane * line_length + k];
}

// A SIMD vector of float64 out of as many packed values.
template <class T> inline typename Vector<double>::type widened(const T* values) {
    typedef T Narrow __attribute__((vector_size(lanes<double> * sizeof(T)), aligned(sizeof(T)), may_alias));
    return __builtin_convertvector(*reinterpret_cast<const Narrow*>(values), typename Vector<double>::type);
}

// out[lane] += sum_k value_k^2, or value_k * factors[k], for the first `used` lanes of a panel.
template <class T>
inline void add_lane_sums(const T* panel, index coordinates, const double* factors, index used, double* out) {
    using Wide = typename Vector<double>::type;
    constexpr index W = panel_width<T>, N = lanes<double>, groups = W / N;
    Wide sums[groups] = {};
    for (index k = 0; k < coordinates; ++k)
        for (index g = 0; g < groups; ++g) {
            const Wide value = widened(panel + k * W + g * N);
            sums[g] += value * (factors ? Wide{} + factors[k] : value);
        }
    for (index lane = 0; lane < used; ++lane) out[lane] += sums[lane / N][lane % N];
}

// out[k] += sum over lanes of value^2, or value * factors[lane]; lanes from `used` on are zero.
template <class T>
inline void add_coordinate_sums(const T* panel, index coordinates, const double* factors, index used,
                                double* out) {
    using Wide = typename Vector<double>::type;
    constexpr index W = panel_width<T>, N = lanes<double>;
    alignas(Wide) double parts[N * N] = {};  // of N coordinates, to be added up together
    for (index first = 0; first < coordinates; first += N) {
        const index count = std::min(N, coordinates - first);
        for (index k = 0; k < count; ++k) {
            const T* const values = panel + (first + k) * W;
            Wide sum = {};
            for (index lane = 0; lane < used; lane += N) {
                const Wide value = widened(values + lane);
                sum += value * (factors ? widened(factors + lane) : value);
            }
            *reinterpret_cast<Wide*>(parts + k * N) = sum;
        }
        Wide total = {};
        transpose_square(parts, N, [&](index, Wide part) { total += part; });
        for (index k = 0; k < count; ++k) out[first + k] += total[k];
    }
}

// Norms and projections of samples, from the packed values, so that they do not depend on the memory order of the input.
template <class T>
inline void add_sample_sums(const Packing<T>& job, const T* panel, index first_vector, index used,
                            index first_coordinate, index coordinates) {
    const double* const direction = job.direction;
    if (job.vectors_are_samples) {
        add_lane_sums(panel, coordinates, nullptr, used, job.squared_norms + first_vector);
        if (direction)
            add_lane_sums(panel, coordinates, direction + first_coordinate, used,
                          job.projections + first_vector);
    } else {
        add_coordinate_sums(panel, coordinates, nullptr, used, job.squared_norms + first_coordinate);
        if (direction)
            add_coordinate_sums(panel, coordinates, direction + first_vector, used,
                                job.projections + first_coordinate);
    }
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

template <class B, class T> inline SplitMean<B> mean_of(const Packing<T>& job, index feature) {
    if (!job.mean) return {};
    return {job.mean[feature], job.mean_low ? job.mean_low[feature] : 0.0};
}

// (value - shift) * factor - mean. A large mean of the features leaves little of value - shift: its rounding counts.
inline double standardised(double value, double shift, double shift_low, double factor, double mean,
                           double mean_low) {
    const Difference shifted(value, shift);
    return product_less(shifted.high, factor, mean) + ((shifted.low - shift_low) * factor - mean_low);
}

// Whether lines of the view are values of B, side by side and aligned.
template <class B> inline bool holds(const MatrixView& view) {
    constexpr index size = sizeof(B);
    const auto whole = [](auto value) { return value % size == 0; };
    return view.element == (size == 4 ? Element::f32 : Element::f64) &&
           (view.columns_are_contiguous() ? view.column_stride : view.row_stride) == size &&
           whole(reinterpret_cast<std::intptr_t>(view.data)) && whole(view.row_stride) &&
           whole(view.column_stride);
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
    alignas(64) B line[line_length], high[line_length] = {}, low[line_length] = {};  // of the means
    const B scale = static_cast<B>(job.scale);
    if (along_features && job.mean)
        for (index j = 0; j < columns; ++j) {
            const SplitMean<B> mean = mean_of<B>(job, first_column + j);
            high[j] = mean.high, low[j] = mean.low;
        }
    if (!along_vectors) std::fill(strip + used * line_length, strip + W * line_length, T(0));

    const bool in_place = holds<B>(view);  // lines are read where they are
    const index lines = along_features ? rows : columns;
    const index length = along_features ? columns : rows;
    for (index l = 0; l < lines; ++l) {
        const std::byte* first =
            along_features ? view.at(first_row + l, first_column) : view.at(first_row, first_column + l);
        const index stride = along_features ? view.column_stride : view.row_stride;
        fetch_what_follows(first, stride, length);
        const B* values = line;
        if (in_place)
            values = reinterpret_cast<const B*>(first);
        else
            widen_line(view.element, first, stride, length, line);
        T* out = along_vectors ? target + l * W : strip + l * line_length;
        if (along_vectors && used < W) std::fill_n(out, W, T(0));
        const auto fill = [&](auto&& value_of) {
            in_whole_vectors<T>(length, [&](index begin, index end) {
                for (index j = begin; j < end; ++j) out[j] = static_cast<T>(value_of(j) * scale);
            });
        };
        if (along_features) {
            if (job.rows.shift) {
                const double shift = job.rows.shift[first_row + l], factor = job.rows.scale[first_row + l];
                const double shift_low = job.rows.shift_low[first_row + l];
                fill([&](index j) {
                    return standardised(values[j], shift, shift_low, factor, high[j], low[j]);
                });
            } else if (job.rows.scale) {
                const double factor = job.rows.scale[first_row + l];
                fill([&](index j) { return product_less(values[j], factor, high[j]) - low[j]; });
            } else {
                fill([&](index j) { return (values[j] - high[j]) - low[j]; });
            }
        } else {
            const SplitMean<B> mean = mean_of<B>(job, first_column + l);
            const double* const factor = job.rows.scale ? job.rows.scale + first_row : nullptr;
            if (job.rows.shift) {
                const double* const shift = job.rows.shift + first_row;
                const double* const shift_low = job.rows.shift_low + first_row;
                fill([&](index i) {
                    return standardised(values[i], shift[i], shift_low[i], factor[i], mean.high, mean.low);
                });
            } else if (job.rows.scale) {
                fill([&](index i) { return product_less(values[i], factor[i], mean.high) - mean.low; });
            } else {
                fill([&](index i) { return (values[i] - mean.high) - mean.low; });
            }
        }
    }
    if (!along_vectors) transpose_strip(strip, coordinates, target);
    if (job.squared_norms) add_sample_sums(job, target, first_vector, used, first_coordinate, coordinates);
}

template <class T> void pack(const Packing<T>& job, index panel, index first_coordinate, index coordinates) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (!job.through_double) return pack_through<T, float>(job, panel, first_coordinate, coordinates);
    }
    pack_through<T, double>(job, panel, first_coordinate, coordinates);
}

// See Operations::centred_block.
template <class T>
void centred_block(const MatrixView& gram, const double* mean, const double* mean_low, const double* offset,
                   double scale, index first_row, index rows, index first_column, index columns, T* block) {
    constexpr index W = panel_width<T>;
    alignas(64) double line[W];
    for (index i = 0; i < W; ++i) {
        T* values = block + i * W;
        std::fill(values, values + W, T(0));
        if (i >= rows) continue;
        widen_line(gram.element, gram.at(first_row + i, first_column), gram.column_stride, columns, line);
        const double row = offset[first_row + i];
        for (index j = 0; j < columns; ++j) {
            const double value = (line[j] - mean[first_column + j]) - mean_low[first_column + j];
            values[j] = static_cast<T>((value - row) * scale);
        }
    }
}

}  // namespace fastcka::FASTCKA_LEVEL
