// SPDX-License-Identifier: BSD-3-Clause
// exp and expm1 on SIMD vectors, to 2 units in the last place. Used by simd/maps.
#pragma once

#include "simd/simd.hpp"

#include <bit>

namespace fastcka::FASTCKA_LEVEL {

template <class T> struct Exponential;

template <> struct Exponential<float> {
    static constexpr int mantissa_bits = 23;
    static constexpr float lowest = -87.0f, highest = 88.0f;  // 2^k stays a normal number
    static constexpr float round = 0x1.8p23f;                 // adding it rounds to an integer
    static constexpr float log2_e = 0x1.715476p+0f;
    static constexpr float ln2_high = 0x1.62e4p-1f,
                           ln2_low = 0x1.7f7d1cp-20f;  // k * ln2_high is exact for |k| < 256
    // Taylor coefficients of (expm1(r) - r) / r^2; on |r| <= ln(2)/2 the remainder r^8/8! is below 0.2 ulp.
    static constexpr float tail[] = {1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720, 1.0f / 5040};
};

template <> struct Exponential<double> {
    static constexpr int mantissa_bits = 52;
    static constexpr double lowest = -708.0, highest = 709.0;
    static constexpr double round = 0x1.8p52;
    static constexpr double log2_e = 0x1.71547652b82fep+0;
    static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    // As above; the remainder r^14/14! is below 0.1 ulp.
    static constexpr double tail[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                      1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                      1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
};

// exp(x) = 2^k (1 + p) with x = k ln 2 + r, |r| <= ln(2)/2, p = expm1(r).
template <class T> struct Reduced {
    typename Vector<T>::type power;  // 2^k
    typename Vector<T>::type p;
};

template <class T> inline Reduced<T> reduce(typename Vector<T>::type x) {
    using E = Exponential<T>;
    using Vec = typename Vector<T>::type;
    using Bits = typename Vector<T>::bits;
    const Vec lowest = Vec{} + E::lowest, highest = Vec{} + E::highest;
    x = x < lowest ? lowest : x;
    x = x > highest ? highest : x;
    const Vec shifted = x * E::log2_e + E::round;
    const Vec k = shifted - E::round;
    const Vec r = (x - k * E::ln2_high) - k * E::ln2_low;
    constexpr int terms = sizeof(E::tail) / sizeof(T);
    Vec tail = Vec{} + E::tail[terms - 1];
#pragma GCC unroll 12
    for (int i = terms - 2; i >= 0; --i) tail = tail * r + E::tail[i];
    // The integer k sits in the low bits of `shifted`; it goes to the exponent of 1.
    const Bits exponent = (std::bit_cast<Bits>(shifted) - std::bit_cast<Bits>(Vec{} + E::round))
                          << E::mantissa_bits;
    return {std::bit_cast<Vec>(exponent + std::bit_cast<Bits>(Vec{} + T(1))), r + r * r * tail};
}

template <class T> inline typename Vector<T>::type exponential(typename Vector<T>::type x) {
    const Reduced<T> e = reduce<T>(x);
    return e.power + e.power * e.p;
}

template <class T> inline typename Vector<T>::type exponential_minus_one(typename Vector<T>::type x) {
    const Reduced<T> e = reduce<T>(x);
    return e.power * e.p + (e.power - T(1));
}

}  // namespace fastcka::FASTCKA_LEVEL
