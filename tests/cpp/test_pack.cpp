// SPDX-License-Identifier: BSD-3-Clause
// Means, norms and panels of every element type, layout, route, precision and SIMD level, against plain loops.
#include "base/errors.hpp"
#include "check.hpp"
#include "layers/origin.hpp"
#include "support.hpp"

#include <numeric>

namespace fastcka::test {
namespace {

struct Shape {
    index rows, columns;
};
// Across a coordinate block (128) by either route, one off a panel, and lines of a single element.
constexpr Shape shapes[] = {{61, 150}, {150, 61}, {49, 1}, {1, 49}, {129, 3}};

// Values that the element type holds exactly, or nearly.
Matrix values_for(Element element, Shape shape, Random& random) {
    switch (element) {
        case Element::f64:
        case Element::f32:
        case Element::f16:
        case Element::bf16: return random.normal(shape.rows, shape.columns);
        case Element::boolean: return random.integers(shape.rows, shape.columns, 0, 1);
        case Element::u8: return random.integers(shape.rows, shape.columns, 0, 255);
        case Element::u16:
        case Element::u32:
        case Element::u64: return random.integers(shape.rows, shape.columns, 0, 65535);
        case Element::i8: return random.integers(shape.rows, shape.columns, -128, 127);
        default: return random.integers(shape.rows, shape.columns, -32768, 32767);
    }
}

// Where a vector's value at a coordinate lies, by the words in representation.hpp.
template <class T> T value_at(const Panels<T>& panels, index vector, index coordinate) {
    const index first = coordinate / coordinate_block * coordinate_block;
    const index block = std::min(coordinate_block, panels.coordinates() - first), width = panels.width();
    return panels.data()[first * panels.count() * width + vector / width * width * block +
                         (coordinate - first) * width + vector % width];
}

struct Expected {
    LongMatrix values;  // (x' - mean) * scale, x' being scaled rows
    double tolerance;   // of a value
};

template <class T>
void check_panels(const Panels<T>& panels, const SampleSums& sums, bool vectors_are_samples,
                  const Expected& expected, const std::vector<double>& direction) {
    const index n = expected.values.rows(), p = expected.values.cols();
    CHECK(panels.vectors() == (vectors_are_samples ? n : p) &&
          panels.coordinates() == (vectors_are_samples ? p : n));
    Matrix packed(n, p);
    for (index i = 0; i < n; ++i)
        for (index j = 0; j < p; ++j) {
            packed(i, j) = vectors_are_samples ? value_at(panels, i, j) : value_at(panels, j, i);
            CHECK_CLOSE(packed(i, j), expected.values(i, j), expected.tolerance);
        }
    for (index vector = panels.vectors(); vector < panels.count() * panels.width(); ++vector)
        for (index k = 0; k < panels.coordinates(); ++k) CHECK(value_at(panels, vector, k) == 0);
    for (index i = 0; i < n; ++i) {  // from the packed values, in float64
        const double squared = packed.row(i).squaredNorm();
        CHECK_CLOSE(sums.squared[static_cast<std::size_t>(i)], squared, 1e-14 * squared);
        if (direction.empty()) continue;
        const Eigen::Map<const Eigen::VectorXd> along(direction.data(), p);
        CHECK_CLOSE(sums.projections[static_cast<std::size_t>(i)], packed.row(i).dot(along),
                    1e-14 * packed.row(i).cwiseAbs().dot(along.cwiseAbs()));
    }
    CHECK(sums.projections.empty() == direction.empty());
}

template <class T> std::vector<T> bits_of(const Panels<T>& panels) {
    const index values = panels.count() * panels.width() * panels.coordinates();
    std::vector<T> bits(static_cast<std::size_t>(values));
    std::copy_n(panels.data(), values, bits.data());
    return bits;
}

}  // namespace

TEST(pack_every_element_layout_and_route) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        Random random(1);
        for (Element element : all_elements)
            for (Shape shape : shapes) {
                const Matrix wanted = values_for(element, shape, random);
                std::vector<double> direction;
                for (index j = 0; j < shape.columns; ++j) direction.push_back(random.normal());
                for (bool vectors_are_samples : {true, false}) {
                    std::vector<T> first_bits;
                    for (Layout layout : all_layouts) {
                        const Stored stored = store(wanted, element, layout);
                        const Centring centring = centring_of(stored.view, nullptr, engine);
                        SampleSums sums;
                        const Panels<T> panels = pack<T>(stored.view, vectors_are_samples, &centring, nullptr,
                                                         direction, sums, engine);
                        Expected expected{stored.values.cast<long double>(), 0};
                        for (index j = 0; j < shape.columns; ++j) {
                            const long double mean = expected.values.col(j).mean();
                            CHECK_CLOSE(centring.mean[static_cast<std::size_t>(j)], mean,
                                        2e-15 * stored.values.col(j).cwiseAbs().maxCoeff());
                            expected.values.col(j).array() -= mean;
                        }
                        expected.values *= centring.scale;
                        expected.tolerance = 2 * epsilon<T> + 4e-15;  // of values about 1, and of means
                        CHECK(expected.values.cwiseAbs().maxCoeff() <= 2);
                        CHECK(std::exp2(std::round(std::log2(centring.scale))) == centring.scale);
                        check_panels(panels, sums, vectors_are_samples, expected, direction);
                        // The same bits from any layout of the same values.
                        if (first_bits.empty()) first_bits = bits_of(panels);
                        CHECK(bits_of(panels) == first_bits);
                    }
                }
            }
    });
}

