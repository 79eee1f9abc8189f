// SPDX-License-Identifier: BSD-3-Clause
// The micro-kernel and tiles of inner products, at every SIMD level, against plain loops. Inputs are small integers, whose
// sums are exact: every comparison is to the last bit.
#include "check.hpp"
#include "layers/tiles.hpp"
#include "sums/feature_tiles.hpp"
#include "support.hpp"

#include <set>
#include <tuple>

namespace fastcka::test {
namespace {

// Vectors (rows) as panels of one coordinate block, by the words in operations.hpp.
template <class T> Buffer<T> panels_of(const Matrix& vectors, index width) {
    const index panels = (vectors.rows() + width - 1) / width, coordinates = vectors.cols();
    Buffer<T> out(panels * width * coordinates);
    std::fill_n(out.data(), panels * width * coordinates, T(0));
    for (index v = 0; v < vectors.rows(); ++v)
        for (index k = 0; k < coordinates; ++k)
            out.data()[v / width * width * coordinates + k * width + v % width] =
                static_cast<T>(vectors(v, k));
    return out;
}

// expected(row, column) at its place in a tile, zero beyond the vectors; what is below the diagonal of a triangle may be
// anything within a block on it, and is not stored otherwise.
template <class T, class Expected>
void check_tile(const T* tile, const TileRange& range, index width, Expected&& expected) {
    index blocks = 0;
    range.for_each_block(width, [&](index block, index first_row, index first_column) {
        CHECK(block == blocks++);  // row by row, without gaps
        for (index i = 0; i < width; ++i)
            for (index j = 0; j < width; ++j) {
                const index row = first_row + i, column = first_column + j;
                const bool inside =
                    row < range.first_row + range.rows && column < range.first_column + range.columns;
                CHECK(tile[(block * width + i) * width + j] ==
                      static_cast<T>(inside ? expected(row, column) : 0));
            }
    });
    CHECK(blocks == range.blocks(width));
}

template <class T> Panels<T> packed(const Stored& stored, bool vectors_are_samples, const Engine& engine) {
    SampleSums sums;
    return pack<T>(stored.view, vectors_are_samples, nullptr, nullptr, {}, sums, engine);
}

}  // namespace

TEST(accumulate_every_ragged_shape) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        Random random(11);
        // one off a register, a panel, and several panels
        std::set<index> counts{1,
                               2,
                               3,
                               5,
                               width / 3 - 1,
                               width / 3,
                               width / 3 + 1,
                               2 * width / 3 + 1,
                               width - 1,
                               width,
                               width + 1,
                               2 * width + 5};
        counts.erase(0);
        for (index rows : counts)
            for (index columns : counts)
                for (index coordinates : {1, 2, 31}) {
                    const bool triangle = rows == columns;
                    const Matrix left = random.integers(rows, coordinates, -8, 8);
                    const Matrix right = triangle ? left : random.integers(columns, coordinates, -8, 8);
                    const Matrix products = left * right.transpose();
                    const Buffer<T> left_panels = panels_of<T>(left, width),
                                    right_panels = panels_of<T>(right, width);
                    const Operand<T> a{left_panels.data(), rows, 0}, b{right_panels.data(), columns, 0};
                    for (bool half : {false, true}) {
                        if (half && !triangle) continue;
                        const TileRange range{0, rows, 0, columns, half};
                        const index values = range.blocks(width) * width * width;
                        const Buffer<T> tile(values);
                        std::fill_n(tile.data(), values, T(1e30));  // to be overwritten
                        operations.accumulate(a, b, coordinates, true, half, tile.data());
                        check_tile(tile.data(), range, width,
                                   [&](index i, index j) { return products(i, j); });
                        operations.accumulate(a, b, coordinates, false, half, tile.data());
                        check_tile(tile.data(), range, width,
                                   [&](index i, index j) { return 2 * products(i, j); });
                    }
                }
    });
}

TEST(accumulate_whole_coordinate_block) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        Random random(12);
        const Matrix vectors = random.integers(100, coordinate_block, -8, 8);
        const Buffer<T> panels = panels_of<T>(vectors, operations.panel_width);
        const TileRange range{0, 100, 0, 100, true};
        const index size = operations.panel_width * operations.panel_width;
        const Buffer<T> tile(range.blocks(operations.panel_width) * size);
        const Operand<T> operand{panels.data(), 100, 0};
        operations.accumulate(operand, operand, coordinate_block, true, true, tile.data());
        const Matrix products = vectors * vectors.transpose();
        check_tile(tile.data(), range, operations.panel_width,
                   [&](index i, index j) { return products(i, j); });
    });
}

// Over several coordinate blocks, and for float32 over several carries into float64.
TEST(tile_products_of_any_length) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        const index width = engine.operations<T>().panel_width;
        Random random(13);
        for (index coordinates : {index{127}, coordinate_block, coordinate_block + 1, carry_interval,
                                  carry_interval + 1, 2 * carry_interval + 77}) {
            const Stored stored = store(random.integers(70, coordinates, -8, 8), Element::i8);
            const Panels<T> panels = packed<T>(stored, true, engine);
            const Matrix products = stored.values * stored.values.transpose();
            for (const TileRange& range : {TileRange{0, 70, 0, 70, true}, TileRange{0, 48, 48, 22, false},
                                           TileRange{48, 22, 0, 70, false}}) {
                if (range.first_row % width != 0 || range.first_column % width != 0) continue;
                const index values = range.blocks(width) * width * width;
                const Buffer<T> tile(values);
                const Buffer<double> wide(values);
                gram_products(panels, panels, range, tile.data(), wide.data(), engine, 0);
                check_tile(tile.data(), range, width, [&](index i, index j) { return products(i, j); });
            }
            // Part of the coordinates, from a whole block on.
            const index first = coordinate_block, last = coordinates;
            if (first >= last) continue;
            const TileRange range{0, 70, 0, 70, true};
            const index values = range.blocks(width) * width * width;
            const Buffer<T> tile(values);
            const Buffer<double> wide(values);
            const bool carried =
                tile_products(panels, panels, range, first, last, tile.data(), wide.data(), engine, 0);
            CHECK(carried == (sizeof(T) == 4 && last - first > carry_interval));
            const Matrix part =
                stored.values.rightCols(last - first) * stored.values.rightCols(last - first).transpose();
            const auto expected = [&](index i, index j) { return part(i, j); };
            if (carried)
                check_tile(wide.data(), range, width, expected);
            else
                check_tile(tile.data(), range, width, expected);
        }
    });
}

