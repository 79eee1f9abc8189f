// SPDX-License-Identifier: BSD-3-Clause
// Kernel maps at every SIMD level and precision, against the formulas in extended precision.
#include "base/buffer.hpp"
#include "check.hpp"
#include "simd/tuning.hpp"
#include "support.hpp"

#include <functional>

namespace fastcka::test {
namespace {

using Long = long double;

KernelMap rbf_map(const ExponentialMap& constants) { return RBF::Map{constants}; }
KernelMap laplacian_map(const ExponentialMap& constants) { return Laplacian::Map{constants}; }

// apply() on a few blocks' worth of inner products, whose row and column terms are zero.
template <class T>
std::vector<T> applied(const Level& level, const KernelMap& map, const std::vector<T>& products) {
    const Operations<T>& operations = operations_of<T>(level);
    const index width = operations.panel_width, size = width * width,
                count = static_cast<index>(products.size());
    const Buffer<T> block(size), terms(width);
    std::fill_n(terms.data(), width, T(0));
    std::vector<T> out;
    for (index first = 0; first < count; first += size) {
        const index used = std::min(size, count - first);
        std::fill_n(block.data(), size, T(0));
        std::copy_n(products.data() + first, used, block.data());
        operations.apply(map, terms.data(), terms.data(), width, width, block.data());
        out.insert(out.end(), block.data(), block.data() + used);
    }
    return out;
}

// |actual - expected| in units in the last place of `expected`.
template <class T> double ulps(T actual, Long expected) {
    const T rounded = static_cast<T>(expected);
    if (actual == rounded) return 0;
    const T next = std::nextafter(std::abs(rounded), std::numeric_limits<T>::infinity());
    return static_cast<double>(std::abs(static_cast<Long>(actual) - expected) /
                               static_cast<Long>(next - std::abs(rounded)));
}

// Squared distances from dense to sparse on [0, highest], with 0 and many tiny ones.
template <class T> std::vector<T> grid(T highest) {
    std::vector<T> out{0};
    for (int i = 0; i < 200000; ++i) out.push_back(highest * static_cast<T>(i) / T(200000));
    for (T x = std::numeric_limits<T>::min() * 1e6f; x < highest; x *= T(1.07)) out.push_back(x);
    return out;
}

template <class T> std::vector<T> products_for(const std::vector<T>& squared_distances) {
    std::vector<T> out;
    for (T d2 : squared_distances) out.push_back(-d2 / 2);
    return out;
}

}  // namespace

TEST(exponential_to_two_ulps) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        // exp(reference - d2): from the largest shift down to where results leave the normal numbers
        const T lowest = sizeof(T) == 4 ? T(87) : T(708);
        for (T reference : {T(0), T(40)}) {
            const KernelMap map = rbf_map({.rate = 1, .reference = reference, .centred = false});
            const std::vector<T> d2 = grid<T>(reference + lowest);
            const std::vector<T> values = applied<T>(level, map, products_for(d2));
            double worst = 0;
            for (std::size_t i = 0; i < d2.size(); ++i)
                worst = std::max(worst, ulps(values[i], std::exp(static_cast<Long>(reference - d2[i]))));
            CHECK_CLOSE(worst, 0, 2);
        }
        const KernelMap map = rbf_map({.rate = 1, .centred = false});
        CHECK(applied<T>(level, map, {T(0)})[0] == 1);
        for (T value : applied<T>(level, map, products_for<T>({T(100000), T(1e30)})))
            CHECK(value >= 0 && value < T(2e-38));
    });
}

TEST(exponential_minus_one_to_two_ulps) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        for (T reference : {T(0), T(1e-3), T(0.4), T(1), T(16)}) {
            const KernelMap map = rbf_map({.rate = 1, .reference = reference});
            std::vector<T> d2 = grid<T>(reference + 40);
            for (T step = reference * std::numeric_limits<T>::epsilon(); step < reference; step *= T(1.1)) {
                d2.push_back(reference - step);  // small arguments of either sign
                d2.push_back(reference + step);
            }
            const std::vector<T> values = applied<T>(level, map, products_for(d2));
            double worst = 0;
            for (std::size_t i = 0; i < d2.size(); ++i)
                worst = std::max(worst, ulps(values[i], std::expm1(static_cast<Long>(reference - d2[i]))));
            CHECK_CLOSE(worst, 0, 2);
        }
    });
}

