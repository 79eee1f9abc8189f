// SPDX-License-Identifier: BSD-3-Clause
// Statistics that packing needs first: feature sums, sample norms, finiteness. Called through simd/operations.
#pragma once

#include "simd/lines.hpp"
#include "simd/operations.hpp"

#include <Eigen/Core>

#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <type_traits>

namespace fastcka::FASTCKA_LEVEL {

// Up to whole SIMD vectors: loops over features have no remainder.
constexpr index padded(index features) {
    constexpr index N = lanes<double>;
    return (features + N - 1) / N * N;
}

// Sums over samples of up to a line of features, added to the sums over the samples before. Deviations from an origin (the
// first sample) are exactly zero for a constant feature and lose nothing to a large common mean.
struct FeatureSums {
    index features;
    alignas(64) double origin[line_length] = {};
    alignas(64) double sum[line_length] = {};
    alignas(64) double largest[line_length] = {};  // |deviation|

    FeatureSums(const double* first, const double* before, index count) : features(padded(count)) {
        std::copy_n(first, count, origin);
        std::copy_n(before, count, sum);
    }
    // `samples` rows of `stride` values, one after the other: the order does not depend on how many come at a time.
    template <int samples, Rows read> void add(const double* values, index stride, RowFactors factors) {
        for (index j = 0; j < features; ++j) {
            double total = sum[j], most = largest[j];
#pragma GCC unroll 4
            for (int i = 0; i < samples; ++i) {
                const double value = values[i * stride + j];
                double deviation = 0;
                if constexpr (read == Rows::as_given) {
                    deviation = value - origin[j];
                } else if constexpr (read == Rows::unit) {
                    deviation = product_less(value, factors.scale[i], origin[j]);
                } else {
                    const Difference shifted(value, factors.shift[i]);
                    deviation = product_less(shifted.high, factors.scale[i], origin[j]) +
                                (shifted.low - factors.shift_low[i]) * factors.scale[i];
                }
                total += deviation;
                most = std::abs(deviation) > most ? std::abs(deviation) : most;
            }
            sum[j] = total, largest[j] = most;
        }
    }
    // The same sums of float32 values side by side, `row_stride` bytes from sample to sample; widened on the way.
    template <int samples> void add(const std::byte* first, index row_stride, index count) {
        for (index j = 0; j < count; ++j) {
            double total = sum[j], most = largest[j];
#pragma GCC unroll 8
            for (int i = 0; i < samples; ++i) {
                float value;  // memcpy: arrays need not be aligned to their element
                std::memcpy(&value, first + i * row_stride + j * static_cast<index>(sizeof value),
                            sizeof value);
                const double deviation = static_cast<double>(value) - origin[j];
                total += deviation;
                most = std::abs(deviation) > most ? std::abs(deviation) : most;
            }
            sum[j] = total, largest[j] = most;
        }
    }
    void add_floats(const std::byte* first, index row_stride, index rows, index count) {
        constexpr index group = 8;  // samples added at a time: each sum is loaded and stored once for them
        index i = 0;
        for (; i + group <= rows; i += group, first += group * row_stride) {
            const std::byte* const next = first + group * row_stride;
            if (i + 2 * group <= rows)  // where the hardware does not foresee it
                for (index k = 0; k < group; ++k)
                    fetch(next + k * row_stride, count * static_cast<index>(sizeof(float)));
            add<group>(first, row_stride, count);
        }
        for (; i < rows; ++i, first += row_stride) add<1>(first, row_stride, count);
    }
};

// Rows of samples as float64, `stride` apart, read along whichever axis is closer together in memory.
struct SampleBlock {
    const MatrixView& view;
    const bool along_features = view.columns_are_contiguous();
    const index stride = along_features ? line_length : 8;  // features at a time, at most
    const index most_samples = along_features ? 4 : line_length;
    alignas(64) double values[8 * line_length];

    explicit SampleBlock(const MatrixView& matrix) : view(matrix) {
        if (!along_features) std::fill(std::begin(values), std::end(values), 0.0);  // some may stay unread
    }