TEST(pack_keeps_the_digits_under_a_large_mean) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        Random random(2);
        for (Element element : {Element::f32, Element::f64})
            for (Layout layout : {Layout::rows, Layout::columns}) {
                Matrix wanted = random.normal(61, 150);
                wanted.array() += 1e4;
                const Stored stored = store(wanted, element, layout);
                const Centring centring = centring_of(stored.view, nullptr, engine);
                SampleSums sums;
                const Panels<T> panels = pack<T>(stored.view, true, &centring, nullptr, {}, sums, engine);
                LongMatrix expected = stored.values.cast<long double>();
                expected.rowwise() -= expected.colwise().mean().eval();
                // x - mean keeps every digit of float32; a mean of 1e4 in float64 is known to about 1e-12.
                check_panels(panels, sums, true, {expected * centring.scale, 2 * epsilon<T> + 4e-12}, {});
            }
    });
}

TEST(pack_scales_rows_and_takes_values_as_they_are) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(2);
        const Engine engine{level, team};
        Random random(3);
        for (Layout layout : all_layouts)
            for (bool vectors_are_samples : {true, false}) {
                const Stored stored = store(random.normal(61, 150), Element::f32, layout);
                SampleSums sums;
                const Panels<T> plain =
                    pack<T>(stored.view, vectors_are_samples, nullptr, nullptr, {}, sums, engine);
                check_panels(plain, sums, vectors_are_samples, {stored.values.cast<long double>(), 0}, {});

                for (Rows rows : {Rows::unit, Rows::standardised}) {
                    const std::optional<RowScaling> scaling = row_scaling(stored.view, rows, engine);
                    const Centring centring = centring_of(stored.view, &*scaling, engine);
                    LongMatrix expected = stored.values.cast<long double>();
                    if (rows == Rows::standardised) expected.colwise() -= expected.rowwise().mean().eval();
                    expected.rowwise().normalize();
                    expected.rowwise() -= expected.colwise().mean().eval();
                    const Panels<T> unit =
                        pack<T>(stored.view, vectors_are_samples, &centring, &*scaling, {}, sums, engine);
                    check_panels(unit, sums, vectors_are_samples,
                                 {expected * centring.scale, 2 * epsilon<T> + 4e-15}, {});
                }
                CHECK(!row_scaling(stored.view, Rows::as_given, engine));
            }
    });
}

