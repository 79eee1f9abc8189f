// SPDX-License-Identifier: BSD-3-Clause
// What the tests share: the SIMD levels of this processor, matrices of every element type and layout, Gram matrices in
// extended precision. Nothing here uses the code under test.
#pragma once

#include "base/matrix_view.hpp"
#include "layers/representation.hpp"
#include "simd/dispatch.hpp"
#include "sums/settings.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace fastcka {

#ifdef __x86_64__
namespace v2 {
const Level& level();
}
namespace v3 {
const Level& level();
}
namespace v4 {
const Level& level();
}
#else
namespace baseline {
const Level& level();
}
#endif

namespace test {

using Matrix = Eigen::MatrixXd;
using LongMatrix = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

// --- levels and precisions

inline std::vector<const Level*> levels() {
#ifdef __x86_64__
    std::vector<const Level*> all{&v2::level(), &v3::level(), &v4::level()};
#else
    std::vector<const Level*> all{&baseline::level()};
#endif
    const std::vector<std::string> supported = supported_levels();
    std::erase_if(all, [&](const Level* level) {
        return std::find(supported.begin(), supported.end(), level->name) == supported.end();
    });
    return all;
}

// visit(level, T(0)) for float and double at every level of this processor
template <class Visit> void for_each_level(Visit&& visit) {
    for (const Level* level : levels()) {
        visit(*level, 0.0f);
        visit(*level, 0.0);
    }
}

constexpr Precision precision(bool float64) { return float64 ? Precision::float64 : Precision::float32; }

inline Settings settings(const Kernel& kernel, bool unbiased, bool float64, int threads = 1,
                         Route route = Route::automatic) {
    return {kernel, unbiased ? Estimator::unbiased : Estimator::biased, precision(float64), threads, 0,
            route};
}

template <class T> constexpr double epsilon = std::numeric_limits<T>::epsilon();

// --- elements, by the definition of their formats

constexpr Element all_elements[] = {Element::f64, Element::f32, Element::f16,    Element::bf16, Element::i8,
                                    Element::i16, Element::i32, Element::i64,    Element::u8,   Element::u16,
                                    Element::u32, Element::u64, Element::boolean};

// sign, exponent, mantissa of an IEEE 754 number
inline double value_of_bits(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
    const auto field = [&](int first, int count) {
        return static_cast<int>((bits >> first) & ((1u << count) - 1));
    };
    const int mantissa = field(0, mantissa_bits), exponent = field(mantissa_bits, exponent_bits);
    const int bias = (1 << (exponent_bits - 1)) - 1, special = (1 << exponent_bits) - 1;
    double magnitude = 0;
    if (exponent == special)
        magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity()
                                  : std::numeric_limits<double>::quiet_NaN();
    else if (exponent == 0)
        magnitude = std::ldexp(mantissa, 1 - bias - mantissa_bits);
    else
        magnitude = std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    return field(exponent_bits + mantissa_bits, 1) == 1 ? -magnitude : magnitude;
}
inline double half_value(std::uint16_t bits) { return value_of_bits(bits, 5, 10); }
inline double bfloat16_value(std::uint16_t bits) { return value_of_bits(bits, 8, 7); }

// The largest 16-bit number whose magnitude is not above |value|.
template <class ValueOf> std::uint16_t bits_below(double value, ValueOf value_of) {
    std::uint16_t low = 0, high = 0x7fff;
    while (high - low > 1) {
        const auto middle = static_cast<std::uint16_t>((low + high) / 2);
        (value_of(middle) <= std::abs(value) ? low : high) = middle;  // NaN is never below
    }
    return static_cast<std::uint16_t>(low | (value < 0 ? 0x8000 : 0));
}

// Calls use(stored) with the nearest value that an element can hold, as that type.
template <class Use> void as_element(Element element, double value, Use&& use) {
    switch (element) {
        case Element::f64: return use(value);
        case Element::f32: return use(static_cast<float>(value));
        case Element::f16: return use(bits_below(value, half_value));
        case Element::bf16: return use(bits_below(value, bfloat16_value));
        case Element::i8: return use(static_cast<std::int8_t>(value));
        case Element::i16: return use(static_cast<std::int16_t>(value));
        case Element::i32: return use(static_cast<std::int32_t>(value));
        case Element::i64: return use(static_cast<std::int64_t>(value));
        case Element::u8: return use(static_cast<std::uint8_t>(value));
        case Element::u16: return use(static_cast<std::uint16_t>(value));
        case Element::u32: return use(static_cast<std::uint32_t>(value));
        case Element::u64: return use(static_cast<std::uint64_t>(value));
        case Element::boolean: return use(static_cast<std::uint8_t>(value != 0 ? 1 : 0));
    }
}

// --- matrices in memory

enum class Layout { rows, columns, backwards, odd };  // odd: gaps between elements, and none of them aligned
constexpr Layout all_layouts[] = {Layout::rows, Layout::columns, Layout::backwards, Layout::odd};

struct Stored {
    std::vector<std::byte> memory;
    MatrixView view;
    Matrix values;  // what the elements hold
};

inline Stored store(const Matrix& wanted, Element element, Layout layout = Layout::rows) {
    const index size = size_of(element), n = wanted.rows(), p = wanted.cols();
    index row_stride = p * size, column_stride = size, origin = 0;
    if (layout == Layout::columns) row_stride = size, column_stride = n * size;
    if (layout == Layout::odd) column_stride = size + 3, row_stride = p * column_stride + 1, origin = 1;
    Stored stored{std::vector<std::byte>(static_cast<std::size_t>(n * p * (size + 3) + n + 1)), {}, wanted};
    if (layout == Layout::backwards) {
        row_stride = -row_stride, column_stride = -column_stride;
        origin = (n * p - 1) * size;
    }
    stored.view = {stored.memory.data() + origin, n, p, row_stride, column_stride, element};
    for (index i = 0; i < n; ++i)
        for (index j = 0; j < p; ++j)
            as_element(element, wanted(i, j), [&](auto value) {
                std::memcpy(stored.memory.data() + origin + i * row_stride + j * column_stride, &value,
                            sizeof(value));
                stored.values(i, j) = static_cast<double>(value);
                if (element == Element::f16)
                    stored.values(i, j) = half_value(static_cast<std::uint16_t>(value));
                if (element == Element::bf16)
                    stored.values(i, j) = bfloat16_value(static_cast<std::uint16_t>(value));
            });
    return stored;
}

class Random {
  public:
    explicit Random(unsigned seed) : generator_(seed) {}
    double normal() { return normal_(generator_); }
    index integer(index low, index high) {
        return std::uniform_int_distribution<index>(low, high)(generator_);
    }
    Matrix normal(index rows, index columns) {
        return Matrix::NullaryExpr(rows, columns, [this] { return normal(); });
    }
    Matrix integers(index rows, index columns, index low, index high) {
        return Matrix::NullaryExpr(rows, columns, [&] { return static_cast<double>(integer(low, high)); });
    }

