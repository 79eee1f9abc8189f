// SPDX-License-Identifier: BSD-3-Clause
// Sums over tiles, and what else the table of operations offers, at every SIMD level and precision, against plain loops.
#include "base/buffer.hpp"
#include "check.hpp"
#include "support.hpp"

namespace fastcka::test {
namespace {

template <class T> Buffer<T> random_buffer(index size, Random& random) {
    Buffer<T> buffer(size);
    std::generate_n(buffer.data(), size, [&] { return static_cast<T>(random.normal()); });
    return buffer;
}

}  // namespace

TEST(take_diagonal) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        Random random(31);
        const Buffer<T> block = random_buffer<T>(width * width, random), diagonal(width);
        const std::vector<T> before(block.data(), block.data() + width * width);
        operations.take_diagonal(block.data(), diagonal.data());
        for (index i = 0; i < width; ++i)
            for (index j = 0; j < width; ++j) {
                const T value = before[static_cast<std::size_t>(i * width + j)];
                if (i == j) CHECK(diagonal.data()[i] == value);
                CHECK(block.data()[i * width + j] == (i < j ? value : T(0)));
            }
    });
}

TEST(block_sums) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        Random random(32);
        const Buffer<T> block = random_buffer<T>(width * width, random);
        const Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> values(
            block.data(), width, width);
        std::vector<double> rows(static_cast<std::size_t>(width), 1.0),
            columns(static_cast<std::size_t>(width), 2.0);
        operations.block_sums(block.data(), rows.data(), columns.data());
        for (index i = 0; i < width; ++i) {
            CHECK_CLOSE(rows[static_cast<std::size_t>(i)], 1 + values.row(i).template cast<double>().sum(),
                        1e-13);
            CHECK_CLOSE(columns[static_cast<std::size_t>(i)], 2 + values.col(i).template cast<double>().sum(),
                        1e-13);
        }
    });
}

TEST(products_of_every_count) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index length = 3 * operations.panel_width * operations.panel_width;
        Random random(33);
        std::vector<Buffer<T>> vectors;
        std::vector<const T*> pointers;
        for (int v = 0; v < 9; ++v) {
            vectors.push_back(random_buffer<T>(length, random));
            pointers.push_back(vectors.back().data());
        }
        const auto vector = [&](index v) {
            return Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>(pointers[static_cast<std::size_t>(v)],
                                                                        length)
                .template cast<double>();
        };
        for (index left : {1, 2, 3, 4, 5, 9})
            for (index right : {1, 2, 3, 4, 7, 9}) {
                const index stride = right + 2;
                std::vector<double> out(static_cast<std::size_t>(left * stride), 0.5);
                operations.products(pointers.data(), left, pointers.data() + 9 - right, right, length,
                                    out.data(), stride);
                for (index i = 0; i < left; ++i)
                    for (index j = 0; j < stride; ++j) {
                        const double actual = out[static_cast<std::size_t>(i * stride + j)];
                        if (j >= right) CHECK(actual == 0.5);
                        if (j < right)
                            CHECK_CLOSE(actual, 0.5 + (vector(i) * vector(9 - right + j)).sum(),
                                        4 * epsilon<T> * (vector(i) * vector(9 - right + j)).abs().sum());
                    }
            }
        // The same bits in whichever group a pair comes, and in either order.
        double one = 0, other = 0;
        std::vector<double> all(81, 0.0);
        operations.products(pointers.data(), 9, pointers.data(), 9, length, all.data(), 9);
        operations.products(pointers.data() + 3, 1, pointers.data() + 7, 1, length, &one, 1);
        operations.products(pointers.data() + 7, 1, pointers.data() + 3, 1, length, &other, 1);
        CHECK(one == other && one == all[3 * 9 + 7] && one == all[7 * 9 + 3]);
    });
}

