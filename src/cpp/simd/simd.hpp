// SPDX-License-Identifier: BSD-3-Clause
// The shape of the micro-kernel at the SIMD level being compiled: vector type, vectors per panel, rows per step.
#pragma once

#include "base/matrix_view.hpp"
#include "simd/tuning.hpp"

namespace fastcka::FASTCKA_LEVEL {

// `rows` * `vectors_per_panel` accumulators, `vectors_per_panel` operands and one broadcast must fit in the registers:
// AVX-512 has 32 (8 * 3 + 3 + 1 = 28), AVX2 and SSE have 16 (4 * 3 + 3 + 1 = 16), NEON has 32 (6 * 3 + 3 + 1 = 22).
#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
template <class T> inline constexpr int rows = 8;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
template <class T> inline constexpr int rows = 4;
#elif defined(__aarch64__)
inline constexpr int vector_bytes = 16;
template <class T> inline constexpr int rows = 6;
#else
inline constexpr int vector_bytes = 16;
template <class T> inline constexpr int rows = sizeof(T) == 4 ? 4 : 3;
#endif

template <class T> struct Vector;
template <> struct Vector<float> {
    typedef float type __attribute__((vector_size(vector_bytes), may_alias));
    typedef std::int32_t bits __attribute__((vector_size(vector_bytes), may_alias));
};
template <> struct Vector<double> {
    typedef double type __attribute__((vector_size(vector_bytes), may_alias));
    typedef std::int64_t bits __attribute__((vector_size(vector_bytes), may_alias));
};

inline constexpr int cache_line = 64;
inline constexpr int vectors_per_panel = 3;
template <class T> inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));
template <class T> inline constexpr int panel_width = vectors_per_panel * lanes<T>;

static_assert(panel_width<float> <= most_panel_width, "see tuning.hpp");
static_assert(panel_width<float> % rows<float> == 0 && panel_width<double> % rows<double> == 0,
              "a panel must serve as the left and as the right operand");

}  // namespace fastcka::FASTCKA_LEVEL