  private:
    std::mt19937_64 generator_;
    std::normal_distribution<double> normal_;
};

// --- the measures, formula by formula, in extended precision

inline long double median_squared_distance(const LongMatrix& squared, bool offdiagonal) {
    std::vector<long double> all;
    for (index i = 0; i < squared.rows(); ++i)
        for (index j = 0; j < squared.cols(); ++j)
            if (i != j || !offdiagonal) all.push_back(squared(i, j));
    std::sort(all.begin(), all.end());
    return (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
}

inline LongMatrix gram_matrix(const Matrix& samples, const Kernel& kernel) {
    LongMatrix x = samples.cast<long double>();
    const index n = x.rows();
    if (kernel.is_given()) return x;
    if (kernel.as<Correlation>()) x.colwise() -= x.rowwise().mean().eval();
    if (kernel.as<Cosine>() || kernel.as<Correlation>())
        for (index i = 0; i < n; ++i)
            if (x.row(i).squaredNorm() > 0) x.row(i).normalize();
    const LongMatrix products = x * x.transpose();
    if (kernel.is_linear()) return products;
    if (const auto* polynomial = kernel.as<Polynomial>()) {
        const long double gamma =
            std::isnan(polynomial->gamma) ? 1.0L / static_cast<long double>(x.cols()) : polynomial->gamma;
        return (gamma * products.array() + static_cast<long double>(polynomial->coef0))
            .pow(polynomial->degree)
            .matrix();
    }
    LongMatrix squared(n, n);
    for (index i = 0; i < n; ++i)
        for (index j = 0; j < n; ++j) squared(i, j) = (x.row(i) - x.row(j)).squaredNorm();
    if (const auto* distance = kernel.as<Distance>()) {
        const long double half = static_cast<long double>(distance->exponent) / 2;
        const LongMatrix norms = x.rowwise().squaredNorm().array().pow(half).matrix();
        return ((norms.replicate(1, n) + norms.transpose().replicate(n, 1)).array() -
                squared.array().pow(half))
                   .matrix() /
               2;
    }
    const Bandwidth& bandwidth = *kernel.bandwidth();
    long double sigma = bandwidth.sigma;
    if (bandwidth.needs_median())
        sigma = bandwidth.relative * std::sqrt(median_squared_distance(squared, bandwidth.offdiagonal));
    if (kernel.as<RBF>()) return (-squared.array() / (2 * sigma * sigma)).exp().matrix();
    return (-squared.array().sqrt() / sigma).exp().matrix();
}

// <H K H, L> / (n - 1)^2, H K H by its means
inline long double biased_hsic_of(LongMatrix k, const LongMatrix& l) {
    const long double m = static_cast<long double>(k.rows() - 1);
    k.rowwise() -= k.colwise().mean().eval();
    k.colwise() -= k.rowwise().mean().eval();
    return k.cwiseProduct(l).sum() / (m * m);
}

// Szekely and Rizzo 2014: products of U-centred matrices
inline long double unbiased_hsic_of(LongMatrix k, LongMatrix l) {
    const long double n = static_cast<long double>(k.rows());
    const auto centre = [n](LongMatrix& m) {
        m.diagonal().setZero();
        const LongMatrix rows = m.rowwise().sum() / (n - 2);
        const long double total = m.sum() / ((n - 1) * (n - 2));
        m -= rows.replicate(1, m.cols()) + rows.transpose().replicate(m.rows(), 1);
        m.array() += total;
        m.diagonal().setZero();
    };
    centre(k), centre(l);
    return k.cwiseProduct(l).sum() / (n * (n - 3));
}

inline long double hsic_of(const LongMatrix& k, const LongMatrix& l, bool unbiased) {
    return unbiased ? unbiased_hsic_of(k, l) : biased_hsic_of(k, l);
}

// Sanitizers and valgrind change memory and threads, and are slow; a few tests ask.
#ifdef FASTCKA_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace test
}  // namespace fastcka
