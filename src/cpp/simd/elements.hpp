// SPDX-License-Identifier: BSD-3-Clause
// Widening: a line of elements of any type becomes a contiguous line of float or double. Compiled once per SIMD level.
#pragma once

#include "base/matrix_view.hpp"
#include "simd/simd.hpp"

#include <bit>
#include <cstring>

namespace fastcka::FASTCKA_LEVEL {

struct Half {
    std::uint16_t bits;
};
struct BFloat16 {
    std::uint16_t bits;
};
struct Boolean {
    std::uint8_t byte;
};

template <class To, class From> inline To widen(From value) { return static_cast<To>(value); }

template <class To> inline To widen(BFloat16 value) {
    return static_cast<To>(std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16));
}

// Exponent and mantissa move to their float32 places, a multiplication by 2^112 repairs the exponent bias (and
// normalises subnormals exactly); infinities and NaNs get their exponent back by an or.
template <class To> inline To widen(Half value) {
    const std::uint32_t magnitude = value.bits & 0x7fffu;
    const float finite = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
    const std::uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
    return static_cast<To>(std::bit_cast<float>(std::bit_cast<std::uint32_t>(finite) | special | sign));
}

template <class To> inline To widen(Boolean value) { return value.byte != 0 ? To(1) : To(0); }

// Calls body(begin, end) on parts of 0 .. count that are whole SIMD vectors of T, where there is one. The last of them
// overlaps with the one before: it is quicker to do a few elements twice than one by one.
template <class T, class Body> inline void in_whole_vectors(index count, Body&& body) {
    constexpr index N = lanes<T>;
    if (count < N) return body(0, count);
    body(0, count / N * N);
    if (count % N != 0) body(count - N, count);
}

template <class From, class To>
inline void widen_line(const std::byte* first, index stride, index count, To* out) {
    const auto widen_to = [&](index begin, index end, index step) {
        for (index i = begin; i < end; ++i) {
            From value;  // memcpy: arrays need not be aligned to their element
            std::memcpy(&value, first + i * step, sizeof(From));
            out[i] = widen<To>(value);
        }
    };
    constexpr index size = sizeof(From);
    if (stride == size)
        in_whole_vectors<To>(count, [&](index begin, index end) { widen_to(begin, end, size); });
    else
        widen_to(0, count, stride);
}

template <class To>
inline void widen_line(Element element, const std::byte* first, index stride, index count, To* out) {
    switch (element) {
        case Element::f64: return widen_line<double>(first, stride, count, out);
        case Element::f32: return widen_line<float>(first, stride, count, out);
        case Element::f16: return widen_line<Half>(first, stride, count, out);
        case Element::bf16: return widen_line<BFloat16>(first, stride, count, out);
        case Element::i8: return widen_line<std::int8_t>(first, stride, count, out);
        case Element::i16: return widen_line<std::int16_t>(first, stride, count, out);
        case Element::i32: return widen_line<std::int32_t>(first, stride, count, out);
        case Element::i64: return widen_line<std::int64_t>(first, stride, count, out);
        case Element::u8: return widen_line<std::uint8_t>(first, stride, count, out);
        case Element::u16: return widen_line<std::uint16_t>(first, stride, count, out);
        case Element::u32: return widen_line<std::uint32_t>(first, stride, count, out);
        case Element::u64: return widen_line<std::uint64_t>(first, stride, count, out);
        case Element::boolean: return widen_line<Boolean>(first, stride, count, out);
    }
}

}  // namespace fastcka::FASTCKA_LEVEL
