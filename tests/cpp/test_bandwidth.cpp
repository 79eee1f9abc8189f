// SPDX-License-Identifier: BSD-3-Clause
// The exact median of squared distances, against sorting all of them.
#include "check.hpp"
#include "layers/bandwidth.hpp"
#include "support.hpp"

namespace fastcka::test {
namespace {

// The distances as the engine forms them, all n^2 of them.
template <class T>
std::vector<T> distances_of(const PanelTiles<T>& tiles, const TileGrid& grid, bool offdiagonal,
                            const Engine& engine) {
    const index n = tiles.samples(), width = engine.operations<T>().panel_width,
                values = grid.tile_values(width);
    const Buffer<T> tile(values);
    const Buffer<double> wide(values);
    std::vector<T> all(offdiagonal ? 0 : static_cast<std::size_t>(n), T(0));
    for (index number = 0; number < grid.tiles(); ++number) {
        tiles.fill_distances(grid[number], tile.data(), wide.data(), engine, 0);
        grid[number].for_each_block(width, [&](index block, index row, index column) {
            for (index i = row; i < std::min(row + width, n); ++i)
                for (index j = std::max(column, i + 1); j < std::min(column + width, n); ++j)
                    all.insert(all.end(), 2, tile.data()[(block * width + i - row) * width + j - column]);
        });
    }
    return all;
}

template <class T> double median_by_sorting(std::vector<T> values) {
    std::sort(values.begin(), values.end());
    return (static_cast<double>(values[(values.size() - 1) / 2]) +
            static_cast<double>(values[values.size() / 2])) /
           2;
}

template <class T> GramLayer<T> layer_of(const Stored& samples, const Engine& engine) {
    return GramLayer<T>(samples.view, RBF{}, true, nullptr, engine);  // of any data, in any precision
}

// Samples whose distances are hard for a search by digits.
std::vector<Matrix> hard_samples(index n, Random& random) {
    std::vector<Matrix> all{random.normal(n, 5), random.integers(n, 2, 0, 2)};  // ties, many of them at zero
    Matrix coincident = random.normal(n, 3);
    coincident.topRows(n - n / 3).setZero();  // more than half of the distances are zero
    all.push_back(coincident);
    Matrix clusters = random.normal(n, 4);  // of very different sizes: keys spread over many digits
    for (index i = 0; i < n; ++i) clusters.row(i) *= std::pow(10.0, static_cast<double>(i % 8) - 4);
    all.push_back(clusters);
    Matrix line = Matrix::Zero(n, 1);  // all distances between neighbours alike
    for (index i = 0; i < n; ++i) line(i, 0) = static_cast<double>(i);
    all.push_back(line);
    return all;
}

}  // namespace

TEST(median_is_that_of_sorting) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Random random(51);
        for (index n : {2, 3, 4, 5, 6, 50, sanitized ? 60 : 131})
            for (const Matrix& samples : hard_samples(n, random)) {
                const Stored stored = store(samples, Element::f64);
                for (bool offdiagonal : {false, true})
                    for (bool keep : {false, true})
                        for (int threads : {1, 3}) {
                            Team team(threads);
                            const Engine engine{level, team};
                            const TileGrid grid(n, 48);
                            GramLayer<T> layer = layer_of<T>(stored, engine);
                            PanelTiles<T>& tiles = layer.panel_tiles();
                            const double expected =
                                median_by_sorting(distances_of(tiles, grid, offdiagonal, engine));
                            CHECK(median_squared_distance(tiles, grid, offdiagonal, keep, engine) ==
                                  expected);
                            CHECK((tiles.kept_distances() != nullptr) == keep);
                        }
            }
    });
}

TEST(median_is_that_of_the_samples) {
    Random random(52);
    for (index n : {7, 60}) {
        const Stored stored = store(random.normal(n, 9), Element::f64);
        for (bool offdiagonal : {false, true}) {
            Team team(1);
            const Engine engine{current_level(), team};
            GramLayer<double> layer = layer_of<double>(stored, engine);
            LongMatrix squared(n, n);
            for (index i = 0; i < n; ++i)
                for (index j = 0; j < n; ++j)
                    squared(i, j) =
                        (stored.values.row(i) - stored.values.row(j)).cast<long double>().squaredNorm();
            const double packed =
                median_squared_distance(layer.panel_tiles(), TileGrid(n, 24), offdiagonal, true, engine);
            const long double expected = median_squared_distance(squared, offdiagonal);
            CHECK_CLOSE(packed / (layer.centring().scale * layer.centring().scale), expected,
                        1e-13 * static_cast<double>(expected));
        }
    }
}