    // `rows_to_come`: these rows, and the rows read after them.
    void read(index first_row, index rows, index first_column, index columns, index rows_to_come) {
        if (along_features)
            for (index i = 0; i < rows; ++i) {
                const std::byte* const first = view.at(first_row + i, first_column);
                const bool more = most_samples + i < rows_to_come;  // where the hardware does not foresee it
                if (more) fetch(first + most_samples * view.row_stride, columns * view.column_stride);
                double* const row = values + i * stride;
                std::fill_n(row + padded(columns) - lanes<double>, lanes<double>, 0.0);
                widen_line(view.element, first, view.column_stride, columns, row);
            }
        else
            for (index j = 0; j < columns; ++j) {
                alignas(64) double column[line_length];
                widen_line(view.element, view.at(first_row, first_column + j), view.row_stride, rows, column);
                for (index i = 0; i < rows; ++i) values[i * stride + j] = column[i];
            }
    }
};

template <Rows read>
void add_features(const MatrixView& view, RowFactors factors, index first_row, index rows, index first_column,
                  index columns, const double* origin, double* sum, double* largest) {
    constexpr index group = 4;  // samples added at a time
    const index last_row = first_row + rows;
    const auto from = [&](index row) {
        const bool shifts = read == Rows::standardised;
        return RowFactors{shifts ? factors.shift + row : nullptr,
                          read == Rows::as_given ? nullptr : factors.scale + row,
                          shifts ? factors.shift_low + row : nullptr};
    };
    SampleBlock block(view);
    const bool in_place =
        read == Rows::as_given && view.element == Element::f32 && view.column_stride == sizeof(float);
    const index step = in_place ? line_length : block.stride;
    for (index c = 0; c < columns; c += step) {
        const index length = std::min(step, columns - c);
        FeatureSums sums(origin + c, sum + c, length);
        if (in_place)
            sums.add_floats(view.at(first_row, first_column + c), view.row_stride, rows, length);
        else
            for (index i = first_row; i < last_row; i += block.most_samples) {
                const index samples = std::min(block.most_samples, last_row - i);
                block.read(i, samples, first_column + c, length, last_row - i);
                index k = 0;
                for (; k + group <= samples; k += group)
                    sums.add<group, read>(block.values + k * block.stride, block.stride, from(i + k));
                for (; k < samples; ++k)
                    sums.add<1, read>(block.values + k * block.stride, block.stride, from(i + k));
            }
        std::copy_n(sums.sum, length, sum + c);
        *largest = std::max(*largest, *std::max_element(sums.largest, sums.largest + length));
    }
}

// See Operations::feature_statistics.
inline void feature_statistics(const MatrixView& view, RowFactors factors, index first_row, index rows,
                               index first_column, index columns, const double* origin, double* sum,
                               double* largest) {
    const auto add = factors.scale == nullptr   ? add_features<Rows::as_given>
                     : factors.shift == nullptr ? add_features<Rows::unit>
                                                : add_features<Rows::standardised>;
    add(view, factors, first_row, rows, first_column, columns, origin, sum, largest);
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

// visit(values) for one sample, up to a line of its features at a time.
template <class Visit> inline void for_each_line(const MatrixView& view, index row, Visit&& visit) {
    alignas(64) double line[line_length];
    for (index first = 0; first < view.columns; first += line_length) {
        const index length = std::min(line_length, view.columns - first);
        widen_line(view.element, view.at(row, first), view.column_stride, length, line);
        visit(Eigen::Map<Eigen::Array<double, Eigen::Dynamic, 1>>(line, length));
    }
}

// Deviations from the first feature: exactly zero where all are equal, and nothing is lost to a large common offset.
inline double row_mean(const MatrixView& view, index row, double& low) {
    double origin = 0, sum = 0;
    widen_line(view.element, view.at(row, 0), view.column_stride, 1, &origin);
    for_each_line(view, row, [&](const auto& values) { sum += (values - origin).sum(); });
    const double deviation = sum / static_cast<double>(view.columns), mean = origin + deviation;
    const double added = mean - origin;
    low = (origin - (mean - added)) + (deviation - added);
    return mean;
}

// See Operations::row_norms.
inline void row_norms(const MatrixView& view, index first_row, index rows, double* mean, double* mean_low,
                      double* norm) {
    for (index i = 0; i < rows; ++i) {
        const double shift = mean ? mean[i] = row_mean(view, first_row + i, mean_low[i]) : 0;
        double largest = 0, sum = 0;  // sum of (x / largest)^2
        for_each_line(view, first_row + i, [&](const auto& values) {
            const double top = (values - shift).abs().maxCoeff();
            if (top > largest) {
                sum *= (largest / top) * (largest / top);
                largest = top;
            }
            if (largest > 0) sum += ((values - shift) / largest).square().sum();
        });
        norm[i] = largest * std::sqrt(sum);
    }
}

}  // namespace fastcka::FASTCKA_LEVEL