TEST(pack_survives_any_units) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        Random random(4);
        const Matrix unit = random.normal(40, 30);
        for (double size : {1e-300, 1e-40, 1e-30, 1e30, 1e37, 1e300})
            for (Element element : {Element::f64, Element::f32}) {
                if (element == Element::f32 && (size < 1e-38 || size > 1e38)) continue;
                const Stored stored = store(unit * size, element);
                const Centring centring = centring_of(stored.view, nullptr, engine);
                LongMatrix expected = stored.values.cast<long double>();
                expected.rowwise() -= expected.colwise().mean().eval();
                SampleSums sums;
                const Panels<T> panels = pack<T>(stored.view, true, &centring, nullptr, {}, sums, engine);
                check_panels(panels, sums, true, {expected * centring.scale, 2 * epsilon<T> + 4e-15}, {});
            }
    });
}

TEST(pack_widens_every_16_bit_pattern) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        std::vector<std::uint16_t> patterns(65536);
        for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
        for (Element element : {Element::f16, Element::bf16})
            for (bool columns : {false, true}) {
                const index along = columns ? 512 : 2, across = columns ? 2 : 512;
                const MatrixView view{
                    reinterpret_cast<const std::byte*>(patterns.data()), 256, 256, across, along, element};
                SampleSums sums;
                const Panels<T> panels = pack<T>(view, true, nullptr, nullptr, {}, sums, engine);
                for (std::size_t i = 0; i < patterns.size(); ++i) {
                    const double expected =
                        element == Element::f16 ? half_value(patterns[i]) : bfloat16_value(patterns[i]);
                    const index high = static_cast<index>(i / 256), low = static_cast<index>(i % 256);
                    const double actual = columns ? value_at(panels, low, high) : value_at(panels, high, low);
                    if (std::isnan(expected))
                        CHECK(std::isnan(actual));
                    else
                        CHECK(actual == expected && std::signbit(actual) == std::signbit(expected));
                }
            }
    });
}

TEST(pack_of_64_bit_integers) {
    Team team(1);
    const Engine engine{current_level(), team};
    const std::vector<std::int64_t> large{std::numeric_limits<std::int64_t>::min(),
                                          std::numeric_limits<std::int64_t>::max()};
    const MatrixView as_signed{reinterpret_cast<const std::byte*>(large.data()), 2, 1, 8, 8, Element::i64};
    const MatrixView as_unsigned{as_signed.data, 2, 1, 8, 8, Element::u64};
    SampleSums sums;
    CHECK(value_at(pack<double>(as_signed, true, nullptr, nullptr, {}, sums, engine), 0, 0) == -0x1p63);
    CHECK(value_at(pack<double>(as_signed, true, nullptr, nullptr, {}, sums, engine), 1, 0) == 0x1p63);
    CHECK(value_at(pack<double>(as_unsigned, true, nullptr, nullptr, {}, sums, engine), 0, 0) == 0x1p63);
}

TEST(centring_is_the_same_for_any_threads_and_level) {
    Random random(5);
    const Stored stored = store((random.normal(1000, 33).array() + 100).matrix(), Element::f32);
    std::vector<double> first;
    for (const Level* level : levels())
        for (int threads : {1, 2, 3, 8}) {
            Team team(threads);
            const Centring centring = centring_of(stored.view, nullptr, {*level, team});
            if (first.empty()) first = centring.mean;
            CHECK(centring.mean == first);
        }
}

TEST(centring_of_a_constant_is_exact) {
    for (const Level* level : levels())
        for (Layout layout : all_layouts)
            for (double value : {0.1, 1e4 / 3, -1e300, 0.0})
                for (index columns = 1; columns < 20; ++columns) {
                    Team team(1);
                    const Stored stored = store(Matrix::Constant(301, columns, value), Element::f64, layout);
                    const Centring centring = centring_of(stored.view, nullptr, {*level, team});
                    CHECK(centring.largest == 0);
                    for (double mean : centring.mean) CHECK(mean == value);
                }
}

