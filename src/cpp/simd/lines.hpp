// SPDX-License-Identifier: BSD-3-Clause
// Lines of a matrix, prefetched before they are widened. Used by simd/panels and simd/statistics.
#pragma once

#include "simd/elements.hpp"
#include "simd/tuning.hpp"

namespace fastcka::FASTCKA_LEVEL {

inline constexpr index line_length = coordinate_block;
static_assert(panel_width<float> <= line_length);

inline void fetch(const std::byte* first, index bytes) {
    for (index offset = 0; offset < bytes; offset += cache_line) __builtin_prefetch(first + offset, 0, 3);
}

// What follows a line is read by the next call; a panel reads more lines at a time than the hardware can foresee.
inline void fetch_what_follows(const std::byte* first, index stride, index length) {
    if (stride >= 0 && stride <= 8) fetch(first + length * stride, length * stride);
}

}  // namespace fastcka::FASTCKA_LEVEL