// With so many distances in one digit that a second histogram is needed.
TEST(median_of_many_distances_in_one_digit) {
    for (const Level* level : levels()) {
        Team team(2);
        const Engine engine{*level, team};
        Random random(53);
        const Stored stored =
            store(random.normal(700, 900), Element::f32);  // distances of many features concentrate
        const TileGrid grid(700, 144);
        for (bool keep : {false, true}) {
            GramLayer<float> layer = layer_of<float>(stored, engine);
            PanelTiles<float>& tiles = layer.panel_tiles();
            const double expected = median_by_sorting(distances_of(tiles, grid, false, engine));
            CHECK(median_squared_distance(tiles, grid, false, keep, engine) == expected);
        }
    }
}

// Just above the median, more equal distances than are collected: no bracket around the median of a sample is narrow
// enough. Three clusters of equal samples at one distance from each other, and few samples between them.
TEST(median_beside_millions_of_ties) {
    Team team(2);
    const Engine engine{current_level(), team};
    Random random(55);
    const index n = 3000, between = 58, smallest = 51;
    Matrix samples = Matrix::Zero(n, 3);
    for (index i = 0; i < n - between; ++i) samples(i, i < smallest ? 2 : i % 2) = 1;
    samples.bottomRows(between) =
        0.05 * random.normal(between, 3).array() + 1.0 / 3;  // met when ties are many
    const Stored stored = store(samples, Element::f32);
    GramLayer<float> layer = layer_of<float>(stored, engine);
    const TileGrid grid(n, 144);
    for (bool offdiagonal : {false, true}) {
        const double expected =
            median_by_sorting(distances_of(layer.panel_tiles(), grid, offdiagonal, engine));
        for (bool keep : {false, true}) {
            layer.panel_tiles().forget_distances();
            CHECK(median_squared_distance(layer.panel_tiles(), grid, offdiagonal, keep, engine) == expected);
        }
    }
}

// More distances around the median than are collected, spread over more keys than a histogram has bins.
template <class T> void check_median_of_millions(index n) {
    Team team(2);
    const Engine engine{current_level(), team};
    Random random(56);
    const Stored stored = store(random.normal(n, 1), Element::f32);
    GramLayer<T> layer = layer_of<T>(stored, engine);
    const TileGrid grid(n, 240);
    std::vector<T> distances = distances_of(layer.panel_tiles(), grid, true, engine);
    const auto at = [&](std::size_t rank) {
        const auto place = distances.begin() + static_cast<index>(rank);
        std::nth_element(distances.begin(), place, distances.end());
        return static_cast<double>(*place);
    };
    const double expected = (at(distances.size() / 2 - 1) + at(distances.size() / 2)) / 2;
    CHECK(median_squared_distance(layer.panel_tiles(), grid, true, false, engine) == expected);
}
TEST(median_of_millions_of_distances) {
    if (sanitized) return;  // it would take a minute
    check_median_of_millions<float>(7000);
    check_median_of_millions<double>(5000);
}

// A search first samples every eighth row. Here these rows lie far outside the others, or in their midst.
TEST(median_beside_a_sample_that_misleads) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(2);
        const Engine engine{level, team};
        Random random(57);
        const index n = 640;
        for (double unlike : {0.01, 100.0}) {
            Matrix samples = random.normal(n, 20);
            for (index i = 0; i < n; i += 8) samples.row(i) *= unlike;
            const Stored stored = store(samples, Element::f32);
            GramLayer<T> layer = layer_of<T>(stored, engine);
            const TileGrid grid(n, 96);
            CHECK(median_squared_distance(layer.panel_tiles(), grid, false, false, engine) ==
                  median_by_sorting(distances_of(layer.panel_tiles(), grid, false, engine)));
        }
    });
}

