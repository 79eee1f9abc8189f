// SPDX-License-Identifier: BSD-3-Clause
// Lines of a matrix, prefetched before they are widened. Used by simd/panels and simd/statistics.
#pragma once

#include "simd/elements.hpp"
#include "simd/tuning.hpp"

#include <bit>

namespace fastcka::FASTCKA_LEVEL {

inline constexpr index line_length = coordinate_block;
static_assert(panel_width<float> <= line_length);

inline void fetch(const std::byte* first, index bytes) {
    for (index offset = 0; offset < bytes; offset += cache_line) __builtin_prefetch(first + offset, 0, 3);
}

// The values after a line are read by the next call; a panel reads more lines at a time than the hardware can foresee.
inline void fetch_what_follows(const std::byte* first, index stride, index length) {
    if (stride >= 0 && stride <= 8) fetch(first + length * stride, length * stride);
}

// a - b without rounding, as an unevaluated sum.
struct Difference {
    double high, low;

    Difference(double a, double b) : high(a - b), low(0) {
        const double taken = high - a;
        low = (a - (high - taken)) - (b + taken);
    }
};

// value * factor - subtrahend in one rounding. Unit rows that resemble each other would lose digits to a product that is
// rounded first.
inline double product_less(double value, double factor, double subtrahend) {
#ifdef __FMA__
    return __builtin_fma(value, factor, -subtrahend);
#else
    const auto upper_half = [](double x) {
        return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & ~std::uint64_t{0x7ffffff});
    };
    const double v = upper_half(value), f = upper_half(factor), product = value * factor;
    const double lost = ((v * f - product) + v * (factor - f) + (value - v) * f) + (value - v) * (factor - f);
    return (product - subtrahend) + lost;
#endif
}

}  // namespace fastcka::FASTCKA_LEVEL
