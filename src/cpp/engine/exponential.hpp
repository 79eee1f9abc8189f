// SPDX-License-Identifier: BSD-3-Clause
// exp and expm1 without branches, so that a loop over them becomes vector code. Used by engine/maps.
#pragma once

#include "base/matrix_view.hpp"

#include <bit>
#include <cmath>

namespace fastcka::FASTCKA_LEVEL {

template <class T> struct Exponential;

template <> struct Exponential<float> {
    using Bits = std::int32_t;
    static constexpr int mantissa_bits = 23;
    static constexpr float lowest = -87.0f, highest = 88.0f;  // 2^k stays a normal number
    static constexpr float round = 0x1.8p23f;                 // adding it rounds to an integer
    static constexpr float log2_e = 0x1.715476p+0f;
    static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;  // k * ln2_high is exact for |k| < 256
    // (expm1(r) - r) / r^2 by Taylor; on |r| <= ln(2)/2 the remainder r^8/8! is below 0.2 ulp.
    static float tail(float r) {
        return 0x1p-1f + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)))));
    }
};

template <> struct Exponential<double> {
    using Bits = std::int64_t;
    static constexpr int mantissa_bits = 52;
    static constexpr double lowest = -708.0, highest = 709.0;
    static constexpr double round = 0x1.8p52;
    static constexpr double log2_e = 0x1.71547652b82fep+0;
    static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    // As above; the remainder r^14/14! is below 0.1 ulp.
    static double tail(double r) {
        return 0x1p-1 +
               r * (1.0 / 6 +
                    r * (1.0 / 24 +
                         r * (1.0 / 120 +
                              r * (1.0 / 720 +
                                   r * (1.0 / 5040 +
                                        r * (1.0 / 40320 +
                                             r * (1.0 / 362880 +
                                                  r * (1.0 / 3628800 +
                                                       r * (1.0 / 39916800 +
                                                            r * (1.0 / 479001600 + r * (1.0 / 6227020800.0)))))))))));
    }
};

// exp(x) = 2^k (1 + p) with x = k ln 2 + r, |r| <= ln(2)/2, p = expm1(r).
template <class T> struct Reduced {
    T power;  // 2^k
    T p;
};

template <class T> inline Reduced<T> reduce(T x) {
    using E = Exponential<T>;
    x = x < E::lowest ? E::lowest : x;
    x = x > E::highest ? E::highest : x;
    const T shifted = x * E::log2_e + E::round;
    const T k = shifted - E::round;
    const T r = (x - k * E::ln2_high) - k * E::ln2_low;
    const auto bits = std::bit_cast<typename E::Bits>(shifted) - std::bit_cast<typename E::Bits>(E::round);
    const auto one = std::bit_cast<typename E::Bits>(T(1));
    return {std::bit_cast<T>(one + (bits << E::mantissa_bits)), r + r * r * E::tail(r)};
}

template <class T> inline T exponential(T x) {
    const Reduced<T> e = reduce(x);
    return e.power + e.power * e.p;
}

template <class T> inline T exponential_minus_one(T x) {
    const Reduced<T> e = reduce(x);
    return e.power * e.p + (e.power - T(1));
}

}  // namespace fastcka::FASTCKA_LEVEL