TEST(laplacian_and_distances) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const std::vector<T> d2 = grid<T>(T(100));
        const auto compare = [&](const KernelMap& map, double digits,
                                 const std::function<Long(Long)>& expected) {
            const std::vector<T> values = applied<T>(level, map, products_for(d2));
            for (std::size_t i = 0; i < d2.size(); ++i) {
                const Long value = expected(static_cast<Long>(d2[i]));
                CHECK_CLOSE(values[i], value, digits * epsilon<T>);
            }
        };
        const T rate = T(0.75), reference = T(3.25), level_value = T(0.0387742);
        compare(laplacian_map({.rate = rate, .centred = false}), 3,
                [&](Long x) { return std::exp(-rate * std::sqrt(x)); });
        compare(laplacian_map({.rate = rate, .reference = reference, .factor = level_value}), 3,
                [&](Long x) { return level_value * std::expm1(reference - rate * std::sqrt(x)); });
        compare(Distance::Map{.reference = reference}, 10,
                [&](Long x) { return -(std::sqrt(x) - reference) / 2; });
        for (double exponent : {0.5, 1.5, 1.0 / 3})
            compare(Distance::Map{.reference = reference, .exponent = exponent}, 200, [&](Long x) {
                return -(std::pow(x, static_cast<Long>(static_cast<T>(exponent / 2))) - reference) / 2;
            });
    });
}

TEST(polynomial_up_to_what_centring_removes) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        Random random(21);
        const Buffer<T> block(width * width), row(width), column(width);
        for (int degree : {1, 2, 3, 7})
            for (double base : {0.0, 1.0, -2.5, 1e4}) {
                const Matrix products = random.normal(width, width);
                for (index i = 0; i < width; ++i) {
                    row.data()[i] = static_cast<T>(random.normal());
                    column.data()[i] = static_cast<T>(random.normal());
                    for (index j = 0; j < width; ++j)
                        block.data()[i * width + j] = static_cast<T>(products(i, j));
                }
                const std::vector<T> before(block.data(), block.data() + width * width);
                const double rate = 0.3;
                operations.apply(Polynomial::Map{.rate = rate, .base = base, .degree = degree}, row.data(),
                                 column.data(), width, width, block.data());
                for (index i = 0; i < width; ++i)
                    for (index j = 0; j < width; ++j) {
                        const auto scaled = [&](T value) {
                            return static_cast<Long>(rate) * static_cast<Long>(value);
                        };
                        const Long x = scaled(row.data()[i]), y = scaled(column.data()[j]),
                                   product = scaled(before[static_cast<std::size_t>(i * width + j)]);
                        const auto without_margins = [&](Long of_origin, Long u, Long v, Long both) {
                            const auto power = [&](Long d) {
                                return std::pow(of_origin + d, static_cast<Long>(degree));
                            };
                            return power(u + v + both) - power(u) - power(v) + power(0);
                        };
                        const Long expected = without_margins(static_cast<Long>(base), x, y, product);
                        // its terms without their signs, none of which cancels another by more than its size
                        const Long size = without_margins(static_cast<Long>(std::abs(base)), std::abs(x),
                                                          std::abs(y), std::abs(product));
                        CHECK_CLOSE(block.data()[i * width + j], expected,
                                    8 * epsilon<T> * static_cast<double>(size) +
                                        1e-18 * std::pow(std::abs(base) + 8, degree));
                    }
                std::copy(before.begin(), before.end(), block.data());
                operations.apply(
                    Polynomial::Map{.rate = rate, .base = base, .degree = degree, .centred = false},
                    row.data(), column.data(), width, width, block.data());
                for (index i = 0; i < width; ++i)
                    for (index j = 0; j < width; ++j) {
                        const Long d =
                            static_cast<Long>(rate) *
                            (static_cast<Long>(row.data()[i]) + static_cast<Long>(column.data()[j]) +
                             static_cast<Long>(before[static_cast<std::size_t>(i * width + j)]));
                        const Long expected =
                            std::pow(static_cast<Long>(base) + d, static_cast<Long>(degree));
                        CHECK_CLOSE(block.data()[i * width + j], expected,
                                    4 * epsilon<T> * std::pow(std::abs(base) + 8, degree));
                    }
            }
    });
}

TEST(maps_leave_zero_beyond_the_edge) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        const Buffer<T> block(width * width), terms(width);
        std::fill_n(terms.data(), width, T(1));
        const std::vector<KernelMap> maps{rbf_map({.rate = 1, .centred = false}),
                                          laplacian_map({.rate = 1, .centred = false}),
                                          Polynomial::Map{.rate = 1, .degree = 2, .centred = false},
                                          Distance::Map{}, Distance::Map{.exponent = 0.7}};
        for (const KernelMap& map : maps)
            for (index rows : {index{1}, width / 2, width})
                for (index columns : {index{1}, width / 2, width - 1, width}) {
                    std::fill_n(block.data(), width * width, T(0));  // as `accumulate` leaves it there
                    operations.apply(map, terms.data(), terms.data(), rows, columns, block.data());
                    for (index i = 0; i < width; ++i)
                        for (index j = 0; j < width; ++j)
                            CHECK((block.data()[i * width + j] != 0) == (i < rows && j < columns));
                }
    });
}

TEST(linear_kernels_are_left_alone) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        for (const KernelMap& map :
             std::vector<KernelMap>{LinearMap{}, CosineMap{}, CorrelationMap{}, PrecomputedMap{}})
            CHECK(applied<T>(level, map, {T(1), T(-2)}) == std::vector<T>({T(1), T(-2)}));
    });
}

