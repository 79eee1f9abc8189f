// SPDX-License-Identifier: BSD-3-Clause
// Lines of a matrix, widened for the arithmetic that follows. Used by engine/panels and engine/statistics.
#pragma once

#include "engine/elements.hpp"
#include "engine/tuning.hpp"

#include <algorithm>

namespace fastcka::FASTCKA_LEVEL {

inline constexpr index line_length = coordinate_block;
static_assert(panel_width<float> <= line_length);

// `count` values and zeros up to a whole number of SIMD vectors of T: loops over lines have no remainder.
template <class T> constexpr index padded(index count) {
    return (count + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// Reads a line of `count` elements, 1 at least, padded for SIMD vectors of T.
template <class T, class B>
inline void read_line(const MatrixView& view, const std::byte* first, index stride, index count, B* line) {
    std::fill_n(line + padded<T>(count) - lanes<T>, lanes<T>, B(0));
    widen_line(view.element, first, stride, count, line);
}

inline void fetch(const std::byte* first, index bytes) {
    for (index offset = 0; offset < bytes; offset += cache_line) __builtin_prefetch(first + offset, 0, 3);
}

// What follows a line is read by the next call; a panel reads more lines at a time than the hardware can foresee.
inline void fetch_what_follows(const std::byte* first, index stride, index length) {
    if (stride >= 0 && stride <= 8) fetch(first + length * stride, length * stride);
}

}  // namespace fastcka::FASTCKA_LEVEL