TEST(centring_finds_the_largest_deviation_in_any_layout) {
    Random random(6);
    for (index columns : {1, 7, 9, 17, 129, 150}) {
        const Matrix wanted = (random.normal(301, columns).array() + 1e4).matrix();
        const double largest = (wanted.rowwise() - wanted.row(0)).cwiseAbs().maxCoeff();
        for (const Level* level : levels())
            for (Layout layout : all_layouts) {
                Team team(1);
                const Stored stored = store(wanted, Element::f64, layout);
                CHECK(centring_of(stored.view, nullptr, {*level, team}).largest == largest);
            }
    }
}

TEST(non_finite_values_are_found) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN(),
                     infinity = std::numeric_limits<double>::infinity();
    constexpr index n = 140, p = 131;
    const auto position = [](const MatrixView& view, const Engine& engine) -> std::pair<index, index> {
        try {
            centring_of(view, nullptr, engine);
        } catch (const NonFinite& e) {
            return {e.row, e.column};
        }
        return {-1, -1};
    };
    for (const Level* level : levels())
        for (Layout layout : {Layout::rows, Layout::columns})
            for (double bad : {nan, infinity, -infinity}) {
                Matrix values = Matrix::Constant(n, p, 1.0);
                Team team(2);
                const Engine engine{*level, team};
                // The first one row by row, when each place is added to those before it.
                for (auto [row, column] :
                     {std::pair<index, index>{n - 1, p - 1}, {100, 5}, {100, 3}, {0, 130}}) {
                    values(row, column) = bad;
                    for (Element element : {Element::f64, Element::f32, Element::f16, Element::bf16}) {
                        Stored stored = store(values, element, layout);
                        if (size_of(element) == 2 && std::isnan(bad))
                            for (index i = 0; i < n; ++i)
                                for (index j = 0; j < p; ++j)
                                    if (std::isnan(values(i, j)))
                                        std::memset(stored.memory.data() +
                                                        (stored.view.at(i, j) - stored.memory.data()),
                                                    0xff, 2);
                        CHECK(position(stored.view, engine) == std::pair(row, column));
                    }
                }
                const Stored stored = store(values, Element::f64, layout);
                for (Rows rows : {Rows::unit, Rows::standardised})
                    CHECK_THROWS(NonFinite, row_scaling(stored.view, rows, engine));
            }
}

TEST(values_whose_sum_overflows_are_refused) {
    Team team(1);
    const Stored stored = store(Matrix{{-1.7e308}, {1.7e308}, {1.7e308}}, Element::f64);
    try {
        centring_of(stored.view, nullptr, {current_level(), team});
        CHECK(false);
    } catch (const NonFinite&) {
        CHECK(false);  // they are finite
    } catch (const std::invalid_argument&) {
    }
}

TEST(origin_rules_are_given_sorted_values) {
    Random random(7);
    Team team(2);
    const Engine engine{current_level(), team};
    for (index n = 1; n <= 66; ++n) {
        const Matrix values = random.integers(n, 300, 0, 40);
        const auto sorted_to = [](const std::vector<double>& sorted) {
            return std::is_sorted(sorted.begin(), sorted.end())
                       ? std::accumulate(sorted.begin(), sorted.end(), 0.0)
                       : -1;
        };
        const std::vector<double> sums = robust_origin(store(values, Element::f64).view, sorted_to, engine);
        if (n <= 64)
            for (index j = 0; j < 300; ++j) CHECK(sums[static_cast<std::size_t>(j)] == values.col(j).sum());
        else
            CHECK(*std::min_element(sums.begin(), sums.end()) >= 0);
    }
}

