// SPDX-License-Identifier: BSD-3-Clause
#include "layers/bandwidth.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace fastcka {
namespace {

static_assert(digit_values * static_cast<index>(sizeof(index)) == median_histogram_bytes);

template <class T> class DistanceSelection {
  public:
    using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

    DistanceSelection(PanelTiles<T>& tiles, const TileGrid& grid, const Engine& engine)
        : tiles_(tiles), grid_(grid), engine_(engine),
          values_(grid.tile_values(engine.operations<T>().panel_width)),
          workers_(static_cast<std::size_t>(engine.team.threads())) {}

    void keep_distances() {
        Buffer<T> kept(grid_.tiles() * values_);
        engine_.team.for_each(grid_.tiles(), [&](index number, int worker) {
            tiles_.fill_distances(grid_[number], kept.data() + number * values_, scratch(worker).wide.data(),
                                  engine_, worker);
        });
        tiles_.keep_distances(std::move(kept));
    }

    double median(const MedianRanks& ranks) {
        for (MedianSearch search;;) {
            const index inside = search.advance<T>(counts(search, {0, grid_.tiles()}), ranks);
            if (search.found()) return search.median;
            // Another histogram of kept distances costs less than sorting many; without them it costs their products.
            const index collectable = tiles_.kept_distances() != nullptr
                                          ? digit_values
                                          : median_collected_bytes / 4 / static_cast<index>(sizeof(Key));
            if (inside <= collectable) return among(search, inside, ranks);
        }
    }

    DigitCounts counts(const MedianSearch& search, Span numbers) {
        const int shift = search.shift<T>();
        const auto lowest = static_cast<Key>(search.lowest);
        for (Scratch& worker : workers_) {
            worker.histogram.assign(static_cast<std::size_t>(digit_values), 0);
            worker.above = largest_key;
        }
        for_each_key(numbers, [&](Scratch& mine, Key key) {
            const Key bin = (key - lowest) >> shift;  // wraps to a large number below `lowest`
            if (bin < static_cast<Key>(digit_values))
                ++mine.histogram[static_cast<std::size_t>(bin)];
            else if (shift == 0 && key > lowest)
                mine.above = std::min(mine.above, key);
        });
        DigitCounts total{std::vector<index>(static_cast<std::size_t>(digit_values), 0)};
        Key above = largest_key;
        for (const Scratch& worker : workers_) {
            for (std::size_t bin = 0; bin < total.bins.size(); ++bin)
                total.bins[bin] += worker.histogram[bin];
            above = std::min(above, worker.above);
        }
        if (above != largest_key) total.above = above;
        return total;
    }

  private:
    struct Scratch {
        Buffer<T> tile;
        Buffer<double> wide;
        std::vector<index> histogram;
        std::vector<Key> keys;
        Key above = 0;
    };

    Scratch& scratch(int worker) {
        Scratch& mine = workers_[static_cast<std::size_t>(worker)];
        if (mine.wide.data() == nullptr) {
            mine.tile = Buffer<T>(values_);
            mine.wide = Buffer<double>(sizeof(T) == 4 ? values_ : 1);
        }
        return mine;
    }

    static constexpr Key largest_key = std::numeric_limits<Key>::max();

    // From all distances with the digits that are known, which are few.
    double among(const MedianSearch& search, index inside, const MedianRanks& ranks) {
        const auto lowest = static_cast<Key>(search.lowest);
        const Key highest = lowest + ((Key{1} << (search.shift<T>() + digit_bits)) - 1);
        std::vector<Key> keys = keys_between(lowest, highest);
        const auto at = [&](index rank) {
            const auto place = keys.begin() + (rank - search.below);
            std::nth_element(keys.begin(), place, keys.end());
            return *place;
        };
        const Key first = at(ranks.first());
        const Key second =
            ranks.second() < search.below + inside ? at(ranks.second()) : smallest_above(highest);
        return ranks.median(distance_of<T>(first), distance_of<T>(second));
    }

    // look(scratch, key) for every pair of samples i < j of some tiles.
    template <class Look> void for_each_key(Span wanted, Look&& look) {
        walk(grid_.across(), tiles_.held_alone(), [&](Span rows, Span columns) {
            std::vector<index> numbers;
            for (index row = rows.first; row < rows.last; ++row)
                for (index column = std::max(row, columns.first); column < columns.last; ++column)
                    if (const index number = grid_.number(row, column); wanted.has(number))
                        numbers.push_back(number);
            if (numbers.empty()) return;
            tiles_.hold(rows, columns, engine_);
            for_each_key_of(numbers, look);
        });
    }
    template <class Look> void for_each_key_of(const std::vector<index>& numbers, Look&& look) {
        const index width = engine_.operations<T>().panel_width, n = tiles_.samples();
        engine_.team.for_each(static_cast<index>(numbers.size()), [&](index task, int worker) {
            const index number = numbers[static_cast<std::size_t>(task)];
            Scratch& mine = scratch(worker);
            const TileRange range = grid_[number];
            const T* tile = mine.tile.data();
            if (tiles_.kept_distances() != nullptr) {
                tile = tiles_.kept_distances() + number * values_;
            } else {
                tiles_.fill_distances(range, mine.tile.data(), mine.wide.data(), engine_, worker);
            }
            range.for_each_block(width, [&](index block, index row, index column) {
                const T* values = tile + block * width * width;
                for (index i = 0; i < std::min(width, n - row); ++i)
                    for (index j = row == column ? i + 1 : 0; j < std::min(width, n - column); ++j)
                        look(mine, std::bit_cast<Key>(values[i * width + j]));
            });
        });
    }

    std::vector<Key> keys_between(Key lowest, Key highest) {
        for (Scratch& worker : workers_) worker.keys.clear();
        for_each_key({0, grid_.tiles()}, [&](Scratch& mine, Key key) {
            if (key >= lowest && key <= highest) mine.keys.push_back(key);
        });
        std::size_t count = 0;
        for (const Scratch& worker : workers_) count += worker.keys.size();
        std::vector<Key> all;
        all.reserve(count);
        for (const Scratch& worker : workers_) all.insert(all.end(), worker.keys.begin(), worker.keys.end());
        return all;
    }

    Key smallest_above(Key highest) {
        for (Scratch& worker : workers_) worker.above = largest_key;
        for_each_key({0, grid_.tiles()}, [&](Scratch& mine, Key key) {
            if (key > highest) mine.above = std::min(mine.above, key);
        });
        Key smallest = largest_key;
        for (const Scratch& worker : workers_) smallest = std::min(smallest, worker.above);
        return smallest;
    }

    PanelTiles<T>& tiles_;
    const TileGrid& grid_;
    const Engine& engine_;
    index values_;
    std::vector<Scratch> workers_;
};

}  // namespace

template <class T>
double median_squared_distance(PanelTiles<T>& tiles, const TileGrid& grid, bool offdiagonal, bool keep,
                               const Engine& engine) {
    if (tiles.samples() < 2) return 0;  // no pair of samples
    DistanceSelection<T> selection(tiles, grid, engine);
    if (keep) selection.keep_distances();
    return selection.median(MedianRanks(tiles.samples(), offdiagonal));
}

template <class T>
DigitCounts count_distances(PanelTiles<T>& tiles, const TileGrid& grid, Span numbers,
                            const MedianSearch& search, const Engine& engine) {
    return DistanceSelection<T>(tiles, grid, engine).counts(search, numbers);
}

template double median_squared_distance(PanelTiles<float>&, const TileGrid&, bool, bool, const Engine&);
template double median_squared_distance(PanelTiles<double>&, const TileGrid&, bool, bool, const Engine&);
template DigitCounts count_distances(PanelTiles<float>&, const TileGrid&, Span, const MedianSearch&,
                                     const Engine&);
template DigitCounts count_distances(PanelTiles<double>&, const TileGrid&, Span, const MedianSearch&,
                                     const Engine&);

}  // namespace fastcka