// The rows that a search samples are all equally far apart, so that the bracket is one distance, and the median is the next
// distance above or below it: the numbers of rows are chosen so.
TEST(median_beside_the_edge_of_a_bracket) {
    const auto check = [](const Matrix& samples) {
        for_each_level([&](const Level& level, auto zero) {
            using T = decltype(zero);
            Team team(2);
            const Engine engine{level, team};
            const Stored stored = store(samples, Element::f32);
            GramLayer<T> layer = layer_of<T>(stored, engine);
            const TileGrid grid(samples.rows(), 96);
            CHECK(median_squared_distance(layer.panel_tiles(), grid, true, false, engine) ==
                  median_by_sorting(distances_of(layer.panel_tiles(), grid, true, engine)));
        });
    };
    const auto looked_at = [](index n, index i) {
        for (index s = 0; s < n / 8; ++s)
            if (s * n / (n / 8) == i) return true;
        return false;
    };
    {
        const index n = 219, at_zero = 155;  // as many pairs of these as have a smaller rank
        Matrix samples = Matrix::Zero(n, 1);
        for (index i = 0, others = n - at_zero; i < n; ++i)
            if (!looked_at(n, i) && others > 0) samples(i, 0) = static_cast<double>(100 * others--);
        check(samples);
    }
    {
        const index n = 156, at_zero = 93;  // these, and those at distance 1 from them, have one pair more
        Matrix samples = Matrix::Zero(n, n / 8 + 1);
        for (index i = 0, corner = 0, others = n - n / 8 - at_zero; i < n; ++i)
            if (looked_at(n, i))
                samples(i, corner++) = 1;
            else if (others > 0)
                samples(i, n / 8) = static_cast<double>(100 * others--);
        check(samples);
    }
}

TEST(median_of_samples_in_strips) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(2);
        const Engine engine{level, team};
        Random random(58);
        const index n = 700, side = 48;
        const Stored stored = store(random.normal(n, 300), Element::f32);
        const TileGrid grid(n, side);
        GramLayer<T> packed = layer_of<T>(stored, engine);
        const double expected = median_squared_distance(packed.panel_tiles(), grid, false, false, engine);
        for (index held : {2, 3, 6, 15, 40}) {
            GramLayer<T> layer(stored.view, RBF{}, true, nullptr, engine, {side, held});
            CHECK(median_squared_distance(layer.panel_tiles(), grid, false, false, engine) == expected);
            const index copied = std::min<index>(layer.panel_tiles().most_copied(), 90);
            CHECK(copied == std::min<index>(held / 2 * side, 90));
            // The copies are samples: their distances are those of the layer.
            const PanelTiles<T> copies = layer.panel_tiles().copy(copied, engine);
            const std::vector<T> some = distances_of(copies, TileGrid(copied, side), true, engine);
            const index width = engine.operations<T>().panel_width;
            const Buffer<T> block(width * width);
            const Buffer<double> wide(width * width);
            const index last = (copied - 1) * n / copied;
            packed.panel_tiles().fill_distances({0, 1, last / width * width, width, false}, block.data(),
                                                wide.data(), engine, 0);
            CHECK(std::count(some.begin(), some.end(), block.data()[last % width]) >= 2);
        }
    });
}

TEST(kept_distances_give_the_same_gram_values) {
    for_each_level([](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(1);
        const Engine engine{level, team};
        const index width = engine.operations<T>().panel_width, n = 100;
        Random random(54);
        const Stored stored = store(random.normal(n, 20), Element::f32);
        const TileGrid grid(n, 48);
        GramLayer<T> kept = layer_of<T>(stored, engine), formed = layer_of<T>(stored, engine);
        median_squared_distance(kept.panel_tiles(), grid, false, true, engine);
        kept.set_sigma(3.0);
        formed.set_sigma(3.0);
        const index values = grid.tile_values(width);
        const Buffer<T> a(values), b(values);
        const Buffer<double> wide(values);
        std::vector<double> diagonal_a(n), diagonal_b(n);
        for (index number = 0; number < grid.tiles(); ++number) {
            kept.fill(grid, number, a.data(), wide.data(), diagonal_a.data(), engine, 0);
            formed.fill(grid, number, b.data(), wide.data(), diagonal_b.data(), engine, 0);
            CHECK(std::equal(a.data(), a.data() + grid[number].blocks(width) * width * width, b.data()));
        }
        CHECK(diagonal_a == diagonal_b);
    });
}

}  // namespace fastcka::test