TEST(robust_origin_is_a_median_that_massive_samples_do_not_move) {
    Random random(8);
    for (index n : {1, 2, 5, 64, 65, 1000}) {
        Team team(2);
        const Engine engine{current_level(), team};
        Matrix values = (random.normal(n, 300).array() + 100).matrix();
        const std::vector<double> before =
            robust_origin(store(values, Element::f64).view, median_if_exact, engine);
        const index count = std::min(n, index{64});
        for (index j : {0, 255, 256, 299}) {
            std::vector<double> some;
            for (index i = 0; i < count; ++i) some.push_back(values(i * n / count, j));
            std::sort(some.begin(), some.end());
            CHECK(before[static_cast<std::size_t>(j)] == some[static_cast<std::size_t>((count - 1) / 2)]);
        }
        if (n < 5) continue;
        values.row(0).array() += 1e9;
        const std::vector<double> after =
            robust_origin(store(values, Element::f64).view, median_if_exact, engine);
        for (double value : after) CHECK(std::abs(value - 100) < 4);
        if (n < 64) continue;
        // Where zero is among the values, nothing is taken off.
        for (double value :
             robust_origin(store(random.normal(n, 300), Element::f64).view, median_if_exact, engine))
            CHECK(value == 0);
        // Nor where it would take digits off samples that lie elsewhere.
        values.topRows(n / 4).array() -= 170;
        for (double value : robust_origin(store(values, Element::f64).view, median_if_exact, engine))
            CHECK(value == 0);
    }
}

TEST(repeated_samples_are_noticed) {
    Random random(9);
    for (index n : {100, 1024, 5000}) {
        SampleSums sums;
        for (index i = 0; i < n; ++i) sums.squared.push_back(std::abs(random.normal()));
        CHECK(!has_repeated_sample(sums));
        for (index i = 0; i < n; i += 40) sums.squared[static_cast<std::size_t>(i)] = 0.5;
        CHECK(!has_repeated_sample(sums));  // 1 in 40 is few
        for (index i = 0; i < n; i += 11) sums.squared[static_cast<std::size_t>(i)] = 0.5;
        CHECK(has_repeated_sample(sums));
    }
}

TEST(row_norms_never_overflow) {
    for (const Level* level : levels()) {
        Team team(1);
        const Engine engine{*level, team};
        Random random(6);
        Matrix values = random.normal(70, 300);
        values.row(1) *= 1e300;
        values.row(2) *= 1e-300;
        values.row(3).setZero();
        values.row(4) *= 1e-5;
        values(4, 299) = 1e200;  // the largest comes last
        const std::vector<double> norms = row_norms(store(values, Element::f64).view, engine);
        for (index i = 0; i < 70; ++i) {
            const long double norm = values.row(i).cast<long double>().stableNorm();
            CHECK_CLOSE(norms[static_cast<std::size_t>(i)], norm, 1e-15 * static_cast<double>(norm));
        }
    }
}

// A sample without a direction is scaled by zero: no noise of rounding becomes a direction.
TEST(row_scaling_of_samples_without_a_direction) {
    for (const Level* level : levels()) {
        Team team(1);
        const Engine engine{*level, team};
        Random random(7);
        Matrix values = random.normal(9, 300);
        values.row(2).setZero();
        values.row(5).setConstant(0.1);
        values.row(7).setConstant(1e300);
        const Stored stored = store(values, Element::f64);
        const RowScaling unit = *row_scaling(stored.view, Rows::unit, engine);
        const RowScaling standardised = *row_scaling(stored.view, Rows::standardised, engine);
        CHECK(unit.shift.empty() && unit.factors().shift == nullptr);
        for (index i = 0; i < 9; ++i) {
            const auto at = static_cast<std::size_t>(i);
            CHECK((unit.scale[at] == 0) == (i == 2));
            CHECK((standardised.scale[at] == 0) == (i == 2 || i == 5 || i == 7));
            if (standardised.scale[at] == 0) CHECK(standardised.shift[at] == values(i, 0));
        }
    }
}

}  // namespace fastcka::test