TEST(tile_products_of_features) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        const index width = engine.operations<T>().panel_width;
        Random random(14);
        const Stored left = store(random.integers(300, 50, -8, 8), Element::f32);
        const Stored right = store(random.integers(300, 31, -8, 8), Element::f32, Layout::columns);
        const Matrix products = left.values.transpose() * right.values;
        const TileRange range{0, 50, 0, 31, false};
        const index values = range.blocks(width) * width * width;
        const Buffer<T> tile(values);
        const Buffer<double> wide(values);
        tile_products(packed<T>(left, false, engine), packed<T>(right, false, engine), range, 0, 300,
                      tile.data(), wide.data(), engine, 0);
        check_tile(tile.data(), range, width, [&](index i, index j) { return products(i, j); });
    });
}

TEST(long_float_sums_keep_their_digits) {
    for (const Level* level : levels()) {
        Team team(1);
        const Engine engine{*level, team};
        const index coordinates = 60000, width = engine.operations<float>().panel_width;
        Random random(15);
        const Stored stored = store((random.normal(2, coordinates).array() * 0.1 + 1).matrix(), Element::f32);
        const Panels<float> panels = packed<float>(stored, true, engine);
        const Buffer<float> tile(width * width);
        const Buffer<double> wide(width * width);
        gram_products(panels, panels, {0, 2, 0, 2, false}, tile.data(), wide.data(), engine, 0);
        const double expected = stored.values.row(0).dot(stored.values.row(1));
        CHECK_CLOSE(tile.data()[1], expected, 1e-6 * expected);  // a float32 chain is 1e-4 off
    }
}

TEST(self_products_have_the_bits_of_the_tile) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        const Operations<T>& operations = operations_of<T>(level);
        const index width = operations.panel_width;
        Random random(16);
        const Matrix vectors = random.normal(width, 100);
        const Buffer<T> panels = panels_of<T>(vectors, width);
        const Buffer<T> tile(width * width), products(width);
        for (bool overwrite : {true, false}) {
            operations.accumulate({panels.data(), width, 0}, {panels.data(), width, 0}, 100, overwrite, true,
                                  tile.data());
            operations.self_products(panels.data(), 100, overwrite, products.data());
            for (index i = 0; i < width; ++i) CHECK(products.data()[i] == tile.data()[i * width + i]);
        }
    });
}

TEST(tile_grid_covers_every_pair_once) {
    for (index vectors : {1, 5, 47, 48, 49, 96, 100, 300})
        for (index side : {12, 48, 144, 384}) {
            const TileGrid grid(vectors, side);
            Eigen::MatrixXi covered = Eigen::MatrixXi::Zero(vectors, vectors);
            for (index tile = 0; tile < grid.tiles(); ++tile) {
                const TileRange range = grid[tile];
                CHECK(range.triangle == (range.first_row == range.first_column) &&
                      range.first_row <= range.first_column);
                CHECK(range.blocks(12) * 144 <= grid.tile_values(12));
                for (index i = 0; i < range.rows; ++i)
                    for (index j = range.triangle ? i : 0; j < range.columns; ++j)
                        ++covered(range.first_row + i, range.first_column + j);
            }
            for (index i = 0; i < vectors; ++i)
                for (index j = 0; j < vectors; ++j) CHECK(covered(i, j) == (i <= j ? 1 : 0));
        }
}

TEST(feature_tiles_cover_every_wanted_pair_once) {
    const std::vector<index> widths{1, 30, 49, 7};
    for (bool one_sided : {true, false})
        for (index side : {12, 48}) {
            const LayerSet pairs(widths, one_sided ? 4 : 2);
            const std::vector<FeatureTile> tiles = feature_tiles(pairs, side);
            CHECK(static_cast<index>(tiles.size()) == feature_tile_count(pairs, side));
            std::set<std::tuple<index, index, index, index>> covered;
            for (const FeatureTile& tile : tiles)
                for (index i = 0; i < tile.range.rows; ++i)
                    for (index j = tile.range.triangle ? i : 0; j < tile.range.columns; ++j)
                        CHECK(covered
                                  .emplace(tile.left, tile.right, tile.range.first_row + i,
                                           tile.range.first_column + j)
                                  .second);
            std::size_t expected = 0;
            for (index l = 0; l < 4; ++l)
                for (index m = l; m < 4; ++m) {
                    if (!one_sided && l != m && !(l < 2 && m >= 2)) continue;
                    const index p = widths[static_cast<std::size_t>(l)],
                                q = widths[static_cast<std::size_t>(m)];
                    expected += static_cast<std::size_t>(l == m ? p * (p + 1) / 2 : p * q);
                }
            CHECK(covered.size() == expected);
        }
}

}  // namespace fastcka::test