TEST(sum_of_squares_of_every_length) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        Random random(34);
        for (index panels : {1, 2, 3, 5, 20, 171}) {
            const index length = panels * operations.panel_width;
            const Buffer<T> values = random_buffer<T>(length, random);
            const double expected =
                Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>(values.data(), length)
                    .template cast<double>()
                    .square()
                    .sum();
            CHECK_CLOSE(operations.sum_of_squares(values.data(), length), expected,
                        4 * epsilon<T> * expected);
        }
    });
}

TEST(carry_and_narrow) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        Random random(35);
        const Buffer<T> tile = random_buffer<T>(100, random), back(100);
        const Buffer<double> wide(100);
        operations.carry(tile.data(), 100, true, wide.data());
        operations.carry(tile.data(), 100, false, wide.data());
        operations.narrow(wide.data(), 100, back.data());
        for (index i = 0; i < 100; ++i) {
            CHECK(wide.data()[i] == 2.0 * static_cast<double>(tile.data()[i]));
            CHECK(back.data()[i] == 2 * tile.data()[i]);
        }
    });
}

TEST(weighted_sums) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width, coordinates = 77, count = 3;
        Random random(36);
        const Buffer<T> panel = random_buffer<T>(coordinates * width, random);
        const Matrix weights = random.normal(coordinates + 5, count);  // a column per sum
        Matrix out = Matrix::Constant(width + 1, count, 0.25);
        operations.weighted_sums(panel.data(), coordinates, weights.data(), weights.rows(), count, out.data(),
                                 out.rows());
        for (index l = 0; l < count; ++l) {
            for (index lane = 0; lane < width; ++lane) {
                double expected = 0.25, size = 0;
                for (index k = 0; k < coordinates; ++k) {
                    expected += weights(k, l) * static_cast<double>(panel.data()[k * width + lane]);
                    size += std::abs(weights(k, l) * static_cast<double>(panel.data()[k * width + lane]));
                }
                CHECK_CLOSE(out(lane, l), expected, 1e-14 * size);
            }
            CHECK(out(width, l) == 0.25);
        }
    });
}

TEST(centred_block_of_a_gram_matrix) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width, rest = width / 2, n = width + rest;
        Random random(37);
        Matrix gram = random.normal(n, n);
        gram = Matrix(gram * gram.transpose()).array() + 1000;
        for (Layout layout : all_layouts) {
            const Stored stored = store(gram, Element::f64, layout);
            const Eigen::VectorXd mean = gram.rowwise().mean();
            const double grand = mean.mean();
            const Eigen::VectorXd offset = mean.array() - grand, low = Eigen::VectorXd::Constant(n, 1e-9);
            const Buffer<T> block(width * width);
            std::fill_n(block.data(), width * width, T(9));
            operations.centred_block(stored.view, mean.data(), low.data(), offset.data(), 0.125, 0, width,
                                     width, rest, block.data());
            for (index i = 0; i < width; ++i)
                for (index j = 0; j < width; ++j) {
                    const double expected =
                        j < rest ? (gram(i, width + j) - mean(i) - mean(width + j) - 1e-9 + grand) * 0.125
                                 : 0;
                    CHECK_CLOSE(block.data()[i * width + j], expected,
                                epsilon<T> * std::abs(expected) + 1e-13);
                }
        }
    });
}

TEST(copy_rows_copies_and_checks) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        Random random(38);
        for (Layout layout : all_layouts) {
            Matrix values = random.integers(20, 300, -100, 100);
            const Stored stored = store(values, Element::f32, layout);
            std::vector<T> copy(6000);
            CHECK(operations.copy_rows(stored.view, copy.data()) &&
                  operations.copy_rows(stored.view, nullptr));
            for (index i = 0; i < 20; ++i)
                for (index j = 0; j < 300; ++j)
                    CHECK(copy[static_cast<std::size_t>(i * 300 + j)] == static_cast<T>(values(i, j)));
            for (double bad :
                 {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                  std::numeric_limits<double>::quiet_NaN()}) {
                Matrix broken = values;
                broken(19, 299) = bad;
                CHECK(!operations.copy_rows(store(broken, Element::f32, layout).view, nullptr));
            }
        }
    });
}

}  // namespace fastcka::test