TEST(distances_take_the_same_map_as_products) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        const Buffer<T> products(width * width), distances(width * width), rows(width), columns(width);
        Random random(23);
        for (index i = 0; i < width; ++i) {
            rows.data()[i] = static_cast<T>(2 + std::abs(random.normal()));
            columns.data()[i] = static_cast<T>(2 + std::abs(random.normal()));
            for (index j = 0; j < width; ++j)
                products.data()[i * width + j] = distances.data()[i * width + j] =
                    static_cast<T>(std::tanh(random.normal()));
        }
        for (const KernelMap& map : std::vector<KernelMap>{rbf_map({.rate = 1}), laplacian_map({.rate = 2}),
                                                           Distance::Map{}, Distance::Map{.exponent = 0.7}}) {
            const Buffer<T> mapped(width * width);
            std::copy_n(distances.data(), width * width, mapped.data());
            operations.squared_distances(rows.data(), columns.data(), width - 1, width - 2, mapped.data());
            operations.apply_to_distances(map, width - 1, width - 2, mapped.data());
            const Buffer<T> direct(width * width);
            std::copy_n(products.data(), width * width, direct.data());
            operations.apply(map, rows.data(), columns.data(), width - 1, width - 2, direct.data());
            // Contraction into fused multiply-adds may differ by the last bit of the distance.
            for (index i = 0; i < (width - 1) * width; ++i)
                CHECK_CLOSE(mapped.data()[i], direct.data()[i], 32 * epsilon<T>);
        }
    });
}

TEST(squared_distances_of_near_samples_are_marked) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        const Buffer<T> block(width * width), rows(width), columns(width);
        Random random(22);
        for (index i = 0; i < width; ++i) {
            rows.data()[i] = static_cast<T>(std::abs(random.normal()));
            columns.data()[i] = static_cast<T>(std::abs(random.normal()));
            for (index j = 0; j < width; ++j) block.data()[i * width + j] = static_cast<T>(random.normal());
        }
        const std::vector<T> products(block.data(), block.data() + width * width);
        CHECK(operations.squared_distances(rows.data(), columns.data(), width - 1, width - 2, block.data()));
        index marked = 0;
        for (index i = 0; i < width - 1; ++i)
            for (index j = 0; j < width - 2; ++j) {
                const Long norms = static_cast<Long>(rows.data()[i]) + static_cast<Long>(columns.data()[j]);
                const Long expected =
                    norms - 2 * static_cast<Long>(products[static_cast<std::size_t>(i * width + j)]);
                const T value = block.data()[i * width + j];
                if (std::abs(expected - static_cast<Long>(near_distance) * norms) < 8 * epsilon<T>) continue;
                CHECK(std::isnan(value) == (expected < static_cast<Long>(near_distance) * norms));
                if (std::isnan(value))
                    ++marked;
                else
                    CHECK_CLOSE(value, expected, 8 * epsilon<T>);
            }
        CHECK(marked > 0);
        for (index i = 0; i < width - 1; ++i)
            CHECK(block.data()[i * width + width - 1] == 0 && block.data()[i * width + width - 2] == 0);
        // A sample at the origin is at no distance from itself, exactly: nothing to mark.
        std::fill_n(rows.data(), width, T(0));
        std::fill_n(block.data(), width * width, T(0));
        CHECK(!operations.squared_distances(rows.data(), rows.data(), width, width, block.data()));
        // Marks do not depend on the map.
        std::fill_n(rows.data(), width, T(1));
        std::fill_n(block.data(), width * width, T(1));
        CHECK(operations.apply(rbf_map({.rate = 1}), rows.data(), rows.data(), 1, 1, block.data()));
        CHECK(std::isnan(block.data()[0]));
    });
}

TEST(squared_differences_are_those_of_the_coordinates) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        const Buffer<T> left(7 * width), right(7 * width);
        Random random(24);
        for (index k = 0; k < 7 * width; ++k) {
            left.data()[k] = static_cast<T>(random.normal());
            right.data()[k] = static_cast<T>(random.normal());
        }
        for (index lane : {index{0}, width - 1}) {
            std::vector<double> out(static_cast<std::size_t>(width), 1.0);
            operations.squared_differences(left.data(), lane, right.data(), 7, out.data());
            for (index j = 0; j < width; ++j) {
                Long expected = 1;
                for (index k = 0; k < 7; ++k)
                    expected += std::pow(static_cast<Long>(left.data()[k * width + lane]) -
                                             static_cast<Long>(right.data()[k * width + j]),
                                         Long(2));
                CHECK_CLOSE(out[static_cast<std::size_t>(j)], expected,
                            8 * epsilon<T> * static_cast<double>(expected));
            }
        }
    });
}

}  // namespace fastcka::test
